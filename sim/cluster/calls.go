package cluster

import (
	"context"
	"errors"
	"time"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/machine"
	"github.com/quoin-kv/quoin/internal/mvcc"
	"github.com/quoin-kv/quoin/internal/node"
	"github.com/quoin-kv/quoin/internal/replica"
	"github.com/quoin-kv/quoin/internal/service"
	"github.com/quoin-kv/quoin/internal/steps"
	"github.com/quoin-kv/quoin/raft/wire"
)

// A member is to its service what a node is; all calls that block are made by coroutines of its process.
var _ service.Member = (*member)(nil)

// call is a proposal for which a coroutine waits.
type call struct {
	replica.Proposal
	done bool
}

// Answered implements replica.Asker.
func (c *call) Answered(*replica.Proposal) { c.done = true }

// Propose implements service.Member.
func (m *member) Propose(ctx context.Context, id uint64, data []byte) ([]byte, error) {
	return m.submit(ctx, replica.Proposal{ID: id, Data: data})
}

// ProposeInTerm implements service.Member.
func (m *member) ProposeInTerm(ctx context.Context, term, id uint64, data []byte) ([]byte, error) {
	return m.submit(ctx, replica.Proposal{ID: id, Data: data, Term: term})
}

// ProposeConfChange implements service.Member.
func (m *member) ProposeConfChange(ctx context.Context, cc wire.ConfChange) error {
	_, err := m.submit(ctx, replica.Proposal{ID: cc.ID, Change: &cc})
	return err
}

func (m *member) submit(ctx context.Context, p replica.Proposal) ([]byte, error) {
	c := &call{Proposal: p}
	c.Asker = c
	m.Offer([]*replica.Proposal{&c.Proposal})
	if m.proc.Await(ctx, &c.done) != nil {
		m.Abandon(&c.Proposal, ctx.Err())
	}
	return c.Reply, c.Err
}

// Offer implements service.Member.
func (m *member) Offer(list []*replica.Proposal) {
	for _, p := range list {
		p.Came = m.age()
		if m.calls.Add(p) {
			m.proposals = append(m.proposals, p)
			continue
		}
		p.Err = kverr.TooManyRequests
		p.Asker.Answered(p)
	}
	m.poke()
}

// age is the time since the member's start on its clock.
func (m *member) age() time.Duration { return max(1, m.proc.Now().Sub(m.epoch)) }

// Abandon implements service.Member.
func (m *member) Abandon(p *replica.Proposal, cause error) {
	forgotten, accepted := m.calls.Abandon(p)
	switch {
	case !forgotten:
		return
	case !accepted:
		p.Err = cause
	case errors.Is(cause, context.Canceled):
		p.Err = kverr.Canceled
	default:
		p.Err = kverr.Timeout
	}
	p.Asker.Answered(p)
}

// Account implements service.Member.
func (m *member) Account(*replica.Proposal, *steps.Spent) {}

// abandonOverdue gives up what has waited for as long as it may.
func (m *member) abandonOverdue() {
	for _, p := range m.calls.Overdue(m.age()) {
		m.Abandon(p, context.DeadlineExceeded)
	}
}

// read is a linearizable read that waits for its index, or for an index of its own.
type read struct {
	gone bool
	done bool
	err  error
}

// Answered implements replica.Read.
func (r *read) Answered(err error) { r.done, r.err = true, err }

// Gone implements replica.Read.
func (r *read) Gone() bool { return r.gone }

// ReadIndex implements service.Member.
func (m *member) ReadIndex(ctx context.Context) error {
	if m.Current() {
		return nil
	}
	w := &read{}
	m.rounds.Add(w)
	m.poke()
	return m.await(ctx, w)
}

// Current implements service.Member.
func (m *member) Current() bool { return m.solely > 0 && m.applier.Applied().Index >= m.solely }

// WaitApplied implements service.Member.
func (m *member) WaitApplied(ctx context.Context, index uint64) error {
	if m.applier.Applied().Index >= index {
		return nil
	}
	w := &read{}
	m.rounds.AddAt(index, w)
	return m.await(ctx, w)
}

func (m *member) await(ctx context.Context, w *read) error {
	err := m.proc.Await(ctx, &w.done)
	switch {
	case err == nil:
		return w.err
	case errors.Is(err, context.Canceled):
		w.gone = true
		return err
	}
	w.gone = true
	return kverr.Timeout
}

// WaitCompacted implements service.Member.
func (m *member) WaitCompacted(ctx context.Context) error {
	if !m.machine.Compacting() {
		return nil
	}
	done := false
	m.compacted = append(m.compacted, &done)
	return m.proc.Await(ctx, &done)
}

// Flush implements service.Member.
func (m *member) Flush(ctx context.Context) error {
	done := false
	m.flushes = append(m.flushes, &done)
	m.flush()
	return m.proc.Await(ctx, &done)
}

// View implements service.Member.
func (m *member) View() (*mvcc.View, error) {
	if !m.view.Retain() {
		return nil, kverr.Stopped
	}
	return m.view, nil
}

// Status implements service.Member.
func (m *member) Status() node.Status {
	st := node.Status{Status: m.status, Applied: m.applier.Applied().Index, Short: m.short}
	st.Commit, st.Durable = max(m.consensus.Commit(), st.Applied), m.consensus.Durable()
	return st
}

// Inspect implements service.Member.
func (m *member) Inspect(fn func(*machine.Machine)) { fn(m.machine) }

// TransferLeader implements service.Member.
func (m *member) TransferLeader(to uint64) { m.later(func() { m.consensus.TransferLeader(to) }) }
