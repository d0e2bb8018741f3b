package ctl

import (
	"context"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// globals are the flags that every command takes, and what they say.
type globals struct {
	*connection
	*format
	hex   bool
	flags *pflag.FlagSet
}

func newGlobals() *globals {
	g := &globals{flags: pflag.NewFlagSet("global", pflag.ContinueOnError)}
	g.connection = newConnection(g.flags)
	g.format = newFormat(g.flags)
	g.flags.BoolVar(&g.hex, "hex", false, "print keys, values and ids in hexadecimal")
	g.flags.Bool("debug", false, "accepted, and without effect")
	return g
}

// attach gives a command, and those under it, the global flags.
func (g *globals) attach(cmd *cobra.Command) *cobra.Command {
	cmd.PersistentFlags().AddFlagSet(g.flags)
	if cmd.PersistentPreRun != nil {
		return cmd // it stands alone
	}
	cmd.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		warnOfStrangers(cmd.ErrOrStderr(), g.flags)
		if err := fromEnvironment(g.flags); err != nil {
			return err
		}
		return g.discover(cmd.Context())
	}
	return cmd
}

// call connects, calls do with a context that ends after the command timeout, and prints the answer.
func (g *globals) call(cmd *cobra.Command, do func(context.Context, *clientv3.Client) (answer, error)) error {
	if err := g.check(); err != nil {
		return err
	}
	return g.connection.run(cmd, func(ctx context.Context, client *clientv3.Client) error {
		a, err := do(ctx, client)
		if err != nil {
			return serverError(err)
		}
		return g.show(cmd.OutOrStdout(), a)
	})
}

// show prints an answer in the format that was asked for.
func (g *globals) show(w io.Writer, a answer) error {
	a.hex = g.hex
	return g.format.show(w, a)
}

// family is a command that only has others under it.
func family(use, short string, members ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short}
	cmd.AddCommand(members...)
	return cmd
}
