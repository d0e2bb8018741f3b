package datadir

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/quoin-kv/quoin/internal/vfs"
)

const received7 = "/var/data/member/snap/0000000000000007.snap.db"

// contentOf reads a whole file.
func contentOf(t *testing.T, fsys vfs.FS, path string) string {
	t.Helper()
	f, err := fsys.Open(path)
	must(t, err)
	size, err := f.Size()
	must(t, err)
	b := make([]byte, size)
	_, err = f.ReadAt(b, 0)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	must(t, errors.Join(err, f.Close()))
	return string(b)
}

// at7 is a check that finds a file which ends at index 7.
func at7(string) (uint64, error) { return 7, nil }

func TestReceive(t *testing.T) {
	mem := vfs.NewMem()
	d := open(t, mem, "/var/data")
	long := strings.Repeat("0123456789", 100_000)
	for _, body := range []string{"", "short", long, "again"} {
		seen := ""
		index, err := d.Receive(t.Context(), iotest.HalfReader(strings.NewReader(body)), func(path string) (uint64, error) {
			seen = contentOf(t, mem, path)
			return 7, nil
		})
		if err != nil || index != 7 || seen != body {
			t.Fatalf("received to %d: %v; %d of %d bytes were checked", index, err, len(seen), len(body))
		}
		after := mem.Crash(vfs.CrashOptions{})
		if got := contentOf(t, after, received7); got != body {
			t.Fatalf("after a crash %d bytes are there, want %d", len(got), len(body))
		}
		p := open(t, after, "/var/data").Plan()
		if !slices.Equal(p.Received, []uint64{7}) || len(p.Removed) > 0 {
			t.Fatalf("plan %+v", p)
		}
	}
}

// TestReceiveLeavesRoom: a file that would take more than it may is given up, and nothing of it is left.
func TestReceiveLeavesRoom(t *testing.T) {
	mem := vfs.NewMem()
	d := open(t, mem, "/var/data")
	mem.Limit(32 << 20)
	d.KeepFreeBytes = 1 << 20
	if _, err := d.Receive(t.Context(), strings.NewReader(strings.Repeat("x", 33<<20)), at7); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a file that is too large: %v", err)
	}
	if names, err := mem.List("/var/data/member/snap"); err != nil || len(names) > 0 {
		t.Errorf("left are %v, %v", names, err)
	}
	if _, err := d.Receive(t.Context(), strings.NewReader(strings.Repeat("x", 30<<20)), at7); err != nil {
		t.Errorf("a file for which there is room: %v", err)
	}
}

// TestReceiveFails lets every call to the disk fail, the body break, and the check refuse: nothing is left but, where it was, the file from before.
func TestReceiveFails(t *testing.T) {
	broken := errors.New("broken")
	refuse := func(string) (uint64, error) { return 0, broken }
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	tries := map[string]func(d *Dir) error{
		"body": func(d *Dir) error {
			_, err := d.Receive(t.Context(), io.MultiReader(strings.NewReader("begin"), iotest.ErrReader(broken)), at7)
			return err
		},
		"body cut short": func(d *Dir) error {
			_, err := d.Receive(t.Context(), io.MultiReader(strings.NewReader("begin"), iotest.ErrReader(io.ErrUnexpectedEOF)), at7)
			return err
		},
		"check": func(d *Dir) error {
			_, err := d.Receive(t.Context(), strings.NewReader("x"), refuse)
			return err
		},
		"context": func(d *Dir) error {
			_, err := d.Receive(ended, strings.NewReader("x"), at7)
			return err
		},
	}
	for name, try := range tries {
		mem := vfs.NewMem()
		d := open(t, mem, "/var/data")
		_, err := d.Receive(t.Context(), strings.NewReader("before"), at7)
		must(t, err)
		if err := try(d); !errors.Is(err, broken) && !errors.Is(err, context.Canceled) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %v", name, err)
		}
		if names, err := mem.List("/var/data/member/snap"); err != nil || len(names) != 1 || contentOf(t, mem, received7) != "before" {
			t.Errorf("%s: left are %v, %v", name, names, err)
		}
	}
	for _, kind := range []vfs.OpKind{vfs.OpCreate, vfs.OpWrite, vfs.OpSync, vfs.OpRename} {
		mem := vfs.NewMem()
		must(t, open(t, mem, "/var/data").Close())
		d := open(t, vfs.Intercept(mem, vfs.FailNth(kind, 1, syscall.EIO)), "/var/data")
		if _, err := d.Receive(t.Context(), strings.NewReader("x"), at7); !errors.Is(err, syscall.EIO) {
			t.Errorf("%v: %v", kind, err)
		}
		if names, _ := mem.List("/var/data/member/snap"); len(names) > 0 {
			t.Errorf("%v: left are %v", kind, names)
		}
	}
}

