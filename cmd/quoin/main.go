// Quoin in one binary: a member of a cluster, and the client commands.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/api/v3/version"

	"github.com/quoin-kv/quoin/internal/ctl"
)

func main() {
	ctx, cancel := untilSignal(context.Background())
	defer cancel()
	os.Exit(run(ctx, os.Args))
}

// run chooses what to do by the name of the program and its arguments, and returns the exit code.
func run(ctx context.Context, args []string) int {
	if filepath.Base(args[0]) == "etcd" {
		return serve(ctx, args[1:])
	}
	code := 0
	root := &cobra.Command{
		Use:           "quoin",
		Short:         "A distributed, strongly consistent key-value store",
		SilenceUsage:  true,
		SilenceErrors: true,
		CompletionOptions: cobra.CompletionOptions{
			HiddenDefaultCmd: true,
		},
	}
	root.AddCommand(&cobra.Command{
		Use:                "server [flags]",
		Short:              "Start a member",
		DisableFlagParsing: true,
		Run:                func(_ *cobra.Command, args []string) { code = serve(ctx, args) },
	}, &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		Run:   func(*cobra.Command, []string) { printVersion() },
	})
	root.AddCommand(devCommand())
	root.AddCommand(ctl.Commands()...)
	root.SetArgs(args[1:])
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		return ctl.ExitCode(err)
	}
	return code
}

// printVersion prints the lines that programs which start etcd read, and then what we are.
func printVersion() {
	fmt.Printf("etcd Version: %s\nGit SHA: %s\nGo Version: %s\nGo OS/Arch: %s/%s\n", version.Version, revision(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	fmt.Println("Quoin, a server compatible with etcd", version.Version)
}
