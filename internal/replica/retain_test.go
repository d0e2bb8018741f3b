package replica_test

import (
	"testing"

	"github.com/quoin-kv/quoin/internal/replica"
	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/raft"
	"github.com/quoin-kv/quoin/raft/wire"
)

// leading is member 1 of two, which leads term 2; the other has acknowledged nothing but the votes.
type leading struct {
	*replica.Consensus
	t      *testing.T
	voters []uint64
}

func newLeading(t *testing.T, opts replica.ConsensusOptions) *leading {
	l := &leading{newConsensus(t, []uint64{1, 2, 3}, 10, opts), t, []uint64{1, 2, 3}}
	l.Campaign()
	l.Persisted(l.Output().Seq)
	l.hear(wire.Message{Type: wire.MsgVoteResp, From: 3})
	if l.Role() != raft.Leader {
		t.Fatalf("role %v", l.Role())
	}
	l.settle()
	l.tick(opts.HoldTicks+1, 0) // member 2 never says anything, so it counts as gone
	return l
}

func (l *leading) hear(m wire.Message) {
	l.t.Helper()
	m.To, m.Term = 1, l.Term()
	if err := l.Step(m); err != nil {
		l.t.Fatal(err)
	}
}

// settle makes everything durable, acknowledged by member 3, applied and flushed.
func (l *leading) settle() {
	l.t.Helper()
	for range 3 {
		out := l.Output()
		l.Persisted(out.Seq)
		st := l.Status()
		l.hear(wire.Message{Type: wire.MsgAppResp, From: 3, Index: st.Last})
		if n := len(out.Apply); n > 0 {
			l.Applied(out.Apply[n-1].Index, nil)
		}
	}
	l.Flushed(schema.Applied{Index: l.Status().Applied, Term: 2}, wire.ConfState{Voters: l.voters})
	if err := l.Check(); err != nil {
		l.t.Fatal(err)
	}
}

// write brings the log to a length, with so many bytes in each entry.
func (l *leading) write(length uint64, bytes int) {
	l.t.Helper()
	for l.Status().Last < length {
		if err := l.Propose(make([]byte, bytes)); err != nil {
			l.t.Fatal(err)
		}
		l.settle()
	}
}

func (l *leading) wantFirst(low, high uint64) {
	l.t.Helper()
	if first := l.Status().First; first < low || first > high {
		l.t.Errorf("the log is remembered from %d on, want %d to %d", first, low, high)
	}
}

// tick lets time pass in which member 3 is heard of, and 2 as well if it is said to have got to match.
func (l *leading) tick(n int, match uint64) {
	l.t.Helper()
	for range n {
		if match > 0 {
			l.hear(wire.Message{Type: wire.MsgAppResp, From: 2, Index: match})
		}
		l.hear(wire.Message{Type: wire.MsgHeartbeatResp, From: 3})
		l.Tick()
		l.settle()
	}
}

const around = 12 // entries by which what is forgotten may lag behind: an eighth of what is kept, and the next write

func TestEntriesAreKeptForASnapshot(t *testing.T) {
	l := newLeading(t, replica.ConsensusOptions{MarkEvery: 1000, CatchupEntries: 8, HoldTicks: 5})
	l.write(50, 1)
	l.tick(1, 0)
	l.wantFirst(50-8-around, 50-8+1)
	l.Sending(2, 50)
	l.write(100, 1)
	l.tick(50, 0) // it takes long
	l.write(101, 1)
	l.wantFirst(0, 51)
	l.Sent(2, true)
	l.tick(4, 0)
	l.write(102, 1)
	l.wantFirst(0, 51)
	l.tick(1, 60) // it gets on, with the log from its snapshot on
	l.tick(4, 0)
	l.write(103, 1)
	l.wantFirst(51, 61)
	l.tick(25, 0) // it falls silent
	l.write(104, 1)
	l.tick(1, 0)
	l.wantFirst(104-8-around, 104-8+1)
}

