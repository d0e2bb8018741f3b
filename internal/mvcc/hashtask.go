package mvcc

import (
	"fmt"

	"github.com/quoin-kv/quoin/internal/schema"
)

// HashTask is the part of a compaction that reads everything up to its
// revision to take the hash, before anything is removed. It may wait for the
// disk for long. CompactStep does it in its course, unless the caller takes it
// out to run it on another goroutine.
type HashTask struct {
	scan   scan
	hasher *hasher
	prev   int64
	out    bool // taken out of the store
	done   bool
}

func newHashTask(c *compaction) *HashTask {
	// What the previous compaction left are the puts that this one keeps, and
	// otherwise what it drops, tombstones included.
	keep := func(rev schema.Rev) bool { return !c.drops.has(rev) }
	return &HashTask{
		scan:   scan{open: c.scan.open, to: c.rev},
		hasher: newHasher(c.prev, keep),
		prev:   c.prev,
	}
}

// TakeHashTask returns the running compaction's HashTask if that is what it
// has to do next, otherwise nil. The caller then runs Step until it is done,
// on one goroutine, while the store goes on, and hands the task back with
// ReturnHashTask; compaction waits for that.
func (s *Store) TakeHashTask() *HashTask {
	if s.job == nil || s.job.stage != hashing || s.job.hash.out || s.job.hash.done {
		return nil
	}
	s.job.hash.out = true
	return s.job.hash
}

// ReturnHashTask takes the task back, done or not; CompactStep goes on where
// it was left.
func (s *Store) ReturnHashTask(h *HashTask) {
	if s.job == nil || s.job.hash != h || !h.out {
		panic("mvcc: expected the hash task that was taken out, found another")
	}
	h.out = false
}

// Step reads the next records, budget of them, and tells whether it was the
// last.
func (h *HashTask) Step(budget int) (done bool, err error) {
	if _, err := h.advance(max(1, budget)); err != nil {
		return false, fmt.Errorf("mvcc: compaction hash at revision %d: %w", h.scan.to, err)
	}
	return h.done, nil
}

func (h *HashTask) advance(budget int) (used int, err error) {
	if h.done {
		return 0, nil
	}
	used, h.done, err = h.scan.advance(budget, func(rev schema.Rev, tombstone bool, record []byte) error {
		h.hasher.add(rev, tombstone, record)
		return nil
	})
	return used, err
}

func (h *HashTask) result() Hash {
	return Hash{Hash: h.hasher.sum, CompactRev: h.prev, Rev: h.scan.to}
}

func (c *compaction) hashIsOut() bool { return c.hash != nil && c.hash.out }
