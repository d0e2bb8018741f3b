package ctl

import (
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
}

func watchCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "watch [<key> [range_end]] [-- command [argument ...]]",
		Short: "Print changes as they happen, until interrupted",
		Long: `Print changes as they happen, until interrupted.

Without a key, the environment says what to watch: ETCDCTL_WATCH_KEY and ETCDCTL_WATCH_RANGE_END. A command runs after each change, which it finds
in its environment, quoted: ETCD_WATCH_REVISION, ETCD_WATCH_EVENT_TYPE, ETCD_WATCH_KEY and ETCD_WATCH_VALUE.`,
	}
	w := &watch{globals: g}
	w.addPrefix(cmd)
	f := cmd.Flags()
	f.Int64Var(&w.rev, "rev", 0, "begin with the changes of this revision (0: with the next change)")
	f.BoolVar(&w.prevKV, "prev-kv", false, "also print the pair before each change")
	f.BoolVar(&w.progress, "progress-notify", false, "print how far the server is when nothing changes")
	cmd.RunE = w.run
	return cmd
}

// run watches until the command's context ends, which is a success, or the
// server ends the watch, which is not.
func (w *watch) run(cmd *cobra.Command, args []string) error {
	if err := w.check(); err != nil {
		return err
	}
	args, command := watchArguments(cmd, args)
	key, options, err := w.options("watch", args)
	if err != nil {
		return err
	}
	options = append(options, clientv3.WithRev(w.rev))
	if w.prevKV {
		options = append(options, clientv3.WithPrevKV())
	}
	if w.progress {
		options = append(options, clientv3.WithProgressNotify())
	}
	client, err := w.dial(cmd)
	if err != nil {
		return err
	}
	defer client.Close()
	// Without a leader a member's watch stands still: better to be told.
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(cmd.Context()))
	defer cancel()
	for response := range client.Watch(ctx, key, options...) {
		if response.Canceled && cmd.Context().Err() == nil {
			return w.cancelled(cmd.OutOrStdout(), &response)
		}
		if err := w.show(cmd.OutOrStdout(), &response); err != nil {
			return err
		}
		if err := runForEach(cmd, command, &response); err != nil && cmd.Context().Err() == nil {
			return err
		}
	}
	if cmd.Context().Err() != nil {
		return nil
	}
	return fail(ExitWatchCancelled, "watch is canceled by the server")
}

// watchArguments splits arguments into keys, which the environment has if they are missing, and the command behind "--".
func watchArguments(cmd *cobra.Command, args []string) (keys, command []string) {
	keys = args
	if dash := cmd.ArgsLenAtDash(); dash >= 0 {
		keys, command = args[:dash], args[dash:]
	}
	if key := os.Getenv(watchKeyVariable); len(keys) == 0 && key != "" {
		keys = []string{key}
		if end := os.Getenv(watchEndVariable); end != "" {
			keys = append(keys, end)
		}
	}
	return keys, command
}

// Variables that say what to watch.
const (
	watchKeyVariable = environmentPrefix + "WATCH_KEY"
	watchEndVariable = environmentPrefix + "WATCH_RANGE_END"
)

// runForEach runs a command, if there is one, for each change.
func runForEach(cmd *cobra.Command, command []string, response *clientv3.WatchResponse) error {
	if len(command) == 0 {
		return nil
	}
	for _, event := range response.Events {
		child := exec.CommandContext(cmd.Context(), command[0], command[1:]...)
		child.Env = append(os.Environ(), fmt.Sprintf("ETCD_WATCH_REVISION=%d", response.Header.Revision), fmt.Sprintf("ETCD_WATCH_EVENT_TYPE=%q", event.Type),
			fmt.Sprintf("ETCD_WATCH_KEY=%q", event.Kv.Key), fmt.Sprintf("ETCD_WATCH_VALUE=%q", event.Kv.Value))
		child.Stdout, child.Stderr = cmd.OutOrStdout(), cmd.ErrOrStderr()
		if err := child.Run(); err != nil {
			return fmt.Errorf("command %q: %w", command, err)
		}
	}
	return nil
}

// cancelled reports why the server ended the watch.
func (w *watch) cancelled(out io.Writer, response *clientv3.WatchResponse) error {
	reason := response.CancelReason
	if reason == "" && response.Err() != nil {
		reason = describe(response.Err())
	}
	if _, err := fmt.Fprintf(out, "watch was canceled (%s)\n", reason); err != nil {
		return fail(ExitIO, "write the answer: %w", err)
	}
	return fail(ExitWatchCancelled, "watch is canceled by the server")
}

func (w *watch) show(out io.Writer, response *clientv3.WatchResponse) error {
	if response.Canceled {
		return nil // our own doing
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
	if response.IsProgressNotify() {
		_, err := fmt.Fprintf(out, "progress notify: %d\n", response.Header.Revision)
		return err
	}
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
