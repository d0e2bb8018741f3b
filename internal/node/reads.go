package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/quoin-kv/quoin/internal/kverr"
)

// readWaiter is a linearizable read that waits for its read index to be known and applied, or (index set) just for that index to be applied.
type readWaiter struct {
	done  chan error // capacity 1
	index uint64
}

// rounds joins reads into rounds of the read-index protocol: all reads that come while a round is under way share the next one (thesis
// 6.4). A round that gets no answer, because a message was lost, is asked again.
type rounds struct {
	next     uint64
	current  uint64 // id of the round under way, 0 if none
	ticks    int    // its age
	inFlight []*readWaiter
	waiting  []*readWaiter
	applied  []*readWaiter // those with an index of their own
}

// roundTicks is the age, in ticks, at which a round is asked again.
const roundTicks = 5

// age counts a tick; an overdue round goes back to waiting.
func (r *rounds) age() {
	if r.current == 0 {
		return
	}
	if r.ticks++; r.ticks >= roundTicks {
		r.waiting = append(r.inFlight, r.waiting...)
		r.inFlight, r.current = nil, 0
	}
}

// finish answers the round if its id is among ids.
func (r *rounds) finish(ids []uint64, err error) {
	for _, id := range ids {
		if id != r.current || id == 0 {
			continue
		}
		for _, w := range r.inFlight {
			w.done <- err
		}
		clear(r.inFlight)
		r.inFlight, r.current = r.inFlight[:0], 0
	}
}

// lose fails the round if its id is among ids.
func (r *rounds) lose(ids []uint64) { r.finish(ids, kverr.LeaderChanged) }

// takeReads starts a round for the waiting reads unless one is under way.
func (l *loop) takeReads() {
	r := &l.rounds
	for _, w := range l.reads.take(nil) {
		if w.index > 0 {
			r.applied = append(r.applied, w)
		} else {
			r.waiting = append(r.waiting, w)
		}
	}
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
	kept := l.rounds.applied[:0]
	for _, w := range l.rounds.applied {
		if w.index <= l.Node.applied.Load() {
			w.done <- nil
		} else {
			kept = append(kept, w)
		}
	}
	l.rounds.applied = kept
}

// ReadIndex blocks until this member has applied everything that was committed in the cluster when the call began: what the published view
// shows afterwards is linearizable. Errors: kverr.LeaderChanged, kverr.Timeout when ctx ran out, kverr.Stopped.
func (n *Node) ReadIndex(ctx context.Context) error {
	w := &readWaiter{done: make(chan error, 1)}
	n.reads.put(w)
	err := n.awaitRead(ctx, w)
	if err != nil && n.cfg.Metrics.ReadFailed != nil {
		n.cfg.Metrics.ReadFailed()
	}
	return err
}

func (n *Node) awaitRead(ctx context.Context, w *readWaiter) error {
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
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
