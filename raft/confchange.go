package raft

import (
	"github.com/quoin-kv/quoin/raft/progress"
	"github.com/quoin-kv/quoin/raft/wire"
)

// admitConfChange refuses a change that is not possible, or while another may be under way: majorities before and after
// two of them need not overlap (thesis 4.1).
func (c *Core) admitConfChange(cc wire.ConfChangeV2) error {
	if c.pendingConf > c.log.applied {
		return ErrConfChangePending
	}
	_, err := c.members.Apply(cc)
	return err
}

func (c *Core) appendConfChange(e wire.Entry) {
	c.appendOwn(e)
	c.pendingConf = c.log.last()
}

// confChangeUnapplied reports whether a committed membership change waits to be applied. Until then this member does not
// know whose votes it needs.
func (c *Core) confChangeUnapplied() bool {
	waiting := c.log.slice(max(c.log.applied, c.log.base)+1, c.log.commit)
	for i := range waiting {
		if waiting[i].Type != wire.EntryNormal {
			return true
		}
	}
	return false
}

// ApplyConfChange makes a committed membership change count, and returns the configuration after it, which the caller
// owns. The driver calls it in the order of the log, before it reports the entry as applied. A change with NodeID 0, or
// one that is not possible, changes nothing; that is the same on every member, since all apply the same log.
//
// While a snapshot waits to be installed, changes from before it change nothing here: it brought the configuration with it.
func (c *Core) ApplyConfChange(cc wire.ConfChange) wire.ConfState {
	return c.ApplyConfChangeV2(cc.V2())
}

// ApplyConfChangeV2 is ApplyConfChange for a set of changes (thesis 4.3).
func (c *Core) ApplyConfChangeV2(cc wire.ConfChangeV2) wire.ConfState {
	if c.log.installing() {
		return c.members.State()
	}
	if next, err := c.members.Apply(cc); err == nil {
		c.members = next
		c.followMembers()
	}
	return c.members.State()
}

// leaveJoint makes a leader propose the end of a joint configuration that is to end by itself, once the change that began
// it is applied. The entry is empty, so no bound refuses it.
func (c *Core) leaveJoint() {
	if c.role == Leader && c.members.Joint() && c.members.AutoLeave && c.pendingConf <= c.log.applied {
		c.appendConfChange(wire.Entry{Type: wire.EntryConfChangeV2})
		c.broadcastAppend()
	}
}

// followMembers makes a leader act on a new configuration. One that is no voter any more steps down (thesis 4.2.2).
func (c *Core) followMembers() {
	if c.role != Leader {
		return
	}
	if !c.members.Voters.Contains(c.cfg.ID) {
		c.becomeFollower(c.term, 0)
		return
	}
	c.trackMembers()
	if !c.members.Voters.Contains(c.transferee) {
		c.transferee = 0
	}
	c.endReadRound()
	c.beginReadRound()
	if c.advanceCommit() { // a smaller quorum may have stored more
		c.broadcastAppend()
	}
	for _, id := range c.peers.IDs() {
		if c.peers.Get(id).State == progress.Probe {
			c.sendAppend(id, true) // a new member hears of its leader at once
		}
	}
}

// trackMembers gives new members a progress. They count as active, so that they have time to answer before a leader that
// makes sure of its quorum misses them.
func (c *Core) trackMembers() {
	c.peers.Members(c.members.Members(), func() *progress.Progress {
		p := progress.New(c.log.last()+1, c.cfg.limits())
		p.Active = true
		return p
	})
}
