package mvcc

import (
	"fmt"
	"math"

	"github.com/quoin-kv/quoin/internal/ordtree"
	"github.com/quoin-kv/quoin/internal/schema"
)

// Restore builds a store from what is stored, in one scan of r, which it does
// not release. An empty storage gives a fresh store at revision 1. A
// compaction that had been scheduled but not finished goes on: see
// Store.Compacting.
//
// It accepts what etcd leaves behind: tombstones without what they deleted,
// records that a compaction should have removed, a current revision that only
// the compaction knows, and the empty record with which a restored snapshot
// raises its revision.
func Restore(storage Storage, r Reader, opts Options) (*Store, error) {
	s := &Store{storage: storage, opts: opts, rev: 1}
	var err error
	if s.scheduled, err = compactMark(schema.MetaScheduledCompact, opts.ScheduledCompact); err != nil {
		return nil, err
	}
	if s.finished, err = compactMark(schema.MetaFinishedCompact, opts.FinishedCompact); err != nil {
		return nil, err
	}
	if err := s.load(r); err != nil {
		return nil, err
	}
	s.scheduled = max(s.scheduled, s.finished)
	s.rev = max(s.rev, s.scheduled)
	s.inspect()
	if s.scheduled > s.finished {
		s.job = s.newCompaction()
	}
	return s, nil
}

func compactMark(name string, value []byte) (int64, error) {
	if value == nil {
		return never, nil
	}
	rev, _, err := schema.ParseRev(value)
	if err != nil {
		return 0, fmt.Errorf("mvcc: %s: %w", name, err)
	}
	return rev.Main, plausible(rev)
}

// plausible refuses revisions that leave no room to count on.
func plausible(rev schema.Rev) error {
	const most = math.MaxInt64 / 2
	if rev.Main > most || rev.Sub > subMost {
		return fmt.Errorf("mvcc: expected a revision up to %d/%d, found %d/%d", int64(most), int64(subMost), rev.Main, rev.Sub)
	}
	return nil
}

// load indexes all records.
func (s *Store) load(r Reader) error {
	var bad error
	last := schema.Rev{Sub: -1}
	err := r.Scan(schema.Rev{}, lastOf(latest), func(rev schema.Rev, tombstone bool, record []byte) bool {
		if rev.Compare(last) <= 0 {
			bad = fmt.Errorf("mvcc: expected a revision above %d/%d, found %d/%d", last.Main, last.Sub, rev.Main, rev.Sub)
			return false
		}
		last = rev
		bad = s.loadRecord(rev, tombstone, record)
		return bad == nil
	})
	if err != nil {
		return fmt.Errorf("mvcc: restore after revision %d/%d: %w", last.Main, last.Sub, err)
	}
	s.rev = max(s.rev, last.Main)
	return bad
}

func (s *Store) loadRecord(rev schema.Rev, tombstone bool, record []byte) error {
	if err := plausible(rev); err != nil {
		return err
	}
	if int64(len(record)) > recordMost {
		return fmt.Errorf("mvcc: record of revision %d/%d has %d bytes", rev.Main, rev.Sub, len(record))
	}
	var kv schema.KeyValue
	if err := kv.Unmarshal(record); err != nil {
		return fmt.Errorf("mvcc: record of revision %d/%d: %w", rev.Main, rev.Sub, err)
	}
	v, lease := version{rev: rev}, int64(0)
	if !tombstone {
		v.created, v.number = kv.CreateRevision, max(1, kv.Version)
		lease = kv.Lease
	}
	if old, ok := s.tree.Set(kv.Key, makeItem(v, len(record), lease, nil), !tombstone); ok {
		s.tree.Set(kv.Key, old.follow(v, len(record), lease), !tombstone)
	}
	return nil
}

// inspect walks the new index once: it reports attached leases and notes
// whether there are records that the finished compaction should have removed.
func (s *Store) inspect() {
	var buf []byte
	s.tree.Ascend(ordtree.All, nil, nil, func(key ordtree.Key, it item) bool {
		if s.opts.Attach != nil && it.live() && it.lease() != 0 {
			buf = key.Append(buf[:0])
			s.opts.Attach(buf, it.lease())
		}
		for i := range it.upTo(s.finished) {
			s.leftovers = s.leftovers || !it.keeps(i, s.finished)
		}
		return true
	})
}
