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
		m.rounds.Age(m.consensus.Indexed)
		m.abandonOverdue()
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
	m.proposals = m.calls.Wanted(m.proposals, 0, m.age())
	m.proposals = slices.DeleteFunc(m.proposals, m.outOfTerm)
	if len(m.proposals) == 0 || m.consensus.Lead() == 0 {
		return
	}
	m.proposals = slices.DeleteFunc(m.proposals, m.proposeChange)
	m.proposals = m.calls.Wanted(m.proposals, m.consensus.Term(), m.age())
	var data [][]byte
	for _, p := range m.proposals {
		data = append(data, p.Data)
	}
	if len(data) > 0 && m.consensus.Propose(data...) != nil {
		m.proposals = m.calls.Wanted(m.proposals, 0, m.age())
		return
	}
	m.proposals = nil
}

// proposeChange hands a proposal to the core if it is a change of the configuration, and reports whether it is one.
func (m *member) proposeChange(p *replica.Proposal) bool {
	if p.Change == nil {
		return false
	}
	m.calls.Wanted([]*replica.Proposal{p}, m.consensus.Term(), m.age())
	if err := m.consensus.ProposeConfChange(*p.Change); err != nil {
		m.refuse(p, err)
	}
	return true
}

func (m *member) refuse(p *replica.Proposal, err error) {
	if m.calls.Refuse(p, err) {
		p.Asker.Answered(p)
	}
}

// outOfTerm refuses a proposal that the member may only make as the leader of a term that is over, and reports whether it did.
func (m *member) outOfTerm(p *replica.Proposal) bool {
	if p.Term == 0 || m.consensus.Role() == raft.Leader && m.consensus.Term() == p.Term {
		return false
	}
	m.refuse(p, kverr.LeaderChanged)
	return true
}

// takeReads starts a round of the read-index protocol unless one is under way.
func (m *member) takeReads() {
	if m.consensus.Lead() != 0 {
		m.rounds.Begin(m.consensus.ReadIndex)
	}
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
	m.rounds.Finish(out.Answer, nil)
	m.rounds.Lose(out.Refuse, m.consensus.Lead(), kverr.LeaderChanged)
	if m.rounds.Due() && len(out.Answer)+len(out.Refuse) > 0 {
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
	if lead != m.status.Lead && lead != 0 && m.rounds.AskAgain(m.consensus.Indexed) {
		m.poke()
	}
	m.status = m.consensus.Status()
	m.solely = m.sole.Look(&m.status, m.consensus.Commit())
}
