package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"

	"google.golang.org/grpc/grpclog"

	"github.com/quoin-kv/quoin/embed"
	"github.com/quoin-kv/quoin/internal/config"
	"github.com/quoin-kv/quoin/internal/faultpoint"
)

// Exit codes of the server.
const (
	exitOK    = 0
	exitFault = 1 // it could not start, or a disk failed while it ran
	exitUsage = 2 // the command line is wrong
)

// serve runs a member until ctx ends or the member fails, and returns the exit code.
func serve(ctx context.Context, args []string) int {
	cfg, warnings, err := config.Parse(args, os.Environ())
	switch {
	case errors.Is(err, config.ErrVersion):
		printVersion()
		return exitOK
	case errors.Is(err, flag.ErrHelp):
		config.WriteHelp(os.Stdout)
		return exitOK
	case errors.Is(err, config.ErrUsage):
		fmt.Fprintln(os.Stderr, strings.TrimPrefix(err.Error(), config.ErrUsage.Error()+": "))
		config.WriteUsage(os.Stderr)
		return exitUsage
	case err != nil:
		config.NewLogger(os.Stderr, config.Default()).Warn("failed to verify flags", "error", err)
		return exitFault
	}
	return serveWith(ctx, cfg, warnings)
}

// serveWith runs a member with its logs in the outputs that cfg names.
func serveWith(ctx context.Context, cfg *config.Config, warnings []config.Warning) (code int) {
	out, closeLog, err := cfg.OpenLog()
	if err != nil {
		config.NewLogger(os.Stderr, cfg).Error("cannot write logs", "error", err)
		return exitFault
	}
	defer func() {
		if err := closeLog(); err != nil {
			code = exitFault
		}
	}()
	logger := config.NewLogger(out, cfg)
	// What the gRPC library and the gateway have to say is about bad requests and broken connections; it goes where everything else goes.
	wire := slog.NewLogLogger(logger.Handler(), slog.LevelDebug).Writer()
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, wire))
	for _, w := range warnings {
		logger.Warn(w.Text, "environment-variable", w.Variable)
	}
	return runMember(ctx, cfg, logger)
}

// runMember starts a member, waits for the end of ctx or of the member, and returns the exit code.
func runMember(ctx context.Context, cfg *config.Config, logger *slog.Logger) (code int) {
	stopPoints, err := faultpoint.Serve()
	if err != nil {
		logger.Error("fault points", "error", err)
		return exitFault
	}
	defer func() {
		if err := stopPoints(); err != nil {
			code = exitFault
		}
	}()
	m, err := embed.Start(ctx, cfg, logger)
	if err != nil {
		logger.Error("the member cannot start", "error", err)
		return exitFault
	}
	select {
	case <-ctx.Done():
		logger.Info("stopping", "reason", "signal")
	case <-m.Done():
	}
	switch err := m.Close(); {
	case errors.Is(err, embed.ErrRemoved):
		return exitOK // it has said so
	case err != nil:
		logger.Error("the member failed", "error", err)
		return exitFault
	}
	return exitOK
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
