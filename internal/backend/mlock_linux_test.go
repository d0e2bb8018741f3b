package backend

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMlock: the file's pages are locked into memory if asked for.
func TestMlock(t *testing.T) {
	for _, lock := range []bool{false, true} {
		b, err := Open(Config{Path: filepath.Join(t.TempDir(), "db"), Mlock: lock})
		if err != nil {
			t.Fatal(err)
		}
		status, err := os.ReadFile("/proc/self/status")
		if err != nil {
			t.Fatal(err)
		}
		if got := !strings.Contains(string(status), "VmLck:\t       0 kB"); got != lock {
			t.Errorf("locked: %t, want %t", got, lock)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
