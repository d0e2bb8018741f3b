package ctl

import (
	"github.com/spf13/cobra"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// A span is which keys a command means: one key, those up to a second argument,
// those with a prefix, or all from a key on.
type span struct {
	prefix, fromKey bool
}

// addFlags adds --prefix and --from-key.
func (s *span) addFlags(cmd *cobra.Command) {
	s.addPrefix(cmd)
	cmd.Flags().BoolVar(&s.fromKey, "from-key", false, "all keys from this one on, in byte order")
}

// addPrefix adds --prefix alone.
func (s *span) addPrefix(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&s.prefix, "prefix", false, "all keys that begin with the key")
}

// options returns the key to ask for and the options that make it a range.
func (s *span) options(command string, args []string) (string, []clientv3.OpOption, error) {
	if len(args) == 0 || len(args) > 2 {
		return "", nil, fail(ExitBadArguments, "%s command needs one argument as key and an optional argument as range_end", command)
	}
	if s.prefix && s.fromKey {
		return "", nil, fail(ExitBadArguments, "`--prefix` and `--from-key` cannot be set at the same time, choose one")
	}
	key := args[0]
	switch {
	case len(args) == 2 && (s.prefix || s.fromKey):
		return "", nil, fail(ExitBadArguments, "too many arguments, only accept one argument when `--prefix` or `--from-key` is set")
	case len(args) == 2:
		return key, []clientv3.OpOption{clientv3.WithRange(args[1])}, nil
	case s.prefix && key == "", s.fromKey && key == "":
		// The API has no empty key: everything begins at the lowest one.
		return "\x00", []clientv3.OpOption{clientv3.WithFromKey()}, nil
	case s.prefix:
		return key, []clientv3.OpOption{clientv3.WithPrefix()}, nil
	case s.fromKey:
		return key, []clientv3.OpOption{clientv3.WithFromKey()}, nil
	}
	return key, nil, nil
}
