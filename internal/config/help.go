package config

import (
	"fmt"
	"io"
)

// WriteUsage prints how the server is called, in short.
func WriteUsage(w io.Writer) {
	fmt.Fprint(w, `Usage:
  quoin server [flags]               start a member
  quoin server --config-file path    start a member with the options of a file
  quoin server --version             print the version
  quoin server --help                list the flags
`)
}

// WriteHelp prints every option with its default, by group.
func WriteHelp(w io.Writer) {
	WriteUsage(w)
	fmt.Fprint(w, "\nEvery flag can also be given as an environment variable: --data-dir is ETCD_DATA_DIR. Giving both is an error.\n")
	for group, options := range byGroup() {
		fmt.Fprintf(w, "\n%s:\n", group)
		for _, o := range options {
			fmt.Fprintf(w, "  --%s '%s'\n        %s.\n", o.Name, o.Default, o.meaning())
		}
	}
	fmt.Fprint(w, "\nFeature gates:\n")
	for _, g := range Gates() {
		fmt.Fprintf(w, "  %s=true|false (%s - default=%t)\n        %s.\n", g.Name, g.Stage, g.Default, g.meaning())
	}
	fmt.Fprint(w, "  AllAlpha=true|false, AllBeta=true|false\n        all gates of that stage that are not named themselves.\n")
}

// byGroup goes through the table in its order, one group after the other.
func byGroup() func(yield func(string, []*Option) bool) {
	table := Default().options()
	return func(yield func(string, []*Option) bool) {
		for len(table) > 0 {
			n := 1
			for n < len(table) && table[n].Group == table[0].Group {
				n++
			}
			if !yield(table[0].Group, table[:n]) {
				return
			}
			table = table[n:]
		}
	}
}
