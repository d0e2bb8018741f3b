package watch

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"

	"github.com/quoin-kv/quoin/internal/interval"
	"github.com/quoin-kv/quoin/internal/mvcc"
	"github.com/quoin-kv/quoin/internal/schema"
)

var seed = flag.Uint64("seed", 0, "seed of the property tests; 0 draws one")

func newRand(tb testing.TB) *rand.Rand {
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	tb.Logf("reproduce with -seed=%d", s)
	return rand.New(rand.NewPCG(s, 0))
}

// client is what one watcher's client knows and expects.
type client struct {
	req      CreateRequest
	rng      interval.Range
	created  int64 // header revision
	from     int64 // first revision expected
	got      []string
	lastRev  int64
	parts    bool  // inside a fragmented response
	progress int64 // no event at or below may follow
	ended    bool
}

// wants returns the model's answer: the texts of all events that the client must have got up to a revision.
func (c *client) wants(log []mvcc.Event, to int64) (texts []string) {
	for i := range log {
		ev := &log[i]
		if ev.Rev.Main < c.from || ev.Rev.Main > to || !c.rng.Contains(ev.Key) {
			continue
		}
		if ev.Delete && c.req.NoDelete || !ev.Delete && c.req.NoPut {
			continue
		}
		texts = append(texts, text(ev.Rev.Main, ev.Delete, string(ev.Key)))
	}
	return texts
}

func text(rev int64, isDelete bool, key string) string {
	return fmt.Sprintf("%d %v %q", rev, isDelete, key)
}

// world is one run: a store, a hub, a few streams and what their clients know.
type world struct {
	t       *testing.T
	r       *rand.Rand
	store   *fakeStore
	hub     *Hub
	streams []*worldStream
	ahead   []mvcc.Event // in the store, not yet published
}

type worldStream struct {
	*Stream
	ticks   chan time.Time
	clients map[int64]*client
	asked   []*client // creates not yet answered
	all     int64     // progress of the whole stream
}

func newWorld(t *testing.T, r *rand.Rand) *world {
	w := &world{t: t, r: r, store: newFakeStore()}
	w.hub = New(Config{
		History: w.store, Rev: 1, RingRevisions: 1 + r.IntN(30), RingBytes: 2000 + r.IntN(20_000),
		BatchRevisions: 1 + r.IntN(10), HistoryRevisions: 1 + r.IntN(50), BatchBytes: 1 + r.IntN(500),
	})
	for range 1 + r.IntN(4) {
		ticks := make(chan time.Time, 1)
		w.streams = append(w.streams, &worldStream{
			Stream:  w.hub.NewStream(StreamConfig{Ticks: ticks, FragmentBytes: 150 + r.IntN(300)}),
			ticks:   ticks,
			clients: map[int64]*client{},
		})
	}
	return w
}

func TestWatchersAgainstModel(t *testing.T) {
	r := newRand(t)
	for round := range 120 {
		w := newWorld(t, r)
		eager := r.IntN(20) // some worlds take responses rarely, so that rings overflow
		for range 200 {
			w.act(eager)
			w.hub.check()
			if t.Failed() {
				t.Fatalf("round %d", round)
			}
		}
		w.finish()
		if t.Failed() {
			t.Fatalf("round %d, end", round)
		}
	}
}

func (w *world) act(eager int) {
	s := w.streams[w.r.IntN(len(w.streams))]
	switch n := w.r.IntN(40); {
	case n < 15:
		w.write()
	case n < 19:
		w.create(s)
	case n == 19:
		w.cancel(s)
	case n == 20:
		w.compact()
	case n == 21:
		s.Progress()
	case n == 22:
		select {
		case s.ticks <- time.Time{}:
		default:
		}
	case n == 23 && w.r.IntN(4) == 0:
		w.install()
	default:
		for range w.r.IntN(1 + eager) {
			w.step(s)
		}
	}
}

func (w *world) key() string { return string("abcdef"[w.r.IntN(6)]) + "xyz"[:w.r.IntN(2)] }

func (w *world) changes() (list []change) {
	for range 1 + w.r.IntN(4) {
		c := change{key: w.key(), value: []byte(strings.Repeat("v", w.r.IntN(120)))}
		if w.r.IntN(4) == 0 {
			c.value = nil
		}
		list = append(list, c)
	}
	return list
}

// write makes a few revisions and, mostly, publishes them.
func (w *world) write() {
	for range 1 + w.r.IntN(3) {
		w.ahead = append(w.ahead, w.store.apply(w.changes()...)...)
	}
	if w.r.IntN(4) > 0 {
		w.publish()
	}
}

func (w *world) publish() {
	w.hub.Publish(w.store.revision(), w.ahead)
	w.ahead = nil
}

