package mvcc

import (
	"fmt"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/ordtree"
	"github.com/quoin-kv/quoin/internal/schema"
)

// Compact asks to forget what is not needed to read at rev and above. For
// readers of later views that is done at once; the work follows in
// CompactStep. It fails with kverr.Compacted unless rev is above the compacted
// revision, and with kverr.FutureRev if rev is above the current one.
//
// If an earlier compaction is still running, it is finished first, and this
// one, or the last of several, follows.
func (s *Store) Compact(rev int64) error {
	if rev <= s.scheduled {
		return kverr.Compacted
	}
	if rev > s.rev {
		return kverr.FutureRev
	}
	s.scheduled = rev
	s.mark(schema.MetaScheduledCompact, rev)
	if s.job == nil {
		s.job = s.newCompaction()
		s.job.wantsHash = s.opts.OpenReader != nil && !s.opts.NoCompactHash
	}
	return nil
}

func (s *Store) mark(name string, rev int64) {
	s.storage.Put(schema.Meta, []byte(name), schema.AppendRev(nil, schema.Rev{Main: rev}, false))
}

// CompactionWork is what compactions have done since Restore.
type CompactionWork struct {
	Pruned  int64 // keys of the index that were looked at, and one for each compaction
	Removed int64 // records
}

// CompactionWork returns what compactions have done.
func (s *Store) CompactionWork() CompactionWork { return s.work }

// Compacting tells whether a compaction is running.
func (s *Store) Compacting() bool { return s.job != nil }

// Removing tells whether the next step of the running compaction removes
// records.
func (s *Store) Removing() bool {
	c := s.job
	return c != nil && (c.stage == removing || c.stage == hashing && c.hash.done)
}

// Removals is how many records the running compaction has still to remove, once it is Removing.
func (s *Store) Removals() int {
	if s.job == nil {
		return 0
	}
	return s.job.drops.len()
}

// compaction is the state of a running compaction, which goes through three
// stages. planning finds the keys touched since the previous compaction, prunes
// their index items and lists what to remove. hashing reads everything up to
// the compaction's revision. removing deletes the listed records in ascending
// order: older versions go before the tombstone that makes them void, so that
// nothing comes back to life if the work is cut off in the middle.
type compaction struct {
	prev, rev int64
	stage     stage
	wantsHash bool
	byKey     bool   // plan by walking the index, not by scanning records
	nextKey   []byte // where the walk goes on
	scan      scan   // the records of planning
	drops     drops  // what to remove
	hash      *HashTask
}

type stage uint8

const (
	planning stage = iota
	hashing
	removing
)

// newCompaction starts the compaction that is scheduled. What the previous one
// kept is untouched but for its tombstones, which are exactly at its revision:
// the scan begins there. If more happened than there are keys, walking the
// index is less work.
func (s *Store) newCompaction() *compaction {
	fewKeys := int64(s.tree.Len(ordtree.All)) < s.scheduled-s.finished
	return &compaction{
		prev: s.finished, rev: s.scheduled,
		byKey: s.opts.OpenReader == nil || s.leftovers || fewKeys,
		scan:  scan{open: s.opts.OpenReader, next: schema.Rev{Main: max(0, s.finished)}, to: s.scheduled},
	}
}

// CompactStep does a bounded piece of the running compaction: budget is the
// number of records or keys to look at or remove. It is done when no
// compaction is left to do. It must be called between transactions, and only
// when the batches that the compaction covers have been committed, so that
// Options.OpenReader shows them. While a HashTask is out it does nothing.
func (s *Store) CompactStep(budget int) (done bool, err error) {
	for budget = max(1, budget); s.job != nil && budget > 0; {
		used, err := s.advance(s.job, budget)
		if err != nil {
			return false, fmt.Errorf("mvcc: compaction at revision %d: %w", s.job.rev, err)
		}
		if s.job != nil && s.job.hashIsOut() {
			break
		}
		budget -= used
	}
	return s.job == nil, nil
}

