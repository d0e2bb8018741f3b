package raft

import (
	"fmt"
	"slices"

	"github.com/quoin-kv/quoin/raft/confchange"
	"github.com/quoin-kv/quoin/raft/progress"
	"github.com/quoin-kv/quoin/raft/wire"
)

// sendSnapshot asks the driver to send a snapshot of the machine. The core knows only what it must hold at least: the
// driver puts in the index, term and configuration of what it really sends, and the data. It reports whether it asked.
func (c *Core) sendSnapshot(id uint64, p *progress.Progress) bool {
	if !p.Active {
		return false // the snapshot would only wait for a member that does not listen
	}
	term, ok := c.log.term(c.log.applied)
	if !ok {
		panic(fmt.Sprintf("raft: log starts behind %d, applied to %d", c.log.base, c.log.applied))
	}
	meta := wire.SnapshotMeta{ConfState: c.members.State(), Index: c.log.applied, Term: term}
	c.send(wire.Message{Type: wire.MsgSnap, To: id, Snapshot: &wire.Snapshot{Meta: meta}})
	p.BecomeSnapshot(meta.Index)
	return true
}

// ReportSnapshot tells the core how sending a snapshot to id ended.
func (c *Core) ReportSnapshot(id uint64, ok bool) {
	if p := c.follower(id); p != nil {
		p.SnapshotDone(ok)
	}
}

// stepSnapshot replaces the log by a snapshot, unless it has everything already (paper 7). The answer waits until that
// is stored.
func (c *Core) stepSnapshot(m wire.Message) error {
	s := m.Snapshot
	if s == nil || s.Meta.Index == 0 || !consistent(s.Meta.Index, s.Meta.Term) || s.Meta.Term > m.Term {
		return fmt.Errorf("%w: snapshot from %x without a valid place in the log", ErrBadMessage, m.From)
	}
	members, err := confchange.FromState(s.Meta.ConfState)
	if err != nil {
		return fmt.Errorf("%w: snapshot from %x: %w", ErrBadMessage, m.From, err)
	}
	switch {
	case s.Meta.Index <= c.log.commit, !slices.Contains(members.Members(), c.cfg.ID):
	case c.log.matches(s.Meta.Index, s.Meta.Term):
		c.commitTo(s.Meta.Index) // the entries are all here
	default:
		c.install(s, members)
	}
	c.acknowledge(m.From, c.log.commit)
	return nil
}

// install makes the log begin behind the snapshot. Writes under way say nothing about the new log.
func (c *Core) install(s *wire.Snapshot, members confchange.Config) {
	c.log.restart(s.Meta.Index, s.Meta.Term)
	for i := range c.writes {
		c.writes[i].upTo = 0
	}
	c.members = members
	c.out.InstallSnapshot = s
}
