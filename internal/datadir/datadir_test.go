package datadir

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/quoin-kv/quoin/internal/vfs"
	"github.com/quoin-kv/quoin/internal/wal"
	"github.com/quoin-kv/quoin/raft/wire"
)

var meta = wal.Metadata{NodeID: 0x8e9e05c52164694d, ClusterID: 0xcdf818194e3a8c32}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, fsys vfs.FS, dir string) *Dir {
	t.Helper()
	d, err := Open(fsys, dir, "")
	must(t, err)
	t.Cleanup(func() { d.Close() })
	return d
}

func TestOpenFresh(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "data")
	p := open(t, vfs.OS{}, dir).Plan()
	if p.State != Fresh || len(p.Warnings) > 0 || len(p.Removed) > 0 || p.Metadata != (wal.Metadata{}) {
		t.Fatalf("plan %+v", p)
	}
	must(t, p.Check(0))
	for _, path := range []string{dir, p.Paths.Member, p.Paths.Snap} {
		info, err := os.Stat(path)
		must(t, err)
		if info.Mode().Perm() != 0o700 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
	}
}

func TestOpenSurvivesACrash(t *testing.T) {
	mem := vfs.NewMem()
	open(t, mem, "/var/data")
	after := mem.Crash(vfs.CrashOptions{})
	if _, err := after.Stat("/var/data/member/snap"); err != nil {
		t.Fatal(err)
	}
}

func writeFile(t *testing.T, fsys vfs.FS, path string) {
	t.Helper()
	must(t, vfs.MkdirAll(fsys, filepath.Dir(path)))
	f, err := fsys.Create(path)
	must(t, err)
	_, err = f.WriteAt([]byte("x"), 0)
	must(t, errors.Join(err, f.Close()))
}

// makeLog makes a log with three entries and, above 0, a mark.
func makeLog(t *testing.T, fsys vfs.FS, dir string, mark uint64) {
	t.Helper()
	must(t, vfs.MkdirAll(fsys, filepath.Dir(dir)))
	l, err := wal.Create(wal.Config{FS: fsys, Dir: dir, SegmentBytes: 4096}, meta)
	must(t, err)
	entries := []wire.Entry{{Term: 1, Index: 1}, {Term: 1, Index: 2}, {Term: 1, Index: 3}}
	must(t, l.Write(wal.Batch{Entries: entries, HardState: wire.HardState{Term: 1, Commit: 3}, Sync: true}))
	if mark > 0 {
		must(t, l.Write(wal.Batch{Mark: &wal.Mark{Index: mark, Term: 1}}))
	}
	must(t, l.Close())
}

func TestStates(t *testing.T) {
	for name, test := range map[string]struct {
		log, db bool
		mark    uint64
		files   []string
		state   State
		err     error
		text    string
	}{
		"fresh":                {state: Fresh},
		"complete":             {log: true, db: true, mark: 3, state: Complete},
		"whole log":            {log: true, state: LogOnly},
		"log from a mark on":   {log: true, mark: 3, state: LogOnly, err: ErrNoStorage, text: "begins only after index 3"},
		"log and received one": {log: true, mark: 3, files: []string{"0000000000000003.snap.db"}, state: LogOnly},
		"storage only":         {db: true, state: StorageOnly, err: ErrNoLog, text: "/data/member/wal holds no log"},
	} {
		t.Run(name, func(t *testing.T) {
			mem := vfs.NewMem()
			p := NewPaths("/data", "")
			if test.log {
				makeLog(t, mem, p.WAL, test.mark)
			}
			if test.db {
				writeFile(t, mem, p.DB)
			}
			for _, f := range test.files {
				writeFile(t, mem, filepath.Join(p.Snap, f))
			}
			plan := open(t, mem, "/data").Plan()
			if plan.State != test.state || test.log != (plan.Metadata == meta) {
				t.Fatalf("plan %+v", plan)
			}
			err := plan.Check(test.mark)
			if !errors.Is(err, test.err) || err != nil && !strings.Contains(err.Error(), test.text) {
				t.Fatalf("error = %v", err)
			}
		})
	}
}

func TestOwnLogDirectory(t *testing.T) {
	mem := vfs.NewMem()
	makeLog(t, mem, "/logs/wal", 0)
	d, err := Open(mem, "/data", "/logs/wal")
	must(t, err)
	if p := d.Plan(); p.State != LogOnly || p.Paths.WAL != "/logs/wal" || p.Metadata != meta {
		t.Fatalf("plan %+v", p)
	}
}

