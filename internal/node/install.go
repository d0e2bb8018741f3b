package node

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/quoin-kv/quoin/internal/faultpoint"
	"github.com/quoin-kv/quoin/internal/replica"
	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/raft/wire"
)

// task is one thing for the applier to do: an entry, or a snapshot. It has the entry itself and not a part of a slice of the core's, which
// would keep all of an outdated log alive as long as the applier is behind.
type task struct {
	entry   wire.Entry
	install *wire.Snapshot
}

// do applies entries, in batches as large as they may be, and installs snapshots, in the order given.
func (n *Node) do(tasks []task) error {
	for i := range tasks {
		if install := tasks[i].install; install != nil {
			if err := errors.Join(n.applyRun(), n.install(install)); err != nil {
				return err
			}
			continue
		}
		if n.run = append(n.run, tasks[i].entry); len(n.run) < maxBatch {
			continue
		}
		if err := n.applyRun(); err != nil {
			return err
		}
	}
	return n.applyRun()
}

// install puts a received snapshot in the place of machine and database file, once the log has its mark: from then on a restart would do
// the same.
func (n *Node) install(s *wire.Snapshot) error {
	for n.installable.Load() < s.Meta.Index {
		select {
		case <-n.installs:
		case <-n.ctx.Done():
			return n.ctx.Err()
		}
	}
	if n.cfg.Metrics.Installing != nil {
		n.cfg.Metrics.Installing(true)
		defer n.cfg.Metrics.Installing(false)
	}
	faultpoint.Hit(faultpoint.RaftBeforeApplySnap)
	n.applyMu.Lock()
	batch, at, err := n.replace(s)
	n.applyMu.Unlock()
	if err != nil {
		return failed("installing a snapshot", err)
	}
	n.cfg.Logger.Info("applied snapshot", "index", at.Index, "term", at.Term, "revision", batch.View.Rev())
	n.publishBatch(batch)
	n.events.put(event{installed: &at, conf: s.Meta.ConfState})
	n.mark(wire.SnapshotMeta{Index: at.Index, Term: at.Term, ConfState: s.Meta.ConfState})
	poke(n.compact)
	faultpoint.Hit(faultpoint.RaftAfterApplySnap)
	return nil
}

// replace exchanges file and machine. What an earlier machine was compacting is forgotten. The caller holds applyMu.
func (n *Node) replace(s *wire.Snapshot) (*replica.Batch, schema.Applied, error) {
	faultpoint.Hit(faultpoint.ApplyBeforeOpenSnapshot)
	if err := n.cfg.Backend.Replace(func() error { return n.cfg.Adopt(s.Meta.Index) }); err != nil {
		return nil, schema.Applied{}, err
	}
	n.cfg.Logger.Info("applySnapshot: opened snapshot backend", "index", s.Meta.Index)
	faultpoint.Hit(faultpoint.ApplyAfterOpenSnapshot)
	at := n.cfg.Backend.Flushed()
	if at.Index != s.Meta.Index || at.Term != s.Meta.Term {
		return nil, at, fmt.Errorf("the file ends at entry %d of term %d, expected %d of term %d", at.Index, at.Term, s.Meta.Index, s.Meta.Term)
	}
	m, err := n.cfg.Restore(n.cfg.Backend)
	if err != nil {
		return nil, at, err
	}
	if n.hashing != nil {
		n.hashing.dropped.Store(true)
		n.hashing = nil
	}
	batch := n.cfg.Applier.Install(m, at)
	n.compactionBegan = time.Time{}
	if !m.Compacting() {
		n.wakeCompacted()
	}
	return batch, at, nil
}

// hashing is the hash of a compaction that another goroutine takes.
type hashing struct {
	dropped atomic.Bool // the machine that wants it is gone
}

// noteReceived notes that there is a received file which has to go one day.
func (n *Node) noteReceived(index uint64) {
	for {
		newest := n.received.Load()
		if newest >= index || n.received.CompareAndSwap(newest, index) {
			return
		}
	}
}

// dropReceived deletes received files that will not be installed any more: the database file is beyond them.
func (n *Node) dropReceived(flushed uint64) {
	newest := n.received.Load()
	if newest == 0 || newest > flushed || n.cfg.DropReceived == nil {
		return
	}
	if !n.received.CompareAndSwap(newest, 0) {
		return // another one comes just now
	}
	if err := n.cfg.DropReceived(newest + 1); err != nil {
		n.cfg.Logger.Warn("received snapshots not deleted", "error", err)
	}
}
