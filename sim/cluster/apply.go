package cluster

import (
	"slices"

	"github.com/quoin-kv/quoin/internal/machine"
	"github.com/quoin-kv/quoin/internal/mvcc"
	"github.com/quoin-kv/quoin/internal/replica"
	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/raft/wire"
)

// maxBatch bounds the entries that are applied at once.
const maxBatch = 64

// work is what the applier gets: a snapshot, if there is one, and the entries behind it.
type work struct {
	install *wire.Snapshot
	entries []wire.Entry
}

// apply lets the applier do what is next, unless it is at work. A snapshot is installed once the log has its mark.
func (m *member) apply() {
	if m.applying || len(m.works) == 0 {
		return
	}
	if s := m.works[0].install; s != nil && m.installable < s.Meta.Index {
		return
	}
	m.applying = true
	m.proc.AfterVirtual(m.think(), m.finishApply)
}

func (m *member) finishApply() {
	m.applying = false
	first := &m.works[0]
	if s := first.install; s != nil {
		first.install = nil
		if err := m.install(s); err != nil {
			m.fail("installing a snapshot", err)
			return
		}
	} else if err := m.applyBatch(m.nextBatch()); err != nil {
		m.fail("applying", err)
		return
	}
	if len(m.works) > 0 && m.works[0].install == nil && len(m.works[0].entries) == 0 {
		m.works = m.works[1:]
	}
	m.apply()
}

// nextBatch takes entries that wait, up to a snapshot.
func (m *member) nextBatch() (now []wire.Entry) {
	for len(m.works) > 0 && m.works[0].install == nil {
		first := &m.works[0]
		n := min(len(first.entries), maxBatch-len(now))
		now, first.entries = append(now, first.entries[:n]...), first.entries[n:]
		if len(first.entries) > 0 {
			break
		}
		m.works = m.works[1:]
	}
	return now
}

func (m *member) applyBatch(now []wire.Entry) error {
	batch, err := m.applier.Apply(now, m.calls.Has)
	if err != nil {
		return err
	}
	m.w.judge.applied(m, now, batch)
	m.finish(batch)
	return nil
}

// finish makes a batch visible and answers those who waited for it, in that order.
func (m *member) finish(batch *replica.Batch) {
	m.service.Applying(batch)
	m.show(batch.View)
	m.service.Applied(batch)
	for i := range batch.Outcomes {
		m.countAlarms(&batch.Outcomes[i])
	}
	for _, p := range m.calls.Answer(batch.Outcomes, m.age(), m.age(), nil) {
		p.Asker.Answered(p)
	}
	index, changes, newTerm := batch.Index, batch.ConfChanges, batch.NewTerm
	m.later(func() {
		m.consensus.Applied(index, changes)
		m.sole.Began(newTerm)
		m.outdated = m.outdated || len(changes) > 0 || newTerm > 0
	})
	m.rounds.Reached(batch.Index)
	if batch.Compaction {
		m.stepCompaction()
	}
}

// countAlarms counts how often this member's database was full, and had room again.
func (m *member) countAlarms(o *machine.Outcome) {
	if o.Alarms == nil {
		return
	}
	own := machine.Alarm{MemberID: m.host.id, Kind: request.AlarmNoSpace}
	switch raised := slices.Contains(o.Alarms, own); {
	case raised && !m.full:
		m.w.faults["database full"]++
	case !raised && m.full:
		m.w.faults["database has room"]++
	}
	m.full = slices.Contains(o.Alarms, own)
}

// show publishes a view, whose one reference goes with it.
func (m *member) show(v *mvcc.View) {
	m.view.Release()
	m.view = v
}

// stepCompaction lets a compaction go on after a pause.
func (m *member) stepCompaction() {
	if m.stepping || !m.machine.Compacting() {
		return
	}
	m.stepping = true
	m.proc.AfterVirtual(10*m.think(), func() {
		m.stepping = false
		if err := m.compactStep(); err != nil {
			m.fail("compaction", err)
			return
		}
		m.stepCompaction()
	})
}

// compactStep moves a compaction on, or its hash, which goes on beside the applier.
func (m *member) compactStep() error {
	batch := m.w.plan.Tuning.CompactBatch
	if m.hash == nil {
		m.hash = m.machine.TakeHashTask()
	}
	if m.hash != nil {
		done, err := m.hash.Step(batch)
		if done {
			m.machine.ReturnHashTask(m.hash)
			m.hash = nil
		}
		return err
	}
	more, err := m.applier.CompactStep(batch)
	if err == nil && !more {
		m.show(m.applier.View())
		m.wakeCompacted()
	}
	return err
}

func (m *member) wakeCompacted() {
	for _, done := range m.compacted {
		*done = true
	}
	m.compacted = nil
}
