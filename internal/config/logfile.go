package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/journal"
	"gopkg.in/natefinch/lumberjack.v2"
)

// Names of log outputs that are no files.
const (
	outputDefault = "default" // stderr
	outputStderr  = "stderr"
	outputStdout  = "stdout"
	outputJournal = "systemd/journal"
)

// OpenLog opens the outputs named by --log-outputs as one writer; closeAll releases the files.
func (c *Config) OpenLog() (w io.Writer, closeAll func() error, err error) {
	var writers []io.Writer
	closeAll = func() error {
		var errs []error
		for _, w := range writers {
			if f, ok := w.(io.Closer); ok && w != os.Stderr && w != os.Stdout {
				errs = append(errs, f.Close())
			}
		}
		return errors.Join(errs...)
	}
	for _, name := range c.LogOutputs {
		one, err := c.openOutput(name)
		if err != nil {
			return nil, nil, errors.Join(err, closeAll())
		}
		writers = append(writers, one)
	}
	return io.MultiWriter(writers...), closeAll, nil
}

func (c *Config) openOutput(name string) (io.Writer, error) {
	switch name {
	case outputDefault, outputStderr:
		return os.Stderr, nil
	case outputStdout:
		return os.Stdout, nil
	case outputJournal:
		return openJournal()
	}
	if c.LogRotation {
		return c.rotation(name)
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening log output: %w", err)
	}
	return f, nil
}

// rotation returns a file that is put aside when it is full.
func (c *Config) rotation(name string) (*lumberjack.Logger, error) {
	l := new(lumberjack.Logger)
	err := json.Unmarshal([]byte(c.LogRotationJSON), l)
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax):
		return nil, fmt.Errorf("improperly formatted log rotation config: %w", err)
	case err != nil:
		return nil, fmt.Errorf("invalid log rotation config: %w", err)
	case l.MaxSize < 0 || l.MaxAge < 0 || l.MaxBackups < 0:
		return nil, errors.New("invalid log rotation config: sizes and numbers must not be negative")
	}
	l.Filename = name
	return l, nil
}

// journalSocket is where systemd's journal listens.
const journalSocket = "/run/systemd/journal/socket"

func openJournal() (io.Writer, error) {
	if !journal.Enabled() {
		_, err := net.Dial("unixgram", journalSocket)
		return nil, fmt.Errorf("can't find journal (%w)", err)
	}
	return &journalWriter{send: journal.Send, name: filepath.Base(os.Args[0])}, nil
}

// journalWriter writes lines of the log as entries of systemd's journal, each with the priority of its level.
type journalWriter struct {
	send func(message string, priority journal.Priority, fields map[string]string) error
	name string // under which the entries appear
}

// Write takes one line.
func (w *journalWriter) Write(line []byte) (int, error) {
	text := strings.TrimSuffix(string(line), "\n")
	if err := w.send(text, priority(text), map[string]string{"SYSLOG_IDENTIFIER": w.name}); err != nil {
		return 0, fmt.Errorf("journal: %w", err)
	}
	return len(line), nil
}

// priority is that of a line in either format.
func priority(line string) journal.Priority {
	name := ""
	if rest, ok := strings.CutPrefix(line, `{"level":"`); ok {
		name, _, _ = strings.Cut(rest, `"`)
	} else if columns := strings.SplitN(line, "\t", 3); len(columns) == 3 {
		name = columns[1]
	}
	switch name {
	case "debug":
		return journal.PriDebug
	case "warn":
		return journal.PriWarning
	case "error":
		return journal.PriErr
	case "panic", "fatal":
		return journal.PriCrit
	}
	return journal.PriInfo
}

func (c *Config) checkLogging() error {
	_, known := level(c.LogLevel)
	switch {
	case !known:
		return fmt.Errorf("%w: unrecognized level: %q", ErrUsage, c.LogLevel)
	case c.Logger == "capnslog":
		return errors.New("--logger=capnslog is removed in v3.5")
	case c.Logger != "zap":
		return fmt.Errorf("unknown logger option %q", c.Logger)
	case c.LogFormat != "json" && c.LogFormat != "console":
		return fmt.Errorf("unknown log format: %s, supported values json, console", c.LogFormat)
	}
	return c.checkOutputs()
}

func (c *Config) checkOutputs() error {
	noFile := func(name string) bool {
		return name == outputDefault || name == outputStderr || name == outputStdout || name == outputJournal
	}
	switch {
	case len(c.LogOutputs) == 0 || slices.Contains(c.LogOutputs, ""):
		return errors.New("--log-outputs must not contain empty names")
	case len(c.LogOutputs) > 1 && slices.Contains(c.LogOutputs, outputDefault):
		return errors.New(`multi logoutput for "default" is not supported yet`)
	case !c.LogRotation:
		return nil
	case len(c.LogOutputs) != 1 || noFile(c.LogOutputs[0]):
		return errors.New("--log-outputs requires a single file path when --log-rotate-config-json is defined")
	}
	_, err := c.rotation(c.LogOutputs[0])
	return err
}
