package vfs

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

// each runs a test on every implementation; the string is a fresh directory in it.
func each(t *testing.T, test func(t *testing.T, fsys FS, dir string)) {
	t.Helper()
	t.Run("os", func(t *testing.T) { test(t, OS{}, t.TempDir()) })
	t.Run("mem", func(t *testing.T) { test(t, memWithDir(t), "/dir") })
	t.Run("intercepted", func(t *testing.T) {
		test(t, Intercept(memWithDir(t), func(Op) error { return nil }), "/dir")
	})
}

func memWithDir(t *testing.T) *Mem {
	t.Helper()
	m := NewMem()
	must(t, MkdirAll(m, "/dir"))
	return m
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantIs(t *testing.T, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("error = %v, want one that is %v", err, target)
	}
}

func create(t *testing.T, fsys FS, name, content string) File {
	t.Helper()
	f, err := fsys.Create(name)
	must(t, err)
	_, err = f.WriteAt([]byte(content), 0)
	must(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

func content(t *testing.T, fsys FS, name string) string {
	t.Helper()
	f, err := fsys.Open(name)
	must(t, err)
	defer f.Close()
	size, err := f.Size()
	must(t, err)
	b := make([]byte, size)
	_, err = f.ReadAt(b, 0)
	must(t, err)
	return string(b)
}

func TestCreateAndOpen(t *testing.T) {
	each(t, func(t *testing.T, fsys FS, dir string) {
		name := filepath.Join(dir, "f")
		_, err := fsys.Open(name)
		wantIs(t, err, fs.ErrNotExist)
		create(t, fsys, name, "hello")
		_, err = fsys.Create(name)
		wantIs(t, err, fs.ErrExist)
		if got := content(t, fsys, name); got != "hello" {
			t.Fatalf("content = %q", got)
		}
		info, err := fsys.Stat(name)
		must(t, err)
		if info != (Info{SizeBytes: 5, Perm: 0o600}) {
			t.Fatalf("info = %+v", info)
		}
	})
}

func TestReadOnlyRefusesWrites(t *testing.T) {
	each(t, func(t *testing.T, fsys FS, dir string) {
		name := filepath.Join(dir, "f")
		create(t, fsys, name, "hello")
		f, err := fsys.Open(name)
		must(t, err)
		defer f.Close()
		if _, err := f.WriteAt([]byte("x"), 0); err == nil {
			t.Fatal("a file opened for reading was written")
		}
		w, err := fsys.OpenWrite(name)
		must(t, err)
		defer w.Close()
		_, err = w.WriteAt([]byte("J"), 0)
		must(t, err)
		if got := content(t, fsys, name); got != "Jello" {
			t.Fatalf("content = %q", got)
		}
	})
}

func TestReadAtEnd(t *testing.T) {
	each(t, func(t *testing.T, fsys FS, dir string) {
		f := create(t, fsys, filepath.Join(dir, "f"), "hello")
		b := make([]byte, 4)
		n, err := f.ReadAt(b, 3)
		if n != 2 || err != io.EOF || string(b[:2]) != "lo" {
			t.Fatalf("ReadAt = %d, %v, %q", n, err, b)
		}
		if n, err := f.ReadAt(b, 9); n != 0 || err != io.EOF {
			t.Fatalf("ReadAt beyond the end = %d, %v", n, err)
		}
	})
}

func TestTruncateAndPreallocate(t *testing.T) {
	each(t, func(t *testing.T, fsys FS, dir string) {
		name := filepath.Join(dir, "f")
		f := create(t, fsys, name, "hello")
		must(t, f.Preallocate(8))
		if got := content(t, fsys, name); got != "hello\x00\x00\x00" {
			t.Fatalf("after Preallocate(8) %q", got)
		}
		must(t, f.Preallocate(2))
		must(t, f.Truncate(3))
		must(t, f.Truncate(5))
		if got := content(t, fsys, name); got != "hel\x00\x00" {
			t.Fatalf("after truncations %q", got)
		}
		if err := f.Truncate(-1); err == nil {
			t.Fatal("Truncate(-1) succeeded")
		}
		must(t, f.Sync())
	})
}

func TestNextData(t *testing.T) {
	each(t, func(t *testing.T, fsys FS, dir string) {
		f, err := fsys.Create(filepath.Join(dir, "f"))
		must(t, err)
		defer f.Close()
		must(t, f.Preallocate(1<<20))
		_, err = f.WriteAt([]byte{1}, 300<<10)
		must(t, err)
		for at := int64(0); at < 1<<20; at += 4 << 10 {
			next, err := f.NextData(at)
			must(t, err)
			if next < at || next > 1<<20 || at <= 300<<10 && next > 300<<10 {
				t.Fatalf("NextData(%d) = %d, with data at %d", at, next, 300<<10)
			}
		}
	})
}

func TestRename(t *testing.T) {
	each(t, func(t *testing.T, fsys FS, dir string) {
		a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
		f := create(t, fsys, a, "new")
		create(t, fsys, b, "old")
		must(t, fsys.Rename(a, b))
		_, err := f.WriteAt([]byte("N"), 0)
		must(t, err)
		if got := content(t, fsys, b); got != "New" {
			t.Fatalf("content = %q", got)
		}
		wantIs(t, fsys.Rename(a, b), fs.ErrNotExist)
		names, err := fsys.List(dir)
		must(t, err)
		if !slices.Equal(names, []string{"b"}) {
			t.Fatalf("names = %q", names)
		}
	})
}

func TestRenameDirectory(t *testing.T) {
	each(t, func(t *testing.T, fsys FS, dir string) {
		from, to := filepath.Join(dir, "x.tmp"), filepath.Join(dir, "x")
		must(t, fsys.Mkdir(from))
		must(t, fsys.Mkdir(to))
		f := create(t, fsys, filepath.Join(from, "f"), "1")
		must(t, fsys.Rename(from, to))
		if got := content(t, fsys, filepath.Join(to, "f")); got != "1" {
			t.Fatalf("content = %q", got)
		}
		must(t, f.Sync())
		must(t, fsys.Mkdir(from))
		wantIs(t, fsys.Rename(from, to), syscall.ENOTEMPTY)
	})
}

func TestDirectories(t *testing.T) {
	each(t, func(t *testing.T, fsys FS, dir string) {
		deep := filepath.Join(dir, "a", "b")
		must(t, MkdirAll(fsys, deep))
		must(t, MkdirAll(fsys, deep))
		wantIs(t, fsys.Mkdir(deep), fs.ErrExist)
		info, err := fsys.Stat(deep)
		must(t, err)
		if info.SizeBytes = 0; info != (Info{Dir: true, Perm: 0o700}) {
			t.Fatalf("info = %+v", info)
		}
		create(t, fsys, filepath.Join(deep, "f"), "")
		wantIs(t, fsys.Remove(deep), syscall.ENOTEMPTY)
		if err := MkdirAll(fsys, filepath.Join(deep, "f", "g")); err == nil {
			t.Fatal("made a directory inside a file")
		}
		must(t, RemoveAll(fsys, filepath.Join(dir, "a")))
		must(t, RemoveAll(fsys, filepath.Join(dir, "a")))
		there, err := Exists(fsys, filepath.Join(dir, "a"))
		must(t, err)
		if there {
			t.Fatal("a survived RemoveAll")
		}
		wantIs(t, fsys.Remove(filepath.Join(dir, "a")), fs.ErrNotExist)
	})
}

func TestLocks(t *testing.T) {
	for _, kind := range []LockKind{LockOFD, LockFlock} {
		each(t, func(t *testing.T, fsys FS, dir string) {
			name := filepath.Join(dir, "f")
			first := create(t, fsys, name, "")
			must(t, first.Lock(kind))
			must(t, first.Lock(kind))
			second, err := fsys.OpenWrite(name)
			must(t, err)
			defer second.Close()
			wantIs(t, second.Lock(kind), ErrLocked)
			must(t, first.Close())
			must(t, second.Lock(kind))
		})
	}
}

func TestLockKindsAreIndependent(t *testing.T) {
	each(t, func(t *testing.T, fsys FS, dir string) {
		name := filepath.Join(dir, "f")
		must(t, create(t, fsys, name, "").Lock(LockOFD))
		other, err := fsys.OpenWrite(name)
		must(t, err)
		defer other.Close()
		must(t, other.Lock(LockFlock))
	})
}

func TestLockDir(t *testing.T) {
	each(t, func(t *testing.T, fsys FS, dir string) {
		lock, err := fsys.LockDir(dir)
		must(t, err)
		_, err = fsys.LockDir(dir)
		wantIs(t, err, ErrLocked)
		must(t, lock.Close())
		again, err := fsys.LockDir(dir)
		must(t, err)
		must(t, again.Close())
		names, err := fsys.List(dir)
		must(t, err)
		if len(names) != 0 {
			t.Fatalf("the lock left %q", names)
		}
	})
}

func TestUseAfterClose(t *testing.T) {
	each(t, func(t *testing.T, fsys FS, dir string) {
		f := create(t, fsys, filepath.Join(dir, "f"), "x")
		must(t, f.Close())
		_, err := f.WriteAt([]byte("x"), 0)
		wantIs(t, err, fs.ErrClosed)
		wantIs(t, f.Close(), fs.ErrClosed)
	})
}

// TestMemContentEqualsOS drives the same random writes, truncations and preallocations through both.
func TestMemContentEqualsOS(t *testing.T) {
	const seed = 7
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	a := create(t, OS{}, filepath.Join(dir, "f"), "")
	mem := memWithDir(t)
	b := create(t, mem, "/dir/f", "")
	for step := range 400 {
		offset, size := rng.Int64N(20000), rng.IntN(9000)
		data := bytes.Repeat([]byte{byte(step) | 1}, size)
		for _, f := range []File{a, b} {
			switch step % 5 {
			case 0:
				must(t, f.Truncate(offset))
			case 1:
				must(t, f.Preallocate(offset+1))
			default:
				_, err := f.WriteAt(data, offset)
				must(t, err)
			}
		}
		if content(t, OS{}, filepath.Join(dir, "f")) != content(t, mem, "/dir/f") {
			t.Fatalf("step %d: contents differ", step)
		}
		b.(*memFile).inode.check(t)
	}
}

// check tests invariant 1 of Mem for this file and the invariants of sparse.
func (n *memInode) check(t *testing.T) {
	t.Helper()
	replayed := n.durable.clone()
	for _, c := range n.pending {
		replayed.apply(c)
	}
	if replayed.size != n.live.size {
		t.Fatalf("durable plus pending is %d bytes long, live %d", replayed.size, n.live.size)
	}
	for _, p := range n.live.written() {
		if p*pageBytes >= n.live.size {
			t.Fatalf("page %d lies beyond size %d", p, n.live.size)
		}
	}
}
