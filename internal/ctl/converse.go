package ctl

import (
	"bufio"
	"context"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// A conversation is the watches that lines of standard input have begun.
type conversation struct {
	*globals
	cmd     *cobra.Command
	client  *clientv3.Client
	watches sync.WaitGroup
	failed  chan error // of the first watch that ended the conversation
}

// converse does what the lines of standard input say until they end, which is a failure, or the command's context does.
func (w *watch) converse(cmd *cobra.Command) error {
	client, err := w.dial(cmd)
	if err != nil {
		return err
	}
	defer client.Close()
	c := &conversation{globals: w.globals, cmd: oneAtATime(cmd), client: client, failed: make(chan error, 1)}
	defer c.watches.Wait()
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(cmd.Context()))
	defer cancel()
	lines := readLines(ctx, cmd.InOrStdin())
	for {
		select {
		case <-cmd.Context().Done():
			return nil
		case err := <-c.failed:
			return err
		case l := <-lines:
			if l.err != nil {
				return fail(ExitInvalidInput, "error reading watch request line: %w", l.err)
			}
			if err := c.obey(ctx, l.text); err != nil {
				return err
			}
		}
	}
}

// obey does what a line says. A line that makes no sense is named, and does nothing.
func (c *conversation) obey(ctx context.Context, text string) error {
	args, err := splitLine(text)
	switch {
	case err != nil:
		c.cmd.PrintErrf("Invalid command %s (%v)\n", text, err)
	case len(args) == 0:
		c.cmd.PrintErrf("Invalid command: %s (watch and progress supported)\n", text)
	case args[0] == "progress":
		if err := c.client.RequestProgress(ctx); err != nil {
			return serverError(err)
		}
	case text == "watch" && os.Getenv(watchKeyVariable) == "":
		c.cmd.PrintErrf("Invalid command %s (command type or key is not provided)\n", text)
	case args[0] == "watch":
		return c.begin(ctx, text, args[1:])
	default:
		c.cmd.PrintErrf("Invalid command %s (only support watch)\n", text)
	}
	return nil
}

// begin starts a watch. A flag that does not exist ends the conversation.
func (c *conversation) begin(ctx context.Context, text string, args []string) error {
	w := &watch{globals: c.globals}
	line := w.command(nil)
	line.Flags().BoolP("interactive", "i", true, "without effect")
	if err := line.ParseFlags(args); err != nil {
		return fail(ExitBadArguments, "%w", err)
	}
	request, err := w.request(line, line.Flags().Args())
	if err != nil {
		c.cmd.PrintErrf("Invalid command %s (%v)\n", text, err)
		return nil
	}
	changes := request.begin(ctx, c.client)
	c.watches.Go(func() {
		err := w.follow(ctx, c.cmd, changes, request.command)
		if err == nil || ExitCode(err) == ExitWatchCancelled {
			return // it has said why
		}
		select {
		case c.failed <- err:
		default:
		}
	})
	return nil
}

// inputLine is a line without its end, or why there is none.
type inputLine struct {
	text string
	err  error
}

// readLines passes lines on as somebody takes them, until ctx ends or there are no more. Who reads from a terminal cannot be stopped: then the last
// line is read, and dropped, when ctx has ended already.
func readLines(ctx context.Context, in io.Reader) <-chan inputLine {
	lines := make(chan inputLine)
	go func() {
		for r := bufio.NewReader(in); ; {
			text, err := r.ReadString('\n')
			select {
			case lines <- inputLine{strings.TrimSpace(text), err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return lines
}

// oneAtATime returns a command with the streams of another, for several goroutines.
func oneAtATime(cmd *cobra.Command) *cobra.Command {
	shared := &cobra.Command{}
	var mu sync.Mutex
	shared.SetOut(&turns{mu: &mu, w: cmd.OutOrStdout()})
	shared.SetErr(&turns{mu: &mu, w: cmd.ErrOrStderr()})
	return shared
}

// turns is a writer for several goroutines, whose writes stay whole.
type turns struct {
	mu *sync.Mutex
	w  io.Writer
}

func (t *turns) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.w.Write(p)
}
