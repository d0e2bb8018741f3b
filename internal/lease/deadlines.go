package lease

import (
	"cmp"
	"container/heap"
	"fmt"
	"slices"
	"time"
)

// Bounds of the burst of expiries after a change of leader.
const (
	spreadLeasesMin = 1000 // fewer leases are not spread
	spreadPerSecond = 750
)

// Deadlines knows when each lease runs out, as long as this member leads.
//
// Invariants:
//  1. No lease is named by Expired before its TTL has passed since it was
//     granted, renewed or last promoted, whichever came last.
//  2. queue is a heap by (wake, id) and holds exactly the leases of byID.
//  3. wake is the deadline, or later while a revocation is under way.
//  4. While demoted, no lease has a deadline.
type Deadlines struct {
	leading bool
	byID    map[int64]*item
	queue   queue
}

// item is one lease.
type item struct {
	id, ttl  int64
	left     int64 // checkpointed remaining TTL in seconds, 0 if none
	deadline int64 // when the lease runs out
	wake     int64 // when Expired names it next
	index    int   // in the queue
}

// NewDeadlines returns deadlines without leases, demoted.
func NewDeadlines() *Deadlines { return &Deadlines{byID: make(map[int64]*item)} }

// Grant takes note of a lease of ttl seconds. If the lease is known, it starts
// anew. While this member leads, it runs out ttl seconds after now.
func (d *Deadlines) Grant(id, ttl, now int64) {
	it := d.byID[id]
	if it == nil {
		it = &item{id: id, deadline: never, wake: never}
		d.byID[id] = it
		heap.Push(&d.queue, it)
	}
	it.ttl, it.left = ttl, 0
	if d.leading {
		d.reset(it, after(now, ttl))
	}
}

// Revoke forgets a lease.
func (d *Deadlines) Revoke(id int64) {
	if it := d.byID[id]; it != nil {
		heap.Remove(&d.queue, it.index)
		delete(d.byID, id)
	}
}

// Checkpoint takes note that a lease has left seconds remaining, 0 for the full
// TTL. It counts at the next promotion; a deadline that runs does not change.
func (d *Deadlines) Checkpoint(id, left int64) {
	if it := d.byID[id]; it != nil {
		it.left = left
	}
}

// Checkpointed returns the noted remaining time of a lease in seconds. After a
// renewal it is out of date until a checkpoint of 0 went through the log.
func (d *Deadlines) Checkpointed(id int64) int64 {
	if it := d.byID[id]; it != nil {
		return it.left
	}
	return 0
}

// Long returns the leases of more than ttl seconds, by ascending id.
func (d *Deadlines) Long(ttl int64) []int64 {
	var ids []int64
	for _, it := range d.queue {
		if it.ttl > ttl {
			ids = append(ids, it.id)
		}
	}
	slices.Sort(ids)
	return ids
}

// Note returns how many seconds a lease has left, for a checkpoint: rounded up, so that nobody gives it less time than it has. It reports
// false if that is no news: the lease is unknown or has run out, this member does not lead, or no less was noted before.
func (d *Deadlines) Note(id, now int64) (left int64, ok bool) {
	it := d.byID[id]
	if it == nil || !d.leading || it.deadline <= now || it.deadline == never {
		return 0, false
	}
	left = (it.deadline - now + int64(time.Second) - 1) / int64(time.Second)
	known := it.ttl
	if it.left > 0 {
		known = it.left
	}
	return left, left < known
}

// Promote starts the clock of all leases: this member leads from now on. Each
// lease gets its checkpointed remaining time, or else its full TTL, and extend
// on top, for the time in which nobody could renew it. If there are many, those
// that would run out together are postponed so that no more than 750 do in any
// second.
func (d *Deadlines) Promote(now int64, extend time.Duration) {
	d.leading = true
	start := now + int64(extend)
	for _, it := range d.queue {
		ttl := it.ttl
		if it.left > 0 {
			ttl = it.left
		}
		it.deadline = after(start, ttl)
	}
	slices.SortFunc(d.queue, func(a, b *item) int {
		return cmp.Or(cmp.Compare(a.deadline, b.deadline), cmp.Compare(a.id, b.id))
	})
	if len(d.queue) >= spreadLeasesMin {
		d.queue.spread()
	}
	d.queue.rewake()
}

// spread postpones deadlines so that at most spreadPerSecond lie in one second.
// The queue is ordered by deadline and stays so.
func (q queue) spread() {
	for i := spreadPerSecond; i < len(q); i++ {
		q[i].deadline = max(q[i].deadline, after(q[i-spreadPerSecond].deadline, 1))
	}
}

