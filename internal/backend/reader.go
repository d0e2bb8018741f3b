package backend

import (
	"fmt"
	"sync/atomic"

	"github.com/quoin-kv/quoin/internal/schema"
)

// Reader is the key bucket as of one Commit: the pending records on top of a
// snapshot of the file. It never changes. It is safe for concurrent use; bytes
// it returns are valid until it is released and must not be modified.
type Reader struct {
	snap    *state
	pending layers
	refs    atomic.Int64
}

// Reader pins the state of the last Commit. The caller owns one reference and
// must Release it; a Reader that is kept for long keeps the file's freed pages
// from being used again.
func (b *Backend) Reader() *Reader {
	r := &Reader{}
	r.refs.Store(1)
	b.mu.Lock()
	defer b.mu.Unlock()
	r.snap, r.pending = b.retainSnapshot(), b.mu.pending
	return r
}

// Retain adds a reference. The caller must hold one already.
func (r *Reader) Retain() {
	if n := r.refs.Add(1); n <= 1 {
		panic(fmt.Sprintf("backend: expected a live reader, found %d references", n-1))
	}
}

// Release gives up one reference. With the last one the Reader is dead.
func (r *Reader) Release() {
	switch n := r.refs.Add(-1); {
	case n == 0:
		r.snap.release()
	case n < 0:
		panic(fmt.Sprintf("backend: expected a live reader, found %d references", n+1))
	}
}

func (r *Reader) mustLive() {
	if n := r.refs.Load(); n <= 0 {
		panic(fmt.Sprintf("backend: expected a live reader, found %d references", n))
	}
}

// Record returns the record at rev, tombstone or not. It wraps ErrNoRecord.
func (r *Reader) Record(rev schema.Rev) ([]byte, error) {
	r.mustLive()
	if found, ok := r.pending.find(rev); ok {
		return found.bytes, nil
	}
	record, _, err := r.snap.record(rev)
	return record, err
}

// Scan calls fn for all records from from to to, both included, ascending,
// until fn returns false. A *CorruptError ends it early.
func (r *Reader) Scan(from, to schema.Rev, fn func(rev schema.Rev, tombstone bool, record []byte) bool) error {
	r.mustLive()
	// Every record in the file is older than every pending one, so merging is
	// reading one after the other.
	more, err := r.snap.scan(from, to, fn)
	if err != nil || !more {
		return err
	}
	r.pending.each(from, to, func(p record) bool { return fn(p.rev, p.tombstone, p.bytes) })
	return nil
}
