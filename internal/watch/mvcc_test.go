package watch

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/quoin-kv/quoin/internal/mvcc"
	"github.com/quoin-kv/quoin/internal/schema"
)

// storage keeps records in memory; it is its own reader, which suits a test that compacts only the index.
type storage struct {
	revs    []schema.Rev
	tombs   []bool
	records [][]byte
	readers atomic.Int64
}

func (m *storage) Append(rev schema.Rev, tombstone bool, record []byte) {
	m.revs = append(m.revs, rev)
	m.tombs = append(m.tombs, tombstone)
	m.records = append(m.records, record)
}

func (m *storage) DeleteRecord(schema.Rev, bool)     {}
func (m *storage) Put(schema.Bucket, []byte, []byte) {}
func (m *storage) Retain()                           { m.readers.Add(1) }
func (m *storage) Release()                          { m.readers.Add(-1) }
func (m *storage) find(rev schema.Rev) (i int, ok bool) {
	return slices.BinarySearchFunc(m.revs, rev, schema.Rev.Compare)
}

func (m *storage) Record(rev schema.Rev) ([]byte, error) {
	i, ok := m.find(rev)
	if !ok || m.tombs[i] {
		return nil, fmt.Errorf("no put at %v", rev)
	}
	return m.records[i], nil
}

func (m *storage) Records(out [][]byte, revs []schema.Rev) ([][]byte, error) {
	return mvcc.OneByOne(m.Record).Records(out, revs)
}

func (m *storage) Sizes(out []int, revs []schema.Rev) ([]int, error) {
	return mvcc.OneByOne(m.Record).Sizes(out, revs)
}

func (m *storage) Scan(from, to schema.Rev, fn func(schema.Rev, bool, []byte) bool) error {
	for i, _ := m.find(from); i < len(m.revs) && m.revs[i].Compare(to) <= 0; i++ {
		if !fn(m.revs[i], m.tombs[i], m.records[i]) {
			break
		}
	}
	return nil
}

// realStore is a History over an mvcc.Store, as the room above builds one.
type realStore struct {
	disk  *storage
	store *mvcc.Store
	view  *mvcc.View
}

func newRealStore(t *testing.T) *realStore {
	s := &realStore{disk: &storage{}}
	var err error
	s.store, err = mvcc.Restore(s.disk, s.disk, mvcc.Options{})
	must(t, err)
	s.publish()
	return s
}

func (s *realStore) publish() {
	if s.view != nil {
		s.view.Release()
	}
	s.disk.Retain()
	s.view = s.store.View(s.disk)
}

func (s *realStore) Acquire() View {
	s.view.Retain()
	return s.view
}

// write runs a random transaction.
func (s *realStore) write(r *rand.Rand) []mvcc.Event {
	tx := s.store.Begin()
	key := func() []byte { return []byte{"abcdef"[r.IntN(6)]} }
	if r.IntN(4) == 0 {
		tx.DeleteRange(key(), key())
	}
	if r.IntN(5) > 0 {
		tx.Put(key(), []byte(fmt.Sprint(r.IntN(1000))), 0)
	}
	events := tx.End()
	s.publish()
	return events
}

// TestHistoryAgreesWithRing: over the real store, a watcher that read every event from the ring and one that starts in the
// past and reads them from the history have received the same bytes.
func TestHistoryAgreesWithRing(t *testing.T) {
	r := newRand(t)
	for range 20 {
		store := newRealStore(t)
		h := New(Config{History: store, Rev: store.store.Rev(), RingRevisions: 2, BatchRevisions: 1 + r.IntN(20), HistoryRevisions: 1 + r.IntN(30)})
		reqs := randomRequests(r)
		fast, got := h.NewStream(StreamConfig{}), map[int64][][]byte{}
		for _, req := range reqs {
			must(t, fast.Create(t.Context(), req))
		}
		for range 100 {
			events := store.write(r)
			h.Publish(store.store.Rev(), events)
			drain(t, fast, got)
			h.check()
		}
		slow, late := h.NewStream(StreamConfig{}), map[int64][][]byte{}
		for _, req := range reqs {
			req.StartRevision = 1
			must(t, slow.Create(t.Context(), req))
		}
		drain(t, slow, late)
		for id, req := range reqs {
			if !slices.EqualFunc(got[int64(id)], late[int64(id)], bytes.Equal) {
				t.Errorf("%+v: %d events live, %d from history", req, len(got[int64(id)]), len(late[int64(id)]))
			}
		}
		afterCompaction(t, h, store)
		h.Close()
		store.view.Release()
		if n := store.disk.readers.Load(); n != 0 {
			t.Errorf("%d readers not released", n)
		}
	}
}

// afterCompaction: at the compacted revision history begins, below it there is none.
func afterCompaction(t *testing.T, h *Hub, store *realStore) {
	at := store.store.Rev() - 10
	must(t, store.store.Compact(at))
	store.publish()
	s := h.NewStream(StreamConfig{})
	defer s.Close()
	for _, start := range []int64{at, at - 1} {
		must(t, s.Create(t.Context(), CreateRequest{RangeEnd: []byte{0}, StartRevision: start, PrevKV: true}))
	}
	compacted := int64(0)
	got := map[int64][][]byte{}
	for _, r := range drain(t, s, got) {
		if r.CompactRevision > 0 && r.WatchID == 1 {
			compacted = r.CompactRevision
		}
	}
	if compacted != at || len(got[1]) > 0 || len(got[0]) < 10 {
		t.Errorf("compacted %d: told %d, %d and %d events", at, compacted, len(got[0]), len(got[1]))
	}
}

func randomRequests(r *rand.Rand) []CreateRequest {
	reqs := make([]CreateRequest, 8)
	for i := range reqs {
		reqs[i] = CreateRequest{
			Key: []byte{"abcdef"[r.IntN(6)]}, PrevKV: r.IntN(2) == 0, NoPut: r.IntN(5) == 0, NoDelete: r.IntN(5) == 0,
		}
		switch r.IntN(3) {
		case 0:
			reqs[i].RangeEnd = []byte("g")
		case 1:
			reqs[i].RangeEnd = []byte{0}
		}
	}
	return reqs
}

// drain takes all responses that are ready and sorts their events by watcher.
func drain(t *testing.T, s *Stream, got map[int64][][]byte) (all []Response) {
	t.Helper()
	for {
		r, done, err := s.step()
		must(t, err)
		if done == idle {
			return all
		}
		if done == responded {
			got[r.WatchID] = append(got[r.WatchID], r.Events...)
			all = append(all, r)
		}
	}
}
