package backend

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/quoin-kv/quoin/internal/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// check panics if one of Backend's invariants does not hold. Writer and flusher
// must be between calls.
func (b *Backend) check(t testing.TB) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	last, err := b.mu.snap.lastRecord()
	if err != nil {
		t.Fatalf("invariant 2: %v", err)
	}
	b.mu.pending.each(schema.Rev{}, schema.Rev{Main: 1 << 62}, func(r record) bool {
		if r.rev.Compare(last) <= 0 {
			t.Fatalf("invariant 2: %v is pending after %v", r.rev, last)
		}
		last = r.rev
		return true
	})
	for i, span := range b.mu.pending.sealed {
		if len(span) == 0 {
			t.Fatalf("layers invariant 2: sealed span %d is empty", i)
		}
	}
	b.checkBatches(t)
}

func (b *Backend) checkBatches(t testing.TB) {
	t.Helper()
	end, index, bytes, growth := b.mu.base, b.mu.flushed.Index, int64(0), int64(0)
	for i, batch := range b.mu.batches {
		if batch.end < end || batch.applied.Index < index {
			t.Fatalf("invariant 3: batch %d ends at %d after %d, index %d after %d", i, batch.end, end, batch.applied.Index, index)
		}
		end, index = batch.end, batch.applied.Index
		bytes += batch.bytes
		growth += batch.growth
	}
	if pending := uint64(b.mu.pending.len()); end != b.mu.base+pending {
		t.Fatalf("invariant 3: last batch ends at %d, want %d + %d", end, b.mu.base, pending)
	}
	if bytes != b.mu.bytes || growth != b.mu.growth {
		t.Fatalf("invariant 4: %d and %d bytes counted, batches have %d and %d", b.mu.bytes, b.mu.growth, bytes, growth)
	}
	if err := b.mu.snap.verifyAll(); err != nil {
		t.Fatalf("the file is not what it must be: %v", err)
	}
	stored, err := b.mu.snap.get(schema.Meta, []byte(schema.MetaConsistentIndex))
	if err != nil {
		t.Fatal(err)
	}
	if stored != nil {
		if n, err := schema.ParseUint64(stored); err != nil || n != b.mu.flushed.Index {
			t.Fatalf("invariant 1: file is at index %d (%v), we think %d", n, err, b.mu.flushed.Index)
		}
	}
}

// place is where a backend under test has its durable half. The same tests run
// in every kind of place.
type place interface {
	open(cfg Config) (*Backend, error)
	crash(t testing.TB) place // what a restart at this moment would find
	fromSnapshot(t testing.TB, snapshot []byte) place
	adopt(from place) error // puts the durable half of another place, of the same kind, in the place of this one
}

type filePlace struct{ dir string }

func (p filePlace) path() string { return filepath.Join(p.dir, "db") }

func (p filePlace) sums() string { return p.path() + ".sums" }

func (p filePlace) open(cfg Config) (*Backend, error) {
	cfg.Path, cfg.SumsPath = p.path(), p.sums()
	cfg.NoSync = true
	return Open(cfg)
}

func (p filePlace) crash(t testing.TB) place {
	t.Helper()
	b, err := os.ReadFile(p.path())
	if err != nil {
		t.Fatal(err)
	}
	clone := p.fromSnapshot(t, b)
	sums, err := os.ReadFile(p.sums())
	if errors.Is(err, fs.ErrNotExist) {
		return clone
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(clone.(filePlace).sums(), sums, 0o600); err != nil {
		t.Fatal(err)
	}
	return clone
}

func (p filePlace) fromSnapshot(t testing.TB, b []byte) place {
	t.Helper()
	clone := filePlace{t.TempDir()}
	if err := os.WriteFile(clone.path(), b, 0o600); err != nil {
		t.Fatal(err)
	}
	return clone
}

func (p filePlace) adopt(from place) error { return os.Rename(from.(filePlace).path(), p.path()) }

type memoryPlace struct{ disk *MemoryDisk }

func (p memoryPlace) open(cfg Config) (*Backend, error) { return OpenMemory(cfg, p.disk) }

func (p memoryPlace) crash(testing.TB) place { return memoryPlace{p.disk.Crash()} }

func (p memoryPlace) fromSnapshot(t testing.TB, b []byte) place {
	t.Helper()
	disk, err := ReadMemoryDisk(newReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return memoryPlace{disk}
}

func (p memoryPlace) adopt(from place) error { return p.disk.Adopt(from.(memoryPlace).disk) }

// inEveryPlace runs a test on a file and in memory.
func inEveryPlace(t *testing.T, test func(t *testing.T, p place)) {
	t.Helper()
	t.Run("file", func(t *testing.T) { test(t, filePlace{t.TempDir()}) })
	t.Run("memory", func(t *testing.T) { test(t, memoryPlace{NewMemoryDisk()}) })
}

func mustOpen(t testing.TB, p place, cfg Config) *Backend {
	t.Helper()
	b, err := p.open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return b
}

func mustFlush(t testing.TB, b *Backend) {
	t.Helper()
	if _, err := b.Flush(^uint64(0)); err != nil {
		t.Fatal(err)
	}
	b.check(t)
}
