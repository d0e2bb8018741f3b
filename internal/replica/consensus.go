// Package replica is the stepped half of a member: what turns events and I/O completions into I/O requests and replies, with no
// goroutine, clock, file or socket of its own.
//
// It has two values, because two things may run at the same time. Consensus owns the raft core and knows how far log, machine and
// database file have come. Applier owns the machine and applies what Consensus found committed. Package node runs each on a goroutine
// of its own; a simulation runs both on one.
package replica

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/internal/wal"
	"github.com/quoin-kv/quoin/raft"
	"github.com/quoin-kv/quoin/raft/wire"
)

// Consensus is the raft core with the bookkeeping around it: reads that wait for the machine to catch up, marks in the log, and
// what the core may forget.
//
// Invariants:
//  1. A read is answered only once the machine has applied its read index; those that wait are in order of their index.
//  2. A mark is at an index that the file was said to contain, so never above the flushed index; the flushed index is never above the
//     applied one, the applied one never above the commit index.
//  3. The core forgets no entry above the flushed index. If there are other members it keeps the last CatchupEntries applied ones,
//     what followers lack that are heard of, or were HoldTicks ago, and what those need that are sent a snapshot, as far as that is within
//     CatchupBytes.
//  4. From the Output with a snapshot until Installed tells of it, no mark is made and no completion of the old machine counts.
//  5. A committed change of the configuration is handed out to be applied only when it is durable here that it is committed.
type Consensus struct {
	core *raft.Core
	opts ConsensusOptions

	waiting []raft.ReadState // reads whose index is not applied yet, in order of their index
	ready   []uint64         // reads to answer with the next Output
	mark    *wal.Mark        // mark to write with the next Output
	settled settled          // committed, but not to be applied yet
	due     []wire.Entry     // to be applied with the next Output

	followers []follower // of a leader, as of the last tick
	looked    bool       // at the others, since this member leads
	weights   weights    // of committed entries in memory

	installing uint64 // index of the newest snapshot that the machine does not hold yet, 0 if none

	flush     flush  // the last one told of; zero until then
	last      uint64 // of the log, as of the last Output
	commit    uint64
	applied   uint64
	flushed   uint64
	marked    uint64
	markFrom  uint64 // a mark is wanted here or later; 0 if not
	compacted uint64
}

// flush is how far the database file is.
type flush struct {
	at    schema.Applied
	state wire.ConfState
}

// alone reports whether no other member needs entries of the log.
func (f *flush) alone() bool { return len(f.state.Voters) == 1 && len(f.state.Learners) == 0 }

// ConsensusOptions are the distances at which Consensus acts, in log entries where nothing else is said.
type ConsensusOptions struct {
	MarkEvery      uint64 // applied entries between two marks in the log
	CatchupEntries uint64 // applied entries that stay in memory for slow followers
	CatchupBytes   uint64 // memory for these, and for what followers lack and what is kept for those that are sent a snapshot; 0 is 512 MiB
	HoldTicks      int    // ticks for which entries are kept for a follower that is silent, or stands still with a snapshot it was sent; 0 is 300
}

// NewConsensus wraps a core whose machine has applied everything up to applied, of which marked is the last mark in the log.
func NewConsensus(core *raft.Core, opts ConsensusOptions, applied, marked uint64) *Consensus {
	opts.CatchupBytes = cmp.Or(opts.CatchupBytes, defaultCatchupBytes)
	opts.HoldTicks = cmp.Or(opts.HoldTicks, defaultHoldTicks)
	st := core.Status()
	c := &Consensus{
		weights: weights{step: opts.CatchupBytes / weightPoints},
		core:    core, opts: opts,
		last: st.Last, commit: st.Commit, applied: applied, flushed: applied, marked: marked, compacted: marked,
	}
	c.leadAlone()
	return c
}

// leadAlone spares the only voter the wait for an election that nobody else could win.
func (c *Consensus) leadAlone() {
	st := c.core.Status()
	if st.Lead == 0 && len(st.ConfState.Voters) == 1 && st.ConfState.Voters[0] == st.ID {
		c.core.Campaign()
	}
}

// Output is what has to happen now. Each part may run beside the others, except where Core's Effects say otherwise.
type Output struct {
	Seq       uint64         // to be handed to Persisted once Log is durable; 0 when there is nothing to write
	Log       wal.Batch      // to be written
	Send      []wire.Message // may leave at once
	AfterSync []wire.Message // may leave once Seq is durable
	Install   *wire.Snapshot // to be put in the place of machine and database file once Seq is durable, before Apply; report with Installed
	Apply     []wire.Entry   // committed, in order
	Answer    []uint64       // reads that may now be served from the machine
	Refuse    []uint64       // reads that will not be answered: leadership was lost
}

