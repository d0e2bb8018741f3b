package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/coreos/go-systemd/v22/daemon"
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

// serve runs a member until ctx ends or the member fails, and returns the exit code. A member that a signal ended in order ends the process by
// that signal.
func serve(ctx context.Context, args []string) int {
	cfg, notices, err := config.Parse(args, os.Environ())
	var conflict *config.ConflictError
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
	case errors.As(err, &conflict):
		config.NewLogger(os.Stderr, config.Default()).Log(ctx, config.LevelFatal, err.Error(), "environment-variable", conflict.Variable)
		return exitFault
	case err != nil:
		config.NewLogger(os.Stderr, config.Default()).Warn("failed to verify flags", "error", err)
		return exitFault
	}
	code := serveWith(ctx, cfg, notices)
	if code == exitOK {
		endLike(ctx)
	}
	return code
}

// serveWith runs a member with its logs in the outputs that cfg names.
func serveWith(ctx context.Context, cfg *config.Config, notices []config.Notice) (code int) {
	out, closeLog, err := cfg.OpenLog()
	if err != nil {
		config.NewLogger(os.Stderr, cfg).Warn("failed to verify flags", "error", err)
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
	for _, n := range notices {
		logger.Log(ctx, n.Level, n.Text, n.Fields...)
	}
	logger.Info("options that are not at their defaults", cfg.Given()...)
	if err := checkDescriptors(); err != nil {
		logger.Log(ctx, config.LevelFatal, "the member cannot start", "error", err)
		return exitFault
	}
	if code, err := checkOldProxy(cfg.DataDir); err != nil {
		logger.Log(ctx, config.LevelFatal, err.Error(), "data-dir", cfg.DataDir)
		return code
	}
	return runMember(ctx, cfg, logger)
}

// checkOldProxy refuses the directory of a proxy, which etcd's old versions could be, and says how the process ends.
func checkOldProxy(dir string) (code int, err error) {
	if _, err := os.Stat(filepath.Join(dir, "proxy")); err != nil {
		return exitOK, nil // there is none, or the start will say why it cannot be read
	}
	if _, err := os.Stat(filepath.Join(dir, "member")); err == nil {
		return exitFault, errors.New("invalid datadir; both member and proxy directories exist")
	}
	return exitUsage, errors.New("v2 http proxy has already been deprecated in 3.6")
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
	if err != nil && ctx.Err() != nil {
		logger.Info("stopped before the start", "reason", context.Cause(ctx))
		return exitOK
	}
	if err != nil {
		logger.Log(ctx, config.LevelFatal, "the member cannot start", "error", err)
		return exitFault
	}
	wait(ctx, m, logger)
	switch err := m.Close(); {
	case errors.Is(err, embed.ErrRemoved):
		return exitOK // it has said so
	case err != nil:
		logger.Log(ctx, config.LevelFatal, "the member failed", "error", err)
		return exitFault
	}
	return exitOK
}

// wait waits for the end of ctx or of the member, and tells systemd how the member is.
func wait(ctx context.Context, m *embed.Member, logger *slog.Logger) {
	select {
	case <-m.Ready():
		notify(logger, daemon.SdNotifyReady)
	case <-m.Done():
	case <-ctx.Done():
	}
	select {
	case <-m.Done():
	case <-ctx.Done():
		logger.Info("stopping", "reason", context.Cause(ctx))
	}
	notify(logger, daemon.SdNotifyStopping)
}

// notify tells systemd something, if it started us and wants to know.
func notify(logger *slog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		logger.Warn("systemd was not notified", "state", state, "error", err)
	}
}

// leastDescriptors is the number of files and connections below which a member is of no use.
const leastDescriptors = 150

// checkDescriptors refuses to run with too few file descriptors.
func checkDescriptors() error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("limit of file descriptors: %w", err)
	}
	if limit.Cur <= leastDescriptors {
		return fmt.Errorf("the limit of file descriptors is too low: %d, want more than %d (see ulimit -n)", limit.Cur, leastDescriptors)
	}
	return nil
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
