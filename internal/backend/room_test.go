package backend

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/quoin-kv/quoin/internal/schema"
)

// TestFullDisk: a flush that finds no room leaves everything pending, and the next one stores it.
func TestFullDisk(t *testing.T) {
	disk := NewMemoryDisk()
	b := mustOpen(t, memoryPlace{disk}, Config{})
	fill(b, 2, 3)
	mustFlush(t, b)
	disk.Fail(syscall.ENOSPC)
	fill(b, 4, 5)
	at, err := b.Flush(1 << 40)
	if !errors.Is(err, ErrNoRoom) || !errors.Is(err, syscall.ENOSPC) || errors.Is(err, ErrPoisoned) || at.Index != b.Flushed().Index {
		t.Fatalf("at %d: %v", at.Index, err)
	}
	wantScan(t, b, "2 3 4 5")
	if err := b.Defragment(t.Context(), nil); !errors.Is(err, ErrNoRoom) {
		t.Errorf("a rewrite on a full disk: %v", err)
	}
	disk.Fail(nil)
	mustFlush(t, b)
	wantScan(t, b, "2 3 4 5")
	if b.Pending().Batches != 0 {
		t.Error("something is pending still")
	}
}

// limitFiles lets no file of this process grow beyond bytes until the test, or what is returned, lifts that.
func limitFiles(t *testing.T, bytes uint64) (lift func()) {
	t.Helper()
	var before syscall.Rlimit
	set := func(l syscall.Rlimit) {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &l); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	set(syscall.Rlimit{Cur: bytes, Max: before.Max})
	lift = func() { set(before) }
	t.Cleanup(lift)
	return lift
}

// TestFileThatMustNotGrow is TestFullDisk with a real file.
func TestFileThatMustNotGrow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	b, err := Open(Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	rev := int64(1)
	put := func(records, size int) {
		for range records {
			rev++
			b.Append(schema.Rev{Main: rev}, false, make([]byte, size))
		}
		b.Commit(schema.Applied{Index: uint64(rev), Term: 1})
	}
	put(10, 1000)
	mustFlush(t, b)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	lift := limitFiles(t, uint64(info.Size()))
	put(200, 100_000)
	for range 3 {
		if at, err := b.Flush(1 << 40); !errors.Is(err, ErrNoRoom) || at.Index != 11 {
			t.Fatalf("at %d: %v", at.Index, err)
		}
	}
	lift()
	mustFlush(t, b)
	if at := b.Flushed(); at.Index != 211 {
		t.Errorf("at %d in the end", at.Index)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Check(path); err != nil {
		t.Error(err)
	}
}

// TestGrowth: no commit adds more to a file than was foreseen.
func TestGrowth(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	path := filepath.Join(t.TempDir(), "db")
	b, err := Open(Config{Path: path, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	store := b.store.(*boltStore)
	rev := int64(1)
	var live []int64
	for round := range 150 {
		size := 1 << rng.IntN(16)
		for range 1 + rng.IntN(1+200_000/(size+500)) {
			rev++
			b.Append(schema.Rev{Main: rev}, false, make([]byte, rng.IntN(size)))
			live = append(live, rev)
		}
		for range rng.IntN(20) {
			b.Put(schema.Lease, fmt.Appendf(nil, "%d", rng.IntN(5000)), make([]byte, rng.IntN(300)))
		}
		if rng.IntN(4) == 0 {
			for i := range live {
				if rng.IntN(3) > 0 {
					b.DeleteRecord(schema.Rev{Main: live[i]}, false)
					live[i] = 0
				}
			}
			live = deleteZero(live)
		}
		b.Commit(schema.Applied{Index: uint64(rev), Term: 1})
		work := b.takeWork(1 << 40)
		before := b.Sizes().FileBytes
		free := int64(store.file.db.Stats().FreePageN)
		foreseen := growth(work.changes, free, before/pageBytes-free)
		mustFlush(t, b)
		if grown := b.Sizes().FileBytes - before; grown > foreseen {
			t.Fatalf("seed %d, round %d: grown by %d, foreseen were %d", seed, round, grown, foreseen)
		}
	}
}

func deleteZero(list []int64) (kept []int64) {
	for _, v := range list {
		if v != 0 {
			kept = append(kept, v)
		}
	}
	return kept
}

func TestUnwritten(t *testing.T) {
	path := func(op string, err error) error { return &fs.PathError{Op: op, Path: "db", Err: err} }
	for _, c := range []struct {
		err  error
		want bool
	}{
		{path("write", syscall.ENOSPC), true},
		{path("write", syscall.EDQUOT), true},
		{path("write", syscall.EIO), false},
		{path("sync", syscall.ENOSPC), false},
		{syscall.ENOSPC, false}, // as fdatasync says it
		{nil, false},
	} {
		if got := unwritten(c.err); got != c.want {
			t.Errorf("%v: %v", c.err, got)
		}
	}
	if err := withoutRoom(poisoned(syscall.ENOSPC)); errors.Is(err, ErrNoRoom) {
		t.Error("what is final counts as passing")
	}
}
