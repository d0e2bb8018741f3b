package node

import (
	"context"

	"github.com/quoin-kv/quoin/internal/replica"
	"github.com/quoin-kv/quoin/raft/wire"
)

// ProposeConfChange proposes a change of the configuration and waits until it is applied or refused. cc.ID must be unique on this member.
// Errors are those of Propose, a rule of membership, or why the core does not take a change now.
func (n *Node) ProposeConfChange(ctx context.Context, cc wire.ConfChange) error {
	_, err := n.submit(ctx, replica.Proposal{ID: cc.ID, Change: &cc})
	return err
}

// proposeChange hands a proposal to the core if it is a configuration change, or tells who waits for it why not, and reports whether it is
// one. It is not tried again, unlike data.
func (l *loop) proposeChange(p *replica.Proposal) bool {
	if p.Change == nil {
		return false
	}
	if wanted := l.waiters.wanted([]*replica.Proposal{p}, l.core.Term(), l.now()); len(wanted) == 0 {
		return true
	}
	if err := l.core.ProposeConfChange(*p.Change); err != nil {
		l.waiters.refuse(p, err)
	}
	return true
}
