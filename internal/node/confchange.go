package node

import (
	"context"

	"github.com/quoin-kv/quoin/raft/wire"
)

// ProposeConfChange proposes a change of the configuration and waits until it is applied or refused. cc.ID must be unique on this member.
// Errors are those of Propose, a rule of membership, or why the core does not take a change now.
func (n *Node) ProposeConfChange(ctx context.Context, cc wire.ConfChange) error {
	_, err := n.submit(ctx, proposal{id: cc.ID, change: &cc})
	return err
}

// proposeConfChange hands a change to the core, or tells who waits for it why not.
func (l *loop) proposeConfChange(cc wire.ConfChange) {
	if err := l.core.ProposeConfChange(cc); err != nil {
		l.waiters.answer(cc.ID, nil, err)
	}
}
