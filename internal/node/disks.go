package node

import (
	"runtime"
	"time"

	"github.com/quoin-kv/quoin/internal/faultpoint"
	"github.com/quoin-kv/quoin/internal/machine"
	"github.com/quoin-kv/quoin/internal/replica"
	"github.com/quoin-kv/quoin/internal/wal"
	"github.com/quoin-kv/quoin/raft/wire"
)

// runLog writes outputs to the log: what has come since the last write is one batch.
func (n *Node) runLog() {
	var batcher replica.Batcher
	for {
		select {
		case <-n.writes.wake:
			if n.waiters.len() > 1 || n.hasPeers() {
				runtime.Gosched() // what is about to come goes into the same sync, and what is to be sent goes before it
			}
		case <-n.ctx.Done():
			if err := n.cfg.Log.Write(batcher.Rest()); n.Err() == nil && !n.noRoom(err) { // a commit index is learnt again
				n.fail(failed("write-ahead log", err))
			}
			return
		}
		outs := n.writes.take()
		for rest := outs; len(rest) > 0; {
			now := replica.Together(rest)
			joined := batcher.Join(rest[:now])
			size := memoryOfOutputs(rest[:now])
			if err := n.untilRoom(func() error { return n.write(joined, size) }); err != nil {
				if !n.noRoom(err) { // else the node stops
					n.fail(failed("write-ahead log", err))
				}
				return
			}
			rest = rest[now:]
		}
		n.writes.done(outs)
	}
}

// memoryOfOutputs is what the entries take that outputs have for the log.
func memoryOfOutputs(outs []replica.Output) (size int64) {
	for i := range outs {
		size += memoryOf(outs[i].Log.Entries)
	}
	return size
}

// write writes a batch of a size to the log, gives back the room that it took, and tells those who waited for it: a client that has its answer
// finds room for the next request.
func (n *Node) write(joined replica.Joined, size int64) error {
	if joined.Write {
		before, after := faultpoint.RaftBeforeSave, faultpoint.RaftAfterSave
		if joined.Installed > 0 {
			before, after = faultpoint.RaftBeforeSaveSnap, faultpoint.RaftAfterSaveSnap
		}
		faultpoint.Hit(before)
		n.logging.begin()
		err := n.cfg.Log.Write(joined.Log)
		n.logWrites.add(n.logging.end())
		if err != nil {
			return err
		}
		faultpoint.Hit(after)
	}
	n.unwritten.Add(-size)
	n.written(&joined)
	return nil
}

// written tells those who waited for the write.
func (n *Node) written(j *replica.Joined) {
	n.sendAfterSync(j.AfterSync)
	if j.Persisted > 0 {
		n.events.put(event{persisted: j.Persisted})
	}
	switch {
	case j.Installed > 0:
		n.installable.Store(j.Installed)
		poke(n.installs)
	case j.Log.Mark != nil:
		n.mark(metaOf(j.Log.Mark))
	}
}

// metaOf is a mark as a snapshot would have it.
func metaOf(m *wal.Mark) wire.SnapshotMeta {
	meta := wire.SnapshotMeta{Index: m.Index, Term: m.Term}
	if m.ConfState != nil {
		meta.ConfState = *m.ConfState
	}
	return meta
}

// mark has log segments released that are below a mark, which log and database file have passed.
func (n *Node) mark(at wire.SnapshotMeta) {
	n.marked.Store(&at)
	poke(n.marks)
}

// keepMark has the members noted as of a mark.
func (n *Node) keepMark(at wire.SnapshotMeta) {
	if n.cfg.KeepMark == nil || n.cfg.SnapshotData == nil {
		return
	}
	s := wire.Snapshot{Meta: at}
	n.Inspect(func(m *machine.Machine) { s.Data = n.cfg.SnapshotData(m) })
	if err := n.cfg.KeepMark(s); err != nil {
		n.cfg.Logger.Warn("members not noted beside the database file", "index", at.Index, "error", err)
		return
	}
	n.cfg.Logger.Info("saved snapshot", "snapshot-index", at.Index)
}

// runFlusher brings the database file up to date: when enough is pending, once in each FlushInterval, and when asked. It also does the
// work on log segments that the log writer must not wait for.
func (n *Node) runFlusher() {
	turn := time.NewTimer(n.untilTurn())
	defer turn.Stop()
	told, full := uint64(0), false
	for {
		var asked chan error
		wanted := n.cfg.Backend.FlushWanted()
		if full {
			wanted = nil // it is tried again at the next turn
		}
		select {
		case <-wanted:
		case <-turn.C:
			turn.Reset(n.untilTurn())
		case asked = <-n.flushes:
		case <-n.cfg.Log.PrepareWanted():
			n.prepareLog()
			continue
		case <-n.marks:
			at := n.marked.Load()
			n.keepMark(*at)
			n.kept.Store(at.Index)
			n.releaseLog(at.Index)
			continue
		case <-n.roomChanged:
			n.purgeLog()
			n.prepareLog()
			continue
		case <-n.ctx.Done():
			return
		}
		err := n.flush(&told)
		if asked != nil {
			asked <- err
		}
		if full = n.noRoom(err); err != nil && !full {
			n.fail(failed("database file", err))
			return
		}
	}
}

// prepareLog makes the next segment. If that fails the log writer will try, when it needs the segment; so it will if there is little room,
// which others may need more.
func (n *Node) prepareLog() {
	if n.Room().Short {
		return
	}
	if err := n.cfg.Log.Prepare(); err != nil && n.ctx.Err() == nil {
		n.cfg.Logger.Warn("next log segment not prepared", "error", err)
	}
}

// releaseLog lets go of segments that a restart will not read.
func (n *Node) releaseLog(index uint64) {
	if err := n.cfg.Log.Release(index); err != nil {
		n.fail(failed("releasing log segments", err))
		return
	}
	n.purgeLog()
}

// purgeLog deletes segments that are let go of and not to be kept. Those that are only kept because there may be some go when room is short.
func (n *Node) purgeLog() {
	if n.cfg.KeepSegments == 0 {
		return
	}
	keep := n.cfg.KeepSegments
	if n.Room().Short {
		keep = 1
	}
	if err := n.cfg.Log.Purge(keep); err != nil {
		n.cfg.Logger.Warn("log segments not purged", "error", err)
	}
}

// flushable is the index up to which the file may hold what the machine holds.
//
// The machine may be ahead of the log, and the log may even go back, when entries that never were committed are replaced. The order of the
// two loads makes it safe: what is applied is committed and never replaced again, and before the applier got it the loop had taken durable
// back below it, unless it is durable.
func (n *Node) flushable() uint64 {
	applied := n.applied.Load()
	return min(applied, n.durable.Load())
}

// flush writes what the log holds durably and tells the loop how far the file is now, unless that was told before.
func (n *Node) flush(told *uint64) error {
	n.flushing.begin()
	flushed, err := n.cfg.Backend.Flush(n.flushable())
	n.flushing.end()
	if err == nil {
		n.dropReceived(flushed.Index)
	}
	if err != nil || flushed.Index == *told {
		return err
	}
	*told = flushed.Index
	n.applyMu.Lock()
	conf := n.cfg.Applier.ConfStateAt(flushed.Index)
	n.applyMu.Unlock()
	n.events.put(event{flushed: &flushed, conf: conf})
	return nil
}
