package watch

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/quoin-kv/quoin/internal/interval"
	"github.com/quoin-kv/quoin/internal/mvcc"
)

// Config sets up a Hub. Zero bounds take the defaults.
type Config struct {
	// History is where watchers read what the ring no longer holds, and previous values. Required.
	History History
	// Rev is the store's revision at the start; the first batch published is expected to begin at Rev+1.
	Rev int64
	// RingRevisions bounds the revisions in the ring; default 16384. Memory for the slots is taken at once.
	RingRevisions int
	// RingBytes bounds the bytes in the ring, records and encodings counted separately; default 64 MiB.
	RingBytes int
	// BatchRevisions bounds the distinct revisions in one response to a watcher that is catching up; default 1000.
	BatchRevisions int
	// HistoryRevisions bounds the revisions that one read of history looks through, so that a watcher that finds little in a long past does
	// not keep the others of its stream waiting; default 131072.
	HistoryRevisions int
	// BatchBytes bounds the event bytes of such a response, but a single revision is never cut; default 2 MiB.
	BatchBytes int
	// WatchersPerStreamMax bounds the watchers of one stream; default 1,000,000. One more is refused.
	WatchersPerStreamMax int
	// AnswersPerStreamMax bounds the answers to Create and Cancel that wait to be taken from one stream; default 256.
	// More calls block, which makes the connection stop reading requests.
	AnswersPerStreamMax int
}

func (c *Config) setDefaults() {
	setDefault(&c.RingRevisions, 16384)
	setDefault(&c.RingBytes, 64<<20)
	setDefault(&c.BatchRevisions, 1000)
	setDefault(&c.HistoryRevisions, 1<<17)
	setDefault(&c.BatchBytes, 2<<20)
	setDefault(&c.WatchersPerStreamMax, 1_000_000)
	setDefault(&c.AnswersPerStreamMax, 256)
}

func setDefault(field *int, value int) {
	if *field <= 0 {
		*field = value
	}
}

// Hub is the meeting point of the applier and all watch streams of a member.
//
// Invariants:
//  1. Under the lock, every watcher that is not dead has had all events of its selection up to rev handed out, or its cursor
//     is at or below the first one that was not, and the watcher is queued on its stream.
//  2. The ring is pushed before a watcher is touched: what a queued live watcher waits for is in the ring, or was.
//  3. rev never goes down.
//
// Lock order: Hub, then Stream. Nothing blocks, reads or calls out under either.
type Hub struct {
	cfg   Config
	ring  ring
	stats counters
	past  past
	lists lists
	woken []*Stream // of the batch under way; the publisher's own

	mu struct {
		sync.Mutex
		rev      int64
		closed   bool
		watchers interval.Set[*watcher]
		streams  map[*Stream]struct{}
		touching touching
	}
	touch func(*watcher) bool // touchOne, bound once
}

// lists are for the events of long responses, of which those who catch up need one after the other.
type lists struct{ pool sync.Pool } // of *[][]byte

// get returns an empty list with room for n events.
func (l *lists) get(n int) [][]byte {
	if list, ok := l.pool.Get().(*[][]byte); ok && cap(*list) >= n {
		return *list
	}
	return make([][]byte, 0, n)
}

// put takes a list that nobody reads any more.
func (l *lists) put(list [][]byte) {
	clear(list)
	list = list[:0]
	l.pool.Put(&list)
}

// touching is the event whose watchers are being touched.
type touching struct {
	rev    int64
	delete bool
}

// counters back Stats.
type counters struct {
	streams, watchers, slow, pending, events atomic.Int64
}

// Stats is a reading of the hub's counters.
type Stats struct {
	Streams  int64 // open streams
	Watchers int64 // watchers not yet canceled by their client
	Slow     int64 // watchers that are catching up with the present
	Pending  int64 // watchers for which there are events that were not handed out yet
	Events   int64 // events handed out since the start, once per watcher
}

