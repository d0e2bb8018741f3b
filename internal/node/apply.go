package node

import (
	"cmp"
	"time"

	"github.com/quoin-kv/quoin/internal/faultpoint"
	"github.com/quoin-kv/quoin/internal/machine"
	"github.com/quoin-kv/quoin/internal/mvcc"
	"github.com/quoin-kv/quoin/internal/replica"
	"github.com/quoin-kv/quoin/raft/wire"
)

// runApplier applies what is committed, in batches, and moves compactions on in between.
func (n *Node) runApplier() {
	pause := time.NewTimer(0)
	pause.Stop()
	defer pause.Stop()
	for {
		select {
		case <-n.tasks.wake:
			tasks := n.tasks.take()
			if err := n.do(tasks); err != nil {
				n.fail(err)
				return
			}
			n.tasks.done(tasks)
		case <-pause.C:
			if n.removalsWait() {
				pause.Reset(n.cfg.CompactionPause)
				continue
			}
			more, err := n.compactStep()
			if err != nil {
				n.fail(failed("compaction", err))
				return
			}
			if more {
				pause.Reset(n.compactionPause())
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

// applyRun applies the entries that have been gathered.
func (n *Node) applyRun() error {
	if len(n.run) == 0 {
		return nil
	}
	waited := time.Now()
	if err := n.cfg.Backend.Throttle(n.ctx); err != nil {
		return failed("waiting for the database file", err)
	}
	hitEntries(n.run)
	start := time.Now()
	n.applyMu.Lock()
	batch, err := n.cfg.Applier.Apply(n.run, n.waiters.has)
	n.applyMu.Unlock()
	if err != nil {
		return failed("applying", err)
	}
	n.backlog.Add(-memoryOf(n.run))
	n.releaseAcks()
	took := time.Since(start)
	if n.cfg.Metrics.Apply != nil {
		n.cfg.Metrics.Apply(took, batch)
	}
	n.finish(batch, start)
	n.warnOfSlow(batch, took, start.Sub(waited))
	n.run = recycled(n.run, spareItems)
	return nil
}

// hitEntries passes the fault points of entries.
func hitEntries(entries []wire.Entry) {
	if !faultpoint.Enabled {
		return
	}
	for i := range entries {
		if entries[i].Type == wire.EntryNormal {
			faultpoint.Hit(faultpoint.BeforeApplyOneEntry)
		} else {
			faultpoint.Hit(faultpoint.BeforeApplyOneConfChange)
		}
	}
}

// finish makes a batch visible that was applied since began, and answers those who waited for it, in that order.
func (n *Node) finish(batch *replica.Batch, began time.Time) {
	if batch.Compaction {
		faultpoint.Hit(faultpoint.CompactBeforeCommitScheduled)
	}
	n.publishBatch(batch)
	n.waiters.answer(batch.Outcomes, began.Sub(n.started), n.now())
	n.events.put(event{applied: batch.Index, changes: batch.ConfChanges, newTerm: batch.NewTerm})
	if batch.Lowered {
		n.events.put(event{markFrom: batch.Index})
	}
	if batch.Compaction {
		faultpoint.Hit(faultpoint.CompactAfterCommitScheduled)
		poke(n.compact)
	}
}

// warnOfSlow warns of a batch that took long to apply and says what was in it. throttled is the time that it had waited before, for room
// for what the database file does not hold yet.
func (n *Node) warnOfSlow(b *replica.Batch, took, throttled time.Duration) {
	if n.cfg.SlowApply <= 0 || took+throttled <= n.cfg.SlowApply {
		return
	}
	report(n.cfg.Metrics.SlowApply)
	reason := "apply"
	if throttled > took {
		reason = "database file"
	}
	var ops machine.Ops
	kinds := map[string]int{}
	for i := range b.Outcomes {
		o := &b.Outcomes[i]
		kinds[cmp.Or(o.Kind, "membership")]++
		ops.Add(o.Ops)
	}
	n.cfg.Logger.Warn("apply request took too long", "took", took, "mostly", reason, "throttled", throttled, "index", b.Index, "entries", len(b.Outcomes),
		"requests", kinds, "puts", ops.Puts, "put_bytes", ops.PutBytes, "deletes", ops.Deletes, "ranges", ops.Ranges, "events", len(b.Events))
}

// publishBatch lets readers see a batch. The observer is told before and after.
func (n *Node) publishBatch(batch *replica.Batch) {
	if n.cfg.Observer != nil {
		n.cfg.Observer.Applying(batch)
	}
	n.show(batch.View)
	n.applied.Store(batch.Index)
	if n.cfg.Observer != nil {
		n.cfg.Observer.Applied(batch)
	}
}

// show publishes a view, whose one reference goes with it.
func (n *Node) show(v *mvcc.View) {
	old := n.view.Swap(v)
	old.Release()
}

// compactStep moves a compaction on; more is false when there is nothing to do until n.compact is signalled.
func (n *Node) compactStep() (more bool, err error) {
	n.applyMu.Lock()
	defer n.applyMu.Unlock()
	m := n.cfg.Applier.Machine()
	if n.hashing != nil || !m.Compacting() {
		return false, nil
	}
	if task := m.TakeHashTask(); task != nil {
		h := &hashing{}
		n.hashing = h
		n.wg.Go(func() { n.hash(h, task) })
		return false, nil
	}
	faultpoint.Hit(faultpoint.CompactAfterAcquiredTurn)
	faultpoint.Hit(faultpoint.CompactBeforeCommitBatch)
	measured := n.compactionStepBegins(m)
	more, err = n.cfg.Applier.CompactStep(n.pace.budget(m, n.cfg.CompactionBatch))
	measured()
	faultpoint.Hit(faultpoint.CompactAfterCommitBatch)
	if err == nil && !more {
		faultpoint.Hit(faultpoint.CompactBeforeSetFinished)
		n.compactionDone()
		faultpoint.Hit(faultpoint.CompactAfterSetFinished)
	}
	return more, err
}

// compactionDone publishes a view that knows the hash of what was compacted, and wakes those who waited. The caller holds applyMu.
func (n *Node) compactionDone() {
	view := n.cfg.Applier.View()
	n.cfg.Logger.Info("finished scheduled compaction", "compact-revision", view.CompactRev())
	n.show(view)
	n.compactionEnds()
	n.wakeCompacted()
}

// wakeCompacted wakes those who waited for the end of compactions. The caller holds applyMu.
func (n *Node) wakeCompacted() {
	for _, done := range n.compacted {
		close(done)
	}
	n.compacted = nil
}

// hash does the part of a compaction that only reads, beside the applier, unless a snapshot takes the place of the machine meanwhile.
func (n *Node) hash(h *hashing, task *mvcc.HashTask) {
	for done := false; !done; {
		var err error
		began := time.Now()
		done, err = task.Step(min(hashBatch, n.cfg.CompactionBatch))
		_ = wait(n.ctx, max(time.Since(began), restMin)) // as long as it took, others go first; the end of ctx is seen below
		switch {
		case n.ctx.Err() != nil || h.dropped.Load():
			return
		case err != nil:
			n.fail(failed("compaction", err))
			return
		}
	}
	n.applyMu.Lock()
	if n.hashing == h {
		n.cfg.Applier.Machine().ReturnHashTask(task)
		n.hashing = nil
	}
	n.applyMu.Unlock()
	poke(n.compact)
}