// Writes reports whether there is anything for the log writer to do.
func (o *Output) Writes() bool {
	return len(o.Log.Entries) > 0 || !o.Log.HardState.IsZero() || o.Log.Sync || o.Log.Mark != nil || o.Install != nil || len(o.AfterSync) > 0
}

// Tick tells the core that one tick of the clock has passed.
func (c *Consensus) Tick() {
	c.core.Tick()
	c.lookAtPeers()
}

// Step hands the core a message from a peer.
func (c *Consensus) Step(m wire.Message) error { return c.core.Step(m) }

// Propose asks for entries with the given data, one each, to be appended together.
func (c *Consensus) Propose(data ...[]byte) error { return c.core.Propose(data...) }

// ProposeConfChange asks for a change of the configuration.
func (c *Consensus) ProposeConfChange(cc wire.ConfChange) error { return c.core.ProposeConfChange(cc) }

// ReadIndex starts a read; its id comes back in Answer or Refuse. Ids must not repeat, not even after a restart: an answer to an earlier
// question may still be on its way.
func (c *Consensus) ReadIndex(id uint64) error { return c.core.ReadIndex(id) }

// Indexed reports whether the index of a read is known and only the machine has to catch up with it: to ask again would only make it wait
// for more.
func (c *Consensus) Indexed(id uint64) bool {
	return slices.ContainsFunc(c.waiting, func(r raft.ReadState) bool { return r.ID == id })
}

// Campaign starts an election without waiting for the timeout.
func (c *Consensus) Campaign() { c.core.Campaign() }

// TransferLeader asks the leader to hand over to the voter with id to.
func (c *Consensus) TransferLeader(to uint64) { c.core.TransferLeader(to) }

// ReportUnreachable tells that a message to a member was lost.
func (c *Consensus) ReportUnreachable(id uint64) { c.core.ReportUnreachable(id) }

// ReportGone tells that the process of a member seems to have ended.
func (c *Consensus) ReportGone(id uint64) { c.core.ReportGone(id) }

// Lead is the leader of the term, 0 if none is known.
func (c *Consensus) Lead() uint64 { return c.core.Lead() }

// Term is the current term.
func (c *Consensus) Term() uint64 { return c.core.Term() }

// Role is the part that this member plays in its term.
func (c *Consensus) Role() raft.Role { return c.core.Role() }

// Commit is the commit index as of the last Output.
func (c *Consensus) Commit() uint64 { return c.commit }

// Durable is the index up to which this member's log is durable. It goes back when entries that were stored are replaced: from the Output
// with the new ones on, until they are stored.
func (c *Consensus) Durable() uint64 { return c.core.Durable() }

// Status is the state of the core. It allocates.
func (c *Consensus) Status() raft.Status { return c.core.Status() }

// Persisted tells that everything up to Output seq is durable.
func (c *Consensus) Persisted(seq uint64) {
	c.core.Persisted(seq)
	c.due = append(c.due, c.settled.take(seq)...)
}

// Applied tells that the machine has applied everything up to index and which configuration changes were among it, in order. The core passes
// over those from before a snapshot that is being installed.
func (c *Consensus) Applied(index uint64, changes []wire.ConfChange) {
	if index < c.applied {
		panic(fmt.Sprintf("replica: applied index went back from %d to %d", c.applied, index))
	}
	for _, cc := range changes {
		c.core.ApplyConfChange(cc)
	}
	c.core.Applied(index)
	c.applied = index
	if len(changes) > 0 {
		c.leadAlone()
	}
	c.releaseReads()
	c.settle()
}

// releaseReads answers the reads whose index is applied.
func (c *Consensus) releaseReads() {
	n := 0
	for n < len(c.waiting) && c.waiting[n].Index <= c.applied {
		c.ready = append(c.ready, c.waiting[n].ID)
		n++
	}
	c.waiting = append(c.waiting[:0], c.waiting[n:]...)
}

// Flushed tells that the database file contains everything up to a, under the configuration that held at a. It may come before Applied
// tells of the same index, and counts from then on.
func (c *Consensus) Flushed(a schema.Applied, state wire.ConfState) {
	c.flush = flush{a, state}
	c.settle()
}