// New returns a hub without streams.
func New(cfg Config) *Hub {
	cfg.setDefaults()
	h := &Hub{cfg: cfg}
	h.past.slow = &h.stats.slow
	h.ring.init(cfg.Rev, cfg.RingRevisions, cfg.RingBytes)
	h.mu.rev = cfg.Rev
	h.mu.streams = make(map[*Stream]struct{})
	h.touch = h.touchOne
	return h
}

// Close closes all streams. Streams opened later are closed from the start; Publish goes on to do nothing much.
func (h *Hub) Close() {
	for _, s := range h.shut() {
		s.Close()
	}
}

// shut lets no more streams in and returns those that are open.
func (h *Hub) shut() []*Stream {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mu.closed = true
	return slices.Collect(maps.Keys(h.mu.streams))
}

// WakeAll wakes every stream, though nothing has happened: something outside decides what their next step is.
func (h *Hub) WakeAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.mu.streams {
		s.signal()
	}
}

// Stats returns the present counters.
func (h *Hub) Stats() Stats {
	c := &h.stats
	return Stats{
		Streams:  c.streams.Load(),
		Watchers: c.watchers.Load(),
		Slow:     c.slow.Load(),
		Pending:  c.pending.Load(),
		Events:   c.events.Load(),
	}
}

// RingStats says what the ring holds.
type RingStats struct{ Revisions, Bytes int }

// Ring returns what the ring holds.
func (h *Hub) Ring() RingStats {
	h.mu.Lock()
	defer h.mu.Unlock()
	return RingStats{Revisions: int(h.ring.head.Load() - h.ring.low + 1), Bytes: h.ring.bytes}
}

// Publish tells the watchers that the store is at rev, reached by events, which are in order and complete. One goroutine
// calls it, after the View of rev can be acquired and before the writes are answered. It never waits for a watcher; its cost
// grows with the number of events and of watchers that they touch. The hub keeps the events' bytes by reference.
//
// If events do not lead from the last revision to rev without a gap, the store's content was replaced as a whole: the ring
// starts anew and every watcher finds its way from the history. Publish panics if rev goes down.
func (h *Hub) Publish(rev int64, events []mvcc.Event) {
	h.publish(rev, events)
	for i, s := range h.woken {
		s.signal()
		h.woken[i] = nil
	}
	h.woken = h.woken[:0]
}

func (h *Hub) publish(rev int64, events []mvcc.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case rev < h.mu.rev:
		panic(fmt.Sprintf("watch: publish: expected a revision of at least %d, found %d", h.mu.rev, rev))
	case contiguous(h.mu.rev, rev, events):
		split(events, h.add)
	default:
		h.jump(rev)
	}
	h.mu.rev = rev
}

// contiguous reports whether events lead from one revision to another without a gap.
func contiguous(from, to int64, events []mvcc.Event) bool {
	at, first := from, true
	for i := range events {
		main := events[i].Rev.Main
		if main != at+1 && (first || main != at) {
			return false
		}
		at, first = main, false
	}
	return at == to
}

// add takes in the events of one revision.
func (h *Hub) add(events []mvcc.Event) bool {
	h.ring.push(newEntry(events))
	for i := range events {
		ev := &events[i]
		h.mu.touching = touching{rev: ev.Rev.Main, delete: ev.Delete}
		h.mu.watchers.Visit(ev.Key, h.touch)
	}
	return true
}

// touchOne tells a watcher of the event under way.
func (h *Hub) touchOne(w *watcher) bool {
	t := &h.mu.touching
	if !w.sel.filters(t.delete) && w.stream.touch(w, t.rev) {
		h.woken = append(h.woken, w.stream)
	}
	return true
}

// jump lets every watcher look into the history for what happened up to rev.
func (h *Hub) jump(rev int64) {
	h.ring.restart(rev)
	for s := range h.mu.streams {
		if s.jump(h.mu.rev+1, rev) {
			h.woken = append(h.woken, s)
		}
	}
}
