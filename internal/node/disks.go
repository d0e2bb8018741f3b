package node

import (
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
		case <-n.cfg.Log.PrepareWanted():
			if err := n.cfg.Log.Prepare(); err != nil {
				n.cfg.Logger.Warn("next log segment not prepared", "error", err)
			}
			continue
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
