package node

import "sync"

// waiter is one request that waits for its entry to be applied.
type waiter struct {
	done     chan struct{} // capacity 1; one signal when reply and err are set
	reply    []byte
	err      error
	accepted bool // the core took the proposal; guarded by waiters.mu
}

// waiters finds the request behind an id when its entry is applied. Its size is bounded by Config.MaxPending.
type waiters struct {
	mu struct {
		sync.Mutex
		byID map[uint64]*waiter
	}
}

func newWaiters() *waiters {
	w := &waiters{}
	w.mu.byID = map[uint64]*waiter{}
	return w
}

// add registers a waiter for id unless bound are waiting already.
func (w *waiters) add(id uint64, bound int) (*waiter, bool) {
	one := &waiter{done: make(chan struct{}, 1)}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.mu.byID) >= bound {
		return nil, false
	}
	w.mu.byID[id] = one
	return one, true
}

// has reports whether somebody here waits for id.
func (w *waiters) has(id uint64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, ok := w.mu.byID[id]
	return ok
}

// accept notes that the core took the proposals; those nobody waits for any more are not among ids afterwards.
func (w *waiters) accept(id uint64) (wanted bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	one, ok := w.mu.byID[id]
	if ok {
		one.accepted = true
	}
	return ok
}

// abandon forgets id. It returns false if the answer was on its way already: then it can be received from the waiter.
func (w *waiters) abandon(id uint64) (forgotten, accepted bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	one, ok := w.mu.byID[id]
	delete(w.mu.byID, id)
	return ok, ok && one.accepted
}

// answer wakes whoever waits for id.
func (w *waiters) answer(id uint64, reply []byte, err error) {
	w.mu.Lock()
	one, ok := w.mu.byID[id]
	delete(w.mu.byID, id)
	w.mu.Unlock()
	if ok {
		one.reply, one.err = reply, err
		one.done <- struct{}{}
	}
}

// len is the number of requests that wait.
func (w *waiters) len() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.mu.byID)
}