// install lets the store move on behind the hub's back.
func (w *world) install() {
	for range 1 + w.r.IntN(5) {
		w.store.apply(w.changes()...)
	}
	w.ahead = nil
	w.publish()
}

func (w *world) compact() {
	w.store.compact(w.store.rev - int64(w.r.IntN(15)))
}

func (w *world) create(s *worldStream) {
	if len(s.slots) == cap(s.slots) {
		return
	}
	req := CreateRequest{
		Key: []byte(w.key()), StartRevision: max(0, w.store.rev+3-int64(w.r.IntN(30))),
		NoPut: w.r.IntN(6) == 0, NoDelete: w.r.IntN(6) == 0, PrevKV: w.r.IntN(3) == 0,
		Fragment: w.r.IntN(3) == 0, ProgressNotify: w.r.IntN(2) == 0,
	}
	switch w.r.IntN(4) {
	case 0:
		req.RangeEnd = []byte{0}
	case 1, 2:
		req.RangeEnd = []byte("g")
	}
	if w.r.IntN(2) == 0 {
		req.StartRevision = 0
	}
	must(w.t, s.Create(w.t.Context(), req))
	s.asked = append(s.asked, &client{req: req, rng: interval.Make(req.Key, req.RangeEnd), from: req.StartRevision})
}

func (w *world) cancel(s *worldStream) {
	if len(s.clients) == 0 || len(s.slots) == cap(s.slots) {
		return
	}
	must(w.t, s.Cancel(w.t.Context(), int64(w.r.IntN(len(s.clients)+1))))
}

// step takes one response of a stream, if there is one, and judges it.
func (w *world) step(s *worldStream) outcome {
	r, done, err := s.step()
	must(w.t, err)
	if done == responded {
		w.judge(s, r)
	}
	return done
}

func (w *world) judge(s *worldStream, r Response) {
	c := s.clients[r.WatchID]
	switch {
	case r.Created:
		c, s.asked = s.asked[0], s.asked[1:]
		c.created = r.HeaderRevision
		if c.from == 0 {
			c.from = c.created + 1
		}
		s.clients[r.WatchID] = c
	case r.WatchID == invalidID:
		w.judgeProgress(s, r)
	case c == nil:
		w.t.Errorf("response for unknown watcher: %s", describe(r))
	case r.Canceled:
		w.judgeCanceled(s, c, r)
	case len(r.Events) == 0:
		w.complete(c, r.HeaderRevision)
		c.progress = max(c.progress, r.HeaderRevision)
	default:
		w.judgeEvents(s, c, r)
	}
}

func (w *world) judgeProgress(s *worldStream, r Response) {
	for _, c := range s.clients {
		if !c.ended {
			w.complete(c, r.HeaderRevision)
			c.progress = max(c.progress, r.HeaderRevision)
		}
	}
	if r.HeaderRevision < s.all {
		w.t.Errorf("progress went down from %d to %d", s.all, r.HeaderRevision)
	}
	s.all = r.HeaderRevision
}

// complete fails unless the client got every event up to a revision.
func (w *world) complete(c *client, rev int64) {
	want := c.wants(w.store.log, rev)
	if len(c.got) < len(want) || !slices.Equal(c.got[:len(want)], want) {
		w.t.Errorf("progress at %d: got %v, want at least %v", rev, c.got, want)
	}
}

func (w *world) judgeCanceled(s *worldStream, c *client, r Response) {
	if r.CompactRevision == 0 {
		delete(s.clients, r.WatchID)
	} else if r.HeaderRevision != 0 || r.CompactRevision > w.store.compacted || c.ended {
		w.t.Errorf("odd end: %s", describe(r))
	}
	c.ended = true
	want := c.wants(w.store.log, w.store.rev)
	if len(c.got) > len(want) || !slices.Equal(c.got, want[:len(c.got)]) {
		w.t.Errorf("canceled: got %v, want the beginning of %v", c.got, want)
	}
	if r.CompactRevision > 0 && len(c.got) < len(want) {
		if next := want[len(c.got)]; revOf(next) >= r.CompactRevision && c.from >= r.CompactRevision {
			w.t.Errorf("canceled by compaction at %d, but %s was still there", r.CompactRevision, next)
		}
	}
}

func revOf(text string) (rev int64) {
	fmt.Sscan(text, &rev)
	return rev
}

