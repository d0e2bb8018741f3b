package node

import (
	"fmt"
	"sync"
	"time"

	"github.com/quoin-kv/quoin/internal/machine"
)

// waiter is one request that waits for its entry to be applied.
type waiter struct {
	done     chan struct{} // capacity 1; one signal when reply and err are set
	reply    []byte
	err      error
	bytes    int64
	accepted uint64 // term in which the core may have taken the proposal, 0 if it has not; guarded by waiters.mu

	// For measurements.
	taken   time.Time // when accepted was set last; guarded by waiters.mu until done
	applied applying
}

// bound is how much may wait at once.
type bound struct {
	requests int
	bytes    int64 // of proposed data; one request may wait whatever its size
}

// waiters finds the request behind an id when its entry is applied.
//
// Invariants:
//  1. A waiter that is registered gets exactly one signal or is abandoned, never both.
//  2. bytes is the sum over the registered waiters.
type waiters struct {
	bound    bound
	answered []*waiter // scratch of answer
	mu       struct {
		sync.Mutex
		byID  map[uint64]*waiter
		bytes int64
	}
}

func newWaiters(b bound) *waiters {
	w := &waiters{bound: b}
	w.mu.byID = map[uint64]*waiter{}
	return w
}

// add registers a waiter for a proposal unless too much is waiting already.
func (w *waiters) add(p *proposal) (*waiter, bool) {
	one := &waiter{done: make(chan struct{}, 1), bytes: int64(len(p.data))}
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(w.mu.byID)
	if n >= w.bound.requests || n > 0 && w.mu.bytes+one.bytes > w.bound.bytes {
		return nil, false
	}
	if w.mu.byID[p.id] != nil {
		panic(fmt.Sprintf("node: expected a new proposal id, found %x, which is being waited for", p.id))
	}
	w.mu.byID[p.id] = one
	w.mu.bytes += one.bytes
	return one, true
}

// remove takes a waiter out, if it is there. The caller holds mu.
func (w *waiters) remove(id uint64) *waiter {
	one := w.mu.byID[id]
	if one != nil {
		delete(w.mu.byID, id)
		w.mu.bytes -= one.bytes
	}
	return one
}

// has reports whether somebody here waits for id.
func (w *waiters) has(id uint64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mu.byID[id] != nil
}

// wanted returns, in the same memory, those proposals that somebody still waits for, and notes in which term the core may have got them: 0
// for not at all.
func (w *waiters) wanted(proposals []proposal, accepted uint64) []proposal {
	now := time.Time{}
	if accepted > 0 {
		now = time.Now()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	kept := proposals[:0]
	for _, p := range proposals {
		if one := w.mu.byID[p.id]; one != nil {
			one.accepted, one.taken = accepted, now
			kept = append(kept, p)
		}
	}
	clear(proposals[len(kept):])
	return kept
}

// abandon forgets id. It returns false if the answer is on its way already: then it can be received from the waiter.
func (w *waiters) abandon(id uint64) (forgotten, accepted bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	one := w.remove(id)
	return one != nil, one != nil && one.accepted > 0
}

// answer wakes those who wait for the outcomes of a batch, which was applied since began. It is called by the applier alone.
func (w *waiters) answer(outcomes []machine.Outcome, began time.Time) {
	woken := w.answered
	applied := applying{began, time.Now()}
	w.mu.Lock()
	for i := range outcomes {
		if one := w.remove(outcomes[i].ID); one != nil {
			one.reply, one.err, one.applied = outcomes[i].Reply, outcomes[i].Err, applied
			woken = append(woken, one)
		}
	}
	w.mu.Unlock()
	for _, one := range woken {
		one.done <- struct{}{}
	}
	w.answered = recycled(woken, maxBatch)
}

// giveUp wakes with err those who wait for what the core got before a term.
func (w *waiters) giveUp(term uint64, err error) {
	var woken []*waiter
	w.mu.Lock()
	for id, one := range w.mu.byID {
		if one.accepted > 0 && one.accepted < term {
			woken = append(woken, w.remove(id))
		}
	}
	w.mu.Unlock()
	for _, one := range woken {
		one.err = err
		one.done <- struct{}{}
	}
}

// refuse wakes whoever waits for id with an error.
func (w *waiters) refuse(id uint64, err error) {
	w.mu.Lock()
	one := w.remove(id)
	w.mu.Unlock()
	if one != nil {
		one.err = err
		one.done <- struct{}{}
	}
}

// size is the bytes of data that wait.
func (w *waiters) size() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mu.bytes
}

// len is the number of requests that wait.
func (w *waiters) len() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.mu.byID)
}
