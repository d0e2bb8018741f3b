package raft

import (
	"fmt"

	"github.com/quoin-kv/quoin/raft/wire"
)

// Effects is everything that a Core has decided since it was last asked.
//
// Seq numbers the effects that are not empty: 1, 2, 3, and so on. The driver stores them in this order and may store
// several at once. Within one, InstallSnapshot comes before Append, and Append before HardState. An entry that is
// appended replaces all entries with its index and above that were appended before.
//
// The slices and what they point to are shared with the core and must not be modified; they stay valid.
type Effects struct {
	Seq uint64 // 0 if there is nothing to do

	// To be stored.
	Append          []wire.Entry
	HardState       wire.HardState // zero is unchanged
	InstallSnapshot *wire.Snapshot // replaces log and machine; report with Persisted and Applied
	MustSync        bool           // must reach the disk before Persisted; otherwise writing it in order is enough

	Messages  []wire.Message // to be sent at once
	AfterSync []wire.Message // to be sent once this Seq and all before it are durable

	Committed []wire.Entry // to be applied in order; may include entries that are not yet durable here
	Reads     []ReadState  // answers to ReadIndex
	Lost      []uint64     // ids given to ReadIndex that will not be answered
}

// ReadState is an answer to ReadIndex: the read may be served from a machine that has applied Index.
type ReadState struct {
	ID    uint64
	Index uint64
}

// write is what one Effects asks to be stored.
type write struct {
	seq   uint64
	upTo  uint64 // the log is durable up to here once it is stored
	since uint64 // tick at which it was handed out
	voted bool   // holds the own vote in an election
	term  uint64 // of that election
}

// Effects returns what was decided since the last call, and takes it for granted that it will be done.
func (c *Core) Effects() Effects {
	e := c.out
	c.out = Effects{}
	e.Append = c.log.slice(c.log.emitted+1, c.log.last())
	e.Committed = c.log.slice(c.log.handed+1, c.log.commit)
	if state := c.hardState(); state != c.emittedState {
		e.HardState = state
	}
	if e.empty() {
		return Effects{}
	}
	c.seq++
	e.Seq = c.seq
	c.emit(&e)
	return e
}

// emit notes that e leaves the core.
func (c *Core) emit(e *Effects) {
	voted := c.role == Candidate && c.term != c.emittedState.Term
	if !e.HardState.IsZero() {
		e.MustSync = e.HardState.Term != c.emittedState.Term || e.HardState.Vote != c.emittedState.Vote
		c.emittedState = e.HardState
	}
	c.log.emitted, c.log.handed = c.log.last(), c.log.commit
	if len(e.Append) > 0 || e.InstallSnapshot != nil {
		e.MustSync = true
	}
	if e.MustSync {
		c.writes = append(c.writes, write{seq: e.Seq, upTo: c.log.emitted, since: c.ticks, voted: voted, term: c.term})
	}
}

func (e *Effects) empty() bool {
	return len(e.Append) == 0 && e.HardState.IsZero() && e.InstallSnapshot == nil &&
		len(e.Messages) == 0 && len(e.AfterSync) == 0 &&
		len(e.Committed) == 0 && len(e.Reads) == 0 && len(e.Lost) == 0
}

// Persisted tells the core that what the effects up to seq ask to be stored is durable. Reporting only the latest of
// several is enough, and so is leaving out those without MustSync.
func (c *Core) Persisted(seq uint64) {
	if seq > c.seq {
		panic(fmt.Sprintf("raft: effects %d persisted, but the last ones are %d", seq, c.seq))
	}
	done, voted := 0, false
	for _, w := range c.writes {
		if w.seq > seq {
			break
		}
		c.log.durable = max(c.log.durable, w.upTo)
		voted = voted || w.voted && w.term == c.term
		done++
	}
	c.writes = c.writes[:copy(c.writes, c.writes[done:])]
	if voted && c.role == Candidate {
		c.recordVote(c.cfg.ID, true)
	}
	c.countOwnDisk()
}

// countOwnDisk lets a leader count itself among those who have stored its entries (thesis 10.2.1).
func (c *Core) countOwnDisk() {
	if c.role == Leader && c.peers.Get(c.cfg.ID).Acknowledged(c.log.durable) && c.advanceCommit() {
		c.broadcastAppend()
	}
}

func (c *Core) hardState() wire.HardState {
	return wire.HardState{Term: c.term, Vote: c.vote, Commit: c.log.commit}
}

// send lets a message leave at once.
func (c *Core) send(m wire.Message) { c.out.Messages = append(c.out.Messages, c.sign(m)) }

// sendAfterSync lets a message leave when what was decided so far is durable.
func (c *Core) sendAfterSync(m wire.Message) { c.out.AfterSync = append(c.out.AfterSync, c.sign(m)) }

// sign fills in the sender, if the message is not passed on for somebody, and the term, if it has one.
func (c *Core) sign(m wire.Message) wire.Message {
	if m.From == 0 {
		m.From = c.cfg.ID
	}
	switch m.Type {
	case wire.MsgProp, wire.MsgReadIndex:
	default:
		if m.Term == 0 {
			m.Term = c.term
		}
	}
	return m
}