func TestLeftovers(t *testing.T) {
	mem := vfs.NewMem()
	kept := []string{"snap/db", "snap/0000000000000007.snap.db", "snap/0000000000000001-0000000000000007.snap"}
	gone := []string{"snap/db.tmp.123", "snap/tmp42", "wal.tmp/0000000000000000-0000000000000000.wal"}
	for _, name := range append(kept, gone...) {
		writeFile(t, mem, "/data/member/"+name)
	}
	writeFile(t, mem, "/data/notes.txt")
	plan := open(t, mem, "/data").Plan()
	want := []string{"/data/member/snap/db.tmp.123", "/data/member/snap/tmp42", "/data/member/wal.tmp"}
	if !slices.Equal(plan.Removed, want) || !slices.Equal(plan.Received, []uint64{7}) {
		t.Fatalf("plan %+v", plan)
	}
	if !slices.Equal(plan.Warnings, []string{"unexpected entry /data/notes.txt"}) {
		t.Fatalf("warnings %q", plan.Warnings)
	}
	for _, name := range kept {
		if _, err := mem.Stat("/data/member/" + name); err != nil {
			t.Error(err)
		}
	}
}

func TestWarnsOfPermissions(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o755))
	plan := open(t, vfs.OS{}, dir).Plan()
	if len(plan.Warnings) != 1 || !strings.Contains(plan.Warnings[0], "permission 0755") {
		t.Fatalf("warnings %q", plan.Warnings)
	}
}

func wantInUse(t *testing.T, dir string) {
	t.Helper()
	_, err := Open(vfs.OS{}, dir, "")
	if !errors.Is(err, ErrInUse) || !strings.HasPrefix(err.Error(), "data directory "+dir+" is in use by another process") {
		t.Fatalf("error = %v", err)
	}
}

func TestInUseByUs(t *testing.T) {
	dir := t.TempDir()
	first, err := Open(vfs.OS{}, dir, "")
	must(t, err)
	wantInUse(t, dir)
	must(t, first.Close())
	open(t, vfs.OS{}, dir)
}

// TestInUseByLog: a process that knows nothing of our lock, like etcd, has the log open. Nothing may be touched then.
func TestInUseByLog(t *testing.T) {
	dir := t.TempDir()
	p := NewPaths(dir, "")
	makeLog(t, vfs.OS{}, p.WAL, 0)
	leftover := filepath.Join(p.Snap, "tmp1")
	writeFile(t, vfs.OS{}, leftover)
	l, _, err := wal.Open(wal.Config{FS: vfs.OS{}, Dir: p.WAL, SegmentBytes: 4096})
	must(t, err)
	wantInUse(t, dir)
	if _, err := os.Stat(leftover); err != nil {
		t.Fatal(err)
	}
	must(t, l.Close())
	open(t, vfs.OS{}, dir)
}

func TestInUseByStorage(t *testing.T) {
	dir := t.TempDir()
	p := NewPaths(dir, "")
	must(t, vfs.MkdirAll(vfs.OS{}, p.Snap))
	db, err := bbolt.Open(p.DB, 0o600, nil)
	must(t, err)
	wantInUse(t, dir)
	must(t, db.Close())
	d := open(t, vfs.OS{}, dir)
	db, err = bbolt.Open(p.DB, 0o600, nil) // our own lock must not keep our own storage file closed
	must(t, err)
	must(t, errors.Join(db.Close(), d.Close()))
}

// noDirLocks is a file system that cannot lock directories.
type noDirLocks struct{ vfs.FS }

func TestWithoutDirectoryLocks(t *testing.T) {
	fsys := vfs.Intercept(vfs.NewMem(), func(o vfs.Op) error {
		if o.Kind == vfs.OpLockDir {
			return errors.ErrUnsupported
		}
		return nil
	})
	d, err := Open(noDirLocks{fsys}, "/data", "")
	must(t, err)
	must(t, d.Close())
}

func TestReceivedSnapshots(t *testing.T) {
	mem := vfs.NewMem()
	p := NewPaths("/data", "")
	for _, index := range []uint64{5, 9, 0x1f} {
		writeFile(t, mem, p.ReceivedSnapshot(index))
	}
	writeFile(t, mem, p.DB)
	d := open(t, mem, "/data")
	must(t, d.AdoptReceived(9))
	must(t, d.DropReceived(0x1f))
	names, err := mem.Crash(vfs.CrashOptions{}).List(p.Snap)
	must(t, err)
	if !slices.Contains(names, "db") || slices.Contains(names, "0000000000000009.snap.db") {
		t.Fatalf("after a crash %q", names)
	}
	if names, err = mem.List(p.Snap); err != nil || !slices.Equal(names, []string{"000000000000001f.snap.db", "db"}) {
		t.Fatalf("names %q, %v", names, err)
	}
	if err := d.AdoptReceived(77); err == nil {
		t.Fatal("adopted a file that is not there")
	}
}
