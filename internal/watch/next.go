package watch

import (
	"context"
	"fmt"
	"slices"

	"github.com/quoin-kv/quoin/internal/mvcc"
)

// scanMax bounds the revisions of the ring that are looked at before another watcher has its turn.
const scanMax = 4096

// Next returns the next response, waiting for one if need be. The error is ctx's, ErrClosed, or what reading the history
// failed with; the last one ends the stream.
//
// Answers go first; then the watchers with events take turns, one response each, so that none starves the others.
func (s *Stream) Next(ctx context.Context) (Response, error) {
	for {
		r, done, err := s.step()
		if err == nil && done == idle {
			err = s.wait(ctx)
		} else if err == nil && done == moved {
			err = ctx.Err()
		}
		if err != nil || done == responded {
			return r, err
		}
	}
}

// open returns ErrClosed if there was nothing to do because the stream is closed.
func (s *Stream) open(done outcome) error {
	if done != idle {
		return nil
	}
	select {
	case <-s.done:
		return ErrClosed
	default:
		return nil
	}
}

// outcome is what a step has achieved.
type outcome uint8

const (
	idle      outcome = iota // there was nothing to do
	moved                    // a cursor moved, or an answer came up
	responded                // here is a response
)

// step takes what comes next without waiting for it.
func (s *Stream) step() (Response, outcome, error) {
	if r, ok := s.parts.take(s.cfg.FragmentBytes); ok {
		return r, responded, nil
	}
	s.pollTicks()
	r, j, done := s.take()
	if done != moved {
		return r, done, s.open(done)
	}
	if err := s.serve(j); err != nil {
		return Response{}, moved, err
	}
	if r, ok := s.parts.take(s.cfg.FragmentBytes); ok {
		return r, responded, nil
	}
	return Response{}, moved, nil
}

// take takes the oldest answer, or else a response that only has to be handed out, or else a job for serve.
func (s *Stream) take() (r Response, j job, done outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r, ok := s.takeAnswer(); ok {
		return r, j, responded
	}
	j, ok := s.takeJob()
	if !ok {
		return r, j, idle
	}
	if p := s.atHand(&j); p != nil {
		return s.handOut(j.w, p, j.next), j, responded
	}
	return r, j, moved
}

// atHand is what a watcher that follows the present gets of its next revision, if that is encoded already.
func (s *Stream) atHand(j *job) *payload {
	if j.behind || j.w.fragment {
		return nil
	}
	e := s.hub.ring.at(j.next)
	if e == nil {
		return nil
	}
	return e.ready(&j.w.sel)
}

// handOut moves the cursor of a watcher behind a revision and makes the response.
func (s *Stream) handOut(w *watcher, p *payload, rev int64) Response {
	s.moveOn(w, rev+1)
	w.active = true
	s.hub.stats.events.Add(int64(len(p.events)))
	return Response{WatchID: w.id, HeaderRevision: rev, Events: p.events}
}

