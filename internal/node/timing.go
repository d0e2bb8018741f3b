package node

import (
	"context"
	"sync"
	"time"

	"github.com/quoin-kv/quoin/internal/steps"
)

// spans remembers when the log was written last.
type spans struct {
	mu   sync.Mutex
	ring [64]span
	next int
}

type span struct{ from, to time.Time }

func (s *spans) add(from, to time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ring[s.next%len(s.ring)] = span{from, to}
	s.next++
}

// within is how much of the time between two moments went by during spans that are remembered.
func (s *spans) within(from, to time.Time) (sum time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.ring {
		begin, end := later(one.from, from), earlier(one.to, to)
		if d := end.Sub(begin); d > 0 {
			sum += d
		}
	}
	return sum
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// account adds to the record of a request, if it carries one, what its proposal has spent since it came.
func (n *Node) account(ctx context.Context, w *waiter, came time.Time) {
	spent := steps.From(ctx)
	if spent == nil {
		return
	}
	now := time.Now()
	if w.taken.IsZero() { // nobody has taken it, or it was refused
		spent.Add(steps.Queue, now.Sub(came))
		return
	}
	spent.Add(steps.Queue, w.taken.Sub(came))
	applied := w.applied
	if applied.began.IsZero() {
		applied.began, applied.ended = now, now
	}
	log := n.logWrites.within(w.taken, applied.began)
	spent.Add(steps.Log, log)
	spent.Add(steps.Quorum, applied.began.Sub(w.taken)-log)
	spent.Add(steps.Apply, applied.ended.Sub(applied.began))
	spent.Add(steps.Wake, now.Sub(applied.ended))
}

// applying is when a batch was applied: from the first entry until those who wait are told.
type applying struct{ began, ended time.Time }
