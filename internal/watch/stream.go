package watch

import (
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/quoin-kv/quoin/internal/interval"
	"github.com/quoin-kv/quoin/internal/kverr"
)

// ErrClosed is returned by the methods of a closed stream.
var ErrClosed = errors.New("watch: stream closed")

// invalidID stands for no watcher; clients cannot choose it.
const invalidID = -1

// Texts of refusals; clients know them.
const (
	reasonEmptyRange  = "mvcc: watcher range is empty"
	reasonDuplicateID = "mvcc: duplicate watch ID provided on the WatchStream"
)

// StreamConfig sets up a Stream.
type StreamConfig struct {
	// Ticks makes the periodic progress responses due, one round per tick; nil for none. The caller owns the ticker, its
	// interval and its jitter.
	Ticks <-chan time.Time
	// FragmentBytes is the size from which on responses to watchers that asked for it are sent in parts; 0 for never.
	FragmentBytes int
}

// CreateRequest asks for a watcher.
type CreateRequest struct {
	// Key and RangeEnd say which keys, as in all requests, but an empty Key means "\x00". They are copied.
	Key, RangeEnd []byte
	// StartRevision is the first revision wanted, in the past or the future; 0 for the next one.
	StartRevision int64
	// WatchID is the id the client wants; 0 lets the stream choose.
	WatchID int64
	// Refusal says why the client may not watch the range, in the words for the client, or nothing if it may. It is asked when the watcher
	// would begin, under the locks of the hub and of the stream; nil is never refused.
	Refusal func() string

	NoPut, NoDelete bool // leave out these events
	PrevKV          bool // with the value before each event
	Fragment        bool // large responses may come in parts
	ProgressNotify  bool // periodic progress when nothing happens
}

// Stream is one connection's watchers. Create, Cancel, Progress and Close may be called at any time; Next and the responses
// it returns belong to one goroutine.
//
// Invariants:
//  1. Answers go out in the order in which they came up, and before any event that was not being read already. So created
//     comes before the watcher's events, and canceled after all of them.
//  2. A progress answer at revision R is queued only when no watcher that it speaks for has an event <= R left to hand out.
//  3. pending is the number of queued watchers; each waiting progress at R counts those of them with cursors <= R.
//  4. No event above R is handed out while a progress at R waits.
//  5. A watcher with something to do is served one response, then goes to the end of the ready list.
type Stream struct {
	hub   *Hub
	cfg   StreamConfig
	slots chan struct{} // one element per answer to Create or Cancel not yet taken
	wake  chan struct{} // has an element if there may be something to do
	done  chan struct{} // closed by Close
	parts parts         // Next's own

	caughtUp bool     // Next's own
	lent     [][]byte // Next's own: the list of the last response, if it goes back to the hub

	mu struct {
		sync.Mutex
		closed   bool
		watchers map[int64]*watcher
		nextID   int64
		answers  answers
		ready    ready
		aside    ready // past the oldest waiting progress
		pending  int
		progress progress
	}
}

// answer is a response that is not made of events.
type answer struct {
	Response
	kind    answerKind
	watcher *watcher // of a periodic progress
}

type answerKind uint8

const (
	answerRequest  answerKind = iota // to Create or Cancel: gives back a slot
	answerCompact                    // at most one per watcher
	answerProgress                   // to a progress request: bounded by progressMax
	answerTick                       // at most one per watcher
	answerDenied                     // at most one per watcher
)

// answers is a queue that frees its memory when it has been emptied.
type answers struct {
	list []answer
	head int
}

func (q *answers) push(a answer) { q.list = append(q.list, a) }

func (q *answers) pop() (a answer, ok bool) {
	if q.head == len(q.list) {
		return answer{}, false
	}
	a, q.list[q.head] = q.list[q.head], answer{}
	q.head++
	if q.head == len(q.list) {
		*q = answers{}
	}
	return a, true
}

// NewStream opens a stream. The caller must Close it.
func (h *Hub) NewStream(cfg StreamConfig) *Stream {
	s := &Stream{
		hub:   h,
		cfg:   cfg,
		slots: make(chan struct{}, h.cfg.AnswersPerStreamMax),
		wake:  make(chan struct{}, 1),
		done:  make(chan struct{}),
	}
	s.mu.watchers = make(map[int64]*watcher)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.mu.closed {
		s.mu.closed = true
		close(s.done)
		s.signal()
		return s
	}
	h.mu.streams[s] = struct{}{}
	h.stats.streams.Add(1)
	return s
}

