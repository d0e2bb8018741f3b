package watch

import (
	"fmt"
	"sync"

	"github.com/quoin-kv/quoin/internal/interval"
	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/mvcc"
	"github.com/quoin-kv/quoin/internal/schema"
)

// fakeStore is a store as a plain list of all events ever, in the simplest form that can be right.
type fakeStore struct {
	mu        sync.Mutex
	rev       int64
	compacted int64
	log       []mvcc.Event
	live      map[string]liveKey
	views     int    // acquired and not released
	reads     int    // calls of Changes
	err       error  // what Changes fails with
	acquired  func() // called once after the next Acquire
	reading   func() // called once by the next Changes
}

type liveKey struct {
	rev    schema.Rev
	create int64
	ver    int64
}

// change is one put, or a delete if value is nil.
type change struct {
	key   string
	value []byte
}

func newFakeStore() *fakeStore {
	return &fakeStore{rev: 1, compacted: -1, live: map[string]liveKey{}}
}

// apply makes one revision of the changes and returns its events, none if nothing changed.
func (f *fakeStore) apply(changes ...change) []mvcc.Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	main, first := f.rev+1, len(f.log)
	before := map[string]liveKey{}
	for k, v := range f.live {
		before[k] = v
	}
	for _, c := range changes {
		now, was := f.live[c.key]
		if c.value == nil && !was {
			continue
		}
		rev := schema.Rev{Main: main, Sub: int64(len(f.log) - first)}
		ev := mvcc.Event{Rev: rev, Delete: c.value == nil, Key: []byte(c.key), Prev: before[c.key].rev}
		kv := schema.KeyValue{Key: ev.Key}
		if ev.Delete {
			delete(f.live, c.key)
		} else {
			if !was {
				now.create, ev.Prev = main, schema.Rev{}
			}
			now.rev, now.ver = rev, now.ver+1
			f.live[c.key] = now
			kv.CreateRevision, kv.ModRevision, kv.Version, kv.Value = now.create, main, now.ver, c.value
		}
		ev.Record = kv.Append(nil)
		f.log = append(f.log, ev)
	}
	if len(f.log) > first {
		f.rev = main
	}
	return f.log[first:len(f.log):len(f.log)]
}

func (f *fakeStore) compact(rev int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.compacted = max(f.compacted, rev)
}

func (f *fakeStore) revision() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rev
}

func (f *fakeStore) Acquire() View {
	f.mu.Lock()
	f.views++
	v := &fakeView{store: f, rev: f.rev, compacted: f.compacted, log: f.log[:len(f.log):len(f.log)]}
	f.mu.Unlock()
	once(&f.acquired)
	return v
}

// once calls and forgets a hook, if there is one.
func once(hook *func()) {
	if call := *hook; call != nil {
		*hook = nil
		call()
	}
}

type fakeView struct {
	store          *fakeStore
	rev, compacted int64
	log            []mvcc.Event
	released       bool
}

func (v *fakeView) Rev() int64        { return v.rev }
func (v *fakeView) CompactRev() int64 { return v.compacted }

func (v *fakeView) Release() {
	v.store.mu.Lock()
	defer v.store.mu.Unlock()
	if v.released {
		panic("view released twice")
	}
	v.released = true
	v.store.views--
}

func (v *fakeView) Record(rev schema.Rev) ([]byte, error) {
	for i := range v.log {
		if v.log[i].Rev == rev {
			return v.log[i].Record, nil
		}
	}
	return nil, fmt.Errorf("no record %v", rev)
}

