package mvcc

import (
	"bytes"
	"fmt"
	"slices"

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
	s.storage.Put(schema.Meta, []byte(schema.MetaScheduledCompact), schema.AppendRev(nil, schema.Rev{Main: rev}, false))
	if s.job == nil {
		s.job = s.newCompaction()
		s.job.wantsHash = s.opts.OpenReader != nil && !s.opts.NoCompactHash
	}
	return nil
}

// Compacting tells whether CompactStep has work to do.
func (s *Store) Compacting() bool { return s.job != nil }

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
	byKey     bool       // plan by walking the index, not by scanning records
	nextKey   []byte     // where the walk goes on
	nextRev   schema.Rev // where the scan goes on
	drops     []drop     // what to remove; sorted after planning
	hash      *hasher    // while hashing and after; nil if no hash is wanted
}

type stage uint8

const (
	planning stage = iota
	hashing
	removing
)

type drop struct {
	rev       schema.Rev
	tombstone bool
}

// newCompaction starts the compaction that is scheduled. What the previous one
// kept is untouched but for its tombstones, which are exactly at its revision:
// the scan begins there.
func (s *Store) newCompaction() *compaction {
	return &compaction{
		prev: s.finished, rev: s.scheduled,
		byKey:   s.opts.OpenReader == nil || s.leftovers,
		nextRev: schema.Rev{Main: max(0, s.finished)},
	}
}

// CompactStep does a bounded piece of the running compaction: budget is the
// number of records or keys to look at or remove. It is done when no
// compaction is left to do. It must be called between transactions, and only
// when the batches that the compaction covers have been committed, so that
// Options.OpenReader shows them.
func (s *Store) CompactStep(budget int) (done bool, err error) {
	for budget = max(1, budget); s.job != nil && budget > 0; {
		used, err := s.advance(s.job, budget)
		if err != nil {
			return false, fmt.Errorf("mvcc: compaction at revision %d: %w", s.job.rev, err)
		}
		budget -= used
	}
	return s.job == nil, nil
}

func (s *Store) advance(c *compaction, budget int) (used int, err error) {
	switch {
	case c.stage == planning && c.byKey:
		return s.planByKey(c, budget), nil
	case c.stage == planning:
		return s.planByScan(c, budget)
	case c.stage == hashing:
		return s.hashStep(c, budget)
	default:
		return s.removeStep(c, budget), nil
	}
}

// planByKey prunes the next items of the index.
func (s *Store) planByKey(c *compaction, budget int) (used int) {
	var keys [][]byte
	s.tree.Ascend(ordtree.All, c.nextKey, func(key []byte, _ *item) bool {
		keys = append(keys, key)
		return len(keys) < budget
	})
	for _, key := range keys {
		s.prune(c, key)
	}
	if len(keys) < budget {
		s.planned(c)
	} else {
		c.nextKey = append(bytes.Clone(keys[len(keys)-1]), 0)
	}
	return len(keys)
}

// planByScan prunes the keys of the next records between the previous and this
// compaction.
func (s *Store) planByScan(c *compaction, budget int) (used int, err error) {
	var kv schema.KeyValue
	return s.scan(c, budget, s.planned, func(_ schema.Rev, _ bool, record []byte) error {
		if err := kv.Unmarshal(record); err != nil {
			return err
		}
		s.prune(c, kv.Key)
		return nil
	})
}

// scan feeds records from where the compaction's scan stands to its revision,
// as far as the budget goes, and calls finish behind the last. Long records
// cost more.
func (s *Store) scan(c *compaction, budget int, finish func(*compaction), visit func(schema.Rev, bool, []byte) error) (used int, err error) {
	const bytesPerUnit = 4096
	r := s.opts.OpenReader()
	defer r.Release()
	var bad error
	more := false
	err = r.Scan(c.nextRev, lastOf(c.rev), func(rev schema.Rev, tombstone bool, record []byte) bool {
		if more = used >= budget; more {
			return false
		}
		used += 1 + len(record)/bytesPerUnit
		c.nextRev = schema.Rev{Main: rev.Main, Sub: rev.Sub + 1}
		if bad = visit(rev, tombstone, record); bad != nil {
			bad = fmt.Errorf("record of revision %d/%d: %w", rev.Main, rev.Sub, bad)
		}
		return bad == nil
	})
	if err == nil {
		err = bad
	}
	if err == nil && !more {
		finish(c)
	}
	return used, err
}

// prune removes from the index what the compaction drops of one key.
func (s *Store) prune(c *compaction, key []byte) {
	stored, it, ok := s.tree.Get(key)
	if !ok {
		return
	}
	kept := it.prune(c.rev, func(v *version) {
		c.drops = append(c.drops, drop{v.rev, v.tombstone()})
	})
	switch kept {
	case it:
	case nil:
		s.tree.Delete(stored)
	default:
		s.tree.Set(stored, kept, kept.live())
	}
}

// planned ends the stage of planning.
func (s *Store) planned(c *compaction) {
	s.leftovers = false
	slices.SortFunc(c.drops, func(a, b drop) int { return a.rev.Compare(b.rev) })
	if !c.wantsHash {
		c.stage = removing
		return
	}
	revs := make([]schema.Rev, len(c.drops))
	for i, d := range c.drops {
		revs[i] = d.rev
	}
	dropped, keepsAny := revCursor{revs}, s.keepsAny(c.rev)
	c.hash = newHasher(c.prev, func(rev schema.Rev) bool { return !keepsAny || !dropped.has(rev) })
	c.stage, c.nextRev = hashing, schema.Rev{}
}

// keepsAny tells whether the pruned index has any version up to rev.
func (s *Store) keepsAny(rev int64) (some bool) {
	s.tree.Ascend(ordtree.All, nil, func(_ []byte, it *item) bool {
		some = it.upTo(rev) > 0
		return !some
	})
	return some
}

func (s *Store) hashStep(c *compaction, budget int) (used int, err error) {
	finish := func(c *compaction) { c.stage = removing }
	return s.scan(c, budget, finish, func(rev schema.Rev, tombstone bool, record []byte) error {
		c.hash.add(rev, tombstone, record)
		return nil
	})
}

func (s *Store) removeStep(c *compaction, budget int) (used int) {
	used = min(budget, len(c.drops))
	for _, d := range c.drops[:used] {
		s.storage.DeleteRecord(d.rev, d.tombstone)
	}
	c.drops = c.drops[used:]
	if len(c.drops) == 0 {
		s.finish(c)
	}
	return used
}

// finish ends a compaction and starts the next one if it was asked for
// meanwhile.
func (s *Store) finish(c *compaction) {
	s.finished = c.rev
	s.storage.Put(schema.Meta, []byte(schema.MetaFinishedCompact), schema.AppendRev(nil, schema.Rev{Main: c.rev}, false))
	if c.hash != nil {
		s.addHash(Hash{Hash: c.hash.sum, CompactRev: c.prev, Rev: c.rev})
	}
	s.job = nil
	if s.scheduled > s.finished {
		s.job = s.newCompaction()
	}
}
