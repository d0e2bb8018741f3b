package vfs

import (
	"bytes"
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"testing"
)

func TestCrashKeepsOnlySynced(t *testing.T) {
	m := memWithDir(t)
	f := create(t, m, "/dir/synced", "one")
	must(t, f.Sync())
	must(t, m.SyncDir("/dir"))
	_, err := f.WriteAt([]byte("two"), 3)
	must(t, err)
	lost := create(t, m, "/dir/lost", "content is synced, the name is not")
	must(t, lost.Sync())

	after := m.Crash(CrashOptions{})
	if got := content(t, after, "/dir/synced"); got != "one" {
		t.Fatalf("content = %q", got)
	}
	_, err = after.Open("/dir/lost")
	wantIs(t, err, fs.ErrNotExist)
	if got := content(t, m, "/dir/synced"); got != "onetwo" {
		t.Fatalf("the crash changed the original: %q", got)
	}
}

func TestCrashUndoesUnsyncedRemoveAndRename(t *testing.T) {
	m := memWithDir(t)
	for _, name := range []string{"/dir/a", "/dir/b"} {
		must(t, create(t, m, name, name).Sync())
	}
	must(t, m.SyncDir("/dir"))
	must(t, m.Remove("/dir/a"))
	must(t, m.Rename("/dir/b", "/dir/c"))

	before := m.Crash(CrashOptions{})
	for _, name := range []string{"/dir/a", "/dir/b"} {
		if got := content(t, before, name); got != name {
			t.Fatalf("%s holds %q", name, got)
		}
	}
	must(t, m.SyncDir("/dir"))
	names, err := m.Crash(CrashOptions{}).List("/dir")
	must(t, err)
	if strings.Join(names, " ") != "c" {
		t.Fatalf("names after the sync = %q", names)
	}
}

func TestCrashOfRenameAcrossDirectories(t *testing.T) {
	m := memWithDir(t)
	must(t, MkdirAll(m, "/other"))
	must(t, create(t, m, "/dir/f", "x").Sync())
	must(t, m.SyncDir("/dir"))
	must(t, m.Rename("/dir/f", "/other/f"))
	must(t, m.SyncDir("/other"))
	after := m.Crash(CrashOptions{})
	f, err := after.OpenWrite("/dir/f")
	must(t, err)
	_, err = f.WriteAt([]byte("y"), 0)
	must(t, err)
	if got := content(t, after, "/other/f"); got != "y" {
		t.Fatalf("the two names lead to different files: %q", got)
	}
}

func TestCrashReleasesLocks(t *testing.T) {
	m := memWithDir(t)
	f := create(t, m, "/dir/f", "x")
	must(t, f.Lock(LockOFD))
	_, err := m.LockDir("/dir")
	must(t, err)
	must(t, f.Sync())
	must(t, m.SyncDir("/dir"))
	after := m.Crash(CrashOptions{})
	g, err := after.OpenWrite("/dir/f")
	must(t, err)
	must(t, g.Lock(LockOFD))
	_, err = after.LockDir("/dir")
	must(t, err)
}

// TestCrashSectors checks that each sector of an unsynced write is either wholly there or wholly not, that both happen,
// and that the same seed gives the same result.
func TestCrashSectors(t *testing.T) {
	const size = 64*SectorBytes + 100
	m := memWithDir(t)
	f := create(t, m, "/dir/f", "")
	must(t, f.Preallocate(size))
	must(t, f.Sync())
	must(t, m.SyncDir("/dir"))
	_, err := f.WriteAt(bytes.Repeat([]byte{1}, size-50), 50)
	must(t, err)
	kept := 0
	for seed := range uint64(20) {
		o := CrashOptions{Seed: seed, KeepUnsynced: 0.5}
		got := content(t, m.Crash(o), "/dir/f")
		if got != content(t, m.Crash(o), "/dir/f") {
			t.Fatalf("seed %d: two different clones", seed)
		}
		for sector := 0; sector < size; sector += SectorBytes {
			part := got[max(sector, 50):min(sector+SectorBytes, size)]
			switch strings.Count(part, "\x01") {
			case 0:
			case len(part):
				kept++
			default:
				t.Fatalf("seed %d: sector at %d is torn", seed, sector)
			}
		}
	}
	if total := 20 * 65; kept < total/3 || kept > total*2/3 {
		t.Fatalf("%d of %d sectors survived", kept, total)
	}
}

