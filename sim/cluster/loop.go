package cluster

import (
	"errors"
	"slices"
	"time"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/replica"
	"github.com/quoin-kv/quoin/raft"
)

// poke lets the loop have a turn soon. What comes meanwhile is part of it.
func (m *member) poke() {
	if !m.turning {
		m.turning = true
		m.proc.AfterVirtual(m.think(), m.turn)
	}
}

// later lets something happen in the loop's next turn.
func (m *member) later(fn func()) {
	m.events = append(m.events, fn)
	m.poke()
}

// afterTick counts the ticks of the member's clock.
func (m *member) afterTick() {
	m.proc.After(time.Duration(m.w.plan.Tuning.Tick), func() {
		m.consensus.Tick()
		m.rounds.age(m.consensus.Indexed)
		m.outdated = true
		m.poke()
		m.afterTick()
	})
}

// checkEvery is how many turns lie between two checks of a core's invariants, which read its whole log.
const checkEvery = 64

// turn takes in everything that has come and hands out what follows from it.
func (m *member) turn() {
	m.turning = false
	for len(m.events) > 0 {
		fn := m.events[0]
		m.events = m.events[1:]
		fn()
	}
	m.takeMessages()
	m.takeProposals()
	m.takeReads()
	m.emit(m.consensus.Output())
	m.publish()
	if m.turns++; m.turns%checkEvery == 0 {
		if err := m.consensus.Check(); err != nil {
			m.w.fail("core", "member %d: %v", m.host.index, err)
		}
	}
}

func (m *member) takeMessages() {
	messages := m.messages
	m.messages = nil
	for i := range messages {
		msg := &messages[i]
		m.w.engine.Note("step", m.host.index, uint64(msg.Type), msg.From, msg.Term, msg.Index, uint64(len(msg.Entries)), msg.Commit)
		if err := m.consensus.Step(*msg); errors.Is(err, raft.ErrDiverged) {
			m.w.fail("diverged", "member %d: %v", m.host.index, err)
		}
	}
}

// takeProposals hands the core what clients want. Without a leader it waits until there is one or its clients give up.
func (m *member) takeProposals() {
	m.proposals = slices.DeleteFunc(m.proposals, func(c *call) bool { return c.gone })
	m.proposals = slices.DeleteFunc(m.proposals, m.outOfTerm)
	if len(m.proposals) == 0 || m.consensus.Lead() == 0 {
		return
	}
	var data [][]byte
	kept := m.proposals[:0]
	for _, c := range m.proposals {
		c.accepted = true
		if c.change == nil {
			data, kept = append(data, c.data), append(kept, c)
		} else if err := m.consensus.ProposeConfChange(*c.change); err != nil {
			m.answer(c, nil, err)
		}
	}
	m.proposals = kept
	if len(data) > 0 && m.consensus.Propose(data...) != nil {
		for _, c := range m.proposals {
			c.accepted = false
		}
		return
	}
	m.proposals = nil
}

// outOfTerm refuses a proposal that the member may only make as the leader of a term that is over, and reports whether it did.
func (m *member) outOfTerm(c *call) bool {
	if c.term == 0 || m.consensus.Role() == raft.Leader && m.consensus.Term() == c.term {
		return false
	}
	m.answer(c, nil, kverr.LeaderChanged)
	return true
}

// takeReads starts a round of the read-index protocol unless one is under way.
func (m *member) takeReads() {
	r := &m.rounds
	if r.current != 0 || len(r.waiting) == 0 || m.consensus.Lead() == 0 {
		return
	}
	r.next++
	if m.consensus.ReadIndex(r.next) != nil {
		return
	}
	r.current, r.ticks = r.next, 0
	r.inFlight, r.waiting = r.waiting, nil
}

// emit hands out the parts of an output.
func (m *member) emit(out replica.Output) {
	if out.Install != nil {
		m.terms.restart(out.Install.Meta)
	}
	m.terms.append(m, out.Log.Entries)
	if !out.Log.HardState.IsZero() {
		m.w.judge.committed(m, out.Log.HardState)
	}
	if out.Writes() {
		m.writes = append(m.writes, out)
		m.write()
	}
	m.send(out.Send)
	m.w.judge.decided(m, out.Apply)
	if out.Install != nil || len(out.Apply) > 0 {
		m.works = append(m.works, work{out.Install, out.Apply})
		m.apply()
	}
	m.rounds.finish(out.Answer, nil)
	m.rounds.finish(out.Refuse, kverr.LeaderChanged)
	if m.rounds.current == 0 && len(m.rounds.waiting) > 0 && len(out.Answer)+len(out.Refuse) > 0 {
		m.poke()
	}
}

// publish lets the service see the state of the core.
func (m *member) publish() {
	lead, term, role := m.consensus.Lead(), m.consensus.Term(), m.consensus.Role()
	if m.status.Term == term && m.status.Role == role && m.status.Lead == lead && !m.outdated {
		return
	}
	if role == raft.Leader && (m.status.Role != raft.Leader || m.status.Term != term) {
		m.w.judge.elected(m, term)
	}
	m.outdated = false
	if lead != m.status.Lead && lead != 0 && m.rounds.askAgain(m.consensus.Indexed) {
		m.poke()
	}
	m.status = m.consensus.Status()
}