// wait sleeps until there may be something to do.
func (s *Stream) wait(ctx context.Context) error {
	select {
	case <-s.wake:
		return nil
	case <-s.cfg.Ticks:
		s.tick()
		return nil
	case <-s.done:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// pollTicks handles a tick that came while there was something else to do.
func (s *Stream) pollTicks() {
	if s.cfg.Ticks == nil {
		return
	}
	select {
	case <-s.cfg.Ticks:
		s.tick()
	default:
	}
}

// takeAnswer takes the oldest answer.
func (s *Stream) takeAnswer() (Response, bool) {
	a, ok := s.mu.answers.pop()
	if !ok {
		return Response{}, false
	}
	switch a.kind {
	case answerRequest:
		<-s.slots
	case answerProgress:
		s.mu.progress.open--
	case answerTick:
		a.watcher.ticked = false
	}
	return a.Response, true
}

// job is one turn of a watcher: what Next knows of it while no lock is held.
type job struct {
	w          *watcher
	next, last int64
	behind     bool
	barrier    int64 // events above it have to wait
}

// takeJob takes the first watcher that has something to do. It stays marked as queued until commit. Watchers that are past a
// waiting progress request are put aside until it is answered.
func (s *Stream) takeJob() (job, bool) {
	barrier := s.mu.progress.barrier()
	for w := s.mu.ready.pop(); w != nil; w = s.mu.ready.pop() {
		switch {
		case !w.queued:
		case w.next > barrier:
			s.mu.aside.push(w)
		default:
			return job{w: w, next: w.next, last: w.last, behind: w.behind, barrier: barrier}, true
		}
	}
	return job{}, false
}

// serve reads events for one watcher, without a lock, and leaves the response in parts if there is one.
func (s *Stream) serve(j job) error {
	rd := reading{
		hub: s.hub, sel: &j.w.sel, next: j.next, barrier: j.barrier, prev: lookup{history: s.hub.cfg.History},
	}
	defer rd.prev.release()
	if err := rd.read(j); err != nil {
		return fmt.Errorf("watch: read events from revision %d: %w", j.next, err)
	}
	s.caughtUp = s.caughtUp || j.behind || rd.behind
	s.commit(j.w, &rd)
	return nil
}

// CaughtUp reports whether Next or Poll have worked for a watcher that is catching up, since the last call. It belongs to
// the goroutine that calls these.
func (s *Stream) CaughtUp() bool {
	did := s.caughtUp
	s.caughtUp = false
	return did
}

// commit moves a watcher's cursor to where the reading got and makes the response. If the watcher was canceled meanwhile,
// what was read is dropped.
func (s *Stream) commit(w *watcher, rd *reading) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.gone {
		return
	}
	if rd.compacted > 0 {
		s.kill(w, rd.compacted)
		return
	}
	s.setBehind(w, rd.behind && rd.next <= w.last)
	s.moveOn(w, rd.next)
	if len(rd.events) == 0 {
		return
	}
	w.active = true
	s.hub.stats.events.Add(int64(len(rd.events)))
	s.parts.put(Response{WatchID: w.id, HeaderRevision: rd.header, Events: rd.events}, w.fragment)
	if s.lent = nil; rd.listed {
		s.lent = rd.events
	}
}

// Release tells that the list of events of the last response is not needed any more. It belongs to the goroutine that calls Next, and need not be
// called.
func (s *Stream) Release() {
	if s.lent != nil && !s.parts.left {
		s.hub.lists.put(s.lent)
		s.lent = nil
	}
}

// moveOn moves the cursor and lets the watcher rest or line up again.
func (s *Stream) moveOn(w *watcher, next int64) {
	if next > w.last {
		s.idle(w)
		w.next = next
		return
	}
	s.settle(w.next, next)
	w.next = next
	s.mu.ready.push(w)
}

// reading collects the events of one response. The watcher follows the present if all revisions up to its last known one are
// in the ring; then the response is of one revision. Otherwise it is catching up and the response is a batch.
type reading struct {
	hub  *Hub
	sel  *selection
	prev lookup

	next      int64 // everything below has been looked at
	barrier   int64 // nothing above is looked at
	header    int64
	behind    bool
	compacted int64 // > 0: the cursor lies below this compacted revision

	events    [][]byte
	listed    bool // events is a list of the hub's
	bytes     int
	revisions int
}

func (rd *reading) read(j job) error {
	if !j.behind {
		ok, err := rd.fromRing(j.last, 1)
		if ok || err != nil {
			return err
		}
	}
	head := rd.hub.ring.head.Load()
	ok, err := rd.fromRing(head, rd.hub.cfg.BatchRevisions)
	if !ok && err == nil {
		head, err = rd.fromHistory(j)
	}
	rd.header, rd.behind = min(head, rd.barrier), rd.next <= max(head, j.last)
	return err
}

// fromRing looks through the ring up to a revision until enough revisions are found. It reports false if the ring does not
// hold the first one.
func (rd *reading) fromRing(to int64, revisionsMax int) (bool, error) {
	to = min(to, rd.barrier)
	for n := range scanMax {
		if rd.next > to {
			return n > 0, nil
		}
		e := rd.hub.ring.at(rd.next)
		if e == nil {
			return n > 0, nil
		}
		if more, err := rd.add(e, revisionsMax); !more || err != nil {
			return true, err
		}
	}
	return true, nil
}

// fromHistory reads a batch from a view and returns the view's revision.
func (rd *reading) fromHistory(j job) (head int64, err error) {
	view := rd.prev.acquire()
	head = view.Rev()
	if head < j.last {
		panic(fmt.Sprintf("watch: read history: expected a view of at least revision %d, found %d", j.last, head))
	}
	if c := view.CompactRev(); rd.next < c {
		rd.compacted = c
		return head, nil
	}
	from, compacted := rd.next, view.CompactRev()
	if known := rd.hub.past.find(rd.sel, from, compacted); known != nil && known.next-1 <= min(head, rd.barrier) {
		rd.next, rd.events, rd.bytes, rd.revisions = known.next, known.events, known.bytes, known.revisions
		return head, nil
	}
	if err := rd.readChanges(view); err != nil {
		return head, err
	}
	rd.listed = false // others get it too
	rd.hub.past.keep(&stretch{*rd.sel, from, rd.next, compacted, slices.Clip(rd.events), rd.bytes + entryOverheadBytes, rd.revisions})
	return head, nil
}

// readChanges reads a batch from a view.
func (rd *reading) readChanges(view View) error {
	cfg := &rd.hub.cfg
	changes, err := view.Changes(rd.sel.query(rd.next, rd.barrier, cfg))
	if err != nil {
		return err
	}
	more := true
	split(changes.Events, func(revision []mvcc.Event) bool {
		more, err = rd.add(newEntry(revision), cfg.BatchRevisions)
		return more && err == nil
	})
	if more {
		rd.next = changes.Next
	}
	return err
}

// query asks for what a selection can get of [from, to], or of the beginning of that.
func (s *selection) query(from, to int64, cfg *Config) mvcc.ChangesQuery {
	return mvcc.ChangesQuery{
		Key: []byte(s.rng.Key), End: []byte(s.rng.End), From: from, To: from + min(to-from, int64(cfg.HistoryRevisions)-1),
		MaxRevisions: cfg.BatchRevisions, MaxBytes: cfg.BatchBytes,
	}
}

// add takes in what the selection wants of an entry and reports whether there is room for more. A batch that would exceed its
// bytes ends before the entry, unless that is its first one.
func (rd *reading) add(e *entry, revisionsMax int) (more bool, err error) {
	p, err := e.payload(rd.sel, &rd.prev)
	if err != nil {
		return false, err
	}
	if p != nil {
		if rd.revisions > 0 && rd.bytes+p.bytes > rd.hub.cfg.BatchBytes {
			return false, nil
		}
		rd.take(e.rev, p, revisionsMax)
	}
	rd.next = e.rev + 1
	return rd.revisions < revisionsMax, nil
}

// manyRevisions in a response make it likely that there will be as many as it may have.
const manyRevisions = 32

// take adds a payload; the first one is shared, not copied.
func (rd *reading) take(rev int64, p *payload, revisionsMax int) {
	rd.header = rev
	rd.bytes += p.bytes
	rd.revisions++
	if rd.events == nil {
		rd.events = p.events
		return
	}
	if rd.revisions == manyRevisions && revisionsMax > manyRevisions {
		rd.events = append(rd.hub.lists.get(revisionsMax), rd.events...)
		rd.listed = true
	}
	rd.events = append(rd.events, p.events...)
}

// parts is a response on its way out, whole or in fragments.
type parts struct {
	left     bool
	fragment bool
	rest     Response
}

func (p *parts) put(r Response, fragment bool) {
	*p = parts{left: true, fragment: fragment, rest: r}
}

// take returns the response or its next part.
func (p *parts) take(limitBytes int) (r Response, ok bool) {
	if !p.left {
		return Response{}, false
	}
	cut := p.rest.Fragment // a part went out before
	if !cut && (!p.fragment || limitBytes <= 0 || len(p.rest.Events) < 2 || p.rest.Size() < limitBytes) {
		r = p.rest
		*p = parts{}
		return r, true
	}
	r, more := p.rest.cut(limitBytes)
	p.rest.Fragment = true
	if !more {
		*p = parts{}
	}
	return r, true
}
