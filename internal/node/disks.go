package node

import (
	"context"
	"time"

	"github.com/quoin-kv/quoin/internal/replica"
	"github.com/quoin-kv/quoin/internal/wal"
	"github.com/quoin-kv/quoin/raft/wire"
)

// runLog writes outputs to the log: whatever has come since the last write is one write and one sync.
//
// A commit index alone is not worth a write: it is held back until there is something else to write, or the node stops. Losing it costs
// nothing, as it is learnt again.
func (n *Node) runLog() {
	var outs []replica.Output
	var held wire.HardState
	for {
		select {
		case <-n.writes.wake:
		case <-n.ctx.Done():
			if n.Err() == nil {
				n.fail(failed("write-ahead log", n.cfg.Log.Write(wal.Batch{HardState: held})))
			}
			return
		}
		outs = n.writes.take(outs)
		batch := merge(outs, held)
		if len(outs) == 0 {
			continue
		}
		if batch.Sync || len(batch.Entries) > 0 {
			if err := n.cfg.Log.Write(batch); err != nil {
				n.fail(failed("write-ahead log", err))
				return
			}
			held = wire.HardState{}
		} else {
			held = batch.HardState
		}
		n.persisted(outs, batch)
	}
}

// merge joins outputs into one batch.
func merge(outs []replica.Output, held wire.HardState) wal.Batch {
	batch := wal.Batch{HardState: held}
	for _, out := range outs {
		batch.Entries = override(batch.Entries, out.Log.Entries)
		if !out.Log.HardState.IsZero() {
			batch.HardState = out.Log.HardState
		}
		if out.Log.Mark != nil {
			batch.Mark = out.Log.Mark
		}
		batch.Sync = batch.Sync || out.Log.Sync
	}
	return batch
}

// override appends entries, which take the place of those with their index and above.
func override(log, entries []wire.Entry) []wire.Entry {
	if len(entries) == 0 {
		return log
	}
	keep := len(log)
	for keep > 0 && log[keep-1].Index >= entries[0].Index {
		keep--
	}
	return append(log[:keep], entries...)
}

// persisted tells who waited for the write.
func (n *Node) persisted(outs []replica.Output, batch wal.Batch) {
	if k := len(batch.Entries); k > 0 {
		n.durable.Store(batch.Entries[k-1].Index)
	}
	for _, out := range outs {
		if len(out.AfterSync) > 0 && n.cfg.Send != nil {
			n.cfg.Send(out.AfterSync)
		}
	}
	if last := outs[len(outs)-1].Seq; last > 0 && batch.Sync {
		n.events.put(event{persisted: last})
	}
	if batch.Mark != nil {
		n.releaseLog(batch.Mark.Index)
	}
}

// releaseLog lets go of segments that a restart will not read.
func (n *Node) releaseLog(index uint64) {
	if err := n.cfg.Log.Release(index); err != nil {
		n.fail(failed("releasing log segments", err))
		return
	}
	if n.cfg.KeepSegments == 0 {
		return
	}
	if err := n.cfg.Log.Purge(n.cfg.KeepSegments); err != nil {
		n.cfg.Logger.Warn("log segments not purged", "error", err)
	}
}

// runFlusher brings the database file up to date: when enough is pending, when FlushInterval has passed, and when asked.
func (n *Node) runFlusher() {
	ticker := time.NewTicker(n.cfg.FlushInterval)
	defer ticker.Stop()
	for {
		var asked chan error
		select {
		case <-n.cfg.Backend.FlushWanted():
		case <-ticker.C:
		case asked = <-n.flushes:
		case <-n.ctx.Done():
			return
		}
		err := n.flush()
		if asked != nil {
			asked <- err
		}
		if err != nil {
			n.fail(failed("database file", err))
			return
		}
	}
}

// flush writes what the log holds durably and tells the loop how far the file is now.
func (n *Node) flush() error {
	flushed, err := n.cfg.Backend.Flush(n.durable.Load())
	if err != nil || flushed.Index == 0 {
		return err
	}
	n.applyMu.Lock()
	conf := n.cfg.Applier.ConfStateAt(flushed.Index)
	n.applyMu.Unlock()
	n.events.put(event{flushed: &flushed, conf: conf})
	return nil
}

// runApplier applies what is committed, in batches, and moves compactions on in between.
func (n *Node) runApplier() {
	var entries []wire.Entry
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-n.entries.wake:
			entries = n.entries.take(entries)
			if err := n.applyAll(entries); err != nil {
				n.fail(err)
				return
			}
		case <-pause.C:
			if n.compactStep() {
				pause.Reset(n.cfg.CompactionPause)
			}
		case <-n.compact:
			pause.Reset(0)
		case <-n.ctx.Done():
			return
		}
	}
}

// maxBatch bounds the entries of one batch, so that the first of many need not wait for the last.
const maxBatch = 512

// applyAll applies entries batch by batch.
func (n *Node) applyAll(entries []wire.Entry) error {
	for len(entries) > 0 {
		k := min(len(entries), maxBatch)
		if err := n.cfg.Backend.Throttle(n.ctx); err != nil {
			return context.Cause(n.ctx)
		}
		start := time.Now()
		n.applyMu.Lock()
		batch, err := n.cfg.Applier.Apply(entries[:k], n.waiters.has)
		n.applyMu.Unlock()
		if err != nil {
			return failed("applying", err)
		}
		n.finish(batch, time.Since(start))
		entries = entries[k:]
	}
	return nil
}

// finish makes a batch visible and answers those who waited for it, in that order.
func (n *Node) finish(batch *replica.Batch, took time.Duration) {
	old := n.view.Swap(batch.View)
	old.Release()
	n.applied.Store(batch.Index)
	if n.cfg.Observer != nil {
		n.cfg.Observer.Applied(batch)
	}
	for _, o := range batch.Outcomes {
		n.waiters.answer(o.ID, o.Reply, o.Err)
	}
	n.events.put(event{applied: batch.Index, changes: batch.ConfChanges})
	if batch.Compaction > 0 {
		poke(n.compact)
	}
	if n.cfg.Metrics.Apply != nil {
		n.cfg.Metrics.Apply(took, batch)
	}
	if took > n.cfg.SlowApply {
		n.cfg.Logger.Warn("apply took too long", "took", took, "entries", len(batch.Outcomes), "index", batch.Index)
		if n.cfg.Metrics.SlowApply != nil {
			n.cfg.Metrics.SlowApply()
		}
	}
}

// compactStep moves a compaction on; it returns false when there is nothing left to do.
func (n *Node) compactStep() (more bool) {
	n.applyMu.Lock()
	more, err := n.cfg.Applier.CompactStep(n.cfg.CompactionBatch)
	if !more {
		for _, done := range n.compacted {
			close(done)
		}
		n.compacted = nil
	}
	n.applyMu.Unlock()
	n.fail(failed("compaction", err))
	return more && err == nil
}