// TestCrashKeepsVersionsOfASector: of several writes to one sector, a later one never survives without the earlier ones.
func TestCrashKeepsVersionsOfASector(t *testing.T) {
	m := memWithDir(t)
	f := create(t, m, "/dir/f", "")
	must(t, m.SyncDir("/dir"))
	for i, text := range []string{"ab", "cd", "ef"} {
		_, err := f.WriteAt([]byte(text), int64(2*i))
		must(t, err)
	}
	seen := map[string]bool{}
	for seed := range uint64(40) {
		got := content(t, m.Crash(CrashOptions{Seed: seed, KeepUnsynced: 0.5}), "/dir/f")
		if !strings.HasPrefix("abcdef", got) {
			t.Fatalf("seed %d: %q", seed, got)
		}
		seen[got] = true
	}
	if len(seen) != 4 {
		t.Fatalf("saw %v", seen)
	}
}

func TestCrashTearsLastSector(t *testing.T) {
	m := memWithDir(t)
	f := create(t, m, "/dir/f", "")
	must(t, m.SyncDir("/dir"))
	_, err := f.WriteAt(bytes.Repeat([]byte{1}, 3*SectorBytes), 0)
	must(t, err)
	lengths := map[int]bool{}
	for seed := range uint64(20) {
		got := content(t, m.Crash(CrashOptions{Seed: seed, KeepUnsynced: 1, TearLast: true}), "/dir/f")
		if len(got) < 2*SectorBytes || len(got) >= 3*SectorBytes {
			t.Fatalf("seed %d: %d bytes", seed, len(got))
		}
		lengths[len(got)] = true
	}
	if len(lengths) < 10 {
		t.Fatalf("only %d different tears", len(lengths))
	}
}

func TestCrashFlipsBits(t *testing.T) {
	m := memWithDir(t)
	f := create(t, m, "/dir/f", strings.Repeat("\x00", 6000))
	must(t, f.Sync())
	must(t, m.SyncDir("/dir"))
	got := content(t, m.Crash(CrashOptions{Seed: 3, FlipBits: 5}), "/dir/f")
	if flipped := 6000 - strings.Count(got, "\x00"); flipped != 5 {
		t.Fatalf("%d bytes changed, want 5", flipped)
	}
}

func TestCrashKeepsAPrefixOfNames(t *testing.T) {
	m := memWithDir(t)
	for _, name := range []string{"a", "b", "c", "d"} {
		create(t, m, "/dir/"+name, "")
	}
	seen := map[string]bool{}
	for seed := range uint64(40) {
		names, err := m.Crash(CrashOptions{Seed: seed, KeepUnsynced: 0.5}).List("/dir")
		must(t, err)
		list := strings.Join(names, "")
		if !strings.HasPrefix("abcd", list) {
			t.Fatalf("seed %d: %q", seed, list)
		}
		seen[list] = true
	}
	if len(seen) != 5 {
		t.Fatalf("saw %v", seen)
	}
}

func TestFailNth(t *testing.T) {
	broken := errors.New("broken")
	fsys := Intercept(memWithDir(t), FailNth(OpSync, 2, broken))
	f := create(t, fsys, "/dir/f", "x")
	must(t, f.Sync())
	wantIs(t, f.Sync(), broken)
	must(t, f.Sync())
}

func TestFullAfter(t *testing.T) {
	fsys := Intercept(memWithDir(t), FullAfter(5))
	f := create(t, fsys, "/dir/f", "abc")
	n, err := f.WriteAt([]byte("defg"), 3)
	wantIs(t, err, syscall.ENOSPC)
	if got := content(t, fsys, "/dir/f"); n != 2 || got != "abcde" {
		t.Fatalf("wrote %d, content %q", n, got)
	}
	_, err = f.WriteAt([]byte("x"), 0)
	wantIs(t, err, syscall.ENOSPC)
}

func TestTraceFollowsRenames(t *testing.T) {
	var trace []string
	fsys := Intercept(memWithDir(t), func(o Op) error {
		trace = append(trace, o.String())
		return nil
	})
	must(t, fsys.Mkdir("/dir/x.tmp"))
	f := create(t, fsys, "/dir/x.tmp/f", "ab")
	must(t, fsys.Rename("/dir/x.tmp", "/dir/x"))
	must(t, f.Preallocate(9))
	must(t, f.Close())
	want := []string{
		"mkdir /dir/x.tmp", "create /dir/x.tmp/f", "write /dir/x.tmp/f 0+2", "rename /dir/x.tmp -> /dir/x",
		"preallocate /dir/x/f 9", "close /dir/x/f",
	}
	if got := strings.Join(trace, "\n"); got != strings.Join(want, "\n") {
		t.Fatalf("trace:\n%s", got)
	}
}
