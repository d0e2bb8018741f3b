package main

import (
	"os"
	"strings"
	"testing"

	"github.com/quoin-kv/quoin/internal/config"
)

// TestBackupPageCommands: every command line of docs/backup.md names a command that is there and flags that it has.
func TestBackupPageCommands(t *testing.T) {
	page, err := os.ReadFile("../../docs/backup.md")
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	for line := range strings.Lines(string(page)) {
		args, ours := strings.CutPrefix(strings.TrimSpace(line), "quoin ")
		if !ours {
			continue
		}
		lines++
		checkLine(t, strings.Fields(args))
	}
	if lines < 10 {
		t.Errorf("only %d command lines were found", lines)
	}
}

func checkLine(t *testing.T, args []string) {
	t.Helper()
	if args[0] == "server" {
		if _, _, err := config.Parse(args[1:], nil); err != nil {
			t.Errorf("quoin %s: %v", strings.Join(args, " "), err)
		}
		return
	}
	cmd, rest, err := newRoot(t.Context(), new(int)).Find(args)
	if err != nil || !cmd.Runnable() {
		t.Errorf("quoin %s: no such command: %v", strings.Join(args, " "), err)
		return
	}
	if err := cmd.ParseFlags(rest); err != nil {
		t.Errorf("quoin %s: %v", strings.Join(args, " "), err)
	}
}