func (v *fakeView) Changes(q mvcc.ChangesQuery) (mvcc.Changes, error) {
	v.store.mu.Lock()
	v.store.reads++
	err := v.store.err
	v.store.mu.Unlock()
	once(&v.store.reading)
	if err != nil {
		return mvcc.Changes{}, err
	}
	if q.From < v.compacted {
		return mvcc.Changes{}, kverr.Compacted
	}
	c := mvcc.Changes{Next: min(q.To, v.rev) + 1}
	revs, bytes, last := 0, 0, int64(0)
	for i := range v.log {
		ev := &v.log[i]
		if ev.Rev.Main < q.From || ev.Rev.Main > q.To || !interval.Make(q.Key, q.End).Contains(ev.Key) {
			continue
		}
		if ev.Rev.Main != last {
			if revs == q.MaxRevisions || bytes >= q.MaxBytes {
				c.Next = last + 1
				break
			}
			revs, last = revs+1, ev.Rev.Main
		}
		c.Events = append(c.Events, *ev)
		bytes += len(ev.Record)
	}
	return c, nil
}

// check panics if one of the invariants in the comments of Hub, Stream, watcher and ring is broken. Nothing else may run.
func (h *Hub) check() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ring.check()
	want(h.ring.head.Load() == h.mu.rev, "ring at %d, hub at %d", h.ring.head.Load(), h.mu.rev)
	var sum Stats
	for s := range h.mu.streams {
		s.check(&sum)
	}
	sum.Streams, sum.Events = int64(len(h.mu.streams)), h.stats.events.Load()
	want(sum == h.Stats(), "counted %+v, stats say %+v", sum, h.Stats())
	want(int(sum.Watchers) == h.mu.watchers.Len(), "%d watchers, %d registered", sum.Watchers, h.mu.watchers.Len())
}

func (s *Stream) check(sum *Stats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	listed := map[*watcher]bool{}
	for w := s.mu.ready.first; w != nil; w = w.after {
		listed[w] = true
	}
	for w := s.mu.aside.first; w != nil; w = w.after {
		listed[w] = true
		want(!w.queued || w.next > s.mu.progress.barrier(), "watcher %d is aside for nothing", w.id)
	}
	want(s.mu.aside.empty() || len(s.mu.progress.waiting) > 0, "watchers aside, nothing waits")
	pending := 0
	for id, w := range s.mu.watchers {
		want(w.id == id && w.stream == s && !w.gone, "watcher %d under id %d, gone %v", w.id, id, w.gone)
		want(!w.queued || listed[w], "watcher %d is queued but not in the ready list", id)
		want(w.dead || w.queued == (w.next <= w.last), "watcher %d: queued %v, next %d, last %d", id, w.queued, w.next, w.last)
		want(!w.dead || !w.queued && !w.behind, "watcher %d: dead, queued %v, behind %v", id, w.queued, w.behind)
		want(!w.behind || w.queued, "watcher %d: behind with nothing to do", id)
		sum.Watchers++
		if w.queued {
			pending++
		}
		if w.behind {
			sum.Slow++
		}
	}
	want(pending == s.mu.pending, "counted %d pending, found %d", pending, s.mu.pending)
	sum.Pending += int64(pending)
	for i, p := range s.mu.progress.waiting {
		n := 0
		for _, w := range s.mu.watchers {
			if w.queued && w.next <= p.rev {
				n++
			}
		}
		want(n == p.behind && n > 0, "progress %d at %d waits for %d, counted %d", i, p.rev, p.behind, n)
	}
}

func (r *ring) check() {
	bytes, held := 0, 0
	for i := range r.slots {
		if e := r.slots[i].Load(); e != nil {
			want(r.slot(e.rev) == &r.slots[i], "revision %d in slot %d", e.rev, i)
			want(e.rev >= r.low && e.rev <= r.head.Load(), "revision %d outside %d..%d", e.rev, r.low, r.head.Load())
			bytes, held = bytes+e.bytes(), held+1
		}
	}
	want(held == int(r.head.Load()-r.low+1), "%d entries in %d..%d", held, r.low, r.head.Load())
	want(bytes == r.bytes, "%d bytes counted, %d found", r.bytes, bytes)
	want(bytes <= r.bytesMax || held == 1, "%d bytes in %d entries, bound %d", bytes, held, r.bytesMax)
}

func want(ok bool, format string, args ...any) {
	if !ok {
		panic("watch: invariant: " + fmt.Sprintf(format, args...))
	}
}
