package service

import (
	"container/list"
	"context"
	"sync"
	"time"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/steps"
)

// ErrBusy refuses a request for which this member has no room at the moment. It reads like the refusal of a write when too many wait, which
// clients know, but has the code that the API declares for it; the request had no effect and may be sent again.
var ErrBusy = &kverr.Error{
	Symbol: "Busy", Code: kverr.CodeResourceExhausted, Text: "etcdserver: too many requests", Retry: kverr.RetryLater,
}

// Bounds of waiting for room.
const (
	budgetWait       = 5 * time.Second
	budgetWaitersMax = 1024
)

// budget bounds the memory of the answers that are under way: those that are being put together or that their clients have not taken
// yet. Who finds no room waits in line, and is refused with ErrBusy if the line or the wait is too long.
//
// Invariants:
//  1. used is the sum of what was taken and not given back, and never below zero.
//  2. used exceeds limit only by one taker that is larger than all of it and found the budget empty, and by what grow added.
//  3. Nobody overtakes one who waits.
type budget struct {
	clock Clock
	limit int64 // bytes; 0 or less for no bound
	mu    struct {
		sync.Mutex
		used    int64
		takers  int
		waiting list.List // of *waiter
		refused uint64
	}
}

// waiter is one in line. The budget's lock guards granted.
type waiter struct {
	bytes   int64
	granted bool          // the bytes are taken
	ready   chan struct{} // closed then
}

// BudgetStats describes the memory of range answers.
type BudgetStats struct {
	LimitBytes int64  // 0 for no bound
	UsedBytes  int64  // of answers under way
	Answers    int    // that hold these bytes
	Waiting    int    // requests in line
	Refused    uint64 // requests, since the start
}

// RangeBudget describes the memory of large answers under way. Small answers take none of it.
func (s *Service) RangeBudget() BudgetStats { return s.budget.stats() }

func (b *budget) stats() BudgetStats {
	b.mu.Lock()
	defer b.mu.Unlock()
	return BudgetStats{
		LimitBytes: max(b.limit, 0), UsedBytes: b.mu.used, Answers: b.mu.takers, Waiting: b.mu.waiting.Len(), Refused: b.mu.refused,
	}
}

// try takes bytes if nobody waits and there is room.
func (b *budget) try(bytes int64) (hold, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.waiting.Len() > 0 || !b.fits(bytes) {
		return hold{}, false
	}
	return b.take(bytes), true
}

// fits reports whether there is room. The lock is held.
func (b *budget) fits(bytes int64) bool {
	return b.limit <= 0 || b.mu.used+bytes <= b.limit || b.mu.used == 0
}

// take counts a taker. The lock is held.
func (b *budget) take(bytes int64) hold {
	b.mu.used += bytes
	b.mu.takers++
	return hold{budget: b, bytes: bytes}
}

// wait takes bytes as soon as there is room for everybody before and then for this one. The error is ErrBusy or ctx's.
func (b *budget) wait(ctx context.Context, bytes int64) (hold, error) {
	began := b.clock.Now()
	defer func() { steps.From(ctx).Add(steps.Budget, b.clock.Now().Sub(began)) }()
	w, at, err := b.line(bytes)
	if err != nil {
		return hold{}, err
	}
	err = b.clock.Wait(ctx, w.ready, budgetWait)
	b.mu.Lock()
	defer b.mu.Unlock()
	if w.granted { // perhaps in the same moment as the error
		return hold{budget: b, bytes: bytes}, nil
	}
	b.mu.waiting.Remove(at)
	b.admit() // the next in line may be smaller
	if err == nil {
		b.mu.refused++
		err = ErrBusy
	}
	return hold{}, err
}

// line joins the line.
func (b *budget) line(bytes int64) (*waiter, *list.Element, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.waiting.Len() >= budgetWaitersMax {
		b.mu.refused++
		return nil, nil, ErrBusy
	}
	w := &waiter{bytes: bytes, ready: make(chan struct{})}
	at := b.mu.waiting.PushBack(w)
	b.admit()
	return w, at, nil
}

// admit lets in whoever is first in line, while there is room. The lock is held.
func (b *budget) admit() {
	for at := b.mu.waiting.Front(); at != nil; at = b.mu.waiting.Front() {
		w := at.Value.(*waiter)
		if !b.fits(w.bytes) {
			return
		}
		b.mu.waiting.Remove(at)
		b.take(w.bytes)
		w.granted = true
		close(w.ready)
	}
}

// hold is what one answer has taken of the budget. The zero hold has nothing. It belongs to one goroutine at a time.
type hold struct {
	budget *budget
	bytes  int64
}

func (h *hold) empty() bool { return h.budget == nil }

// resize makes the hold as large as the answer turned out to be, without waiting.
func (h *hold) resize(bytes int64) {
	if h.empty() {
		return
	}
	h.budget.mu.Lock()
	defer h.budget.mu.Unlock()
	h.budget.mu.used += bytes - h.bytes
	h.bytes = bytes
	h.budget.admit()
}

// release gives back what was taken. Again it does nothing.
func (h *hold) release() {
	if h.empty() {
		return
	}
	b := h.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.used -= h.bytes
	b.mu.takers--
	*h = hold{}
	b.admit()
}