func (s *Store) advance(c *compaction, budget int) (used int, err error) {
	switch {
	case c.hashIsOut():
		return 0, nil
	case c.stage == planning && c.byKey:
		return s.planByKey(c, budget), nil
	case c.stage == planning:
		return s.planByScan(c, budget)
	case c.stage == hashing:
		used, err = c.hash.advance(budget)
		if c.hash.done {
			c.stage = removing
		}
		return used, err
	default:
		return s.removeStep(c, budget), nil
	}
}

// planByKey prunes the next items of the index.
func (s *Store) planByKey(c *compaction, budget int) (used int) {
	var keys [][]byte
	s.tree.Ascend(ordtree.All, c.nextKey, nil, func(key ordtree.Key, _ item) bool {
		keys = append(keys, key.Clone())
		return len(keys) < budget
	})
	for _, key := range keys {
		s.prune(c, key)
	}
	if len(keys) < budget {
		s.planned(c)
	} else {
		c.nextKey = append(keys[len(keys)-1], 0)
	}
	return len(keys)
}

// planByScan prunes the keys of the next records between the previous and this
// compaction.
func (s *Store) planByScan(c *compaction, budget int) (used int, err error) {
	var kv schema.KeyValue
	used, done, err := c.scan.advance(budget, func(_ schema.Rev, _ bool, record []byte) error {
		if err := kv.Unmarshal(record); err != nil {
			return err
		}
		s.prune(c, kv.Key)
		return nil
	})
	if done {
		s.planned(c)
	}
	return used, err
}

// prune removes from the index what the compaction drops of one key.
func (s *Store) prune(c *compaction, key []byte) {
	s.work.Pruned++
	it, ok := s.tree.Get(key)
	if !ok {
		return
	}
	kept, dropped := it.prune(c.rev, func(v version) {
		c.drops.push(drop{v.rev, v.tombstone()})
	})
	switch dropped {
	case 0:
	case it.len():
		s.tree.Delete(key)
	default:
		s.tree.Set(key, kept, kept.live())
	}
}

// planned ends the stage of planning.
func (s *Store) planned(c *compaction) {
	s.leftovers = false
	s.work.Pruned++
	c.stage = removing
	if c.wantsHash {
		c.stage = hashing
		c.hash = newHashTask(c)
	}
}

func (s *Store) removeStep(c *compaction, budget int) (used int) {
	for ; used < budget && c.drops.len() > 0; used++ {
		d := c.drops.pop()
		s.storage.DeleteRecord(d.rev, d.tombstone)
	}
	s.work.Removed += int64(used)
	if c.drops.len() == 0 {
		s.finish(c)
	}
	return used
}

// finish ends a compaction and starts the next one if it was asked for
// meanwhile.
func (s *Store) finish(c *compaction) {
	s.finished = c.rev
	s.mark(schema.MetaFinishedCompact, c.rev)
	if c.hash != nil {
		s.addHash(c.hash.result())
	}
	s.job = nil
	if s.scheduled > s.finished {
		s.job = s.newCompaction()
	}
}

// scan reads records in pieces, each through a reader of its own.
type scan struct {
	open func() Reader
	next schema.Rev
	to   int64 // last main revision
}

// advance visits the next records as far as the budget goes, and is done after
// the last. Long records cost more.
func (sc *scan) advance(budget int, visit func(schema.Rev, bool, []byte) error) (used int, done bool, err error) {
	const bytesPerUnit = 4096
	r := sc.open()
	defer r.Release()
	var bad error
	more := false
	err = r.Scan(sc.next, lastOf(sc.to), func(rev schema.Rev, tombstone bool, record []byte) bool {
		if more = used >= budget; more {
			return false
		}
		used += 1 + len(record)/bytesPerUnit
		sc.next = schema.Rev{Main: rev.Main, Sub: rev.Sub + 1}
		if bad = visit(rev, tombstone, record); bad != nil {
			bad = fmt.Errorf("record of revision %d/%d: %w", rev.Main, rev.Sub, bad)
		}
		return bad == nil
	})
	if err == nil {
		err = bad
	}
	return used, err == nil && !more, err
}
