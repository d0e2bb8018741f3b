package config

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
)

// NewLogger returns the logger that cfg asks for, writing whole lines to w. A line has level, ts, caller and msg, in this order, then the
// fields: as one JSON object, or for the console separated by tabs with the fields as JSON.
func NewLogger(w io.Writer, cfg *Config) *slog.Logger {
	least, _ := level(cfg.LogLevel) // checked before
	out := &logOutput{w: w, level: least, write: writeJSON}
	if cfg.LogFormat == "console" {
		out.write = writeConsole
	}
	return slog.New(&logHandler{out, slog.NewJSONHandler(&out.fields, &slog.HandlerOptions{Level: out.level, ReplaceAttr: onlyFields})})
}

// Levels above an error: a broken invariant, and what ends the process.
const (
	LevelPanic = slog.LevelError + 2
	LevelFatal = slog.LevelError + 4
)

// levels are the names of levels, from the least severe.
func levels() []slog.Level {
	return []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError, LevelPanic, LevelFatal}
}

// level is the level of that name.
func level(name string) (slog.Level, bool) {
	for _, l := range levels() {
		if levelName(l) == name {
			return l, true
		}
	}
	return slog.LevelInfo, false
}

func levelName(l slog.Level) string {
	switch l {
	case LevelPanic:
		return "panic"
	case LevelFatal:
		return "fatal"
	}
	return strings.ToLower(l.String())
}

// logOutput writes lines, one at a time.
type logOutput struct {
	w     io.Writer
	level slog.Level
	write func(line *bytes.Buffer, r *slog.Record, fields []byte)

	mu     sync.Mutex
	line   bytes.Buffer
	fields bytes.Buffer
}

// logHandler lets the standard library encode the fields and puts the beginning of the line, whose order slog does not let one choose,
// before them.
type logHandler struct {
	out    *logOutput
	fields slog.Handler // writes to out.fields
}

func (h *logHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.out.level }

func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &logHandler{h.out, h.fields.WithAttrs(attrs)}
}

func (h *logHandler) WithGroup(name string) slog.Handler {
	return &logHandler{h.out, h.fields.WithGroup(name)}
}

func (h *logHandler) Handle(ctx context.Context, r slog.Record) error {
	o := h.out
	o.mu.Lock()
	defer o.mu.Unlock()
	o.line.Reset()
	o.fields.Reset()
	if err := h.fields.Handle(ctx, r); err != nil {
		return err
	}
	o.write(&o.line, &r, bytes.TrimSpace(o.fields.Bytes()))
	_, err := o.w.Write(o.line.Bytes())
	return err
}

const timeLayout = "2006-01-02T15:04:05.000000Z0700"

// writeJSON writes the line as one object; fields is an object of its own.
func writeJSON(line *bytes.Buffer, r *slog.Record, fields []byte) {
	fmt.Fprintf(line, `{"level":%q,"ts":%q,"caller":%s,"msg":%s`, levelName(r.Level), r.Time.Format(timeLayout), quoted(caller(r.PC)), quoted(r.Message))
	if len(fields) > len("{}") {
		line.WriteByte(',')
	}
	line.Write(fields[1:])
	line.WriteByte('\n')
}

func writeConsole(line *bytes.Buffer, r *slog.Record, fields []byte) {
	fmt.Fprintf(line, "%s\t%s\t%s\t%s", r.Time.Format(timeLayout), levelName(r.Level), caller(r.PC), strings.ReplaceAll(r.Message, "\n", " "))
	if len(fields) > len("{}") {
		line.WriteByte('\t')
		line.Write(fields)
	}
	line.WriteByte('\n')
}

func quoted(s string) []byte {
	b, err := json.Marshal(s)
	if err != nil {
		return []byte(`""`) // no text fails
	}
	return b
}

// caller is the place of the call as directory/file:line.
func caller(pc uintptr) string {
	frame, _ := runtime.CallersFrames([]uintptr{pc}).Next()
	if frame.File == "" {
		return ""
	}
	return filepath.Join(filepath.Base(filepath.Dir(frame.File)), filepath.Base(frame.File)) + ":" + strconv.Itoa(frame.Line)
}

// onlyFields drops what the beginning of the line says, and lets errors and durations be logged as text.
func onlyFields(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 {
		switch a.Key {
		case slog.TimeKey, slog.LevelKey, slog.MessageKey:
			return slog.Attr{}
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
