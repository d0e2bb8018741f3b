package config

import (
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
)

// writeDocument prints the page docs/configuration.md.
func writeDocument(w io.Writer) {
	fmt.Fprint(w, documentHead)
	for group, options := range byGroup() {
		fmt.Fprintf(w, "\n## %s\n\n| flag | in a file | default | meaning |\n|---|---|---|---|\n", group)
		for _, o := range options {
			fmt.Fprintf(w, "| `--%s` | %s | %s | %s |\n", o.Name, keyInDocument(o), code(o.Default), o.meaning())
		}
	}
	fmt.Fprint(w, "\n## Feature gates\n\n| gate | stage | default | meaning |\n|---|---|---|---|\n")
	for _, g := range Gates() {
		fmt.Fprintf(w, "| `%s` | %s | %t | %s |\n", g.Name, strings.ToLower(g.Stage), g.Default, g.meaning())
	}
	fmt.Fprint(w, "\n`AllAlpha` and `AllBeta` switch all gates of a stage that are not named themselves. `LeaseCheckpointPersist` needs `LeaseCheckpoint`.\n")
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}

// keyInDocument is the key if it is not the flag's name.
func keyInDocument(o *Option) string {
	switch o.Key {
	case "":
		return "—"
	case o.Name:
		return ""
	}
	return code(o.Key)
}

// writeSample prints the file deploy/quoin.conf.yml: every option that has an effect, with its default.
func writeSample(w io.Writer) {
	fmt.Fprint(w, sampleHead)
	for group, options := range byGroup() {
		options = inSample(options)
		if len(options) == 0 {
			continue
		}
		fmt.Fprintf(w, "\n# %s\n", group)
		var open []string // the maps that the last line stood in
		for _, o := range options {
			open = writeSampleOption(w, o, open)
		}
	}
}

// inSample leaves out what cannot or need not stand in a file, and brings together what stands in one map.
func inSample(options []*Option) (kept []*Option) {
	for _, o := range options {
		if o.Key != "" && o.Idle == "" {
			kept = append(kept, o)
		}
	}
	slices.SortStableFunc(kept, func(a, b *Option) int { return strings.Compare(path.Dir(slashes(a.Key)), path.Dir(slashes(b.Key))) })
	return kept
}

func slashes(key string) string { return strings.ReplaceAll(key, ".", "/") }

// writeSampleOption writes one option, and the maps around it that are not open yet; it returns those that are open now.
func writeSampleOption(w io.Writer, o *Option, open []string) []string {
	keys := strings.Split(o.Key, ".")
	maps, name := keys[:len(keys)-1], keys[len(keys)-1]
	for i, m := range maps {
		if i < len(open) && open[i] == m {
			continue
		}
		open = nil
		fmt.Fprintf(w, "%s%s:\n", indent(i), m)
	}
	fmt.Fprintf(w, "%s# %s\n%s%s: %s\n", indent(len(maps)), o.Usage, indent(len(maps)), name, yamlDefault(o))
	return maps
}

func indent(depth int) string { return strings.Repeat("  ", depth) }

// yamlDefault is the default as YAML that etcd reads too: lists of addresses are texts, other lists arrays, durations texts with a unit.
func yamlDefault(o *Option) string {
	switch typeOf(o.Value) {
	case typeString, typeDuration:
		return strconv.Quote(o.Default)
	case typeList:
		if _, ok := o.Value.(*Words); !ok || o.Name == "host-whitelist" {
			return strconv.Quote(o.Default)
		}
		if o.Default == "" {
			return "[]"
		}
		return "[" + o.Default + "]"
	}
	return o.Default
}

const sampleHead = `# The options of a member, all at their defaults: quoin server --config-file quoin.conf.yml
#
# Written by go test ./internal/config -run TestSample -update from the table of options in internal/config.
#
# While a configuration file is in use, flags and environment variables do not count. Keys that mean nothing are told of in the log and ignored.
# Durations may be written with a unit, or as a number of nanoseconds; lists as arrays, or as texts with commas.
`

const documentHead = `# Configuration of a member

<!-- Written by go test ./internal/config -run TestDocument -update from the table of options in internal/config. -->

` + "`quoin server`" + ` takes the flags below; they are etcd's, with one or two dashes, as ` + "`--name value` or `--name=value`" + `. Each can be set by an
environment variable instead: ` + "`--data-dir` is `ETCD_DATA_DIR`" + `. An empty variable counts as not set. A flag and its variable together
are an error, since one of them would be ignored unseen. A variable ` + "`ETCD_…`" + ` that sets nothing is warned of in the log.

Or everything stands in a file in YAML or JSON, named by ` + "`--config-file` or `ETCD_CONFIG_FILE`" + `; then no other flag or variable counts, and the log
says so. Keys are the names of flags; where the tables give another one, its dots stand for maps: ` + "`socket-options.reuse-port`" + ` is
` + "`reuse-port`" + ` inside ` + "`socket-options`" + `. Keys that mean nothing are told of in the log and else ignored. Durations are numbers of nanoseconds, as for
etcd, or texts with a unit. Lists are texts with commas or arrays. [deploy/quoin.conf.yml](../deploy/quoin.conf.yml) has every option in it.

On the command line durations are written like ` + "`100ms` or `5s`" + `, lists with commas. Addresses are ` + "`http://host:port`, `https://host:port`, `unix://path`" + `
or ` + "`unixs://path`" + `; those to listen on name an IP address or ` + "`localhost`" + `. A member that listens on all addresses (` + "`0.0.0.0`" + `) and is not told
what to advertise advertises the address of this machine from which the network is reached.

Variables with a meaning of their own: ` + "`ETCD_UNSUPPORTED_ARCH`" + ` must name the processor where it is none of amd64, arm64, ppc64le and s390x;
` + "`ETCD_VERIFY`" + ` is accepted and changes nothing, since invariants are always checked. Under systemd (` + "`NOTIFY_SOCKET`" + `) a member reports when it is
ready and when it stops.

How a start or a member ends:

| what | exit code |
|---|---|
| ` + "`--help`, `--version`" + `, or the member was removed from its cluster | 0 |
| SIGTERM or SIGINT: it stops in order, and ends by that signal (as process 1 of a container: 0); a second signal ends it at once | the signal |
| unknown flag, a value that cannot be read, an unknown log level | 2, with the error on stderr |
| values that do not fit together, a flag and its variable, a file that cannot be read | 1, with a line in the log that says what |
| a port or directory in use, a damaged file, a cluster that is not found, fewer than 150 file descriptors | 1, likewise |
| a disk that fails while the member runs | 1, likewise |
`
