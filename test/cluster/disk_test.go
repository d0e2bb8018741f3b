package cluster

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// smallDisk is the size of the file system that runs full.
const smallDisk = "400m"

// A fullDisk is a member's disk on which nothing more fits.
type fullDisk struct {
	member *member
	filler string
}

// mountSmall puts the member's directory on a small file system of its own. It
// is called before the first start.
func (m *member) mountSmall(t *testing.T) {
	t.Helper()
	out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+smallDisk, "tmpfs", m.dir).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", m.name, err, out)
	}
	m.small = true
}

func (m *member) unmount() {
	if m.small {
		_ = syscall.Unmount(m.dir, syscall.MNT_DETACH)
		m.small = false
	}
}

// fill lets nothing more fit on the member's disk. Without a file system of its
// own, no file of the process may grow any more: not quite the same error, but
// the same duty.
func (m *member) fill(t *testing.T) *fullDisk {
	t.Helper()
	d := &fullDisk{member: m}
	if !m.small {
		limit := &unix.Rlimit{Cur: 1, Max: unix.RLIM_INFINITY}
		if err := unix.Prlimit(m.process.Process.Pid, unix.RLIMIT_FSIZE, limit, nil); err != nil {
			t.Fatal(err)
		}
		return d
	}
	d.filler = filepath.Join(m.dir, "filler")
	f, err := os.Create(d.filler)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 1<<20)
	for err == nil {
		_, err = f.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	return d
}

// free makes room again.
func (d *fullDisk) free(t *testing.T) {
	t.Helper()
	if d.filler == "" {
		if d.member.running() {
			limit := &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
			if err := unix.Prlimit(d.member.process.Process.Pid, unix.RLIMIT_FSIZE, limit, nil); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
	if err := os.Remove(d.filler); err != nil {
		t.Fatal(err)
	}
}