// Installed tells that machine and database file are those of a snapshot, which ends at a with the configuration state. The log has its
// mark already.
func (c *Consensus) Installed(a schema.Applied, state wire.ConfState) {
	if a.Index >= c.installing {
		c.installing = 0
	}
	c.core.Applied(a.Index)
	c.flush = flush{a, state}
	c.applied, c.flushed, c.marked = max(c.applied, a.Index), max(c.flushed, a.Index), max(c.marked, a.Index)
	c.compacted = max(c.compacted, a.Index)
	c.releaseReads()
	c.leadAlone()
	c.settle()
}

// settle acts on what was flushed and applied. When enough came since the last mark, the next Output carries a new one, from where a
// restart will read the log.
func (c *Consensus) settle() {
	if c.installing > 0 {
		return
	}
	if at := c.flush.at; at.Index <= c.applied {
		c.flushed = max(c.flushed, at.Index)
		// Not c.flushed: after a restart it is known before the term and configuration that a mark needs are.
		if at.Index > c.marked && (at.Index >= c.marked+c.opts.MarkEvery || c.markFrom > c.marked && at.Index >= c.markFrom) {
			state := c.flush.state
			c.mark = &wal.Mark{Index: at.Index, Term: at.Term, ConfState: &state}
			c.marked = at.Index
		}
	}
	c.forget()
}

// MarkFrom asks for a mark at an index or behind it as soon as the database file is there: a server that takes the directory over then need
// not read what stands before.
func (c *Consensus) MarkFrom(index uint64) {
	c.markFrom = index
	c.settle()
}

// Marked is the index of the newest mark that was put into an Output.
func (c *Consensus) Marked() uint64 { return c.marked }

// Output collects what has to happen since the last call.
func (c *Consensus) Output() Output {
	e := c.core.Effects()
	if !e.HardState.IsZero() {
		c.commit = e.HardState.Commit
	}
	for _, r := range e.Reads {
		c.park(r)
	}
	if e.InstallSnapshot != nil {
		c.install(&e.InstallSnapshot.Meta)
	}
	c.weights.add(e.Committed)
	if n := len(e.Append); n > 0 {
		c.last = e.Append[n-1].Index
	}
	apply, sync := c.settled.add(e.Seq, e.Committed)
	out := Output{
		Seq:  e.Seq,
		Log:  wal.Batch{Entries: e.Append, HardState: e.HardState, Sync: e.MustSync || sync || c.mark != nil, Mark: c.mark},
		Send: e.Messages, AfterSync: e.AfterSync,
		Install: e.InstallSnapshot,
		Apply:   apply,
		Answer:  c.ready,
		Refuse:  e.Lost,
	}
	if len(c.due) > 0 {
		out.Apply = append(c.due, apply...)
	}
	c.ready, c.mark, c.due = nil, nil, nil
	return out
}

// install notes that a snapshot takes the place of everything. Its mark and the hard state that commits it are written together.
func (c *Consensus) install(meta *wire.SnapshotMeta) {
	state := meta.ConfState.Clone()
	c.mark = &wal.Mark{Index: meta.Index, Term: meta.Term, ConfState: &state}
	c.installing, c.last = meta.Index, meta.Index
	c.settled, c.due = settled{}, nil // the snapshot has them
	c.weights = weights{step: c.weights.step}
}

// park answers a read at once if it can, else keeps it in order of its index.
func (c *Consensus) park(r raft.ReadState) {
	if r.Index <= c.applied {
		c.ready = append(c.ready, r.ID)
		return
	}
	c.waiting = append(c.waiting, r)
	for i := len(c.waiting) - 1; i > 0 && c.waiting[i-1].Index > c.waiting[i].Index; i-- {
		c.waiting[i-1], c.waiting[i] = c.waiting[i], c.waiting[i-1]
	}
}

// Check returns which invariant is broken, if any, the core's included. It is slow: tests call it after every step.
func (c *Consensus) Check() error {
	if err := c.core.Check(); err != nil {
		return err
	}
	byIndex := func(a, b raft.ReadState) int { return cmp.Compare(a.Index, b.Index) }
	if len(c.waiting) > 0 && (c.waiting[0].Index <= c.applied || !slices.IsSortedFunc(c.waiting, byIndex)) {
		return fmt.Errorf("consensus invariant 1: applied to %d, reads wait for %v", c.applied, c.waiting)
	}
	if c.marked > c.flushed || c.flushed > c.applied || c.applied > c.commit {
		return fmt.Errorf("consensus invariant 2: marked %d, flushed %d, applied %d, commit %d", c.marked, c.flushed, c.applied, c.commit)
	}
	if first := c.core.Status().First; first > max(c.flushed, c.installing)+1 {
		return fmt.Errorf("consensus invariant 3: flushed %d, entries in memory begin with %d", c.flushed, first)
	}
	return nil
}
