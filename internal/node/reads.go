package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/quoin-kv/quoin/internal/kverr"
)

// readWaiter is a linearizable read that waits for its read index to be known and applied, or (index set) just for that index to be applied.
type readWaiter struct {
	done  chan error // capacity 1
	index uint64
	gone  atomic.Bool // nobody waits any more
}

// rounds joins reads into rounds of the read-index protocol: all reads that come while a round is under way share the next one (thesis
// 6.4). A round that gets no answer, because a message was lost, is asked again, with a new id: a late answer to the old one is an answer
// to nobody.
//
// Invariant: a read is in exactly one of inFlight, waiting and applied until it is answered or gone, and is answered once.
type rounds struct {
	next     uint64 // last id; begins with the time of the start, so that ids of an earlier run do not come back
	current  uint64 // id of the round under way, 0 if none
	ticks    int    // its age
	inFlight []*readWaiter
	waiting  []*readWaiter
	applied  []*readWaiter // those with an index of their own
}

const (
	roundTicks = 5    // age, in ticks, at which a round is asked again
	spareReads = 1024 // room that lists of reads keep
)

// age counts a tick. An overdue round goes back to waiting unless its index is known, which it reports. Reads that nobody waits for are
// forgotten.
func (r *rounds) age(indexed func(id uint64) bool) (overdue bool) {
	gone := func(w *readWaiter) bool { return w.gone.Load() }
	r.waiting, r.applied = slices.DeleteFunc(r.waiting, gone), slices.DeleteFunc(r.applied, gone)
	if r.current == 0 || indexed(r.current) {
		return false
	}
	if r.ticks++; r.ticks < roundTicks {
		return false
	}
	r.giveUp()
	return true
}

// askAgain lets a round be asked again at once, of a leader that has just been heard of, and reports whether there is one to be asked:
// what was asked of the leader before may never be answered.
func (r *rounds) askAgain(indexed func(id uint64) bool) bool {
	if r.current != 0 && !indexed(r.current) {
		r.giveUp()
	}
	return r.current == 0 && len(r.waiting) > 0
}

// giveUp lets the reads of the round under way wait for another one.
func (r *rounds) giveUp() {
	r.waiting = append(r.inFlight, r.waiting...)
	r.inFlight, r.current = nil, 0
}

// finish answers the round if its id is among ids.
func (r *rounds) finish(ids []uint64, err error) {
	if r.current == 0 || !slices.Contains(ids, r.current) {
		return
	}
	for _, w := range r.inFlight {
		w.done <- err
	}
	r.inFlight, r.current = recycled(r.inFlight, spareReads), 0
}

// lose ends the round if its id is among ids, whose leader is gone. If there is another one already it is asked. Else those who wait are
// told at once: whoever has the choice asks another member.
func (r *rounds) lose(ids []uint64, leader uint64) {
	if leader != 0 && r.current != 0 && slices.Contains(ids, r.current) {
		r.giveUp()
		return
	}
	r.finish(ids, kverr.LeaderChanged)
}

// takeReads starts a round for the waiting reads unless one is under way.
func (l *loop) takeReads() {
	r := &l.rounds
	fresh := l.reads.take()
	for _, w := range fresh {
		if w.index > 0 {
			r.applied = append(r.applied, w)
		} else {
			r.waiting = append(r.waiting, w)
		}
	}
	l.reads.done(fresh)
	l.answerApplied()
	if r.current != 0 || len(r.waiting) == 0 || l.core.Lead() == 0 {
		return
	}
	r.next++
	if err := l.core.ReadIndex(r.next); err != nil {
		return // asked again at the next turn
	}
	r.current, r.ticks = r.next, 0
	r.inFlight, r.waiting = r.waiting, r.inFlight[:0]
}

// answerApplied answers those who wait for an index that is applied now.
func (l *loop) answerApplied() {
	l.rounds.applied = slices.DeleteFunc(l.rounds.applied, func(w *readWaiter) bool {
		done := w.index <= l.Node.applied.Load()
		if done {
			w.done <- nil
		}
		return done
	})
}

// ReadIndex blocks until this member has applied everything that was committed in the cluster when the call began: what the published view
// shows afterwards is linearizable. Errors: kverr.LeaderChanged, kverr.Timeout when ctx ran out, ctx's error when it was cancelled,
// kverr.Stopped.
func (n *Node) ReadIndex(ctx context.Context) error {
	err := n.awaitRead(ctx, &readWaiter{done: make(chan error, 1)})
	if err != nil && n.cfg.Metrics.ReadFailed != nil {
		n.cfg.Metrics.ReadFailed()
	}
	return err
}

func (n *Node) awaitRead(ctx context.Context, w *readWaiter) error {
	n.reads.put(w)
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
		w.gone.Store(true)
		if errors.Is(ctx.Err(), context.Canceled) {
			return ctx.Err()
		}
		return kverr.Timeout
	case <-n.ctx.Done():
		return kverr.Stopped
	}
}

// hex is a member id as people read it.
func hex(id uint64) string { return fmt.Sprintf("%x", id) }
