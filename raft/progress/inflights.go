package progress

import "fmt"

// Limits bound what may be in flight to one peer.
type Limits struct {
	Messages int    // at least 1
	Bytes    uint64 // of entries; 0 is no bound. A single message may exceed it when nothing else is in flight
}

// Inflights counts the messages that were sent and not yet acknowledged, oldest first, in a ring that grows up to the
// limit.
//
// Invariants:
//  1. The ring holds at most Limits.Messages.
//  2. The last indexes of the messages ascend strictly.
//  3. bytes is the sum of the sizes in the ring.
type Inflights struct {
	limits Limits
	ring   []inflight
	start  int
	count  int
	bytes  uint64
}

// inflight is one message: the index of its last entry and the size of its entries.
type inflight struct {
	last  uint64
	bytes uint64
}

// Full reports whether no further message may be sent.
func (f *Inflights) Full() bool {
	return f.count >= f.limits.Messages || f.limits.Bytes > 0 && f.bytes >= f.limits.Bytes
}

// Add notes a message that ends with the entry at last. The caller has asked Full before.
func (f *Inflights) Add(last, bytes uint64) {
	if f.Full() {
		panic(fmt.Sprintf("progress: message sent with %d messages and %d bytes in flight, limits %+v", f.count, f.bytes, f.limits))
	}
	if f.count == len(f.ring) {
		f.grow()
	}
	f.ring[(f.start+f.count)%len(f.ring)] = inflight{last, bytes}
	f.count++
	f.bytes += bytes
}

// FreeTo forgets the messages whose last entry is at index or before.
func (f *Inflights) FreeTo(index uint64) {
	for f.count > 0 && f.first() <= index {
		f.FreeFirst()
	}
}

// FreeFirst forgets the oldest message; there must be one.
func (f *Inflights) FreeFirst() {
	f.bytes -= f.ring[f.start].bytes
	f.start = (f.start + 1) % len(f.ring)
	f.count--
}

// Reset forgets all messages.
func (f *Inflights) Reset() {
	f.start, f.count, f.bytes = 0, 0, 0
}

func (f *Inflights) first() uint64 { return f.ring[f.start].last }

func (f *Inflights) last() uint64 { return f.ring[(f.start+f.count-1)%len(f.ring)].last }

func (f *Inflights) grow() {
	ring := make([]inflight, min(max(4, 2*len(f.ring)), f.limits.Messages))
	for i := range f.count {
		ring[i] = f.ring[(f.start+i)%len(f.ring)]
	}
	f.ring, f.start = ring, 0
}

func (f *Inflights) check() error {
	if f.count > f.limits.Messages {
		return fmt.Errorf("inflights invariant 1: %d messages, limit %d", f.count, f.limits.Messages)
	}
	var previous, bytes uint64
	for i := range f.count {
		m := f.ring[(f.start+i)%len(f.ring)]
		if m.last <= previous {
			return fmt.Errorf("inflights invariant 2: %d after %d", m.last, previous)
		}
		previous, bytes = m.last, bytes+m.bytes
	}
	if bytes != f.bytes {
		return fmt.Errorf("inflights invariant 3: %d bytes counted, %d in the ring", f.bytes, bytes)
	}
	return nil
}