// Close ends the stream: its watchers are gone and Next returns ErrClosed. Closing again does nothing.
func (s *Stream) Close() {
	h := s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.closed {
		return
	}
	s.mu.closed = true
	for _, w := range s.mu.watchers {
		s.remove(w)
	}
	s.mu.answers, s.mu.ready, s.mu.aside = answers{}, ready{}, ready{}
	delete(h.mu.streams, s)
	h.stats.streams.Add(-1)
	close(s.done)
	s.signal()
}

// Create adds a watcher and queues the answer: created, or created and canceled if it is refused. It blocks while too many
// answers wait to be taken. The error is ErrClosed or ctx's.
func (s *Stream) Create(ctx context.Context, req CreateRequest) error {
	if err := s.reserve(ctx); err != nil {
		return err
	}
	rev, compacted := s.hub.present()
	w := s.newWatcher(&req)
	h := s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.closed {
		return ErrClosed
	}
	rev = max(rev, h.mu.rev)
	r := Response{WatchID: invalidID, Created: true, HeaderRevision: rev}
	if r.CancelReason = s.refusal(&req, w); r.CancelReason != "" {
		r.Canceled = true
		s.answer(answer{Response: r})
		return nil
	}
	w.id = s.assign(req.WatchID)
	r.WatchID = w.id
	s.answer(answer{Response: r})
	s.admit(w, rev, compacted)
	return nil
}

// Cancel ends a watcher and queues the answer; an unknown id is ignored. It blocks like Create.
func (s *Stream) Cancel(ctx context.Context, id int64) error {
	if err := s.reserve(ctx); err != nil {
		return err
	}
	rev, _ := s.hub.present()
	h := s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.closed {
		return ErrClosed
	}
	w := s.mu.watchers[id]
	if w == nil {
		<-s.slots
		return nil
	}
	s.answer(answer{Response: Response{WatchID: id, Canceled: true, HeaderRevision: max(rev, h.mu.rev)}})
	s.remove(w)
	return nil
}

// Review ends the watchers whose range is refused any longer, queues the answers with the reasons, and returns the ids in order. refusal
// returns the reason in the words for the client, or nothing; it must not call the stream.
func (s *Stream) Review(refusal func(interval.Range) string) (ended []int64) {
	rev, _ := s.hub.present()
	h := s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(s.mu.watchers)) {
		w := s.mu.watchers[id]
		reason := refusal(w.sel.rng)
		if reason == "" || s.mu.closed {
			continue
		}
		s.answer(answer{
			Response: Response{WatchID: id, Canceled: true, CancelReason: reason, HeaderRevision: max(rev, h.mu.rev)}, kind: answerDenied,
		})
		s.remove(w)
		ended = append(ended, id)
	}
	return ended
}

