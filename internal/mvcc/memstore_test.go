package mvcc

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/quoin-kv/quoin/internal/schema"
)

// memStore is a Storage in memory. Its readers are frozen copies that share
// records until something is removed.
type memStore struct {
	records []memRecord
	shared  bool // a reader has the array
	meta    map[string][]byte
	removed []schema.Rev // in the order of removal
	open    atomic.Int32 // readers not yet released
	frozen  *memReader   // if set, what OpenReader gives
}

type memRecord struct {
	rev       schema.Rev
	tombstone bool
	record    []byte
}

func newMemStore() *memStore { return &memStore{meta: map[string][]byte{}} }

func (m *memStore) Append(rev schema.Rev, tombstone bool, record []byte) {
	if n := len(m.records); n > 0 && m.records[n-1].rev.Compare(rev) >= 0 {
		panic(fmt.Sprintf("memStore: expected a revision above %v, found %v", m.records[n-1].rev, rev))
	}
	m.records = append(m.records, memRecord{rev, tombstone, record})
}

func (m *memStore) DeleteRecord(rev schema.Rev, tombstone bool) {
	i, ok := findRecord(m.records, rev)
	if !ok || m.records[i].tombstone != tombstone {
		panic(fmt.Sprintf("memStore: expected a record at %v (tombstone %v), found none", rev, tombstone))
	}
	if m.shared {
		m.records, m.shared = slices.Clone(m.records), false
	}
	m.records = slices.Delete(m.records, i, i+1)
	m.removed = append(m.removed, rev)
}

func (m *memStore) Put(bucket schema.Bucket, key, value []byte) {
	if bucket != schema.Meta {
		panic("memStore: expected only the meta bucket, found " + bucket.Name())
	}
	m.meta[string(key)] = value
}

func (m *memStore) Record(rev schema.Rev) ([]byte, error) { return recordOf(m.records, rev) }

func (m *memStore) reader() *memReader {
	m.shared = true
	m.open.Add(1)
	r := &memReader{store: m, records: slices.Clip(m.records)}
	r.refs.Store(1)
	return r
}

func findRecord(records []memRecord, rev schema.Rev) (int, bool) {
	return slices.BinarySearchFunc(records, rev, func(r memRecord, rev schema.Rev) int { return r.rev.Compare(rev) })
}

func recordOf(records []memRecord, rev schema.Rev) ([]byte, error) {
	i, ok := findRecord(records, rev)
	if !ok || records[i].tombstone {
		return nil, fmt.Errorf("memStore: no put at %v", rev)
	}
	return records[i].record, nil
}

type memReader struct {
	store   *memStore
	records []memRecord
	refs    atomic.Int32
}

func (r *memReader) mustBeHeld() {
	if r.refs.Load() <= 0 {
		panic("memReader: expected a held reader, found a released one")
	}
}

func (r *memReader) Record(rev schema.Rev) ([]byte, error) {
	r.mustBeHeld()
	return recordOf(r.records, rev)
}

func (r *memReader) Records(out [][]byte, revs []schema.Rev) ([][]byte, error) {
	return OneByOne(r.Record).Records(out, revs)
}

func (r *memReader) Sizes(out []int, revs []schema.Rev) ([]int, error) {
	return OneByOne(r.Record).Sizes(out, revs)
}

func (r *memReader) Scan(from, to schema.Rev, fn func(schema.Rev, bool, []byte) bool) error {
	r.mustBeHeld()
	i, _ := findRecord(r.records, from)
	for _, rec := range r.records[i:] {
		if rec.rev.Compare(to) > 0 || !fn(rec.rev, rec.tombstone, rec.record) {
			break
		}
	}
	return nil
}

func (r *memReader) Retain() { r.mustBeHeld(); r.refs.Add(1) }

func (r *memReader) Release() {
	r.mustBeHeld()
	if r.refs.Add(-1) == 0 {
		r.store.open.Add(-1)
	}
}

// options are Options under which a store on m compacts by scanning.
func (m *memStore) options() Options {
	return Options{
		OpenReader: func() Reader {
			if m.frozen != nil {
				m.frozen.Retain()
				return m.frozen
			}
			return m.reader()
		},
		ScheduledCompact: m.meta[schema.MetaScheduledCompact],
		FinishedCompact:  m.meta[schema.MetaFinishedCompact],
	}
}

func restore(t testing.TB, m *memStore, opts Options) *Store {
	t.Helper()
	r := m.reader()
	defer r.Release()
	s, err := Restore(m, r, opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newStore(t testing.TB) (*Store, *memStore) {
	m := newMemStore()
	return restore(t, m, m.options()), m
}

// view takes a view and releases it with the test.
func view(t testing.TB, s *Store, m *memStore) *View {
	v := s.View(m.reader())
	t.Cleanup(v.Release)
	return v
}

func put(s *Store, key, value string, lease int64) []Event {
	tx := s.Begin()
	tx.Put([]byte(key), []byte(value), lease)
	return tx.End()
}

func remove(s *Store, key, end string) []Event {
	tx := s.Begin()
	tx.DeleteRange([]byte(key), []byte(end))
	return tx.End()
}

// compact compacts at rev and does all the work.
func compact(t testing.TB, s *Store, rev int64) {
	t.Helper()
	if err := s.Compact(rev); err != nil {
		t.Fatal(err)
	}
	finishCompaction(t, s, 1000)
}

func finishCompaction(t testing.TB, s *Store, budget int) {
	t.Helper()
	for {
		done, err := s.CompactStep(budget)
		if err != nil {
			t.Fatal(err)
		}
		if done {
			return
		}
	}
}