func TestHoldsEnd(t *testing.T) {
	for name, end := range map[string]func(l *leading){
		"not sent":       func(l *leading) { l.Sent(2, false) },
		"not sent twice": func(l *leading) { l.Sent(2, false); l.Sent(2, false) },
		"caught up":      func(l *leading) { l.Sent(2, true); l.tick(1, l.Status().Last) },
		"lead lost": func(l *leading) {
			if err := l.Step(wire.Message{Type: wire.MsgHeartbeat, From: 3, To: 1, Term: 9}); err != nil {
				l.t.Fatal(err)
			}
			l.Tick()
			l.Flushed(schema.Applied{Index: l.Status().Applied, Term: 2}, wire.ConfState{Voters: l.voters})
		},
		"removed": func(l *leading) {
			l.Applied(l.Status().Applied, []wire.ConfChange{{Type: wire.ConfChangeRemoveNode, NodeID: 2}})
			l.tick(1, 0)
			l.Sent(2, true)
			l.write(102, 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLeading(t, replica.ConsensusOptions{MarkEvery: 1000, CatchupEntries: 8, HoldTicks: 500})
			l.write(50, 1)
			l.Sending(2, 45)
			l.Sending(2, 50) // in its place
			l.write(100, 1)
			l.wantFirst(0, 51)
			end(l)
			if l.Role() == raft.Leader {
				l.write(l.Status().Last+1, 1)
				l.tick(1, 0)
			}
			l.wantFirst(101-8-around, 103-8+1)
		})
	}
}

// TestMemoryOfTheLogIsBounded: whoever needs entries, they take no more than CatchupBytes, give or take what makes forgetting cheap.
func TestMemoryOfTheLogIsBounded(t *testing.T) {
	const entry, budget = 1000, 30_000
	l := newLeading(t, replica.ConsensusOptions{MarkEvery: 1000, CatchupEntries: 1 << 20, CatchupBytes: budget, HoldTicks: 500})
	l.write(15, entry)
	l.Sending(2, 15)
	for length := uint64(20); length < 200; length += 20 {
		l.write(length, entry)
		kept := length - l.Status().First + 1
		if bytes := kept * entry; bytes > budget*9/7 {
			t.Fatalf("log of %d: %d bytes are kept", length, bytes)
		}
		if length > 60 && kept < budget/entry/2 {
			t.Fatalf("log of %d: only %d entries are kept", length, kept)
		}
	}
}

// TestANewLeaderLooksFirst: before its first tick a leader does not know what the others lack.
func TestANewLeaderLooksFirst(t *testing.T) {
	l := newLeading(t, replica.ConsensusOptions{MarkEvery: 1000, CatchupEntries: 8, HoldTicks: 5})
	l.write(40, 1)
	first := l.Status().First
	if err := l.Step(wire.Message{Type: wire.MsgHeartbeat, From: 3, To: 1, Term: 7}); err != nil {
		t.Fatal(err)
	}
	l.Tick()
	l.Campaign()
	l.Persisted(l.Output().Seq)
	l.hear(wire.Message{Type: wire.MsgVoteResp, From: 3})
	l.write(90, 1)
	l.wantFirst(first, first)
	l.tick(6, 0)
	l.wantFirst(90-8-around, 92-8+1)
}

// TestEntriesAreKeptForTheSlow: a member that is heard of but acknowledges little keeps what it lacks in memory; one that falls silent does not.
func TestEntriesAreKeptForTheSlow(t *testing.T) {
	l := newLeading(t, replica.ConsensusOptions{MarkEvery: 1000, CatchupEntries: 8, HoldTicks: 12})
	l.write(20, 1)
	l.tick(1, 20)
	slow := func() { l.hear(wire.Message{Type: wire.MsgHeartbeatResp, From: 2}) }
	for length := uint64(30); length <= 120; length += 10 {
		slow()
		l.tick(3, 0)
		l.write(length, 1)
	}
	l.wantFirst(1, 21)
	l.tick(1, 60)
	slow()
	l.tick(1, 0)
	l.write(125, 1)
	l.wantFirst(40, 61)
	l.tick(25, 0)
	l.write(130, 1)
	l.wantFirst(130-8-around, 130-8+1)
}
