package ctl

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/spf13/cobra"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// watch holds the flags of the watch command.
type watch struct {
	*globals
	span
	rev              int64
	prevKV, progress bool
	interactive      bool
}

// watchRequest is what to watch, and the command to run for each change.
type watchRequest struct {
	key     string
	options []clientv3.OpOption
	command []string
}

func watchCommand(g *globals) *cobra.Command {
	w := &watch{globals: g}
	cmd := w.command(w.run)
	cmd.Long = `Print changes as they happen, until interrupted.

Without a key, the environment says what to watch: ETCDCTL_WATCH_KEY and ETCDCTL_WATCH_RANGE_END. A command runs after each change, which it finds
in its environment, quoted: ETCD_WATCH_REVISION, ETCD_WATCH_EVENT_TYPE, ETCD_WATCH_KEY and ETCD_WATCH_VALUE.

With -i, each line of standard input is such a command with its flags, "watch ...", which begins one more watch, or "progress".`
	cmd.Flags().BoolVarP(&w.interactive, "interactive", "i", false, "read what to watch from standard input")
	return cmd
}

// command returns the command with the flags that a line of -i has too, which does what run says.
func (w *watch) command(run func(*cobra.Command, []string) error) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "watch [<key> [range_end]] [-- command [argument ...]]",
		Short: "Print changes as they happen, until interrupted",
		RunE:  run,
	}
	w.addPrefix(cmd)
	f := cmd.Flags()
	f.Int64Var(&w.rev, "rev", 0, "begin with the changes of this revision (0: with the next change)")
	f.BoolVar(&w.prevKV, "prev-kv", false, "also print the pair before each change")
	f.BoolVar(&w.progress, "progress-notify", false, "print how far the server is when nothing changes")
	return cmd
}

// run watches until the command's context ends, which is a success, or the
// server ends the watch, which is not.
func (w *watch) run(cmd *cobra.Command, args []string) error {
	if err := w.check(); err != nil {
		return err
	}
	if w.interactive {
		return w.converse(cmd)
	}
	request, err := w.request(cmd, args)
	if err != nil {
		return err
	}
	client, err := w.dial(cmd)
	if err != nil {
		return err
	}
	defer client.Close()
	// Without a leader a member's watch stands still: better to be told.
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(cmd.Context()))
	defer cancel()
	return w.follow(ctx, cmd, request.begin(ctx, client), request.command)
}

// request reads arguments and flags.
func (w *watch) request(cmd *cobra.Command, args []string) (r watchRequest, err error) {
	keys, command, err := watchArguments(cmd, args)
	if err != nil {
		return r, err
	}
	if w.prefix && len(keys) == 2 {
		return r, fail(ExitBadArguments, "`range_end` and `--prefix` are mutually exclusive")
	}
	r.command = command
	if r.key, r.options, err = w.options("watch", keys); err != nil {
		return r, err
	}
	r.options = append(r.options, clientv3.WithRev(w.rev))
	if w.prevKV {
		r.options = append(r.options, clientv3.WithPrevKV())
	}
	if w.progress {
		r.options = append(r.options, clientv3.WithProgressNotify())
	}
	return r, nil
}

// begin returns when the server watches, or ctx has ended.
func (r *watchRequest) begin(ctx context.Context, client *clientv3.Client) clientv3.WatchChan {
	return client.Watch(ctx, r.key, r.options...)
}

