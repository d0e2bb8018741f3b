package node

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/quoin-kv/quoin/internal/kverr"
)

// wantedRead is a read and the index that it waits for; 0: the read index.
type wantedRead struct {
	*readWaiter
	index uint64
}

// readWaiter is a goroutine that waits for a read.
type readWaiter struct {
	done chan error  // capacity 1
	gone atomic.Bool // nobody waits any more
}

// Answered implements replica.Read.
func (w *readWaiter) Answered(err error) { w.done <- err }

// Gone implements replica.Read.
func (w *readWaiter) Gone() bool { return w.gone.Load() }

// takeReads takes in the reads that have come, returns how many, and starts a round for those that wait unless one is under way.
func (l *loop) takeReads() (came int) {
	fresh := l.reads.take()
	for _, w := range fresh {
		if w.index > 0 {
			l.rounds.AddAt(w.index, w.readWaiter)
		} else {
			l.rounds.Add(w.readWaiter)
		}
	}
	l.reads.done(fresh)
	l.rounds.Reached(l.Node.applied.Load())
	if l.core.Lead() != 0 {
		l.rounds.Begin(l.core.ReadIndex)
	}
	return len(fresh)
}

// ReadIndex blocks until this member has applied everything that was committed in the cluster when the call began: what the published view
// shows afterwards is linearizable. Errors: kverr.LeaderChanged, kverr.Timeout when ctx ran out, ctx's error when it was cancelled,
// kverr.Stopped.
func (n *Node) ReadIndex(ctx context.Context) error {
	if n.Current() {
		return nil
	}
	err := n.awaitRead(ctx, 0)
	if err != nil {
		report(n.cfg.Metrics.ReadFailed)
	}
	return err
}

// Current reports whether what the published view shows is linearizable now, so that ReadIndex would not have to wait: this member is the whole
// cluster. It is false once the node has stopped.
func (n *Node) Current() bool {
	from := n.sole.Load()
	return from > 0 && n.applied.Load() >= from && n.ctx.Err() == nil
}

// awaitRead waits for an index, or for the read index if it is 0.
func (n *Node) awaitRead(ctx context.Context, index uint64) error {
	w := &readWaiter{done: make(chan error, 1)}
	if !n.reads.put(wantedRead{w, index}) {
		return kverr.Stopped
	}
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
		w.gone.Store(true)
		if errors.Is(ctx.Err(), context.Canceled) {
			return ctx.Err()
		}
		return kverr.Timeout
	}
}

// hex is a member id as people read it.
func hex(id uint64) string { return fmt.Sprintf("%x", id) }
