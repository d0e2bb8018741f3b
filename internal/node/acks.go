package node

import (
	"sync"

	"github.com/quoin-kv/quoin/internal/faultpoint"
	"github.com/quoin-kv/quoin/raft/wire"
)

// acks holds back acknowledgements to the leader while much is committed that the machine has not applied: the leader then stops sending
// when its bound of unanswered appends is reached, instead of filling this member's memory faster than it is worked off. Votes, refusals
// and answers to heartbeats are not held, so this member counts as present.
//
// An acknowledgement covers those before it, so the newest is enough.
type acks struct {
	mu   sync.Mutex
	held []wire.Message // at most one
}

// sendAfterSync lets leave what was waiting for the disk.
func (n *Node) sendAfterSync(ms []wire.Message) {
	if n.cfg.Send == nil || len(ms) == 0 {
		return
	}
	if n.backlog.Load() > n.cfg.MaxPendingBytes {
		ms = n.acks.hold(ms)
	}
	if len(ms) > 0 {
		faultpoint.Hit(faultpoint.RaftBeforeFollowerSend)
		n.cfg.Send(ms)
	}
	n.releaseAcks()
}

// hold keeps the newest acknowledgement among ms and returns what is none.
func (a *acks) hold(ms []wire.Message) (rest []wire.Message) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range ms {
		if ms[i].Type == wire.MsgAppResp && !ms[i].Reject {
			a.held = append(a.held[:0], ms[i])
		} else {
			rest = append(rest, ms[i])
		}
	}
	return rest
}

// releaseAcks sends what is held once half of the backlog is worked off. The log writer calls it behind each batch, and the applier.
func (n *Node) releaseAcks() {
	if n.backlog.Load() > n.cfg.MaxPendingBytes/2 {
		return
	}
	n.acks.mu.Lock()
	held := n.acks.held
	n.acks.held = nil
	n.acks.mu.Unlock()
	if len(held) > 0 {
		n.cfg.Send(held)
	}
}
