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

// proposeChanges hands the configuration changes among the proposals to the core, or tells who waits for one why not. They are not tried
// again, unlike data. What is left are the other proposals.
func (l *loop) proposeChanges() {
	kept := l.proposals[:0]
	for _, p := range l.proposals {
		if p.change == nil {
			kept = append(kept, p)
		} else if err := l.core.ProposeConfChange(*p.change); err != nil {
			l.waiters.refuse(p.id, err)
		}
	}
	clear(l.proposals[len(kept):])
	l.proposals = kept
}
