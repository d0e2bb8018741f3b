package cluster

import (
	"context"
	"errors"
	"slices"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/machine"
	"github.com/quoin-kv/quoin/internal/mvcc"
	"github.com/quoin-kv/quoin/internal/node"
	"github.com/quoin-kv/quoin/internal/service"
	"github.com/quoin-kv/quoin/raft/wire"
)

// A member is to its service what a node is; all calls that block are made by coroutines of its process.
var _ service.Member = (*member)(nil)

// call is a proposal and who waits for it.
type call struct {
	id       uint64
	data     []byte
	change   *wire.ConfChange // instead of data
	term     uint64           // in which the member must lead to make it; 0: any
	accepted bool             // the core may have it
	gone     bool             // nobody waits any more
	done     bool
	reply    []byte
	err      error
}

// Propose implements service.Member.
func (m *member) Propose(ctx context.Context, id uint64, data []byte) ([]byte, error) {
	return m.submit(ctx, &call{id: id, data: data})
}

// ProposeInTerm implements service.Member.
func (m *member) ProposeInTerm(ctx context.Context, term, id uint64, data []byte) ([]byte, error) {
	return m.submit(ctx, &call{id: id, data: data, term: term})
}

// ProposeConfChange implements service.Member.
func (m *member) ProposeConfChange(ctx context.Context, cc wire.ConfChange) error {
	_, err := m.submit(ctx, &call{id: cc.ID, change: &cc})
	return err
}

func (m *member) submit(ctx context.Context, c *call) ([]byte, error) {
	if m.calls[c.id] != nil {
		panic("expected a new proposal id, found one that is being waited for")
	}
	m.calls[c.id] = c
	m.proposals = append(m.proposals, c)
	m.poke()
	if m.proc.Await(ctx, &c.done) == nil {
		return c.reply, c.err
	}
	delete(m.calls, c.id)
	c.gone = true
	switch {
	case !c.accepted:
		return nil, ctx.Err()
	case errors.Is(ctx.Err(), context.Canceled):
		return nil, kverr.Canceled
	}
	return nil, kverr.Timeout
}

// answer ends a call.
func (m *member) answer(c *call, reply []byte, err error) {
	delete(m.calls, c.id)
	c.reply, c.err, c.done = reply, err, true
}

// read is a linearizable read that waits for its index, or for an index of its own.
type read struct {
	index uint64
	gone  bool
	done  bool
	err   error
}

// rounds joins reads into rounds of the read-index protocol, as package node does.
type rounds struct {
	next     uint64
	current  uint64 // id of the round under way, 0 if none
	ticks    int
	inFlight []*read
	waiting  []*read
	applied  []*read // those with an index of their own
}

const roundTicks = 5 // age, in ticks, at which a round is asked again

// age counts a tick. An overdue round goes back to waiting unless its index is known.
func (r *rounds) age(indexed func(id uint64) bool) {
	gone := func(w *read) bool { return w.gone }
	r.waiting, r.applied = slices.DeleteFunc(r.waiting, gone), slices.DeleteFunc(r.applied, gone)
	if r.current == 0 || indexed(r.current) {
		return
	}
	if r.ticks++; r.ticks >= roundTicks {
		r.giveUp()
	}
}

// askAgain lets a round be asked again of a new leader, and reports whether there is one to be asked.
func (r *rounds) askAgain(indexed func(id uint64) bool) bool {
	if r.current != 0 && !indexed(r.current) {
		r.giveUp()
	}
	return r.current == 0 && len(r.waiting) > 0
}

// giveUp lets the reads of the round under way wait for another one.
func (r *rounds) giveUp() {
	r.waiting = append(r.inFlight, r.waiting...)
	r.inFlight, r.current = nil, 0
}

// finish answers the round if its id is among ids.
func (r *rounds) finish(ids []uint64, err error) {
	if r.current == 0 || !slices.Contains(ids, r.current) {
		return
	}
	for _, w := range r.inFlight {
		w.err, w.done = err, true
	}
	r.inFlight, r.current = nil, 0
}

// reached answers those who wait for an index that is applied.
func (r *rounds) reached(index uint64) {
	r.applied = slices.DeleteFunc(r.applied, func(w *read) bool {
		w.done = w.done || w.index <= index
		return w.done
	})
}

// ReadIndex implements service.Member.
func (m *member) ReadIndex(ctx context.Context) error {
	w := &read{}
	m.rounds.waiting = append(m.rounds.waiting, w)
	m.poke()
	return m.await(ctx, w)
}

// WaitApplied implements service.Member.
func (m *member) WaitApplied(ctx context.Context, index uint64) error {
	if m.applier.Applied().Index >= index {
		return nil
	}
	w := &read{index: index}
	m.rounds.applied = append(m.rounds.applied, w)
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
