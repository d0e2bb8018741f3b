package raft

// stall is what a leader does about a disk that does not come back from a write.
type stall struct {
	tried   uint64 // the voter that was last asked to take over, 0 is nobody
	resting bool   // it was asked one election timeout ago: this one is for proposals
}

// stalled reports whether the disk has had a write in hand for longer than an election timeout. Such a member neither
// campaigns nor promises a vote: it could not keep the promise.
func (c *Core) stalled() bool {
	return len(c.writes) > 0 && c.ticks-c.writes[0].since > uint64(c.cfg.ElectionTicks)
}

// handOverStalled gives the lead away when the own disk is stalled and the others commit without it. That they do is
// what shows that an election can be won: votes need disks. If they do not, leading on costs nothing, and reads are still
// served.
//
// It is called once in an election timeout. A voter that did not take over is not asked again at once, since its own disk
// may be why; and between two attempts proposals are taken for an election timeout.
func (c *Core) handOverStalled() {
	if !c.stalled() || c.log.commit <= c.log.durable {
		c.stall = stall{}
		return
	}
	if c.stall.resting || c.transferee != 0 {
		c.stall.resting = false
		return
	}
	c.stall.tried = c.successor(c.stall.tried)
	if c.stall.tried != 0 {
		c.stall.resting = true
		c.TransferLeader(c.stall.tried)
	}
}

// successor returns the voter that was heard of and has stored most, at least all that is committed; 0 if there is none
// besides this member and except.
func (c *Core) successor(except uint64) (best uint64) {
	most := uint64(0)
	for _, id := range c.peers.IDs() {
		p := c.peers.Get(id)
		if id == c.cfg.ID || id == except || !p.Active || !c.members.Voters.Contains(id) {
			continue
		}
		if p.Match >= c.log.commit && p.Match > most {
			best, most = id, p.Match
		}
	}
	return best
}
