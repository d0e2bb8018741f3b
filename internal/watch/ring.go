package watch

import "sync/atomic"

// ring holds the most recent revisions. One writer pushes; any number of readers look up by revision without a lock.
//
// Invariants:
//  1. The revisions held are low..head without a gap; none are held if low > head.
//  2. Revision r is in slot r mod len(slots), and no other slot holds an entry.
//  3. bytes is the sum over the entries held, and at most bytesMax unless a single entry exceeds it.
type ring struct {
	slots    []atomic.Pointer[entry]
	bytesMax int
	head     atomic.Int64 // newest revision

	low   int64 // writer's own
	bytes int   // writer's own
}

func (r *ring) init(rev int64, revisions, bytesMax int) {
	r.slots = make([]atomic.Pointer[entry], revisions)
	r.bytesMax = bytesMax
	r.head.Store(rev)
	r.low = rev + 1
}

func (r *ring) slot(rev int64) *atomic.Pointer[entry] {
	return &r.slots[uint64(rev)%uint64(len(r.slots))]
}

// at returns the entry of a revision, nil if it is not held (any more).
func (r *ring) at(rev int64) *entry {
	if e := r.slot(rev).Load(); e != nil && e.rev == rev {
		return e
	}
	return nil
}

// push adds the entry of revision head+1 and drops old ones as the bounds demand.
func (r *ring) push(e *entry) {
	if e.rev-r.low == int64(len(r.slots)) {
		r.drop()
	}
	r.slot(e.rev).Store(e)
	r.bytes += e.bytes()
	r.head.Store(e.rev)
	for r.bytes > r.bytesMax && r.low < e.rev {
		r.drop()
	}
}

// drop forgets the oldest entry.
func (r *ring) drop() {
	s := r.slot(r.low)
	r.bytes -= s.Load().bytes()
	s.Store(nil)
	r.low++
}

// restart forgets everything and goes on after rev.
func (r *ring) restart(rev int64) {
	for r.low <= r.head.Load() {
		r.drop()
	}
	r.head.Store(rev)
	r.low = rev + 1
}