func (w *world) judgeEvents(s *worldStream, c *client, r Response) {
	revs := map[int64]bool{}
	for _, b := range r.Events {
		var ev mvccpb.Event
		must(w.t, proto.Unmarshal(b, &ev))
		rev := ev.Kv.ModRevision
		revs[rev] = true
		switch {
		case c.ended:
			w.t.Errorf("event after the end: %s", describe(r))
		case rev <= c.progress:
			w.t.Errorf("event %d after progress %d", rev, c.progress)
		case rev < c.lastRev || rev == c.lastRev && len(revs) == 1 && !c.parts:
			w.t.Errorf("revision %d came in more than one response", rev)
		case rev > r.HeaderRevision:
			w.t.Errorf("header before event: %s", describe(r))
		}
		w.judgePrev(c, &ev)
		c.got = append(c.got, text(rev, ev.Type == mvccpb.Event_DELETE, string(ev.Kv.Key)))
		c.lastRev = rev
		c.parts = true // further events of this response may have the same revision
	}
	c.parts = r.Fragment
	if r.Fragment && !c.req.Fragment {
		w.t.Errorf("fragment for one who did not ask: %s", describe(r))
	}
	if n := len(revs); n > w.hub.cfg.BatchRevisions {
		w.t.Errorf("%d revisions in one response", n)
	}
}

// judgePrev compares the previous value with the model. It may be missing once its revision is compacted.
func (w *world) judgePrev(c *client, ev *mvccpb.Event) {
	want, found := w.valueAt(string(ev.Kv.Key), ev.Kv.ModRevision-1)
	creation := ev.Type == mvccpb.Event_PUT && ev.Kv.Version == 1
	switch {
	case ev.PrevKv == nil && c.req.PrevKV && found && !creation && ev.Kv.ModRevision-1 >= w.store.compacted:
		w.t.Errorf("no previous value with %v", ev)
	case ev.PrevKv == nil:
	case !c.req.PrevKV || !found || creation || ev.PrevKv.ModRevision != want:
		w.t.Errorf("unexpected previous value with %v, key found: %v at %d", ev, found, want)
	}
}

// valueAt returns the modification revision of a key's value as of a revision.
func (w *world) valueAt(key string, rev int64) (mod int64, found bool) {
	for i := range w.store.log {
		ev := &w.store.log[i]
		if ev.Rev.Main > rev {
			break
		}
		if string(ev.Key) == key {
			mod, found = ev.Rev.Main, !ev.Delete
		}
	}
	return mod, found
}

// finish takes everything and demands that nobody misses anything, then closes.
func (w *world) finish() {
	w.publish()
	for _, s := range w.streams {
		for w.step(s) != idle && !w.t.Failed() {
			w.hub.check()
		}
		for id, c := range s.clients {
			if want := c.wants(w.store.log, w.store.rev); !c.ended && !slices.Equal(c.got, want) {
				w.t.Errorf("watcher %d %+v: got %v, want %v", id, c.req, c.got, want)
			}
		}
		w.finishProgress(s)
		s.Close()
	}
	if w.store.views != 0 {
		w.t.Errorf("%d views not released", w.store.views)
	}
	if got, want := w.hub.Stats(), (Stats{Events: w.hub.Stats().Events}); got != want {
		w.t.Errorf("after closing: %+v", got)
	}
}

// finishProgress asks an idle stream for progress, which must come unless a rule forbids it.
func (w *world) finishProgress(s *worldStream) {
	allowed := len(s.clients) > 0
	for _, c := range s.clients {
		allowed = allowed && !c.ended && c.req.StartRevision <= w.store.rev
	}
	s.Progress()
	r, done, err := s.step()
	must(w.t, err)
	if got := done == responded; got != allowed {
		w.t.Errorf("progress on an idle stream: got %v %v, allowed %v", got, describe(r), allowed)
	}
	if allowed && (r.WatchID != invalidID || r.HeaderRevision != w.store.rev) {
		w.t.Errorf("progress at %d: %s", w.store.rev, describe(r))
	}
}

func TestRingAgainstSlice(t *testing.T) {
	r := newRand(t)
	for range 50 {
		var ring ring
		rev := int64(r.IntN(5))
		ring.init(rev, 1+r.IntN(20), 1000+r.IntN(10_000))
		for range 200 {
			rev++
			if r.IntN(50) == 0 {
				rev += int64(r.IntN(40))
				ring.restart(rev)
				rev++
			}
			ev := mvcc.Event{Rev: schema.Rev{Main: rev}, Key: []byte("k"), Record: make([]byte, r.IntN(3000))}
			ring.push(newEntry([]mvcc.Event{ev}))
			ring.check()
			for at := rev - 30; at < rev+30; at++ {
				if e := ring.at(at); (e != nil) != (at >= ring.low && at <= rev) || e != nil && e.rev != at {
					t.Fatalf("at(%d) = %v with %d..%d", at, e, ring.low, rev)
				}
			}
			if ring.at(rev) == nil {
				t.Fatal("the newest revision is not held")
			}
		}
	}
}
