package ctl

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// rangeDeleteDelay is how long a delete of a range waits when --range does not
// confirm that the second argument is meant as its end.
const rangeDeleteDelay = 2 * time.Second

// remove holds the flags of the del command.
type remove struct {
	*connection
	*format
	span
	confirmed, prevKV bool
}

func deleteCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:          "del <key> [range_end]",
		Short:        "Delete a key, or the keys from one up to another",
		SilenceUsage: true,
	}
	d := &remove{connection: newConnection(cmd), format: newFormat(cmd)}
	d.addFlags(cmd)
	f := cmd.Flags()
	f.BoolVar(&d.confirmed, "range", false, "the second argument is the end of a range; without this a delete of a range waits two seconds")
	f.BoolVar(&d.prevKV, "prev-kv", false, "also print the deleted pairs")
	cmd.RunE = d.run
	return cmd
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
	return d.connection.run(cmd, func(ctx context.Context, client *clientv3.Client) error {
		response, err := client.Delete(ctx, key, options...)
		if err != nil {
			return serverError(err, d.endpoints)
		}
		return d.write(cmd.OutOrStdout(), response, func(w io.Writer) error {
			if _, err := fmt.Fprintln(w, response.Deleted); err != nil {
				return err
			}
			return writePairs(w, response.PrevKvs)
		})
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
