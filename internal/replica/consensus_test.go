package replica_test

import (
	"slices"
	"testing"

	"github.com/quoin-kv/quoin/internal/replica"
	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/raft"
	"github.com/quoin-kv/quoin/raft/wire"
)

// newConsensus is member 1 of some voters, with a log of the given length, all applied.
func newConsensus(t *testing.T, voters []uint64, length uint64, opts replica.ConsensusOptions) *replica.Consensus {
	t.Helper()
	core, err := raft.New(raft.Config{
		ID: 1, ElectionTicks: 10, HeartbeatTicks: 1, MaxMessageBytes: 1000, MaxInflightMessages: 4, Jitter: func(int) int { return 0 },
	}, raft.Boot{
		HardState: wire.HardState{Term: 1, Commit: length}, Entries: run(1, 1, length), Applied: length,
		Snapshot: wire.SnapshotMeta{ConfState: wire.ConfState{Voters: voters}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return replica.NewConsensus(core, opts, length, 0)
}

func step(t *testing.T, c *replica.Consensus, m wire.Message) {
	t.Helper()
	m.From, m.To, m.Term = 2, 1, 1
	if err := c.Step(m); err != nil {
		t.Fatal(err)
	}
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
}

// TestReadsWaitForTheirIndex lets a follower ask twice: each read is served when the machine has its index, not one entry earlier.
func TestReadsWaitForTheirIndex(t *testing.T) {
	c := newConsensus(t, []uint64{1, 2}, 3, replica.ConsensusOptions{MarkEvery: 100, CatchupEntries: 100})
	step(t, c, wire.Message{Type: wire.MsgApp, Index: 3, LogTerm: 1, Entries: run(1, 4, 6), Commit: 6})
	var questions []wire.Message
	for id := range uint64(2) {
		if err := c.ReadIndex(70 + id); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range c.Output().Send {
		if m.Type == wire.MsgReadIndex {
			questions = append(questions, m)
		}
	}
	step(t, c, wire.Message{Type: wire.MsgReadIndexResp, Index: 6, Entries: questions[0].Entries})
	step(t, c, wire.Message{Type: wire.MsgReadIndexResp, Index: 4, Entries: questions[1].Entries})
	if c.Indexed(70) {
		t.Error("the index of a read is known before the output has it")
	}
	var answers [][]uint64
	for applied := uint64(3); applied <= 6; applied++ {
		if applied > 3 {
			c.Applied(applied, nil)
		}
		answers = append(answers, c.Output().Answer)
		if want := applied < 6; c.Indexed(70) != want {
			t.Errorf("applied %d: read 70 waits for the machine: %v", applied, !want)
		}
	}
	if want := [][]uint64{nil, {71}, nil, {70}}; !slices.EqualFunc(answers, want, slices.Equal) {
		t.Errorf("answered %v, want %v", answers, want)
	}
}

// TestNoMarkBeforeTheFileIsHeardOf: after a restart far behind the last mark, nothing is known yet of what a new mark must say.
func TestNoMarkBeforeTheFileIsHeardOf(t *testing.T) {
	for _, every := range []uint64{0, 10} {
		c := newConsensus(t, []uint64{1, 2}, 20, replica.ConsensusOptions{MarkEvery: every})
		c.Applied(20, nil)
		if out := c.Output(); out.Log.Mark != nil {
			t.Fatalf("mark %+v", out.Log.Mark)
		}
		conf := wire.ConfState{Voters: []uint64{1, 2}}
		c.Flushed(schema.Applied{Index: 20, Term: 1}, conf)
		out := c.Output()
		if m := out.Log.Mark; m == nil || m.Index != 20 || m.Term != 1 || !slices.Equal(m.ConfState.Voters, conf.Voters) || !out.Log.Sync {
			t.Errorf("mark %+v, synced %v", m, out.Log.Sync)
		}
		c.Flushed(schema.Applied{Index: 20, Term: 1}, conf)
		if out := c.Output(); out.Writes() {
			t.Errorf("the same mark again: %+v", out.Log)
		}
	}
}

// TestMemoryOfTheLog: entries that the file lacks stay, and those that slow members may need, if there are others.
func TestMemoryOfTheLog(t *testing.T) {
	for _, c := range []struct {
		voters  []uint64
		flushed uint64
		first   uint64
	}{
		{[]uint64{1, 2}, 25, 23}, // 30 - 8 applied
		{[]uint64{1, 2}, 20, 21},
		{[]uint64{1}, 25, 26},
	} {
		consensus := newConsensus(t, c.voters, 20, replica.ConsensusOptions{MarkEvery: 100, CatchupEntries: 8})
		grow(t, consensus, c.voters, 30)
		consensus.Flushed(schema.Applied{Index: c.flushed, Term: 1}, wire.ConfState{Voters: c.voters})
		if err := consensus.Check(); err != nil {
			t.Fatal(err)
		}
		if first := consensus.Status().First; first != c.first {
			t.Errorf("%d voters, flushed to %d: memory begins with %d, want %d", len(c.voters), c.flushed, first, c.first)
		}
	}
}

// grow brings a log to a length, applied and durable.
func grow(t *testing.T, c *replica.Consensus, voters []uint64, length uint64) {
	t.Helper()
	if len(voters) > 1 {
		last := c.Status().Last
		step(t, c, wire.Message{Type: wire.MsgApp, Index: last, LogTerm: 1, Entries: run(1, last+1, length), Commit: length})
	}
	for c.Status().Applied < length {
		out := c.Output()
		c.Persisted(out.Seq)
		if n := len(out.Apply); n > 0 {
			c.Applied(out.Apply[n-1].Index, nil)
		}
		if st := c.Status(); st.Role == raft.Leader && st.Last < length {
			if err := c.Propose([]byte("x")); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestDurableGoesBackBeforeReplacedEntriesAreApplied(t *testing.T) {
	c := newConsensus(t, []uint64{1, 2, 3}, 3, replica.ConsensusOptions{MarkEvery: 100, CatchupEntries: 100})
	step(t, c, wire.Message{Type: wire.MsgApp, Index: 3, LogTerm: 1, Entries: run(1, 4, 9), Commit: 3})
	c.Persisted(c.Output().Seq)
	if c.Durable() != 9 {
		t.Fatalf("durable to %d", c.Durable())
	}
	m := wire.Message{Type: wire.MsgApp, From: 3, To: 1, Term: 2, Index: 3, LogTerm: 1, Entries: run(2, 4, 6), Commit: 6}
	if err := c.Step(m); err != nil {
		t.Fatal(err)
	}
	out := c.Output()
	if len(out.Apply) != 3 || c.Durable() != 3 {
		t.Errorf("%d entries to apply, durable to %d: the disk has others in the place of 4 to 6", len(out.Apply), c.Durable())
	}
	c.Persisted(out.Seq)
	if c.Durable() != 6 {
		t.Errorf("durable to %d", c.Durable())
	}
}
