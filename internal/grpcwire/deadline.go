package grpcwire

import (
	"slices"
	"time"
)

// sweepPause is the least time between two looks for deadlines that have passed.
const sweepPause = time.Millisecond

// deadlines are those of direct calls that want to know when theirs has passed. There is one timer for all: most deadlines are never reached, and
// those of calls that came later are later.
//
// Invariant: if there is a call, the timer is set for a time not after its deadline, plus sweepPause.
type deadlines struct {
	calls []*Call
	timer *time.Timer
	due   time.Time
}

// watch adds a call. c.mu is held.
func (c *conn) watch(k *Call) {
	k.timed = true
	k.place = len(c.mu.deadlines.calls)
	c.mu.deadlines.calls = append(c.mu.deadlines.calls, k)
	c.setTimer(k.deadline)
}

// unwatch takes a call out. The timer stays as it is. c.mu is held.
func (c *conn) unwatch(k *Call) {
	list := c.mu.deadlines.calls
	last := len(list) - 1
	list[k.place] = list[last]
	list[k.place].place = k.place
	list[last] = nil
	c.mu.deadlines.calls = list[:last]
	k.timed = false
}

// setTimer sees to it that the timer is set for a time not after the given one. c.mu is held.
func (c *conn) setTimer(t time.Time) {
	d := &c.mu.deadlines
	if c.mu.gone || !d.due.IsZero() && !d.due.After(t) {
		return
	}
	d.due = t
	wait := max(sweepPause*time.Duration(1+len(d.calls)/1000), time.Until(t))
	if d.timer == nil {
		d.timer = time.AfterFunc(wait, c.sweep)
	} else {
		d.timer.Reset(wait)
	}
}

// sweep tells the calls whose deadline has passed.
func (c *conn) sweep() {
	now := time.Now()
	var after []func()
	var next time.Time
	c.mu.Lock()
	for _, k := range slices.Clone(c.mu.deadlines.calls) {
		if k.deadline.After(now) {
			if next.IsZero() || k.deadline.Before(next) {
				next = k.deadline
			}
			continue
		}
		c.unwatch(k)
		if f := k.cancelled(); f != nil {
			after = append(after, f)
		}
	}
	if c.mu.deadlines.due = (time.Time{}); !next.IsZero() {
		c.setTimer(next)
	}
	c.mu.Unlock()
	for _, f := range after {
		f()
	}
}
