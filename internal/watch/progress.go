package watch

import (
	"cmp"
	"math"
	"slices"
)

// progressMax bounds the progress requests of a stream that are not yet answered. More are dropped, which clients have to
// expect anyway.
const progressMax = 64

// noBarrier is above every revision, and so is the next number.
const noBarrier = math.MaxInt64 - 1

// progress keeps the progress requests that wait for events to be handed out first.
type progress struct {
	waiting []waiting // ascending revisions
	open    int       // waiting or queued as answers
}

// waiting is a progress request at a revision.
type waiting struct {
	rev    int64
	behind int // watchers that have to get past rev first
}

// barrier returns the revision above which no event may be handed out yet.
func (p *progress) barrier() int64 {
	if len(p.waiting) == 0 {
		return noBarrier
	}
	return p.waiting[0].rev
}

// count adds a new watcher, which starts at from, to the requests that have to wait for it.
func (p *progress) count(from int64) {
	for i := range p.waiting {
		if from <= p.waiting[i].rev {
			p.waiting[i].behind++
		}
	}
}

// Progress asks for a response that says how far the whole stream has got. It is dropped without an answer if the stream has
// no watchers, or one that is catching up, was ended by compaction, or starts in the future. Otherwise the answer says the
// present revision and follows all events up to it.
func (s *Stream) Progress() {
	rev := s.lockAt()
	defer s.mu.Unlock()
	p := &s.mu.progress
	if s.mu.closed || p.open >= progressMax || !s.synced(rev) {
		return
	}
	p.open++
	if s.mu.pending == 0 {
		s.answerProgress(rev)
		return
	}
	p.waiting = append(p.waiting, waiting{rev: rev, behind: s.mu.pending})
}

// lockAt locks the stream and returns the revision up to which its watchers have been told everything.
func (s *Stream) lockAt() int64 {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	s.mu.Lock()
	return s.hub.mu.rev
}

// synced reports whether there are watchers and progress at rev can be said about all of them.
func (s *Stream) synced(rev int64) bool {
	for _, w := range s.mu.watchers {
		if !w.synced(rev) {
			return false
		}
	}
	return len(s.mu.watchers) > 0
}

// synced reports whether the watcher follows the present and had started at rev.
func (w *watcher) synced(rev int64) bool { return !w.behind && !w.dead && w.start <= rev }

// settle notes that a watcher's cursor has moved from one revision to another, and answers the requests that waited for it.
func (s *Stream) settle(from, to int64) {
	p := &s.mu.progress
	for i := range p.waiting {
		if w := &p.waiting[i]; from <= w.rev && w.rev < to {
			w.behind--
		}
	}
	for len(p.waiting) > 0 && p.waiting[0].behind == 0 {
		s.answerProgress(p.waiting[0].rev)
		p.waiting = slices.Delete(p.waiting, 0, 1)
		s.mu.ready.prepend(&s.mu.aside)
	}
}

func (s *Stream) answerProgress(rev int64) {
	s.answer(answer{Response: Response{WatchID: invalidID, HeaderRevision: rev}, kind: answerProgress})
}

// tick queues progress responses for all watchers that asked for them, follow the present and had no event since the last
// tick.
func (s *Stream) tick() {
	rev := s.lockAt()
	defer s.mu.Unlock()
	if s.mu.closed {
		return
	}
	var due []*watcher
	for _, w := range s.mu.watchers {
		if w.progress && !w.active && !w.queued && !w.ticked && w.synced(rev) {
			due = append(due, w)
		}
		w.active = false
	}
	slices.SortFunc(due, func(a, b *watcher) int { return cmp.Compare(a.id, b.id) })
	for _, w := range due {
		w.ticked = true
		s.answer(answer{
			Response: Response{WatchID: w.id, HeaderRevision: rev},
			kind:     answerTick,
			watcher:  w,
		})
	}
}