// TestReceiveAtEveryCrash cuts the power before every call to the disk: after it there is the whole file under its name, or none.
func TestReceiveAtEveryCrash(t *testing.T) {
	body := strings.Repeat("x", 3*receiveBufferBytes+5)
	for calls := 0; ; calls++ {
		mem, power := vfs.NewMem(), errors.New("power failure")
		must(t, open(t, mem, "/var/data").Close())
		left := -1
		d := open(t, vfs.Intercept(mem, func(op vfs.Op) error {
			switch op.Kind {
			case vfs.OpCreate, vfs.OpWrite, vfs.OpSync, vfs.OpRename, vfs.OpSyncDir, vfs.OpRemove:
				if left == 0 {
					return power
				}
				left--
			}
			return nil
		}), "/var/data")
		left = calls
		_, err := d.Receive(t.Context(), strings.NewReader(body), at7)
		for seed := range uint64(5) {
			after := mem.Crash(vfs.CrashOptions{Seed: seed, KeepUnsynced: 0.5})
			p := open(t, after, "/var/data").Plan()
			if err == nil && len(p.Received) != 1 {
				t.Fatal("the file is received and lost")
			}
			if len(p.Received) == 1 && contentOf(t, after, received7) != body {
				t.Fatalf("crash after %d calls: a part of a file has its name", calls)
			}
			if names, _ := after.List("/var/data/member/snap"); len(names) != len(p.Received) {
				t.Fatalf("crash after %d calls: left are %v", calls, names)
			}
		}
		if err == nil {
			return
		}
	}
}

func TestSeveralAtOnce(t *testing.T) {
	d := open(t, vfs.NewMem(), "/var/data")
	first, second := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := d.Receive(t.Context(), first, at7)
		done <- err
	}()
	_, err := second.Write(bytes.Repeat([]byte("a"), receiveBufferBytes+1)) // it has its file now
	must(t, err)
	if index, err := d.Receive(t.Context(), strings.NewReader("b"), func(string) (uint64, error) { return 9, nil }); err != nil || index != 9 {
		t.Errorf("the second: %d, %v", index, err)
	}
	must(t, errors.Join(second.Close(), <-done))
	if got, err := d.received(); err != nil || !slices.Equal(got, []uint64{7, 9}) {
		t.Errorf("received %v, %v", got, err)
	}
}

func TestPlanAdopt(t *testing.T) {
	for _, c := range []struct {
		mark, stored uint64
		received     []uint64
		want         bool
	}{
		{0, 0, nil, false},
		{5, 5, nil, false},           // as after every ordinary mark
		{5, 9, []uint64{5}, false},   // the file was put in place and has got on
		{5, 5, []uint64{5}, false},   // received again
		{9, 5, []uint64{9}, true},    // the crash came in between
		{9, 0, []uint64{9}, true},    // a member that joined has no file of its own
		{9, 5, []uint64{7, 9}, true}, // whichever else is there
		{9, 5, []uint64{7, 12}, false},
		{5, 5, []uint64{9}, false}, // it came, but no mark says that it is ours
	} {
		if got := (Plan{Received: c.received}).Adopt(c.mark, c.stored); got != c.want {
			t.Errorf("mark %d, stored %d, received %v: %v", c.mark, c.stored, c.received, got)
		}
	}
}
