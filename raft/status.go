package raft

import (
	"github.com/quoin-kv/quoin/raft/progress"
	"github.com/quoin-kv/quoin/raft/wire"
)

// Status is a copy of what can be told about a member; it shares no memory with the core.
type Status struct {
	ID         uint64
	Role       Role
	Lead       uint64 // 0 is unknown
	Transferee uint64 // the leader hands over to; 0 is nobody
	Term       uint64
	Vote       uint64
	First      uint64 // first entry in memory, Last+1 if there is none
	Last       uint64
	Durable    uint64 // stored by this member
	Commit     uint64
	Applied    uint64
	Stalled    bool // the disk has had a write in hand for longer than an election timeout
	ConfState  wire.ConfState
	Peers      []Peer // what a leader knows about the members, itself included, by id; nil elsewhere
}

// Peer is what a leader knows about a member.
type Peer struct {
	ID      uint64
	Match   uint64 // its log is stored and equal to the leader's up to here
	Next    uint64
	State   progress.State
	Active  bool // heard of lately
	Learner bool
}

// Status returns the state of the member. It allocates; use Role, Lead and Term for what is asked often.
func (c *Core) Status() Status {
	return Status{
		ID: c.cfg.ID, Role: c.role, Lead: c.lead, Transferee: c.transferee, Term: c.term, Vote: c.vote,
		First: c.log.base + 1, Last: c.log.last(), Durable: c.log.durable, Commit: c.log.commit, Applied: c.log.applied,
		Stalled:   c.stalled(),
		ConfState: c.members.State(),
		Peers:     c.peerStatus(),
	}
}

func (c *Core) peerStatus() (peers []Peer) {
	for _, id := range c.peers.IDs() {
		p := c.peers.Get(id)
		peers = append(peers, Peer{
			ID: id, Match: p.Match, Next: p.Next, State: p.State, Active: p.Active || id == c.cfg.ID,
			Learner: !c.members.Voters.Contains(id),
		})
	}
	return peers
}

// Role returns the part that the member plays now.
func (c *Core) Role() Role { return c.role }

// Lead returns the leader of the term, 0 if none is known.
func (c *Core) Lead() uint64 { return c.lead }

// Durable returns up to where the log is stored by this member. What the machine keeps on disk must not be ahead of it.
func (c *Core) Durable() uint64 { return c.log.durable }

// Term returns the current term.
func (c *Core) Term() uint64 { return c.term }