// reserve takes a slot for an answer.
func (s *Stream) reserve(ctx context.Context) error {
	select {
	case s.slots <- struct{}{}:
		return nil
	case <-s.done:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// present returns the store's revision and compacted revision. The store may be ahead of the hub for a moment; a watcher that
// starts "now" must not see what its client can already have seen.
func (h *Hub) present() (rev, compacted int64) {
	view := h.cfg.History.Acquire()
	defer view.Release()
	return view.Rev(), view.CompactRev()
}

func (s *Stream) newWatcher(req *CreateRequest) *watcher {
	key := req.Key
	if len(key) == 0 {
		key = []byte{0}
	}
	return &watcher{
		stream: s,
		sel: selection{
			rng:      interval.Make(key, req.RangeEnd),
			noPut:    req.NoPut,
			noDelete: req.NoDelete,
			prevKV:   req.PrevKV,
		},
		start:    req.StartRevision,
		fragment: req.Fragment,
		progress: req.ProgressNotify,
	}
}

// refusal returns why a watcher cannot be, checked in the order that clients know.
func (s *Stream) refusal(req *CreateRequest, w *watcher) string {
	if req.StartRevision < 0 {
		return kverr.Compacted.Text
	}
	if req.Refusal != nil {
		if reason := req.Refusal(); reason != "" {
			return reason
		}
	}
	_, taken := s.mu.watchers[req.WatchID]
	switch {
	case w.sel.rng.Empty():
		return reasonEmptyRange
	case req.WatchID == invalidID || req.WatchID != 0 && taken:
		return reasonDuplicateID
	case len(s.mu.watchers) >= s.hub.cfg.WatchersPerStreamMax:
		return kverr.TooManyRequests.Text
	}
	return ""
}

// assign returns the id for a watcher that asked for id.
func (s *Stream) assign(id int64) int64 {
	if id != 0 {
		return id
	}
	for s.mu.watchers[s.mu.nextID] != nil {
		s.mu.nextID++
	}
	s.mu.nextID++
	return s.mu.nextID - 1
}

// admit makes w a watcher of a store at rev. Hub and stream are locked.
func (s *Stream) admit(w *watcher, rev, compacted int64) {
	s.mu.watchers[w.id] = w
	w.registered = s.hub.mu.watchers.Insert(w.sel.rng, w)
	s.hub.stats.watchers.Add(1)
	w.next = w.start
	if w.start == 0 {
		w.next = rev + 1
	}
	w.last = w.next - 1
	switch {
	case w.next > rev:
	case w.next < compacted:
		s.kill(w, compacted)
	default:
		w.last = rev
		s.setBehind(w, true)
		s.enqueue(w)
		s.mu.progress.count(w.next)
	}
}

// kill ends a watcher whose cursor has fallen below the compacted revision. It keeps its id.
func (s *Stream) kill(w *watcher, compacted int64) {
	s.answer(answer{
		Response: Response{WatchID: w.id, Canceled: true, CompactRevision: compacted},
		kind:     answerCompact,
	})
	s.setBehind(w, false)
	s.idle(w) // may answer progress requests, which must come after
	w.dead = true
}

// remove forgets a watcher. Hub and stream are locked.
func (s *Stream) remove(w *watcher) {
	s.hub.mu.watchers.Remove(w.registered)
	delete(s.mu.watchers, w.id)
	s.hub.stats.watchers.Add(-1)
	s.setBehind(w, false)
	s.idle(w)
	w.gone = true
}

// enqueue puts a watcher that has something to do into the ready list and reports whether the list was empty.
func (s *Stream) enqueue(w *watcher) bool {
	empty := s.mu.ready.empty()
	s.mu.ready.push(w)
	w.queued = true
	s.mu.pending++
	s.hub.stats.pending.Add(1)
	return empty
}

// idle notes that a watcher has nothing to do any more. It may still be in the ready list, which skips it.
func (s *Stream) idle(w *watcher) {
	if !w.queued {
		return
	}
	w.queued = false
	s.mu.pending--
	s.hub.stats.pending.Add(-1)
	s.settle(w.next, math.MaxInt64)
}

func (s *Stream) setBehind(w *watcher, behind bool) {
	if w.behind == behind {
		return
	}
	w.behind = behind
	n := int64(1)
	if !behind {
		n = -1
	}
	if s.hub.stats.slow.Add(n) == 0 {
		s.hub.past.forget()
	}
}

// answer queues an answer and wakes Next.
func (s *Stream) answer(a answer) {
	s.mu.answers.push(a)
	s.signal()
}

// signal wakes Next, or keeps it from going to sleep the next time.
func (s *Stream) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// touch tells a watcher of an event at rev and reports whether the stream has to be woken. The hub is locked.
func (s *Stream) touch(w *watcher, rev int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.dead || rev < w.next {
		return false
	}
	w.last = max(w.last, rev)
	if w.queued {
		return false
	}
	w.next = rev
	return s.enqueue(w)
}

// jump makes all watchers look at everything in [from, rev] and reports whether the stream has to be woken. The hub is
// locked.
func (s *Stream) jump(from, rev int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	wake := false
	for _, w := range s.mu.watchers {
		if w.dead {
			continue
		}
		if !w.queued {
			w.next = max(w.next, from)
		}
		if w.next > rev {
			continue
		}
		w.last = max(w.last, rev)
		if !w.queued {
			wake = s.enqueue(w) || wake
		}
	}
	return wake
}
