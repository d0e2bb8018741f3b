package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coreos/go-systemd/v22/journal"
)

func TestJournal(t *testing.T) {
	type entry struct {
		message  string
		priority journal.Priority
		name     string
	}
	var got []entry
	w := &journalWriter{name: "quoin", send: func(message string, priority journal.Priority, fields map[string]string) error {
		got = append(got, entry{message, priority, fields["SYSLOG_IDENTIFIER"]})
		return nil
	}}
	want := map[string]journal.Priority{
		"debug": journal.PriDebug, "info": journal.PriInfo, "warn": journal.PriWarning, "error": journal.PriErr, "panic": journal.PriCrit, "fatal": journal.PriCrit,
	}
	for _, format := range []string{"json", "console"} {
		c := Default()
		c.LogLevel, c.LogFormat = "debug", format
		for _, level := range levels() {
			got = nil
			NewLogger(w, c).Log(t.Context(), level, "it's so")
			if len(got) != 1 || got[0].priority != want[levelName(level)] || got[0].name != "quoin" || !strings.Contains(got[0].message, "it's so") || strings.HasSuffix(got[0].message, "\n") {
				t.Errorf("%s, %s: %v", format, levelName(level), got)
			}
		}
	}
	failing := &journalWriter{send: func(string, journal.Priority, map[string]string) error { return errors.New("full") }}
	if _, err := failing.Write([]byte("x\n")); err == nil {
		t.Error("a failure is not told")
	}
}

// TestRotation: a file that is full is put aside, and as many old ones are kept as asked for.
func TestRotation(t *testing.T) {
	dir := t.TempDir()
	c := Default()
	c.LogOutputs, c.LogRotation, c.LogRotationJSON = Words{filepath.Join(dir, "log")}, true, `{"maxsize": 1}`
	w, closeLog, err := c.OpenLog()
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := w.Write([]byte(strings.Repeat("x", 600<<10) + "\n")); err != nil {
			t.Fatal(err)
		}
	}
	if err := closeLog(); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 3 {
		t.Errorf("%v, %v; want three files", files, err)
	}
}
