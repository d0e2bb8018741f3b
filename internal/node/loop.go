package node

import (
	"errors"
	"fmt"
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

	unreachable uint64 // member that a message did not reach
	transfer    uint64 // member that is to lead
}

// loop owns consensus: it takes in whatever has come, asks for the output, and hands it out. It never waits for a disk.
type loop struct {
	*Node
	core      *replica.Consensus
	rounds    rounds
	proposals []proposal // taken, but not in the core's hands yet: there is no leader, or too much is uncommitted
	data      [][]byte   // scratch of takeProposals
	outdated  bool       // the published status differs in more than indexes
}

func (n *Node) runLoop() {
	l := &loop{Node: n, core: n.cfg.Consensus}
	l.rounds.next = uint64(time.Now().UnixNano())
	ticker := time.NewTicker(n.cfg.Tick)
	defer ticker.Stop()
	for {
		l.turn()
		select {
		case <-n.wake:
		case <-ticker.C:
			l.tick()
		case <-n.ctx.Done():
			return
		}
	}
}

// tick passes the time on, and forgets what nobody waits for any more.
func (l *loop) tick() {
	l.core.Tick()
	l.rounds.age(l.core.Indexed)
	l.proposals = l.waiters.wanted(l.proposals, false)
	l.outdated = true
}

// turn takes in everything that has come and hands out what follows from it.
func (l *loop) turn() {
	l.takeEvents()
	l.takeMessages()
	l.takeProposals()
	l.takeReads()
	l.emit(l.core.Output())
	l.publish()
}

func (l *loop) takeEvents() {
	events := l.events.take()
	for _, e := range events {
		switch {
		case e.persisted > 0:
			l.core.Persisted(e.persisted)
		case e.applied > 0:
			l.core.Applied(e.applied, e.changes)
			l.outdated = l.outdated || len(e.changes) > 0
		case e.flushed != nil:
			l.core.Flushed(*e.flushed, e.conf)
		case e.campaign:
			l.core.Campaign()
		case e.unreachable != 0:
			l.core.ReportUnreachable(e.unreachable)
		case e.transfer != 0:
			l.core.TransferLeader(e.transfer)
		}
	}
	l.events.done(events)
}

func (l *loop) takeMessages() {
	messages := l.messages.take()
	for _, m := range messages {
		switch err := l.core.Step(m); {
		case errors.Is(err, raft.ErrDiverged):
			l.fail(failed("consensus", err))
		case err != nil:
			l.cfg.Logger.Debug("message dropped", "from", m.From, "type", m.Type, "error", err)
		}
	}
	l.messages.done(messages)
}

// takeProposals hands the core all waiting proposals as one append. Without a leader they stay here until there is one or their callers give up.
func (l *loop) takeProposals() {
	fresh := l.Node.proposals.take()
	l.proposals = append(l.proposals, fresh...)
	l.Node.proposals.done(fresh)
	if len(l.proposals) == 0 || l.core.Lead() == 0 {
		return
	}
	// Noted before the core is asked: a caller that gives up in between must not be told that its proposal is certainly without effect.
	l.proposals = l.waiters.wanted(l.proposals, true)
	l.proposeChanges()
	for _, p := range l.proposals {
		l.data = append(l.data, p.data)
	}
	err := l.core.Propose(l.data...)
	l.data = recycled(l.data, spareItems)
	if err != nil {
		l.cfg.Logger.Debug("proposals held back", "count", len(l.proposals), "error", err)
		l.proposals = l.waiters.wanted(l.proposals, false)
		return
	}
	l.proposals = recycled(l.proposals, spareItems)
}

// emit hands out the parts of an output.
func (l *loop) emit(out replica.Output) {
	if out.Install != nil {
		l.fail(errors.New("consensus: snapshot received, but this version cannot install one"))
		return
	}
	// Before the applier gets entries: see flushable.
	l.durable.Store(l.core.Durable())
	if out.Writes() {
		l.writes.put(out)
	}
	if len(out.Send) > 0 && l.cfg.Send != nil {
		l.cfg.Send(out.Send)
	}
	if len(out.Apply) > 0 {
		l.backlog.Add(dataBytes(out.Apply))
		l.entries.put(out.Apply...)
	}
	l.rounds.finish(out.Answer, nil)
	l.rounds.lose(out.Refuse)
	if l.rounds.current == 0 && len(l.rounds.waiting) > 0 && len(out.Answer)+len(out.Refuse) > 0 {
		poke(l.wake) // the reads that came during the round may begin the next one
	}
}

// dataBytes is the size of what entries carry.
func dataBytes(entries []wire.Entry) (n int64) {
	for i := range entries {
		n += int64(len(entries[i].Data))
	}
	return n
}

// publish lets others see the state of the core. The whole of it is copied only when it has changed in more than indexes, and at ticks.
func (l *loop) publish() {
	l.commit.Store(l.core.Commit())
	seen := l.status.Load()
	leader := l.core.Lead()
	if !l.outdated && seen.Lead == leader && seen.Term == l.core.Term() && seen.Role == l.core.Role() {
		return
	}
	st := l.core.Status()
	l.status.Store(&st)
	l.outdated = false
	if seen.Lead == leader {
		return
	}
	l.cfg.Logger.Info("leader changed", "leader", hex(leader), "was", hex(seen.Lead), "term", st.Term)
	if leader != 0 && l.cfg.Metrics.LeaderChanged != nil {
		l.cfg.Metrics.LeaderChanged()
	}
}

// failed wraps the error of a part of the node.
func failed(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
