package node

import "sync"

// mailbox hands items from any number of senders to one receiver, in batches: the receiver is woken once however many items have come,
// and takes them all. It has no bound of its own; what is put in is bounded by whoever sends (see the map of goroutines in docs/architecture.md).
type mailbox[T any] struct {
	wake chan struct{} // capacity 1; may be shared by several mailboxes of one receiver
	mu   struct {
		sync.Mutex
		items []T
	}
}

func newMailbox[T any](wake chan struct{}) *mailbox[T] { return &mailbox[T]{wake: wake} }

// put adds items and wakes the receiver.
func (m *mailbox[T]) put(items ...T) {
	m.mu.Lock()
	m.mu.items = append(m.mu.items, items...)
	m.mu.Unlock()
	poke(m.wake)
}

// take returns everything that has come; spare's memory is used for what comes next.
func (m *mailbox[T]) take(spare []T) []T {
	clear(spare)
	m.mu.Lock()
	defer m.mu.Unlock()
	items := m.mu.items
	m.mu.items = spare[:0]
	return items
}


// poke sends on a channel of capacity 1 unless a signal is pending already.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