// rewake forgets revocations under way.
func (q *queue) rewake() {
	for _, it := range *q {
		it.wake = it.deadline
	}
	heap.Init(q)
	for i, it := range *q {
		it.index = i
	}
}

// Demote stops the clock of all leases: nothing runs out here any more.
func (d *Deadlines) Demote() {
	d.leading = false
	for _, it := range d.queue {
		it.deadline = never
	}
	d.queue.rewake()
}

// Leading reports whether the last of Promote and Demote was Promote.
func (d *Deadlines) Leading() bool { return d.leading }

// Renew gives a lease its full TTL again and returns that, in seconds. It
// reports false if this member does not lead, the lease is unknown or it has
// run out: Has tells the last case, in which the lease will soon be gone.
func (d *Deadlines) Renew(id, now int64) (ttl int64, ok bool) {
	it := d.byID[id]
	if it == nil || !d.leading || it.deadline <= now {
		return 0, false
	}
	d.reset(it, after(now, it.ttl))
	return it.ttl, true
}

func (d *Deadlines) reset(it *item, deadline int64) {
	it.deadline, it.wake = deadline, deadline
	heap.Fix(&d.queue, it.index)
}

// Has reports whether a lease is known.
func (d *Deadlines) Has(id int64) bool { return d.byID[id] != nil }

// Len is the number of leases.
func (d *Deadlines) Len() int { return len(d.byID) }

// Remaining returns how long a lease has to go and its full TTL in seconds. A
// lease that ran out and is not yet revoked has zero left. It reports false if
// the lease is unknown or this member does not lead.
func (d *Deadlines) Remaining(id, now int64) (left time.Duration, ttl int64, ok bool) {
	it := d.byID[id]
	if it == nil || !d.leading {
		return 0, 0, false
	}
	return time.Duration(max(it.deadline-now, 0)), it.ttl, true
}

// Expired returns up to limit leases that have run out, those first that are
// due longest. A lease that was returned is returned again only when retryAfter
// has passed, in case its revocation got lost.
func (d *Deadlines) Expired(now int64, limit int, retryAfter time.Duration) []int64 {
	var ids []int64
	for d.leading && len(ids) < limit && len(d.queue) > 0 && d.queue[0].wake <= now {
		it := d.queue[0]
		it.wake = now + max(int64(retryAfter), 1)
		heap.Fix(&d.queue, 0)
		ids = append(ids, it.id)
	}
	return ids
}

// Next returns when Expired will have something to name, and false if it never
// will as things are.
func (d *Deadlines) Next() (int64, bool) {
	if len(d.queue) == 0 || d.queue[0].wake == never {
		return 0, false
	}
	return d.queue[0].wake, true
}

// ByRemaining returns all leases, those first that run out first. While this
// member does not lead, the order is by id.
func (d *Deadlines) ByRemaining() []int64 {
	items := slices.Clone(d.queue)
	slices.SortFunc(items, func(a, b *item) int {
		return cmp.Or(cmp.Compare(a.deadline, b.deadline), cmp.Compare(a.id, b.id))
	})
	ids := make([]int64, len(items))
	for i, it := range items {
		ids[i] = it.id
	}
	return ids
}

// queue is a heap of leases by the time at which they are to be looked at.
// It implements heap.Interface.
type queue []*item

func (q queue) Len() int { return len(q) }

func (q queue) Less(i, j int) bool {
	if q[i].wake != q[j].wake {
		return q[i].wake < q[j].wake
	}
	return q[i].id < q[j].id
}

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

func (q *queue) Push(x any) {
	it := x.(*item)
	it.index = len(*q)
	*q = append(*q, it)
}

func (q *queue) Pop() any {
	last := len(*q) - 1
	it := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return it
}

// check panics if an invariant is broken.
func (d *Deadlines) check() {
	if len(d.queue) != len(d.byID) {
		panic(fmt.Sprintf("lease: the queue has %d leases, expected %d", len(d.queue), len(d.byID)))
	}
	for i, it := range d.queue {
		d.checkItem(i, it)
	}
}

func (d *Deadlines) checkItem(i int, it *item) {
	switch {
	case d.byID[it.id] != it || it.index != i:
		panic(fmt.Sprintf("lease: lease %d is at %d of the queue, believes to be at %d", it.id, i, it.index))
	case i > 0 && d.queue.Less(i, (i-1)/2):
		panic(fmt.Sprintf("lease: lease %d is due before its parent in the queue", it.id))
	case it.wake < it.deadline:
		panic(fmt.Sprintf("lease: lease %d is named at %d, before its deadline %d", it.id, it.wake, it.deadline))
	case !d.leading && it.deadline != never:
		panic(fmt.Sprintf("lease: lease %d has the deadline %d on a member that does not lead", it.id, it.deadline))
	}
}
