package raft

import (
	"fmt"

	"github.com/quoin-kv/quoin/raft/progress"
	"github.com/quoin-kv/quoin/raft/wire"
)

// appendOwn adds an entry of the leader's term at the end of its log.
func (c *Core) appendOwn(e wire.Entry) {
	e.Term, e.Index = c.term, c.log.last()+1
	c.uncommitted += uint64(len(e.Data))
	c.log.append(e)
}

// broadcastAppend sends every follower what it lacks, as far as it may be sent now, and the commit index in any case.
func (c *Core) broadcastAppend() {
	for _, id := range c.peers.IDs() {
		if id != c.cfg.ID {
			c.sendAppend(id, true)
			c.sendRest(id)
		}
	}
}

// sendRest sends what a follower lacks until it has everything or enough is in flight.
func (c *Core) sendRest(id uint64) {
	for c.sendAppend(id, false) {
	}
}

// sendAppend sends a follower the next entries, or a snapshot if they are not in memory any more. A message without
// entries is sent only if even that tells something. It reports whether anything was sent.
func (c *Core) sendAppend(id uint64, evenEmpty bool) bool {
	p := c.peers.Get(id)
	if p.Paused() {
		return false
	}
	previous := p.Next - 1
	term, ok := c.log.term(previous)
	if !ok {
		return c.sendSnapshot(id, p)
	}
	entries, size := c.log.limited(p.Next, c.cfg.MaxMessageBytes)
	if len(entries) == 0 && !evenEmpty {
		return false
	}
	c.send(wire.Message{Type: wire.MsgApp, To: id, Index: previous, LogTerm: term, Entries: entries, Commit: c.log.commit})
	p.Sent(len(entries), size)
	return true
}

// stepAppend takes in entries from the leader (paper 5.3). The answer says what is stored here, so it waits for the disk;
// a refusal promises nothing and does not.
func (c *Core) stepAppend(m wire.Message) error {
	if !consistent(m.Index, m.LogTerm) {
		return fmt.Errorf("%w: append from %x behind index %d of term %d", ErrBadMessage, m.From, m.Index, m.LogTerm)
	}
	if err := checkEntries(m.Entries, m.Index, m.LogTerm, m.Term); err != nil {
		return fmt.Errorf("%w: append from %x: %w", ErrBadMessage, m.From, err)
	}
	if index, ok := c.log.contradiction(&m); !ok {
		return fmt.Errorf("%w: append from %x at committed entry %d", ErrDiverged, m.From, index)
	}
	skipCommitted(&m, c.log.commit)
	switch {
	case m.Index < c.log.commit:
		c.acknowledge(m.From, c.log.commit) // late: a later message told us more
	case c.log.matches(m.Index, m.LogTerm):
		c.acceptAppend(&m)
	default:
		c.refuseAppend(&m)
	}
	return nil
}

// skipCommitted takes entries up to commit off the front of an append: they are here already.
func skipCommitted(m *wire.Message, commit uint64) {
	if m.Index >= commit || len(m.Entries) == 0 {
		return
	}
	skip := min(commit-m.Index, uint64(len(m.Entries)))
	m.Index, m.LogTerm = m.Index+skip, m.Entries[skip-1].Term
	m.Entries = m.Entries[skip:]
}

func (c *Core) acceptAppend(m *wire.Message) {
	if at := c.log.conflict(m.Entries); at < len(m.Entries) {
		c.replaceTail(m.Entries[at:])
	}
	last := m.Index + uint64(len(m.Entries))
	c.commitTo(min(m.Commit, last))
	c.acknowledge(m.From, last)
}

// replaceTail makes entries the end of the log; writes under way no longer cover what they replace.
func (c *Core) replaceTail(entries []wire.Entry) {
	c.log.replaceTail(entries)
	for i := range c.writes {
		c.writes[i].upTo = min(c.writes[i].upTo, entries[0].Index-1)
	}
}

// refuseAppend answers that the log has no such entry to append behind, with a hint where the logs may agree: no further
// than the last entry here whose term is not above the leader's (end of paper 5.3).
func (c *Core) refuseAppend(m *wire.Message) {
	hint, term := c.log.lastNotAbove(min(m.Index, c.log.last()), m.LogTerm)
	c.send(wire.Message{Type: wire.MsgAppResp, To: m.From, Index: m.Index, Reject: true, RejectHint: hint, LogTerm: term})
}

