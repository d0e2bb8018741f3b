package node

import (
	"time"

	"github.com/quoin-kv/quoin/internal/replica"
	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/raft"
	"github.com/quoin-kv/quoin/raft/wire"
)

// event is a completion or a request that reaches the loop from another goroutine of the node. Zero fields say nothing.
type event struct {
	persisted uint64 // Output sequence number that is durable
	applied   uint64 // index that the machine has applied
	changes   []wire.ConfChange
	flushed   *schema.Applied
	conf      wire.ConfState // as of flushed
	campaign  bool
}

// loop owns consensus: it takes in whatever has come, asks for the output, and hands it out. It never waits for a disk.
type loop struct {
	*Node
	core      *replica.Consensus
	proposals []proposal // taken, but no leader to hand them to yet
	spare     struct {
		proposals []proposal
		messages  []wire.Message
		events    []event
		data      [][]byte
	}
	leader uint64
}

func (n *Node) runLoop() {
	l := &loop{Node: n, core: n.cfg.Consensus}
	ticker := time.NewTicker(n.cfg.Tick)
	defer ticker.Stop()
	for {
		l.turn()
		select {
		case <-n.wake:
		case <-ticker.C:
			l.core.Tick()
			l.rounds.age()
		case <-n.ctx.Done():
			return
		}
	}
}

// turn takes in everything that has come and hands out what follows from it.
func (l *loop) turn() {
	l.takeEvents()
	l.takeMessages()
	l.takeProposals()
	l.takeReads()
	l.emit(l.core.Output())
	l.publish(l.core.Status())
}

func (l *loop) takeEvents() {
	events := l.events.take(l.spare.events)
	for _, e := range events {
		switch {
		case e.persisted > 0:
			l.core.Persisted(e.persisted)
		case e.applied > 0:
			l.core.Applied(e.applied, e.changes)
		case e.flushed != nil:
			l.core.Flushed(*e.flushed, e.conf)
		case e.campaign:
			l.core.Campaign()
		}
	}
	l.spare.events = events
}

func (l *loop) takeMessages() {
	messages := l.messages.take(l.spare.messages)
	for _, m := range messages {
		if err := l.core.Step(m); err != nil {
			l.cfg.Logger.Debug("message dropped", "from", m.From, "type", m.Type, "error", err)
		}
	}
	l.spare.messages = messages
}

// takeProposals hands the core all waiting proposals as one append. Without a leader they stay here until there is one or their callers give up.
func (l *loop) takeProposals() {
	fresh := l.Node.proposals.take(l.spare.proposals)
	l.proposals = append(l.proposals, fresh...)
	l.spare.proposals = fresh
	if len(l.proposals) == 0 || l.core.Lead() == 0 {
		return
	}
	data := l.spare.data[:0]
	for _, p := range l.proposals {
		switch {
		case !l.waiters.accept(p.id):
		case p.change != nil:
			l.proposeConfChange(*p.change)
		default:
			data = append(data, p.data)
		}
	}
	if err := l.core.Propose(data...); err != nil {
		l.cfg.Logger.Debug("proposals held back", "count", len(data), "error", err)
		return
	}
	clear(data)
	l.spare.data = data
	clear(l.proposals)
	l.proposals = l.proposals[:0]
}

// emit hands out the parts of an output.
func (l *loop) emit(out replica.Output) {
	if out.Writes() {
		l.writes.put(out)
	}
	if len(out.Send) > 0 && l.cfg.Send != nil {
		l.cfg.Send(out.Send)
	}
	if len(out.Apply) > 0 {
		l.entries.put(out.Apply...)
	}
	l.rounds.finish(out.Answer, nil)
	l.rounds.lose(out.Refuse)
}

// publish lets others see the state of the core.
func (l *loop) publish(st raft.Status) {
	if st.Lead != l.leader {
		l.cfg.Logger.Info("leader changed", "leader", hex(st.Lead), "was", hex(l.leader), "term", st.Term)
		if st.Lead != 0 && l.cfg.Metrics.LeaderChanged != nil {
			l.cfg.Metrics.LeaderChanged()
		}
		l.leader = st.Lead
		poke(l.wake) // proposals and reads may have waited for this
	}
	l.status.Store(&st)
}
