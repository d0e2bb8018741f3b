package node

import (
	"context"
	"errors"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/replica"
	"github.com/quoin-kv/quoin/internal/steps"
)

// Propose replicates data and returns the machine's encoded reply. id must be unique on this member and be the request id within data.
//
// Errors: the machine's own; kverr.TooManyRequests if too much is waiting or the member is behind: nothing happened then. If ctx ends first
// the error is ctx.Err() if the core never had the entry, so that it is certainly without effect; else the outcome is
// unknown: kverr.Canceled, kverr.TimeoutDueToConnectionLost if this member does not reach a majority of the voters, otherwise
// kverr.TimeoutDueToLeaderFail if the leader changed or was lost while the proposal waited, which may have been lost with it, otherwise
// kverr.Timeout. It is unknown, too, with kverr.Stopped. A proposal that a new leader has not is waited for a few ticks
// only: kverr.TimeoutDueToLeaderFail.
func (n *Node) Propose(ctx context.Context, id uint64, data []byte) ([]byte, error) {
	return n.submit(ctx, replica.Proposal{ID: id, Data: data})
}

// ProposeInTerm is Propose for what this member may only ask for as the leader of a term. If it does not lead in it any more when the
// proposal's turn comes, the error is kverr.LeaderChanged and nothing happened: no later leader gets the proposal.
func (n *Node) ProposeInTerm(ctx context.Context, term, id uint64, data []byte) ([]byte, error) {
	return n.submit(ctx, replica.Proposal{ID: id, Data: data, Term: term})
}

// blocked is a proposal for which a goroutine waits.
type blocked struct {
	replica.Proposal
	done chan struct{} // capacity 1
}

// Answered implements replica.Asker.
func (b *blocked) Answered(*replica.Proposal) { b.done <- struct{}{} }

// submit hands a proposal to the loop and waits for its answer.
func (n *Node) submit(ctx context.Context, p replica.Proposal) ([]byte, error) {
	b := &blocked{Proposal: p, done: make(chan struct{}, 1)}
	b.Asker = b
	n.Offer([]*replica.Proposal{&b.Proposal})
	select {
	case <-b.done:
	case <-ctx.Done():
		n.Abandon(&b.Proposal, ctx.Err())
		<-b.done
	}
	n.Account(&b.Proposal, steps.From(ctx))
	return b.Reply, b.Err
}

// Offer hands in proposals as Propose does, all at once, and returns without waiting for any: their askers are told, those of a batch that
// was applied one after the other by the applier, of what is refused at once by Offer itself. list is reordered, and not kept; the
// proposals are, and must not be used again.
func (n *Node) Offer(list []*replica.Proposal) {
	if n.commit.Load() > n.applied.Load()+n.cfg.MaxBacklog || max(n.backlog.Load(), n.unwritten.Load()) > n.cfg.MaxPendingBytes {
		refuseAll(list, kverr.TooManyRequests)
		return
	}
	now, leaders := n.now(), n.leaders.Load()
	for _, p := range list {
		p.Came, p.Leaders = now, leaders
	}
	taken, closed := n.waiters.add(list)
	if closed {
		n.proposalsFailed(len(list))
		refuseAll(list, kverr.Stopped)
		return
	}
	if taken > 0 {
		n.proposals.put(list[:taken]...)
	}
	refuseAll(list[taken:], kverr.TooManyRequests)
}

// refuseAll answers proposals that nobody has taken.
func refuseAll(list []*replica.Proposal, err error) {
	for _, p := range list {
		p.Err = err
		p.Asker.Answered(p)
	}
}

// Abandon ends the wait for a proposal, unless its answer is there or on its way: its asker is told the error that Propose would give if its
// context ended with cause.
func (n *Node) Abandon(p *replica.Proposal, cause error) {
	forgotten, accepted := n.waiters.abandon(p)
	if !forgotten {
		return
	}
	n.proposalsFailed(1)
	p.Err = n.proposalError(p, accepted, cause)
	p.Asker.Answered(p)
}

// proposalError says why a proposal got no answer, for which nobody waits any more because of cause.
func (n *Node) proposalError(p *replica.Proposal, accepted bool, cause error) error {
	switch {
	case n.ctx.Err() != nil:
		return kverr.Stopped
	case !accepted:
		return cause
	case errors.Is(cause, context.Canceled):
		return kverr.Canceled
	case !n.reachesQuorum():
		return kverr.TimeoutDueToConnectionLost
	case n.leaders.Load() != p.Leaders || n.status.Load().Lead == 0:
		return kverr.TimeoutDueToLeaderFail
	default:
		return kverr.Timeout
	}
}

func (n *Node) proposalsFailed(count int) {
	for range count {
		report(n.cfg.Metrics.ProposalFailed)
	}
}

// abandonOverdue gives up what has waited for as long as it may.
func (l *loop) abandonOverdue() {
	for _, p := range l.waiters.overdue(l.now()) {
		l.Abandon(p, context.DeadlineExceeded)
	}
}

// end tells everybody who waits that the node has stopped.
func (l *loop) end() {
	for _, p := range l.waiters.close() {
		l.Abandon(p, context.Canceled)
	}
	l.Node.sole.Store(0)
	for _, w := range l.reads.close() {
		w.Answered(kverr.Stopped)
	}
	l.rounds.End(kverr.Stopped)
}