// acknowledge tells the leader that everything up to index is stored here. Of several such answers that wait for the
// same disk write, the last one is enough.
func (c *Core) acknowledge(leader, index uint64) {
	answer := wire.Message{Type: wire.MsgAppResp, To: leader, Index: index}
	if n := len(c.out.AfterSync); n > 0 {
		before := &c.out.AfterSync[n-1]
		if before.Type == wire.MsgAppResp && before.To == leader && before.Term == c.term {
			before.Index = max(before.Index, index)
			return
		}
	}
	c.sendAfterSync(answer)
}

// stepAppendResponse learns how a follower's log relates to the leader's.
func (c *Core) stepAppendResponse(m wire.Message) error {
	p := c.follower(m.From)
	if p == nil {
		return nil
	}
	p.Active = true
	if m.Reject {
		if p.Rejected(m.Index, c.agreement(&m)) {
			c.sendAppend(m.From, true)
		}
		return nil
	}
	if m.Index > c.log.last() {
		return fmt.Errorf("%w: %x acknowledges entry %d, the last one is %d", ErrBadMessage, m.From, m.Index, c.log.last())
	}
	c.acknowledged(m.From, p, m.Index)
	return nil
}

// agreement returns up to where the follower's log may agree with the leader's, from the hint in its refusal: what the
// leader has in terms above the hint's cannot.
func (c *Core) agreement(m *wire.Message) uint64 {
	if m.LogTerm == 0 {
		return m.RejectHint
	}
	index, _ := c.log.lastNotAbove(min(m.RejectHint, c.log.last()), m.LogTerm)
	return index
}

func (c *Core) acknowledged(id uint64, p *progress.Progress, index uint64) {
	wasPaused := p.Paused()
	if !p.Acknowledged(index) {
		return
	}
	if c.advanceCommit() {
		c.broadcastAppend()
	} else if wasPaused {
		c.sendAppend(id, true) // it may have missed the commit index
	}
	c.sendRest(id)
	c.finishTransfer(id)
}

// follower returns what a leader knows about id, nil if this member does not lead or id is not another member.
func (c *Core) follower(id uint64) *progress.Progress {
	if c.role != Leader || id == c.cfg.ID {
		return nil
	}
	return c.peers.Get(id)
}

// advanceCommit commits what a quorum has stored, if that includes an entry of the leader's own term (paper 5.4.2), and
// reports whether there was anything new.
func (c *Core) advanceCommit() bool {
	index := c.members.Voters.Committed(progress.Matches{Set: &c.peers})
	if index <= c.log.commit || !c.log.matches(index, c.term) {
		return false
	}
	c.uncommitted -= dataBytes(c.log.slice(c.log.commit+1, index))
	c.log.commit = index
	c.beginReadRound() // reads wait for the first commit of the term
	return true
}

// commitTo follows the leader's commit index.
func (c *Core) commitTo(index uint64) { c.log.commit = max(c.log.commit, index) }

// broadcastHeartbeat tells everybody that there is a leader, and carries the read round under way (thesis 6.4).
func (c *Core) broadcastHeartbeat() {
	c.timer.heartbeat = 0
	context := c.readContext()
	for _, id := range c.peers.IDs() {
		if id != c.cfg.ID {
			commit := min(c.peers.Get(id).Match, c.log.commit)
			c.send(wire.Message{Type: wire.MsgHeartbeat, To: id, Commit: commit, Context: context})
		}
	}
}

// stepHeartbeat follows the leader's commit index, of which the leader knows that it is stored here, and answers at
// once: it says nothing about this disk.
func (c *Core) stepHeartbeat(m wire.Message) error {
	if m.Commit > c.log.last() {
		return fmt.Errorf("%w: %x knows entry %d to be stored here, the last one is %d", ErrDiverged, m.From, m.Commit, c.log.last())
	}
	c.commitTo(m.Commit)
	c.send(wire.Message{Type: wire.MsgHeartbeatResp, To: m.From, Context: m.Context})
	return nil
}

// stepHeartbeatResponse takes a sign of life as reason to send again what may have been lost.
func (c *Core) stepHeartbeatResponse(m wire.Message) {
	p := c.follower(m.From)
	if p == nil {
		return
	}
	p.Active = true
	p.Resume()
	if p.Match < c.log.last() || p.State == progress.Probe {
		c.sendAppend(m.From, true)
	}
	c.confirmReadRound(p, m.Context)
}

// ReportUnreachable tells the core that a message to id could not be sent, so that what was sent ahead may be lost.
func (c *Core) ReportUnreachable(id uint64) {
	if p := c.follower(id); p != nil && p.State == progress.Replicate {
		p.BecomeProbe()
	}
}

// dataBytes is the size of the entries' data.
func dataBytes(entries []wire.Entry) (n uint64) {
	for i := range entries {
		n += uint64(len(entries[i].Data))
	}
	return n
}
