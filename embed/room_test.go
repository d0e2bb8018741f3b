package embed

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestReserve: a member holds back as much of its disk as the option says, from its first start on.
func TestReserve(t *testing.T) {
	for _, megabytes := range []uint{0, 3} {
		dir := filepath.Join(t.TempDir(), "data")
		path := filepath.Join(dir, "member", reserveName)
		for range 2 {
			cfg := testConfig(t, dir)
			cfg.DiskReserveMegabytes = megabytes
			stop(t, start(t, cfg))
			info, err := os.Stat(path)
			switch {
			case megabytes == 0:
				if !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("a reserve that is not wanted: %v", err)
				}
			case err != nil:
				t.Error(err)
			case info.Size() != int64(megabytes)<<20:
				t.Errorf("%d bytes are held back, want %d MiB", info.Size(), megabytes)
			}
		}
	}
}

func TestExplainNoSpace(t *testing.T) {
	full := &fs.PathError{Op: "write", Path: "/d/member/snap/db", Err: syscall.ENOSPC}
	if err := explainNoSpace(full, "/d"); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "the disk of /d is too full to start: free some space") {
		t.Errorf("%v", err)
	}
	other := &fs.PathError{Op: "write", Path: "/d", Err: syscall.EIO}
	if err := explainNoSpace(other, "/d"); err != error(other) {
		t.Errorf("%v", err)
	}
}
