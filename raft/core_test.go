package raft_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/quoin-kv/quoin/raft"
	"github.com/quoin-kv/quoin/raft/progress"
	"github.com/quoin-kv/quoin/raft/wire"
)

func validConfig() raft.Config {
	cfg := defaults
	cfg.ID, cfg.Jitter = 1, func(int) int { return 0 }
	return cfg
}

func TestNewRefusesWhatCannotBe(t *testing.T) {
	log := func(pairs ...uint64) (entries []wire.Entry) {
		for i := 0; i < len(pairs); i += 2 {
			entries = append(entries, wire.Entry{Index: pairs[i], Term: pairs[i+1]})
		}
		return entries
	}
	state := wire.HardState{Term: 5}
	for name, change := range map[string]func(cfg *raft.Config, boot *raft.Boot){
		"no id":                 func(cfg *raft.Config, _ *raft.Boot) { cfg.ID = 0 },
		"no heartbeat":          func(cfg *raft.Config, _ *raft.Boot) { cfg.HeartbeatTicks = 0 },
		"hasty election":        func(cfg *raft.Config, _ *raft.Boot) { cfg.ElectionTicks = cfg.HeartbeatTicks },
		"no bytes":              func(cfg *raft.Config, _ *raft.Boot) { cfg.MaxMessageBytes = 0 },
		"no messages":           func(cfg *raft.Config, _ *raft.Boot) { cfg.MaxInflightMessages = 0 },
		"no jitter":             func(cfg *raft.Config, _ *raft.Boot) { cfg.Jitter = nil },
		"gap in the log":        func(_ *raft.Config, b *raft.Boot) { b.Entries = log(1, 1, 3, 1) },
		"log not at snapshot":   func(_ *raft.Config, b *raft.Boot) { b.Snapshot.Index, b.Snapshot.Term, b.Entries = 4, 1, log(4, 1) },
		"term falls":            func(_ *raft.Config, b *raft.Boot) { b.Entries = log(1, 2, 2, 1) },
		"term zero":             func(_ *raft.Config, b *raft.Boot) { b.Entries = log(1, 0) },
		"term beyond all":       func(_ *raft.Config, b *raft.Boot) { b.Entries = log(1, 1<<63) },
		"commit beyond log":     func(_ *raft.Config, b *raft.Boot) { b.HardState.Commit = 1 },
		"applied beyond log":    func(_ *raft.Config, b *raft.Boot) { b.Applied = 1 },
		"applied before start":  func(_ *raft.Config, b *raft.Boot) { b.Snapshot.Index, b.Snapshot.Term = 4, 1 },
		"snapshot without term": func(_ *raft.Config, b *raft.Boot) { b.Snapshot.Index, b.Applied = 4, 4 },
		"bad members":           func(_ *raft.Config, b *raft.Boot) { b.Snapshot.ConfState.Learners = []uint64{1} },
	} {
		cfg, boot := validConfig(), raft.Boot{HardState: state}
		change(&cfg, &boot)
		if _, err := raft.New(cfg, boot); !errors.Is(err, raft.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := raft.New(validConfig(), raft.Boot{HardState: state}); err != nil {
		t.Errorf("a sound start: %v", err)
	}
}

// TestAppliedCountsAsCommitted: the commit index is not forced to the disk, so the machine may be ahead of it.
func TestAppliedCountsAsCommitted(t *testing.T) {
	boot := raft.Boot{
		HardState: wire.HardState{Term: 1, Commit: 1}, Applied: 2,
		Entries: []wire.Entry{{Index: 1, Term: 1}, {Index: 2, Term: 1}, {Index: 3, Term: 1}},
	}
	core, err := raft.New(validConfig(), boot)
	if err != nil {
		t.Fatal(err)
	}
	e := core.Effects()
	if e.HardState.Commit != 2 || e.MustSync || len(e.Committed) != 0 || core.Check() != nil {
		t.Fatalf("%+v, %v", e, core.Check())
	}
}

// TestTornWriteIsUnderstood: entries survived, the state written with them did not.
func TestTornWriteIsUnderstood(t *testing.T) {
	change := func(index, term, node uint64) wire.Entry {
		cc := wire.ConfChange{NodeID: node}
		return wire.Entry{Type: wire.EntryConfChange, Index: index, Term: term, Data: cc.Append(nil)}
	}
	boot := raft.Boot{
		HardState: wire.HardState{Term: 1, Vote: 3, Commit: 1}, Applied: 1,
		Snapshot: wire.SnapshotMeta{ConfState: wire.ConfState{Voters: []uint64{1}}},
		Entries:  []wire.Entry{change(1, 1, 1), {Index: 2, Term: 1}, change(3, 2, 2), {Index: 4, Term: 2}, change(5, 2, 3), {Index: 6, Term: 2}},
	}
	core, err := raft.New(validConfig(), boot)
	if err != nil {
		t.Fatal(err)
	}
	if s := core.Status(); s.Term != 2 || s.Vote != 0 || s.Commit != 3 || s.Last != 6 {
		t.Fatalf("%+v", s)
	}
	core.Campaign()
	if core.Role() != raft.Follower {
		t.Fatal("campaigns under a configuration that is known to be old")
	}
	if e := core.Effects(); e.HardState != (wire.HardState{Term: 2, Commit: 3}) || len(e.Committed) != 2 {
		t.Fatalf("%+v", e)
	}
}

func TestSenselessMessagesAreRefused(t *testing.T) {
	entries := func(index, term uint64) []wire.Entry { return []wire.Entry{{Index: index, Term: term}} }
	for name, m := range map[string]wire.Message{
		"from nobody":           {Type: wire.MsgApp, Term: 2},
		"from itself":           {Type: wire.MsgApp, From: 2, Term: 2},
		"no term":               {Type: wire.MsgApp, From: 1},
		"local type":            {Type: 0, From: 1, Term: 2},
		"unknown type":          {Type: 99, From: 1, Term: 2},
		"second leader":         {Type: wire.MsgApp, From: 3, Term: 2},
		"gap":                   {Type: wire.MsgApp, From: 1, Term: 2, Index: 4, LogTerm: 2, Entries: entries(6, 2)},
		"entry of later term":   {Type: wire.MsgApp, From: 1, Term: 2, Index: 4, LogTerm: 2, Entries: entries(5, 3)},
		"entry of earlier term": {Type: wire.MsgApp, From: 1, Term: 2, Index: 4, LogTerm: 2, Entries: entries(5, 1)},
		"no snapshot":           {Type: wire.MsgSnap, From: 1, Term: 2},
		"snapshot of nothing":   {Type: wire.MsgSnap, From: 1, Term: 2, Snapshot: &wire.Snapshot{}},
		"snapshot of later":     {Type: wire.MsgSnap, From: 1, Term: 2, Snapshot: &wire.Snapshot{Meta: wire.SnapshotMeta{Index: 9, Term: 3}}},
		"snapshot of learners":  {Type: wire.MsgSnap, From: 1, Term: 2, Snapshot: &wire.Snapshot{Meta: wire.SnapshotMeta{Index: 9, Term: 2, ConfState: wire.ConfState{Learners: []uint64{2}}}}},
		"snapshot beyond all":   {Type: wire.MsgSnap, From: 1, Term: 2, Snapshot: &wire.Snapshot{Meta: wire.SnapshotMeta{Index: 1 << 63, Term: 2, ConfState: wire.ConfState{Voters: []uint64{1, 2, 3}}}}},
		"read without id":       {Type: wire.MsgReadIndex, From: 1, Term: 2},
		"answer without id":     {Type: wire.MsgReadIndexResp, From: 1, Term: 2, Entries: []wire.Entry{{Data: []byte{1}}}},
		"empty proposal":        {Type: wire.MsgProp, From: 1},
	} {
		c := three(t)
		c.elect(1)
		before := c.status(2)
		m.To = 2
		if err := c.step(m); !errors.Is(err, raft.ErrBadMessage) {
			t.Errorf("%s: %v", name, err)
		}
		if after := c.status(2); after.Last != before.Last || after.Commit != before.Commit || after.Term != before.Term {
			t.Errorf("%s: %+v after, %+v before", name, after, before)
		}
	}
}

func TestLeaderRefusesAcknowledgementsOfTheFuture(t *testing.T) {
	c := three(t)
	c.elect(1)
	if err := c.step(wire.Message{Type: wire.MsgAppResp, From: 2, To: 1, Term: 2, Index: 99}); !errors.Is(err, raft.ErrBadMessage) {
		t.Fatal(err)
	}
	if s := c.status(1); s.Commit != 4 {
		t.Fatalf("%+v", s)
	}
}

// TestDivergenceIsNoticed: a leader that contradicts what is committed here, or believes us to have what we do not.
func TestDivergenceIsNoticed(t *testing.T) {
	for name, m := range map[string]wire.Message{
		"entry before":          {Type: wire.MsgApp, Index: 4, LogTerm: 1},
		"entry within":          {Type: wire.MsgApp, Index: 2, LogTerm: 1, Entries: []wire.Entry{{Index: 3, Term: 2}}},
		"acknowledged and gone": {Type: wire.MsgHeartbeat, Commit: 5},
	} {
		c := three(t)
		c.elect(1)
		m.From, m.To, m.Term = 1, 2, 2
		if err := c.step(m); !errors.Is(err, raft.ErrDiverged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestOldWriteDoesNotCover: an entry is written, replaced, and replaced again by itself; the first write's end says
// nothing about the last.
func TestOldWriteDoesNotCover(t *testing.T) {
	c := three(t)
	n := c.members[1]
	var seqs []uint64
	for _, terms := range [][2]uint64{{2, 2}, {3, 3}, {4, 2}} { // leader's term, entry's term
		m := wire.Message{
			Type: wire.MsgApp, From: terms[0] - 1 + 10, To: 1, Term: terms[0], Index: 3, LogTerm: 1,
			Entries: []wire.Entry{{Index: 4, Term: terms[1]}},
		}
		if err := n.core.Step(m); err != nil {
			t.Fatal(err)
		}
		seqs = append(seqs, n.core.Effects().Seq)
	}
	for i, want := range []uint64{3, 3, 4} {
		n.core.Persisted(seqs[i])
		if got := n.core.Durable(); got != want || n.core.Check() != nil {
			t.Fatalf("after write %d durable to %d, want %d; %v", i+1, got, want, n.core.Check())
		}
	}
}

// TestHandedOutEntriesStayAsTheyWere: a conflicting tail must not be written into memory that the disk still reads.
func TestHandedOutEntriesStayAsTheyWere(t *testing.T) {
	c := three(t)
	core := c.members[1].core
	app := func(term uint64, data string) raft.Effects {
		m := wire.Message{
			Type: wire.MsgApp, From: term, To: 1, Term: term, Index: 3, LogTerm: 1,
			Entries: []wire.Entry{{Index: 4, Term: term, Data: []byte(data)}},
		}
		if err := core.Step(m); err != nil {
			t.Fatal(err)
		}
		return core.Effects()
	}
	first := app(2, "first")
	app(3, "second")
	if got := string(first.Append[0].Data); got != "first" {
		t.Fatalf("the entry became %q", got)
	}
}

func TestUncommittedIsBounded(t *testing.T) {
	cfg := defaults
	cfg.MaxUncommittedBytes = 10
	c := newClusterAtRest(t, cfg, 1, 2, 3)
	c.elect(1)
	c.propose(1, "something longer than the limit") // alone it may
	c.do(1, func(core *raft.Core) {
		if err := core.Propose([]byte("x")); !errors.Is(err, raft.ErrDropped) {
			t.Fatal(err)
		}
	})
	c.run()
	c.propose(1, "12345", "67890")
	c.do(1, func(core *raft.Core) {
		if err := core.Propose([]byte("a"), []byte("b")); !errors.Is(err, raft.ErrDropped) {
			t.Fatal("all or none")
		}
	})
}

func TestFollowerHandsOver(t *testing.T) {
	c := three(t)
	for _, ask := range []func(core *raft.Core) error{
		func(core *raft.Core) error { return core.Propose([]byte("x")) },
		func(core *raft.Core) error { return core.ReadIndex(1) },
		func(core *raft.Core) error { return core.ProposeConfChange(wire.ConfChange{NodeID: 4}) },
	} {
		if err := ask(c.members[2].core); !errors.Is(err, raft.ErrNoLeader) {
			t.Fatal(err)
		}
	}
	c.elect(1)
	c.propose(2, "a")
	c.do(2, func(core *raft.Core) {
		_ = core.ProposeConfChange(wire.ConfChange{Type: wire.ConfChangeAddLearnerNode, NodeID: 4})
	})
	c.run()
	last := c.status(3)
	if last.Applied != 6 || !slices.Equal(last.ConfState.Learners, []uint64{4}) {
		t.Fatalf("%+v", last)
	}
}

// TestReadsOfALostLeader: whoever asked a leader that is gone is told so, once.
func TestReadsOfALostLeader(t *testing.T) {
	c := three(t)
	c.elect(1)
	c.do(2, func(core *raft.Core) { _ = core.ReadIndex(5) })
	c.network = nil
	c.tick(2, 40)
	if lost := c.members[2].lost; !slices.Equal(lost, []uint64{5}) {
		t.Fatalf("lost %v", lost)
	}
	answer := wire.Message{Type: wire.MsgReadIndexResp, From: 1, To: 2, Term: 2, Index: 4, Entries: []wire.Entry{{Data: []byte{0, 0, 0, 0, 0, 0, 0, 5}}}}
	if err := c.step(answer); err != nil || len(c.members[2].reads) > 0 {
		t.Fatalf("answered after it was lost: %v, %v", c.members[2].reads, err)
	}
}

func TestReadsAreBounded(t *testing.T) {
	c := three(t)
	c.elect(1)
	core := c.members[1].core
	var err error
	asked := 0
	for ; err == nil && asked < 1<<16; asked++ {
		err = core.ReadIndex(uint64(asked))
	}
	if !errors.Is(err, raft.ErrDropped) || asked > 1<<15 {
		t.Fatalf("%d reads taken, then %v", asked, err)
	}
	follower := c.members[2].core
	for id := range uint64(1<<14 + 3) {
		if err := follower.ReadIndex(id); err != nil {
			t.Fatal(err)
		}
	}
	if lost := follower.Effects().Lost; !slices.Equal(lost, []uint64{0, 1, 2}) {
		t.Fatalf("%d lost", len(lost))
	}
}

func TestBrokenPromisesOfTheDriverPanic(t *testing.T) {
	for name, breach := range map[string]func(core *raft.Core){
		"applied":   func(core *raft.Core) { core.Applied(99) },
		"persisted": func(core *raft.Core) { core.Persisted(99) },
		"compacted": func(core *raft.Core) { core.Compact(99) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s what was never handed out, and nothing happened", name)
				}
			}()
			breach(three(t).members[1].core)
		}()
	}
}

// cycle is one proposal of a single voter, until it is applied.
func cycle(core *raft.Core, data []byte) uint64 {
	if err := core.Propose(data); err != nil {
		panic(err)
	}
	e := core.Effects()
	core.Persisted(e.Seq)
	e = core.Effects()
	last := e.Committed[len(e.Committed)-1].Index
	core.Applied(last)
	return last
}

func BenchmarkSingleVoterCycle(b *testing.B) {
	b.ReportAllocs()
	c := newCluster(b, defaults, []uint64{1}, nil)
	c.run()
	c.elect(1)
	core, data := c.members[1].core, make([]byte, 256)
	count := 0
	for b.Loop() {
		last := cycle(core, data)
		if count++; count%10_000 == 0 {
			core.Compact(last - 100)
		}
	}
}

// BenchmarkThreeVoterCycle replicates a batch of 16 entries to two followers and commits it by their answers.
func BenchmarkThreeVoterCycle(b *testing.B) {
	b.ReportAllocs()
	c := newCluster(b, defaults, []uint64{1, 2, 3}, nil)
	c.run()
	c.elect(1)
	core := c.members[1].core
	batch := make([][]byte, 16)
	for i := range batch {
		batch[i] = make([]byte, 256)
	}
	count := 0
	for b.Loop() {
		if err := core.Propose(batch...); err != nil {
			b.Fatal(err)
		}
		e := core.Effects()
		last := e.Append[len(e.Append)-1].Index
		for _, from := range []uint64{2, 3} {
			if err := core.Step(wire.Message{Type: wire.MsgAppResp, From: from, To: 1, Term: core.Term(), Index: last}); err != nil {
				b.Fatal(err)
			}
		}
		core.Effects()
		core.Persisted(e.Seq)
		core.Applied(last)
		if count++; count%1000 == 0 {
			core.Compact(last - 100)
		}
	}
}

// BenchmarkFollowerAppend takes in a batch of 16 entries and answers once they are stored.
func BenchmarkFollowerAppend(b *testing.B) {
	b.ReportAllocs()
	c := newCluster(b, defaults, []uint64{1, 2, 3}, nil)
	c.run()
	c.elect(1)
	core, data := c.members[2].core, make([]byte, 256)
	last := core.Status().Last
	for count := 1; b.Loop(); count++ {
		m := wire.Message{Type: wire.MsgApp, From: 1, To: 2, Term: core.Term(), Index: last, LogTerm: core.Term(), Commit: last}
		m.Entries = make([]wire.Entry, 16) // as decoding a message does
		for i := range m.Entries {
			m.Entries[i] = wire.Entry{Term: core.Term(), Index: last + uint64(i) + 1, Data: data}
		}
		last += 16
		if err := core.Step(m); err != nil {
			b.Fatal(err)
		}
		e := core.Effects()
		core.Persisted(e.Seq)
		core.Applied(last - 16)
		if count%1000 == 0 {
			core.Compact(last - 100)
		}
	}
}

func BenchmarkReadIndexSingleVoter(b *testing.B) {
	b.ReportAllocs()
	c := newCluster(b, defaults, []uint64{1}, nil)
	c.run()
	c.elect(1)
	core := c.members[1].core
	for b.Loop() {
		if err := core.ReadIndex(1); err != nil {
			b.Fatal(err)
		}
		core.Effects()
	}
}

// TestNobodyCampaignsUnderAnOldConfiguration: a founder that has applied only that itself is a member would win alone.
func TestNobodyCampaignsUnderAnOldConfiguration(t *testing.T) {
	c := newCluster(t, defaults, nil, nil)
	c.lazy = true
	n := c.add(1, foundingDisk([]uint64{1, 2, 3}, nil))
	first := n.core.ApplyConfChange(wire.ConfChange{NodeID: 1})
	n.core.Applied(1)
	c.tick(1, 50)
	if s := c.status(1); s.Role != raft.Follower || s.Term != 1 {
		t.Fatalf("campaigns as member of %v: %+v", first.Voters, s)
	}
}

// snapshotAt is a snapshot message for member 2 of a cluster of three.
func snapshotAt(index, term uint64) wire.Message {
	meta := wire.SnapshotMeta{ConfState: wire.ConfState{Voters: []uint64{1, 2, 3}}, Index: index, Term: term}
	return wire.Message{Type: wire.MsgSnap, From: 1, To: 2, Term: term, Snapshot: &wire.Snapshot{Data: make([]byte, 8), Meta: meta}}
}

func TestNobodyCampaignsWhileInstallingASnapshot(t *testing.T) {
	c := three(t)
	c.lazy = true
	if err := c.step(snapshotAt(9, 2)); err != nil {
		t.Fatal(err)
	}
	c.tick(2, 50)
	if s := c.status(2); s.Role != raft.Follower || s.First != 10 {
		t.Fatalf("%+v", s)
	}
	c.apply(c.members[2], 9)
	c.sync(c.members[2], 9)
	c.tick(2, 50)
	if s := c.status(2); s.Role != raft.PreCandidate {
		t.Fatalf("%+v", s)
	}
}

// TestSnapshotReplacesWritesUnderWay: a tail that is being written when a snapshot replaces it is not durable when the
// write ends, however far it went.
func TestSnapshotReplacesWritesUnderWay(t *testing.T) {
	c := three(t)
	tail := wire.Message{Type: wire.MsgApp, From: 3, To: 2, Term: 2, Index: 3, LogTerm: 1}
	for index := range uint64(9) {
		tail.Entries = append(tail.Entries, wire.Entry{Index: 4 + index, Term: 2})
	}
	for _, m := range []wire.Message{tail, snapshotAt(6, 3)} {
		if err := c.step(m); err != nil {
			t.Fatal(err)
		}
	}
	n := c.members[2]
	c.sync(n, 1)
	if s := c.status(2); s.Last != 6 || s.Durable > 6 {
		t.Fatalf("%+v", s)
	}
	c.sync(n, 1)
	if s := c.status(2); s.Durable != 6 {
		t.Fatalf("%+v", s)
	}
}

// TestLateAppendIsUsed: an append from before our commit index may still end behind it.
func TestLateAppendIsUsed(t *testing.T) {
	c := three(t)
	c.elect(1)
	entries := []wire.Entry{{Index: 3, Term: 1}, {Index: 4, Term: 2}, {Index: 5, Term: 2, Data: []byte("new")}}
	if err := c.step(wire.Message{Type: wire.MsgApp, From: 1, To: 2, Term: 2, Index: 2, LogTerm: 1, Entries: entries, Commit: 4}); err != nil {
		t.Fatal(err)
	}
	c.sync(c.members[2], 9)
	if answer := c.take(wire.MsgAppResp)[0]; answer.Index != 5 || c.status(2).Last != 5 {
		t.Fatalf("%+v, %+v", answer, c.status(2))
	}
}

// TestCommitEndsWithWhatTheLeaderSent: what the follower holds beyond that may not be the leader's.
func TestCommitEndsWithWhatTheLeaderSent(t *testing.T) {
	c := three(t)
	for _, m := range []wire.Message{
		{Type: wire.MsgApp, From: 3, To: 2, Term: 2, Index: 3, LogTerm: 1, Entries: []wire.Entry{{Index: 4, Term: 2}, {Index: 5, Term: 2}}},
		{Type: wire.MsgApp, From: 1, To: 2, Term: 3, Index: 4, LogTerm: 2, Commit: 9},
	} {
		if err := c.step(m); err != nil {
			t.Fatal(err)
		}
	}
	if s := c.status(2); s.Commit != 4 || s.Last != 5 {
		t.Fatalf("%+v", s)
	}
}

// TestNewLeaderWaitsForChangesInItsLog: a change that its predecessor proposed may still be committed.
func TestNewLeaderWaitsForChangesInItsLog(t *testing.T) {
	c := newCluster(t, defaults, []uint64{1, 2, 3}, nil)
	c.run()
	c.elect(1)
	c.do(1, func(core *raft.Core) { _ = core.ProposeConfChange(wire.ConfChange{NodeID: 4}) })
	c.run(1, 3) // stored by 2 alone, not committed
	c.isolate([]uint64{1})
	c.lazy = true
	c.tick(3, 10)
	c.tick(2, 12)
	c.run()
	lead := c.members[2]
	if lead.core.Role() != raft.Leader {
		t.Fatalf("%+v", lead.core.Status())
	}
	learner := wire.ConfChange{Type: wire.ConfChangeAddLearnerNode, NodeID: 5}
	c.do(2, func(core *raft.Core) {
		if err := core.ProposeConfChange(learner); !errors.Is(err, raft.ErrConfChangePending) {
			t.Fatal(err)
		}
	})
	c.apply(lead, len(lead.waiting))
	c.do(2, func(core *raft.Core) {
		if err := core.ProposeConfChange(learner); err != nil {
			t.Fatal(err)
		}
	})
}

// TestOldPreVotesDoNotCount: a grant that was given for an earlier question says nothing about this one.
func TestOldPreVotesDoNotCount(t *testing.T) {
	c := three(t)
	c.tick(1, 20)
	if s := c.status(1); s.Role != raft.PreCandidate || s.Term != 1 {
		t.Fatalf("%+v", s)
	}
	for _, term := range []uint64{1, 3} {
		if err := c.step(wire.Message{Type: wire.MsgPreVoteResp, From: 2, To: 1, Term: term}); err != nil {
			t.Fatal(err)
		}
		if s := c.status(1); s.Role != raft.PreCandidate {
			t.Fatalf("%+v after a grant for term %d", s, term)
		}
	}
	if err := c.step(wire.Message{Type: wire.MsgPreVoteResp, From: 2, To: 1, Term: 2}); err != nil {
		t.Fatal(err)
	}
	if s := c.status(1); s.Role != raft.Candidate || s.Term != 2 {
		t.Fatalf("%+v", s)
	}
}

// TestAcknowledgementsAreGathered: several appends that wait for the same write are answered once.
func TestAcknowledgementsAreGathered(t *testing.T) {
	c := three(t)
	c.elect(1)
	c.propose(1, "a")
	c.propose(1, "b")
	follower := c.members[2].core
	sent := c.take(wire.MsgApp)
	for _, m := range append(sent, sent[0]) { // the first comes once more, after the second
		if m.To == 2 && m.Index < 6 {
			if err := follower.Step(m); err != nil {
				t.Fatal(err)
			}
		}
	}
	e := follower.Effects()
	if len(e.Append) != 2 || len(e.AfterSync) != 1 || e.AfterSync[0].Index != 6 {
		t.Fatalf("%+v", e)
	}
}

// TestPassedOnOnce: a request that reaches a former leader goes on to the new one, but not back to who sent it.
func TestPassedOnOnce(t *testing.T) {
	c := three(t)
	c.elect(1)
	data := []wire.Entry{{Data: []byte("12345678")}}
	for _, kind := range []wire.MessageType{wire.MsgProp, wire.MsgReadIndex} {
		if err := c.step(wire.Message{Type: kind, From: 3, To: 2, Entries: data}); err != nil {
			t.Fatal(err)
		}
		if on := c.take(kind); len(on) != 1 || on[0].To != 1 || on[0].From != 3 || on[0].Term != 0 {
			t.Fatalf("%+v", on)
		}
		if err := c.step(wire.Message{Type: kind, From: 1, To: 2, Entries: data}); !errors.Is(err, raft.ErrNoLeader) || len(c.network) > 0 {
			t.Fatalf("%v, %+v", err, c.network)
		}
	}
	if err := c.step(wire.Message{Type: wire.MsgProp, From: 1, To: 1, Entries: data}); err != nil || c.status(1).Last != 5 {
		t.Fatalf("a proposal that came back to its sender, who leads now: %v", err)
	}
}

// TestForwardedEntriesAreChecked: what a follower hands over goes through the same doors.
func TestForwardedEntriesAreChecked(t *testing.T) {
	remove := wire.ConfChange{Type: wire.ConfChangeRemoveNode, NodeID: 3}
	change := wire.Entry{Type: wire.EntryConfChange, Data: remove.Append(nil)}
	for name, tc := range map[string]struct {
		entries []wire.Entry
		err     error
		added   uint64
	}{
		"two changes":       {[]wire.Entry{change, {Data: []byte("x")}, change}, raft.ErrConfChangePending, 2},
		"broken change":     {[]wire.Entry{{Type: wire.EntryConfChange, Data: []byte{0xff}}}, raft.ErrBadMessage, 0},
		"set of changes":    {[]wire.Entry{{Type: wire.EntryConfChangeV2}}, raft.ErrBadMessage, 0},
		"while handed over": {[]wire.Entry{{Data: []byte("x")}}, raft.ErrDropped, 0},
	} {
		c := three(t)
		c.elect(1)
		if tc.err == raft.ErrDropped {
			c.do(1, func(core *raft.Core) { core.TransferLeader(2) })
		}
		err := c.step(wire.Message{Type: wire.MsgProp, From: 2, To: 1, Entries: tc.entries})
		if added := c.status(1).Last - 4; !errors.Is(err, tc.err) || added != tc.added {
			t.Errorf("%s: %v, %d entries added", name, err, added)
		}
	}
}

// TestSnapshotWaitsForASignOfLife: a member that is not there gets none.
func TestSnapshotWaitsForASignOfLife(t *testing.T) {
	c := three(t)
	c.elect(1)
	c.isolate([]uint64{3})
	c.propose(1, "a", "b")
	c.run()
	for range 20 { // its activity is asked for and forgotten
		c.tick(1, 1)
		c.run()
	}
	c.do(1, func(core *raft.Core) { core.ReportUnreachable(3) })
	c.flush(c.members[1], 0)
	c.propose(1, "c")
	c.run()
	if p := c.status(1).Peers[2]; p.State != progress.Probe || p.Active {
		t.Fatalf("%+v", p)
	}
	c.isolate(nil)
	c.tick(1, 1)
	c.run()
	if s := c.status(3); s.Applied != 7 || s.First != 8 {
		t.Fatalf("%+v", s)
	}
}
