package raft

import "github.com/quoin-kv/quoin/raft/wire"

// TransferLeader asks the leader to hand over to the voter with id to (thesis 3.10). The leader takes no proposals until
// that has happened or an election timeout has passed. Whether it has, Status tells; a request that makes no sense is
// ignored.
func (c *Core) TransferLeader(to uint64) {
	if c.role != Leader {
		if c.lead != 0 {
			c.send(wire.Message{Type: wire.MsgTransferLeader, To: c.lead, From: to})
		}
		return
	}
	if to == c.transferee || c.follower(to) == nil || !c.members.Voters.Contains(to) {
		return
	}
	c.transferee = to
	c.timer.transfer = 0
	if !c.finishTransfer(to) {
		c.sendAppend(to, true)
	}
}

// finishTransfer lets the transferee campaign at once when it has the whole log, and reports whether it does.
func (c *Core) finishTransfer(id uint64) bool {
	if id != c.transferee || c.peers.Get(id).Match != c.log.last() {
		return false
	}
	c.send(wire.Message{Type: wire.MsgTimeoutNow, To: id})
	return true
}

// stepTimeoutNow campaigns as the leader asked for: without asking around first, and overriding leader stickiness.
func (c *Core) stepTimeoutNow() {
	if c.mayCampaign() {
		c.campaign([]byte(campaignTransfer))
	}
}
