// Quoin in one binary: a member of a cluster, and the client commands.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/api/v3/version"

	"github.com/quoin-kv/quoin/internal/config"
	"github.com/quoin-kv/quoin/internal/ctl"
	"github.com/quoin-kv/quoin/internal/migrate"
	"github.com/quoin-kv/quoin/internal/proxy"
	"github.com/quoin-kv/quoin/internal/rebuild"
	"github.com/quoin-kv/quoin/internal/utl"
)

func main() {
	ctx, cancel := untilSignal(context.Background())
	defer cancel()
	os.Exit(run(ctx, os.Args))
}

// run chooses what to do by the name of the program and its arguments, and returns the exit code.
func run(ctx context.Context, args []string) int {
	switch filepath.Base(args[0]) {
	case "etcd":
		if len(args) > 1 && (args[1] == "gateway" || args[1] == "grpc-proxy") {
			return execute(ctx, proxyTool(), args[1:])
		}
		return serve(ctx, args[1:])
	case "etcdctl":
		return execute(ctx, ctl.Tool(), args[1:])
	case "etcdutl":
		return execute(ctx, utl.Tool(), args[1:])
	}
	code := 0
	if failure := execute(ctx, newRoot(ctx, &code), args[1:]); failure != 0 {
		return failure
	}
	return code
}

// newRoot returns all commands. The exit code of a member goes to code.
func newRoot(ctx context.Context, code *int) *cobra.Command {
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
		Run:                func(_ *cobra.Command, args []string) { *code = serve(ctx, args) },
	}, &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		Run:   func(*cobra.Command, []string) { printVersion() },
	})
	root.AddCommand(devCommand(), migrate.Command(), rebuild.Command())
	root.AddCommand(proxyCommands()...)
	root.AddCommand(ctl.Commands()...)
	root.AddCommand(offlineCommands(root))
	return root
}

// proxyTool is what a program called etcd does besides being a member.
func proxyTool() *cobra.Command {
	root := &cobra.Command{Use: "etcd", SilenceUsage: true, SilenceErrors: true}
	root.AddCommand(proxyCommands()...)
	return root
}

func proxyCommands() []*cobra.Command {
	return []*cobra.Command{proxy.Command(func() *slog.Logger { return proxyLogger(false) }), proxy.RelayCommand(proxyLogger)}
}

func proxyLogger(debug bool) *slog.Logger {
	cfg := config.Default()
	if debug {
		cfg.LogLevel = "debug"
	}
	return config.NewLogger(os.Stderr, cfg)
}

// offlineCommands returns the command "util", which has all that needs no running member. What is done to snapshots is in "snapshot" as well.
func offlineCommands(root *cobra.Command) *cobra.Command {
	util := &cobra.Command{Use: "util <subcommand>", Short: "Work on snapshots and data directories while no member runs"}
	util.AddCommand(utl.Commands()...)
	snapshot, _, err := root.Find([]string{"snapshot"})
	if err != nil {
		panic(err) // it was added a moment ago
	}
	for _, cmd := range utl.Commands() {
		if cmd.Name() == snapshot.Name() {
			snapshot.AddCommand(cmd.Commands()...)
		}
	}
	return util
}

// execute runs a command line and returns the exit code. The beginning of a command's name will do.
func execute(ctx context.Context, root *cobra.Command, args []string) int {
	cobra.EnablePrefixMatching = true
	root.SetArgs(args)
	root.SetOut(os.Stdout)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if !errors.Is(err, ctl.ErrReported) {
		fmt.Fprintln(os.Stderr, "Error:", err)
	}
	if strings.HasPrefix(err.Error(), "unknown command") {
		fmt.Fprintf(os.Stderr, "Run '%s --help' for usage.\n", root.Name())
	}
	return ctl.ExitCode(err)
}

// printVersion prints the lines that programs which start etcd read, and then what we are.
func printVersion() {
	fmt.Printf("etcd Version: %s\nGit SHA: %s\nGo Version: %s\nGo OS/Arch: %s/%s\n", version.Version, revision(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	fmt.Println("Quoin, a server compatible with etcd", version.Version)
}
