package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/quoin-kv/quoin/embed"
	"github.com/quoin-kv/quoin/internal/config"
)

// Exit codes of the server.
const (
	exitOK    = 0
	exitFault = 1 // it could not start, or a disk failed while it ran
	exitUsage = 2 // the command line is wrong
)

// serve runs a member until ctx ends or the member fails, and returns the exit code.
func serve(ctx context.Context, args []string) int {
	if wantsVersion(args) {
		printVersion()
		return exitOK
	}
	cfg, warnings, err := config.Parse(args, os.Environ())
	switch {
	case errors.Is(err, flag.ErrHelp):
		config.WriteHelp(os.Stdout)
		return exitOK
	case errors.Is(err, config.ErrUsage):
		fmt.Fprintf(os.Stderr, "%v\nRun 'quoin server --help' for the flags.\n", err)
		return exitUsage
	case err != nil:
		fmt.Fprintln(os.Stderr, "Error:", err)
		return exitFault
	}
	out, closeLog, err := cfg.OpenLog()
	if err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		return exitFault
	}
	defer closeLog()
	logger := config.NewLogger(out, cfg)
	for _, w := range warnings {
		logger.Warn(w)
	}
	if err := runMember(ctx, cfg, logger); err != nil {
		logger.Error("member ends", "error", err)
		return exitFault
	}
	return exitOK
}

// runMember starts a member and waits for the end of ctx or of the member.
func runMember(ctx context.Context, cfg *config.Config, logger *slog.Logger) error {
	m, err := embed.Start(cfg, logger)
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		logger.Info("stopping", "reason", "signal")
	case <-m.Done():
	}
	return m.Close()
}

// wantsVersion looks for --version as the flag package would.
func wantsVersion(args []string) bool {
	for _, a := range args {
		if a == "--version" || a == "-version" || a == "--version=true" {
			return true
		}
	}
	return false
}

// revision is the commit that the binary was built from.
func revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return "unknown"
}
