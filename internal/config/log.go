package config

import (
	"io"
	"log/slog"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// NewLogger returns the logger that cfg asks for, writing to w. Lines have the keys level, ts, caller and msg, then the fields.
func NewLogger(w io.Writer, cfg *Config) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level(cfg.LogLevel), AddSource: true, ReplaceAttr: rename}
	if cfg.LogFormat == "console" {
		return slog.New(slog.NewTextHandler(w, opts))
	}
	return slog.New(slog.NewJSONHandler(w, opts))
}

func level(name string) slog.Level {
	switch name {
	case "debug":
		return slog.LevelDebug
	case "warn":
		return slog.LevelWarn
	case "error":
		return slog.LevelError
	}
	return slog.LevelInfo
}

// rename gives the built-in keys the names and forms that programs which read etcd's log expect. Errors and durations are logged as text.
func rename(groups []string, a slog.Attr) slog.Attr {
	if len(groups) > 0 {
		return a
	}
	switch a.Key {
	case slog.TimeKey:
		return slog.String("ts", a.Value.Time().Format("2006-01-02T15:04:05.000000Z0700"))
	case slog.LevelKey:
		return slog.String("level", strings.ToLower(a.Value.String()))
	case slog.SourceKey:
		if src, ok := a.Value.Any().(*slog.Source); ok {
			return slog.String("caller", filepath.Join(filepath.Base(filepath.Dir(src.File)), filepath.Base(src.File))+":"+strconv.Itoa(src.Line))
		}
	}
	switch v := a.Value.Any().(type) {
	case error:
		return slog.String(a.Key, v.Error())
	case time.Duration:
		return slog.String(a.Key, v.String())
	}
	return a
}
