package node

import (
	"sync/atomic"
	"time"

	"github.com/quoin-kv/quoin/internal/machine"
	"github.com/quoin-kv/quoin/internal/mvcc"
	"github.com/quoin-kv/quoin/raft"
)

// stallAfter is the time from which on a write to a disk counts as a stall.
const stallAfter = time.Second

// stopwatch tells how long what one goroutine does at a time has been going on.
type stopwatch struct {
	since  atomic.Int64 // nanoseconds since 1970; 0 is idle
	stalls atomic.Int64 // of those that have ended
}

func (s *stopwatch) begin() { s.since.Store(time.Now().UnixNano()) }

func (s *stopwatch) end() (from, to time.Time) {
	from, to = time.Unix(0, s.since.Load()), time.Now()
	if to.Sub(from) >= stallAfter {
		s.stalls.Add(1)
	}
	s.since.Store(0)
	return from, to
}

// running is the time since begin, 0 if nothing goes on.
func (s *stopwatch) running() time.Duration {
	since := s.since.Load()
	if since == 0 {
		return 0
	}
	return max(0, time.Duration(time.Now().UnixNano()-since))
}

// Activity says what a node is doing.
type Activity struct {
	LogWrite, Flush time.Duration // since the present one began; 0: there is none
	// LogStalls and FlushStalls count those that took a second or longer and have ended.
	LogStalls, FlushStalls int64
	ProposalBytes          int64 // of proposals that wait for their answer
	BacklogBytes           int64 // of entries committed and not yet applied
}

// Activity returns what the node is doing.
func (n *Node) Activity() Activity {
	return Activity{
		LogWrite: n.logging.running(), Flush: n.flushing.running(), LogStalls: n.logging.stalls.Load(), FlushStalls: n.flushing.stalls.Load(),
		ProposalBytes: n.waiters.size(), BacklogBytes: n.backlog.Load(),
	}
}

func report(hook func()) {
	if hook != nil {
		hook()
	}
}

// noteTick notices when a leader's ticks, which heartbeats go with, come late by more than one of them.
func (l *loop) noteTick() {
	now := time.Now()
	late := !l.lastTick.IsZero() && now.Sub(l.lastTick) > 2*l.cfg.Tick
	l.lastTick = now
	if late && l.core.Role() == raft.Leader {
		report(l.cfg.Metrics.LateHeartbeat)
	}
}

// compactionStepBegins measures a step of a compaction, until the end of which the caller holds applyMu.
func (n *Node) compactionStepBegins(m *machine.Machine) (ends func()) {
	began, before := time.Now(), m.CompactionWork()
	if n.compactionBegan.IsZero() {
		n.compactionBegan = began
	}
	return func() {
		if n.cfg.Metrics.CompactionStep != nil {
			after := m.CompactionWork()
			n.cfg.Metrics.CompactionStep(time.Since(began), mvcc.CompactionWork{Pruned: after.Pruned - before.Pruned, Removed: after.Removed - before.Removed})
		}
	}
}

// compactionEnds measures a whole compaction.
func (n *Node) compactionEnds() {
	if n.cfg.Metrics.Compacted != nil {
		n.cfg.Metrics.Compacted(time.Since(n.compactionBegan))
	}
	n.compactionBegan = time.Time{}
}
