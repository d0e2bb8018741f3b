// Package ctl holds the client commands: those of etcdctl, with its flags and in
// its formats, and status. They are built on the official Go client, so they talk
// to any server of the v3 API.
//
// Commands returns them as cobra commands for a multi-call binary to add to its
// root. Each reads from and writes to the streams of its command and ends when
// the command's context ends. Nothing here imports the server. A Dialer, a
// Snapshot, Progress and Table are for commands of other rooms.
package ctl

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Exit codes, as etcdctl's.
const (
	ExitFailure        = 1   // the server refused, or a flag is wrong
	ExitNoConnection   = 2   // no connection could be made
	ExitInvalidInput   = 3   // standard input makes no sense
	ExitUnsupported    = 4   // an output format or mode that does not exist
	ExitWatchCancelled = 5   // the server ended a watch
	ExitInterrupted    = 5   // a snapshot was not saved
	ExitIO             = 6   // standard input or output failed
	ExitBadArguments   = 128 // arguments that make no sense together
)

// An ExitError is a failure with the exit code that the process should end with.
type ExitError struct {
	Code int
	Err  error
}

// ErrReported is the failure of a command that has printed what failed.
var ErrReported = errors.New("failed")

// Error returns the text of the failure alone.
func (e *ExitError) Error() string { return e.Err.Error() }

// Unwrap returns the failure.
func (e *ExitError) Unwrap() error { return e.Err }

// ExitCode returns the code that a process should end with after a command
// returned err: 0 for nil, the code of an ExitError, 1 for any other.
func ExitCode(err error) int {
	if err == nil {
		return 0
	}
	var exit *ExitError
	if errors.As(err, &exit) {
		return exit.Code
	}
	return ExitFailure
}

// fail returns an ExitError with a formatted text.
func fail(code int, format string, args ...any) error {
	return &ExitError{Code: code, Err: fmt.Errorf(format, args...)}
}

// Commands returns new instances of all client commands. Each takes the global
// flags, so the root it is added to needs none. Errors are left to the caller to
// print; pass what Execute returns to ExitCode.
func Commands() []*cobra.Command {
	g := newGlobals()
	commands := append(g.operatorCommands(), statusCommand(g))
	commands = append(commands, g.dataCommands()...)
	for _, cmd := range commands {
		quiet(g.attach(cmd))
	}
	return commands
}

// Tool returns the client commands under one root, which takes the global flags
// as well: the program etcdctl.
func Tool() *cobra.Command {
	g := newGlobals()
	root := &cobra.Command{Use: "etcdctl", Short: "A simple command line client for etcd3.", SilenceErrors: true}
	root.AddCommand(append(g.operatorCommands(), g.dataCommands()...)...)
	root.AddCommand(versionCommand("etcdctl"))
	quiet(g.attach(root))
	return root
}

func (g *globals) dataCommands() []*cobra.Command {
	return []*cobra.Command{
		putCommand(g), getCommand(g), deleteCommand(g), watchCommand(g), g.txnCommand(), g.lockCommand(), g.electCommand(), g.leaseCommand(), g.authCommand(), g.userCommand(), g.roleCommand(),
		g.optionsCommand(), g.mirrorCommand(), g.checkCommand(),
	}
}

func (g *globals) operatorCommands() []*cobra.Command {
	return []*cobra.Command{
		g.alarmCommand(), g.compactionCommand(), g.defragCommand(), g.downgradeCommand(), g.endpointCommand(), g.memberCommand(),
		g.moveLeaderCommand(), g.snapshotCommand(),
	}
}

// quiet keeps cobra from printing usage after a command has failed.
func quiet(cmd *cobra.Command) {
	cmd.SilenceUsage = true
	for _, sub := range cmd.Commands() {
		quiet(sub)
	}
}

// serverError turns an error of the client library into one that says what the
// server said.
func serverError(err error) error {
	if err == nil {
		return nil
	}
	var exit *ExitError
	switch {
	case errors.As(err, &exit):
		return err // it has its code and words
	case errors.Is(err, context.Canceled):
		return fail(ExitFailure, "interrupted")
	}
	return fail(ExitFailure, "%s", describe(err))
}

// describe returns the words of an error without the frame that gRPC puts around them.
func describe(err error) string { return rpctypes.ErrorDesc(err) }

// run connects, calls do with a context that ends after the command timeout,
// and closes the connection.
func (c *connection) run(cmd *cobra.Command, do func(context.Context, *clientv3.Client) error) error {
	client, err := c.dial(cmd)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(cmd.Context(), c.commandTimeout)
	defer cancel()
	return do(ctx, client)
}
