package ctl

import (
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/api/v3/version"
)

// versionCommand prints the version of the tool that the program stands in for.
func versionCommand(tool string) *cobra.Command {
	return alone(&cobra.Command{Use: "version", Short: "Print the version", RunE: func(cmd *cobra.Command, _ []string) error {
		return line("%s version: %s\nAPI version: %s", tool, version.Version, version.APIVersion)(cmd.OutOrStdout())
	}})
}

// optionsCommand prints the flags that every command takes.
func (g *globals) optionsCommand() *cobra.Command {
	return alone(&cobra.Command{Use: "options", Short: "Print the flags that every command takes", RunE: func(cmd *cobra.Command, _ []string) error {
		return line("Every command takes these flags:\n\n%s", strings.TrimSuffix(g.flags.FlagUsages(), "\n"))(cmd.OutOrStdout())
	}})
}

// alone makes a command one that looks for no server, and heeds no environment variable.
func alone(cmd *cobra.Command) *cobra.Command {
	cmd.PersistentPreRun = func(*cobra.Command, []string) {}
	return cmd
}
