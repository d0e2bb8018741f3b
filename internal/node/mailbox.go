package node

import (
	"slices"
	"sync"
)

// mailbox hands items from any number of senders to one receiver, in batches: the receiver is woken once however many items have come,
// and takes them all. It has no bound of its own; what is put in is bounded by whoever sends (see the map of goroutines in docs/architecture.md).
type mailbox[T any] struct {
	wake  chan struct{} // capacity 1; may be shared by several mailboxes of one receiver
	spare []T           // the receiver's: memory for what comes next
	mu    struct {
		sync.Mutex
		items  []T
		closed bool
	}
}

// spareItems bounds the memory that a mailbox keeps, in items, so that a burst is not paid for for ever.
const spareItems = 4096

func newMailbox[T any](wake chan struct{}) *mailbox[T] { return &mailbox[T]{wake: wake} }

// put adds items and wakes the receiver. It returns false, and takes nothing, after close.
func (m *mailbox[T]) put(items ...T) bool {
	m.mu.Lock()
	open := !m.mu.closed
	if open {
		m.mu.items = append(m.mu.items, items...)
	}
	m.mu.Unlock()
	poke(m.wake)
	return open
}

// close lets nothing more in, and returns what nobody has taken.
func (m *mailbox[T]) close() []T {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.closed = true
	items := m.mu.items
	m.mu.items = nil
	return items
}

// putEach adds n items that item makes.
func (m *mailbox[T]) putEach(n int, item func(i int) T) {
	m.mu.Lock()
	m.mu.items = slices.Grow(m.mu.items, n)
	for i := range n {
		m.mu.items = append(m.mu.items, item(i))
	}
	m.mu.Unlock()
	poke(m.wake)
}

// take returns everything that has come. The receiver gives the slice back with done before it takes again.
func (m *mailbox[T]) take() []T {
	m.mu.Lock()
	defer m.mu.Unlock()
	items := m.mu.items
	m.mu.items, m.spare = m.spare, nil
	return items
}

// done gives back what take returned: nothing in it is kept alive, and its memory is used again.
func (m *mailbox[T]) done(items []T) { m.spare = recycled(items, spareItems) }

// recycled empties a slice for another use, and lets go of it if it has room for more than most.
func recycled[T any](items []T, most int) []T {
	if cap(items) > most {
		return nil
	}
	clear(items)
	return items[:0]
}

// poke sends on a channel of capacity 1 unless a signal is pending already.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
