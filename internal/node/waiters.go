package node

import (
	"sync"
	"time"

	"github.com/quoin-kv/quoin/internal/machine"
	"github.com/quoin-kv/quoin/internal/replica"
)

// waiters lets several goroutines use replica.Proposals. Askers are told without the lock.
//
// Invariant: a proposal that add has taken is answered exactly once.
type waiters struct {
	answered []*replica.Proposal // scratch of answer
	mu       struct {
		sync.Mutex
		set    *replica.Proposals
		closed bool // nothing is taken any more
	}
}

func newWaiters(b replica.Bound) *waiters {
	w := &waiters{}
	w.mu.set = replica.NewProposals(b)
	return w
}

// add takes the proposals that there is room for, which come first afterwards, and returns how many these are. closed: none, and never again.
func (w *waiters) add(list []*replica.Proposal) (taken int, closed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mu.closed {
		return 0, true
	}
	for i, p := range list {
		if w.mu.set.Add(p) {
			list[taken], list[i] = list[i], list[taken]
			taken++
		}
	}
	return taken, false
}

// has reports whether somebody here waits for id.
func (w *waiters) has(id uint64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mu.set.Has(id)
}

// wanted is replica.Proposals.Wanted.
func (w *waiters) wanted(list []*replica.Proposal, term uint64, now time.Duration) []*replica.Proposal {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mu.set.Wanted(list, term, now)
}

// abandon forgets a proposal. It returns false if the answer is there or on its way.
func (w *waiters) abandon(p *replica.Proposal) (forgotten, accepted bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mu.set.Abandon(p)
}

// answer tells those who wait for the outcomes of a batch. It is called by the applier alone.
func (w *waiters) answer(outcomes []machine.Outcome, began, now time.Duration) {
	w.mu.Lock()
	w.answered = w.mu.set.Answer(outcomes, began, now, w.answered)
	w.mu.Unlock()
	tell(w.answered)
	w.answered = recycled(w.answered, maxBatch)
}

// giveUp tells those who wait for what the core got before a term.
func (w *waiters) giveUp(term uint64, err error) {
	w.mu.Lock()
	given := w.mu.set.GiveUp(term, err)
	w.mu.Unlock()
	tell(given)
}

// refuse tells whoever waits for a proposal that it is not made.
func (w *waiters) refuse(p *replica.Proposal, err error) {
	w.mu.Lock()
	refused := w.mu.set.Refuse(p, err)
	w.mu.Unlock()
	if refused {
		p.Asker.Answered(p)
	}
}

// overdue is those that have waited for as long as they may, which are to be abandoned.
func (w *waiters) overdue(now time.Duration) []*replica.Proposal {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mu.set.Overdue(now)
}

// close takes no more proposals and returns those that wait, which are to be abandoned.
func (w *waiters) close() []*replica.Proposal {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.closed = true
	return w.mu.set.All()
}

// size is the bytes of data that wait.
func (w *waiters) size() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mu.set.Bytes()
}

// len is the number of requests that wait.
func (w *waiters) len() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mu.set.Len()
}

func tell(list []*replica.Proposal) {
	for _, p := range list {
		p.Asker.Answered(p)
	}
}
