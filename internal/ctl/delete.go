package ctl

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// rangeDeleteDelay is how long a delete of a range waits when --range does not
// confirm that the second argument is meant as its end.
const rangeDeleteDelay = 2 * time.Second

// remove holds the flags of the del command.
type remove struct {
	*globals
	span
	confirmed, prevKV bool
}

func deleteCommand(g *globals) *cobra.Command {
	d := &remove{globals: g}
	return d.command(d.run)
}

// command returns the command with its flags, which does what run says.
func (d *remove) command(run func(*cobra.Command, []string) error) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "del <key> [range_end]",
		Short: "Delete a key, or the keys from one up to another",
		RunE:  run,
	}
	d.addFlags(cmd)
	f := cmd.Flags()
	f.BoolVar(&d.confirmed, "range", false, "the second argument is the end of a range; without this a delete of a range waits two seconds")
	f.BoolVar(&d.prevKV, "prev-kv", false, "also print the deleted pairs")
	return cmd
}

// operation reads the arguments as those of an operation of a transaction.
func (d *remove) operation(args []string, op *clientv3.Op) error {
	key, options, err := d.options("del", args)
	if err != nil {
		return err
	}
	if d.prevKV {
		options = append(options, clientv3.WithPrevKV())
	}
	*op = clientv3.OpDelete(key, options...)
	return nil
}

func (d *remove) run(cmd *cobra.Command, args []string) error {
	if err := d.check(); err != nil {
		return err
	}
	key, options, err := d.options("del", args)
	if err != nil {
		return err
	}
	if d.prevKV {
		options = append(options, clientv3.WithPrevKV())
	}
	if len(args) == 2 && !d.confirmed {
		if err := warnOfRange(cmd.Context(), cmd.ErrOrStderr(), args); err != nil {
			return err
		}
	}
	return d.call(cmd, func(ctx context.Context, client *clientv3.Client) (answer, error) {
		r, err := client.Delete(ctx, key, options...)
		return answer{
			json: r, proto: (*etcdserverpb.DeleteRangeResponse)(r),
			simple: func(w io.Writer) error { return d.writeDelete(w, (*etcdserverpb.DeleteRangeResponse)(r)) },
			fields: func(f *fieldWriter) { f.deleteResponse((*etcdserverpb.DeleteRangeResponse)(r)) },
		}, err
	})
}

// warnOfRange gives the user time to stop a delete that may reach further than
// meant: two keys are a range, not two keys.
func warnOfRange(ctx context.Context, w io.Writer, args []string) error {
	fmt.Fprintf(w, "Warning: deletes all keys from %q up to %q, in %v; --range confirms it without waiting\n",
		args[0], args[1], rangeDeleteDelay)
	wait := time.NewTimer(rangeDeleteDelay)
	defer wait.Stop()
	select {
	case <-wait.C:
		return nil
	case <-ctx.Done():
		return fail(ExitFailure, "interrupted: nothing was deleted")
	}
}

func (g *globals) writeDelete(w io.Writer, r *etcdserverpb.DeleteRangeResponse) error {
	if _, err := fmt.Fprintln(w, r.Deleted); err != nil {
		return err
	}
	return g.writePairs(w, r.PrevKvs)
}

func (f *fieldWriter) deleteResponse(r *etcdserverpb.DeleteRangeResponse) {
	f.header(r.Header)
	f.field("Deleted", r.Deleted)
	for _, kv := range r.PrevKvs {
		f.pair("Prev", kv)
	}
}
