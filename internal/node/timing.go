package node

import (
	"sync"
	"time"

	"github.com/quoin-kv/quoin/internal/replica"
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

// within is how much of the time between two moments went by during spans that are remembered, which follow each other.
func (s *spans) within(from, to time.Time) (sum time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := s.next - 1; i >= max(0, s.next-len(s.ring)); i-- {
		one := &s.ring[i%len(s.ring)]
		if !one.to.After(from) {
			break // so are all before
		}
		if d := earlier(one.to, to).Sub(later(one.from, from)); d > 0 {
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

// now is the time since the start, which is never 0.
func (n *Node) now() time.Duration { return max(1, time.Since(n.started)) }

// Account adds to the record of a request what its proposal has spent since it came, if it is over.
func (n *Node) Account(p *replica.Proposal, spent *steps.Spent) {
	if spent == nil {
		return
	}
	now := n.now()
	if p.Taken == 0 { // nobody has taken it, or it was refused
		spent.Add(steps.Queue, now-p.Came)
		return
	}
	spent.Add(steps.Queue, p.Taken-p.Came)
	began, ended := p.Applying, p.Applied
	if ended == 0 {
		began, ended = now, now
	}
	log := n.logWrites.within(n.started.Add(p.Taken), n.started.Add(began))
	spent.Add(steps.Log, log)
	spent.Add(steps.Quorum, began-p.Taken-log)
	spent.Add(steps.Apply, ended-began)
	spent.Add(steps.Wake, now-ended)
}