// follow shows what happens until ctx ends or the server ends the watch.
func (w *watch) follow(ctx context.Context, cmd *cobra.Command, changes clientv3.WatchChan, command []string) error {
	for response := range changes {
		if response.Canceled && ctx.Err() == nil {
			return w.cancelled(cmd.ErrOrStderr(), &response)
		}
		var text bytes.Buffer
		err := w.show(&text, &response)
		if _, failure := cmd.OutOrStdout().Write(text.Bytes()); failure != nil {
			return fail(ExitIO, "write the answer: %w", failure)
		}
		if err != nil {
			return err
		}
		if err := runForEach(ctx, cmd, command, &response); err != nil && ctx.Err() == nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return fail(ExitWatchCancelled, "watch is canceled by the server")
}

// watchArguments splits arguments into keys, which the environment has if they are missing, and the command behind "--".
func watchArguments(cmd *cobra.Command, args []string) (keys, command []string, err error) {
	keys = args
	if dash := cmd.ArgsLenAtDash(); dash >= 0 {
		if keys, command = args[:dash], args[dash:]; len(command) == 0 {
			return nil, nil, fail(ExitBadArguments, "bad number of arguments (found separator --, but no commands)")
		}
	}
	key, end := os.Getenv(watchKeyVariable), os.Getenv(watchEndVariable)
	switch {
	case key == "" && end != "":
		return nil, nil, fail(ExitBadArguments, "%s is empty but got %s=%q", watchKeyVariable, watchEndVariable, end)
	case key != "" && len(keys) > 0:
		return nil, nil, fail(ExitBadArguments, "bad number of arguments (found conflicting environment key)")
	case key != "" && end != "":
		keys = []string{key, end}
	case key != "":
		keys = []string{key}
	case len(keys) == 0 || len(keys) > 2:
		return nil, nil, fail(ExitBadArguments, "bad number of arguments")
	}
	return keys, command, nil
}

// Variables that say what to watch.
const (
	watchKeyVariable = environmentPrefix + "WATCH_KEY"
	watchEndVariable = environmentPrefix + "WATCH_RANGE_END"
)

// runForEach runs a command, if there is one, for each change.
func runForEach(ctx context.Context, cmd *cobra.Command, command []string, response *clientv3.WatchResponse) error {
	if len(command) == 0 {
		return nil
	}
	for _, event := range response.Events {
		child := exec.CommandContext(ctx, command[0], command[1:]...)
		child.Env = append(os.Environ(), fmt.Sprintf("ETCD_WATCH_REVISION=%d", response.Header.Revision), fmt.Sprintf("ETCD_WATCH_EVENT_TYPE=%q", event.Type),
			fmt.Sprintf("ETCD_WATCH_KEY=%q", event.Kv.Key), fmt.Sprintf("ETCD_WATCH_VALUE=%q", event.Kv.Value))
		child.Stdout, child.Stderr = cmd.OutOrStdout(), cmd.ErrOrStderr()
		if err := child.Run(); err != nil {
			if ctx.Err() == nil {
				fmt.Fprintf(cmd.ErrOrStderr(), "command %q error (%v)\n", command, err)
			}
			return ErrReported
		}
	}
	return nil
}

// cancelled reports why the server ended the watch.
func (w *watch) cancelled(errs io.Writer, response *clientv3.WatchResponse) error {
	reason := response.CancelReason
	if reason == "" && response.Err() != nil {
		reason = describe(response.Err())
	}
	fmt.Fprintf(errs, "watch was canceled (%s)\n", reason)
	return fail(ExitWatchCancelled, "watch is canceled by the server")
}

func (w *watch) show(out io.Writer, response *clientv3.WatchResponse) error {
	if response.Canceled {
		return nil // our own doing
	}
	if response.IsProgressNotify() { // said in words, whatever the format
		if err := line("progress notify: %d", response.Header.Revision)(out); err != nil {
			return err
		}
	}
	return w.globals.show(out, answer{json: response, simple: func(out io.Writer) error { return w.writeEvents(out, response) }, fields: func(f *fieldWriter) {
		f.header(response.Header)
		for _, event := range response.Events {
			f.field("Type", event.Type)
			if event.PrevKv != nil {
				f.pair("Prev", event.PrevKv)
			}
			f.pair("", event.Kv)
		}
	}})
}

func (w *watch) writeEvents(out io.Writer, response *clientv3.WatchResponse) error {
	for _, event := range response.Events {
		if err := w.writeEvent(out, event); err != nil {
			return err
		}
	}
	return nil
}

func (g *globals) writeEvent(w io.Writer, event *clientv3.Event) error {
	if _, err := fmt.Fprintln(w, event.Type); err != nil {
		return err
	}
	if event.PrevKv != nil {
		if err := g.writePair(w, event.PrevKv); err != nil {
			return err
		}
	}
	return g.writePair(w, event.Kv)
}
