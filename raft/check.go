package raft

import (
	"fmt"
	"slices"
)

// Check returns which invariant of the core or its parts is broken, if any. It reads the whole log: tests call it after
// every step, a running member has no need to.
func (c *Core) Check() error {
	for _, check := range []func() error{c.log.check, c.members.Check, c.checkEmitted, c.checkRole, c.checkLeader, c.checkWrites} {
		if err := check(); err != nil {
			return fmt.Errorf("member %x in term %d: %w", c.cfg.ID, c.term, err)
		}
	}
	return nil
}

func (c *Core) checkEmitted() error {
	now, before := c.hardState(), c.emittedState
	if now.Term < before.Term || now.Commit < before.Commit || now.Term == before.Term && before.Vote != 0 && now.Vote != before.Vote {
		return fmt.Errorf("core invariant 1: state %+v after %+v", now, before)
	}
	return nil
}

func (c *Core) checkRole() error {
	if (c.role == Leader) != (c.lead == c.cfg.ID) {
		return fmt.Errorf("core invariant 2: %v, led by %x", c.role, c.lead)
	}
	return nil
}

func (c *Core) checkLeader() error {
	if c.role != Leader {
		return nil
	}
	own := c.peers.Get(c.cfg.ID)
	if !c.members.Voters.Contains(c.cfg.ID) || !slices.Equal(c.peers.IDs(), c.members.Members()) || own.Match != c.log.durable {
		return fmt.Errorf("core invariant 3: leads %v, tracks %v, durable to %d", c.members.Members(), c.peers.IDs(), c.log.durable)
	}
	for _, id := range c.peers.IDs() {
		p := c.peers.Get(id)
		if err := p.Check(); err != nil {
			return fmt.Errorf("peer %x: %w", id, err)
		}
		if p.Match > c.log.last() {
			return fmt.Errorf("core invariant 4: %x has %d, last is %d", id, p.Match, c.log.last())
		}
	}
	if sum := dataBytes(c.log.slice(c.log.commit+1, c.log.last())); sum != c.uncommitted {
		return fmt.Errorf("core invariant 5: %d bytes counted, %d uncommitted", c.uncommitted, sum)
	}
	return nil
}

func (c *Core) checkWrites() error {
	previous := uint64(0)
	for _, w := range c.writes {
		if w.seq <= previous || w.seq > c.seq || w.upTo > c.log.emitted {
			return fmt.Errorf("core invariant 6: write %+v after %d, last is %d, emitted to %d", w, previous, c.seq, c.log.emitted)
		}
		previous = w.seq
	}
	return nil
}
