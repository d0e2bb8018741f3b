package config

import (
	"fmt"
	"io"
)

// WriteUsage prints how the server is called, in short.
func WriteUsage(w io.Writer) {
	fmt.Fprint(w, `Usage:
  quoin server [flags]      start a member
  quoin server --version    print the version
  quoin server --help       list the flags
`)
}

// WriteHelp prints every option with its default, by group.
func WriteHelp(w io.Writer) {
	WriteUsage(w)
	fmt.Fprint(w, "\nEvery flag can also be given as an environment variable: --data-dir is ETCD_DATA_DIR. Giving both is an error.\n")
	group := ""
	for _, o := range Default().options() {
		if o.Group != group {
			group = o.Group
			fmt.Fprintf(w, "\n%s:\n", group)
		}
		fmt.Fprintf(w, "  --%s '%s'\n        %s.\n", o.Name, o.Default, o.Usage)
	}
}

// WriteDocument prints the page docs/configuration.md.
func WriteDocument(w io.Writer) {
	fmt.Fprint(w, documentHead)
	group := ""
	for _, o := range Default().options() {
		if o.Group != group {
			group = o.Group
			fmt.Fprintf(w, "\n## %s\n\n| flag | default | meaning |\n|---|---|---|\n", group)
		}
		value := ""
		if o.Default != "" {
			value = "`" + o.Default + "`"
		}
		fmt.Fprintf(w, "| `--%s` | %s | %s |\n", o.Name, value, o.Usage)
	}
}

const documentHead = `# Configuration of a member

<!-- Written by go test ./internal/config -run TestDocument -update from the table of options in internal/config. -->

` + "`quoin server`" + ` takes the flags below; they are etcd's, with one or two dashes, as ` + "`--name value` or `--name=value`" + `. Each can be set by an
environment variable instead: ` + "`--data-dir` is `ETCD_DATA_DIR`" + `. An empty variable counts as not set. A flag and its variable together
are an error, since one of them would be ignored unseen. A variable ` + "`ETCD_…`" + ` that sets nothing is warned of in the log.

Durations are written like ` + "`100ms` or `5s`" + `, lists with commas. Addresses are ` + "`http://host:port`, `https://host:port` or `unix://path`" + `; those to
listen on name an IP address or ` + "`localhost`" + `.

How a start ends when something is wrong:

| what | exit code |
|---|---|
| unknown flag, or a value that cannot be read | 2, with the flag's error on stderr |
| values that do not fit together, a port or directory in use, a damaged file | 1, with a line in the log that says what |
| a disk that fails while the member runs | 1, likewise |

SIGTERM or SIGINT stops a member in order, with exit code 0; a second one ends it at once.
`
