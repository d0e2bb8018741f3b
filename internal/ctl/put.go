package ctl

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// put holds the flags of the put command.
type put struct {
	*globals
	lease                            string
	prevKV, ignoreValue, ignoreLease bool
}

func putCommand(g *globals) *cobra.Command {
	p := &put{globals: g}
	return p.command(p.run)
}

// command returns the command with its flags, which does what run says.
func (p *put) command(run func(*cobra.Command, []string) error) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "put <key> [value]",
		Short: "Store a value under a key",
		Long: "Store a value under a key. Without a value on the command line it is read from standard input, to the end and\n" +
			"unchanged. Put -- before a key or value that begins with a dash.",
		RunE: run,
	}
	f := cmd.Flags()
	f.StringVar(&p.lease, "lease", "0", "attach the key to this lease (hexadecimal)")
	f.BoolVar(&p.prevKV, "prev-kv", false, "also print the pair that was there before")
	f.BoolVar(&p.ignoreValue, "ignore-value", false, "keep the value that is there")
	f.BoolVar(&p.ignoreLease, "ignore-lease", false, "keep the lease that is there")
	return cmd
}

// operation reads the arguments as those of an operation of a transaction.
func (p *put) operation(args []string, op *clientv3.Op) error {
	options, err := p.options()
	if err != nil {
		return err
	}
	key, value, err := p.pair(strings.NewReader(""), args)
	if err == nil {
		*op = clientv3.OpPut(key, value, options...)
	}
	return err
}

func (p *put) run(cmd *cobra.Command, args []string) error {
	if err := p.check(); err != nil {
		return err
	}
	options, err := p.options()
	if err != nil {
		return err
	}
	key, value, err := p.pair(cmd.InOrStdin(), args)
	if err != nil {
		return err
	}
	return p.call(cmd, func(ctx context.Context, client *clientv3.Client) (answer, error) {
		r, err := client.Put(ctx, key, value, options...)
		return answer{
			json: r, proto: (*etcdserverpb.PutResponse)(r),
			simple: func(w io.Writer) error { return p.writePut(w, r.PrevKv) },
			fields: func(f *fieldWriter) { f.putResponse((*etcdserverpb.PutResponse)(r)) },
		}, err
	})
}

// pair takes key and value from the arguments, or the value from in.
func (p *put) pair(in io.Reader, args []string) (key, value string, err error) {
	switch {
	case len(args) == 0 || len(args) > 2:
		return "", "", fail(ExitBadArguments, "put command needs 1 argument and input from stdin or 2 arguments")
	case p.ignoreValue && len(args) > 1:
		return "", "", fail(ExitBadArguments, "put command needs only 1 argument when 'ignore-value' is set")
	case p.ignoreValue:
		return args[0], "", nil
	case len(args) == 2:
		return args[0], args[1], nil
	}
	bytes, err := io.ReadAll(in)
	if err != nil {
		return "", "", fail(ExitIO, "read the value: %w", err)
	}
	return args[0], string(bytes), nil
}

func (p *put) options() ([]clientv3.OpOption, error) {
	id, err := strconv.ParseInt(p.lease, 16, 64)
	if err != nil {
		return nil, fail(ExitBadArguments, "bad lease ID arg (%w), expecting ID in Hex", err)
	}
	var options []clientv3.OpOption
	if id != 0 {
		options = append(options, clientv3.WithLease(clientv3.LeaseID(id)))
	}
	if p.prevKV {
		options = append(options, clientv3.WithPrevKV())
	}
	if p.ignoreValue {
		options = append(options, clientv3.WithIgnoreValue())
	}
	if p.ignoreLease {
		options = append(options, clientv3.WithIgnoreLease())
	}
	return options, nil
}

func (g *globals) writePut(w io.Writer, previous *mvccpb.KeyValue) error {
	if _, err := fmt.Fprintln(w, "OK"); err != nil || previous == nil {
		return err
	}
	return g.writePair(w, previous)
}

func (f *fieldWriter) putResponse(r *etcdserverpb.PutResponse) {
	f.header(r.Header)
	if r.PrevKv != nil {
		f.pair("Prev", r.PrevKv)
	}
}
