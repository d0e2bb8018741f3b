package ctl

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// get holds the flags of the get command.
type get struct {
	*globals
	span
	consistency, order, sortBy           string
	limit, rev                           int64
	minCreate, maxCreate, minMod, maxMod int64
	keysOnly, countOnly, valuesOnly      bool
	stream                               bool
}

func getCommand(g *globals) *cobra.Command {
	c := &get{globals: g}
	return c.command(c.run)
}

// command returns the command with its flags, which does what run says.
func (g *get) command(run func(*cobra.Command, []string) error) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "get <key> [range_end]",
		Short: "Read a key, or the keys from one up to another",
		RunE:  run,
	}
	g.addFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&g.consistency, "consistency", "l", "l: linearizable, sees every finished write; s: serializable, whatever the asked member has")
	f.StringVar(&g.order, "order", "", "ASCEND or DESCEND")
	f.StringVar(&g.sortBy, "sort-by", "", "CREATE, KEY, MODIFY, VALUE or VERSION")
	f.Int64Var(&g.limit, "limit", 0, "return at most so many keys (0: all)")
	f.Int64Var(&g.rev, "rev", 0, "read as of this revision (0: now)")
	f.BoolVar(&g.keysOnly, "keys-only", false, "leave the values out")
	f.BoolVar(&g.countOnly, "count-only", false, "return only how many keys there are")
	f.BoolVar(&g.valuesOnly, "print-value-only", false, "print only the values")
	f.BoolVar(&g.stream, "stream", false, "have the server send the keys in parts, in its own order")
	f.Int64Var(&g.minCreate, "min-create-rev", 0, "only keys created at this revision or later")
	f.Int64Var(&g.maxCreate, "max-create-rev", 0, "only keys created at this revision or earlier")
	f.Int64Var(&g.minMod, "min-mod-rev", 0, "only keys changed at this revision or later")
	f.Int64Var(&g.maxMod, "max-mod-rev", 0, "only keys changed at this revision or earlier")
	return cmd
}

// operation reads the arguments as those of an operation of a transaction.
func (g *get) operation(args []string, op *clientv3.Op) error {
	key, options, err := g.request(args)
	if err == nil {
		*op = clientv3.OpGet(key, options...)
	}
	return err
}

func (g *get) run(cmd *cobra.Command, args []string) error {
	if err := g.check(); err != nil {
		return err
	}
	key, options, err := g.request(args)
	if err != nil {
		return err
	}
	return g.call(cmd, func(ctx context.Context, client *clientv3.Client) (answer, error) {
		if g.stream {
			return g.streamed(ctx, client, key, options)
		}
		r, err := client.Get(ctx, key, options...)
		return g.answer(r), err
	})
}

func (g *get) answer(r *clientv3.GetResponse) answer {
	return answer{
		json: r, proto: (*etcdserverpb.RangeResponse)(r),
		simple: func(w io.Writer) error { return g.writeSimple(w, r.Kvs) },
		fields: func(f *fieldWriter) { f.rangeResponse((*etcdserverpb.RangeResponse)(r)) },
	}
}

// streamed asks for the parts and puts them together. What the server does not do in parts it says in a status of gRPC, which is told as it is.
func (g *get) streamed(ctx context.Context, client *clientv3.Client, key string, options []clientv3.OpOption) (answer, error) {
	parts, err := client.GetStream(ctx, key, options...)
	if err != nil {
		return answer{}, err
	}
	r, err := clientv3.GetStreamToGetResponse(parts)
	if err != nil && ctx.Err() == nil {
		err = fail(ExitFailure, "%w", err)
	}
	return g.answer(r), err
}

// check refuses flags that do not fit together.
func (g *get) check() error {
	switch {
	case g.keysOnly && g.countOnly:
		return fail(ExitBadArguments, "`--keys-only` and `--count-only` cannot be set at the same time, choose one")
	case g.countOnly && *g.format != formatFields:
		return fail(ExitBadArguments, "--count-only is only for `--write-out=fields`")
	case g.valuesOnly && *g.format != formatSimple:
		return fail(ExitBadArguments, "print-value-only is only for `--write-out=simple`")
	}
	return g.format.check()
}

// request turns arguments and flags into the key and options of the call.
func (g *get) request(args []string) (string, []clientv3.OpOption, error) {
	key, options, err := g.span.options("get", args)
	if err != nil {
		return "", nil, err
	}
	switch g.consistency {
	case "l":
	case "s":
		options = append(options, clientv3.WithSerializable())
	default:
		return "", nil, fail(ExitUnsupported, "unknown consistency flag %q", g.consistency)
	}
	sorting, err := g.sorting()
	if err != nil {
		return "", nil, err
	}
	options = append(options, sorting...)
	if g.keysOnly {
		options = append(options, clientv3.WithKeysOnly())
	}
	if g.countOnly {
		options = append(options, clientv3.WithCountOnly())
	}
	return key, append(options,
		clientv3.WithLimit(g.limit), clientv3.WithRev(g.rev),
		clientv3.WithMinCreateRev(g.minCreate), clientv3.WithMaxCreateRev(g.maxCreate),
		clientv3.WithMinModRev(g.minMod), clientv3.WithMaxModRev(g.maxMod)), nil
}

// sorting reads --order and --sort-by; without either the server's order holds.
func (g *get) sorting() ([]clientv3.OpOption, error) {
	if g.order == "" && g.sortBy == "" {
		return nil, nil
	}
	var order clientv3.SortOrder
	switch strings.ToUpper(g.order) {
	case "":
		order = clientv3.SortNone
	case "ASCEND":
		order = clientv3.SortAscend
	case "DESCEND":
		order = clientv3.SortDescend
	default:
		return nil, fail(ExitUnsupported, "bad sort order %v", g.order)
	}
	var target clientv3.SortTarget
	switch strings.ToUpper(g.sortBy) {
	case "", "KEY":
		target = clientv3.SortByKey
	case "CREATE":
		target = clientv3.SortByCreateRevision
	case "MODIFY":
		target = clientv3.SortByModRevision
	case "VALUE":
		target = clientv3.SortByValue
	case "VERSION":
		target = clientv3.SortByVersion
	default:
		return nil, fail(ExitUnsupported, "bad sort target %v", g.sortBy)
	}
	return []clientv3.OpOption{clientv3.WithSort(target, order)}, nil
}

// writeSimple prints the pairs.
func (g *get) writeSimple(w io.Writer, kvs []*mvccpb.KeyValue) error {
	for _, kv := range kvs {
		var err error
		if g.valuesOnly {
			_, err = fmt.Fprintf(w, "%s\n", g.text(kv.Value))
		} else {
			err = g.writePair(w, kv) // with --keys-only the value is empty
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (f *fieldWriter) rangeResponse(r *etcdserverpb.RangeResponse) {
	f.header(r.Header)
	for _, kv := range r.Kvs {
		f.pair("", kv)
	}
	f.field("More", r.More)
	f.field("Count", r.Count)
}
