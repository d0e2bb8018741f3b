package raft_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/quoin-kv/quoin/raft"
	"github.com/quoin-kv/quoin/raft/progress"
	"github.com/quoin-kv/quoin/raft/wire"
)

// Each test here is named after the section of the Raft paper or thesis whose claim it holds the core to.

func three(t *testing.T) *cluster { return newClusterAtRest(t, defaults, 1, 2, 3) }

func newClusterAtRest(t *testing.T, cfg raft.Config, voters ...uint64) *cluster {
	c := newCluster(t, cfg, voters, nil)
	c.run()
	return c
}

// take returns the messages of a type that are in flight, and drops the others.
func (c *cluster) take(kind wire.MessageType) (found []wire.Message) {
	for _, m := range c.network {
		if m.Type == kind {
			found = append(found, m)
		}
	}
	c.network = nil
	return found
}

// step hands a message to a member as if it came from the network.
func (c *cluster) step(m wire.Message) error {
	c.t.Helper()
	n := c.members[m.To]
	err := n.core.Step(m)
	c.settle(n)
	return err
}

func (c *cluster) status(id uint64) raft.Status { return c.members[id].core.Status() }

func TestPaper5_1_LowerTermIsIgnored(t *testing.T) {
	cfg := defaults
	cfg.PreVote, cfg.CheckQuorum = false, false
	c := newClusterAtRest(t, cfg, 1, 2, 3)
	c.elect(1)
	before := c.status(2)
	for _, kind := range []wire.MessageType{wire.MsgApp, wire.MsgHeartbeat, wire.MsgVote, wire.MsgVoteResp, wire.MsgSnap} {
		if err := c.step(wire.Message{Type: kind, From: 3, To: 2, Term: 1, Index: 4, LogTerm: 1}); err != nil {
			t.Fatal(err)
		}
	}
	if after := c.status(2); after.Term != before.Term || after.Lead != 1 || after.Last != before.Last || len(c.network) > 0 {
		t.Fatalf("%+v after messages of an old term, and %d answers; before: %+v", after, len(c.network), before)
	}
}

func TestPaper5_1_HigherTermMakesAFollower(t *testing.T) {
	c := three(t)
	c.elect(1)
	if err := c.step(wire.Message{Type: wire.MsgHeartbeat, From: 3, To: 1, Term: 9}); err != nil {
		t.Fatal(err)
	}
	if s := c.status(1); s.Role != raft.Follower || s.Term != 9 || s.Lead != 3 {
		t.Fatalf("%+v", s)
	}
}

func TestPaper5_2_OneVotePerTerm(t *testing.T) {
	c := three(t)
	ask := func(from uint64) wire.Message {
		if err := c.step(wire.Message{Type: wire.MsgVote, From: from, To: 3, Term: 2, Index: 3, LogTerm: 1}); err != nil {
			t.Fatal(err)
		}
		c.sync(c.members[3], 9)
		return c.take(wire.MsgVoteResp)[0]
	}
	if ask(1).Reject || !ask(2).Reject || ask(1).Reject {
		t.Fatal("a vote goes to the first who asks, and to it again")
	}
	c.crash(c.members[3], 0, 0)
	c.start(c.members[3])
	if !ask(2).Reject {
		t.Fatal("a restart must not forget the vote")
	}
}

func TestPaper5_2_VoteWaitsForTheDisk(t *testing.T) {
	c := three(t)
	if err := c.step(wire.Message{Type: wire.MsgVote, From: 1, To: 3, Term: 2, Index: 3, LogTerm: 1}); err != nil {
		t.Fatal(err)
	}
	if len(c.network) > 0 {
		t.Fatal("the vote left before it was stored")
	}
	c.crash(c.members[3], 0, 0)
	c.start(c.members[3])
	if s := c.status(3); s.Term != 1 || s.Vote != 0 {
		t.Fatalf("%+v", s)
	}
}

func TestPaper5_2_TimeoutsAreSpread(t *testing.T) {
	cfg := defaults
	cfg.PreVote = false
	c := newClusterAtRest(t, cfg, 1, 2, 3)
	draws := []int{0, 4, 9}
	c.jitter = func(uint64, int) int { d := draws[0]; draws = append(draws[1:], d); return d }
	c.elect(1)
	c.do(1, func(core *raft.Core) { _ = core.Step(wire.Message{Type: wire.MsgHeartbeat, From: 2, To: 1, Term: 50}) })
	seen := map[int]bool{}
	for range 6 {
		ticks, term := 0, c.status(1).Term
		for c.status(1).Term == term {
			c.tick(1, 1)
			ticks++
		}
		c.sync(c.members[1], 9)
		if ticks < 10 || ticks > 19 {
			t.Fatalf("election after %d ticks", ticks)
		}
		seen[ticks] = true
	}
	if len(seen) < 2 {
		t.Fatalf("always the same timeout: %v", seen)
	}
}

func TestPaper5_3_LogsAreMadeEqual(t *testing.T) {
	// Followers as in the paper's figure 7: lacking entries, with entries too many, or both.
	entries := func(terms ...uint64) (log []wire.Entry) {
		for i, term := range terms {
			log = append(log, wire.Entry{Term: term, Index: uint64(i) + 1, Data: fmt.Append(nil, term)})
		}
		return log
	}
	leader := entries(1, 1, 1, 4, 4, 5, 5, 6, 6, 6)
	for name, follower := range map[string][]wire.Entry{
		"a": entries(1, 1, 1, 4, 4, 5, 5, 6, 6),
		"b": entries(1, 1, 1, 4),
		"c": entries(1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6),
		"d": entries(1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7),
		"e": entries(1, 1, 1, 4, 4, 4, 4),
		"f": entries(1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3),
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, defaults, nil, nil)
			conf := machine{conf: wire.ConfState{Voters: []uint64{1, 2, 3}}}
			for id, log := range map[uint64][]wire.Entry{1: leader, 2: follower, 3: leader[:9]} {
				c.add(id, disk{state: wire.HardState{Term: 7}, entries: log, machine: conf})
			}
			c.do(1, (*raft.Core).Campaign)
			c.cut(2) // its vote is not needed, and with the longest log it would refuse
			c.run()
			c.tick(1, 1)
			c.run()
			c.tick(1, 1)
			c.run()
			if got, want := c.members[2].disk.entries, c.members[1].disk.entries; !slices.EqualFunc(got, want, sameEntry) {
				t.Fatalf("follower has%s, leader%s", showEntries(got), showEntries(want))
			}
		})
	}
}

func sameEntry(a, b wire.Entry) bool {
	return a.Type == b.Type && a.Term == b.Term && a.Index == b.Index && string(a.Data) == string(b.Data)
}

func TestPaper5_3_RepeatedAndOldAppendsChangeNothing(t *testing.T) {
	c := three(t)
	c.elect(1)
	c.propose(1, "a", "b")
	first := c.take(wire.MsgApp)
	c.tick(1, 1)
	c.run()
	before := c.status(2)
	for _, m := range slices.Backward(first) {
		if m.To == 2 {
			if err := c.step(m); err != nil {
				t.Fatal(err)
			}
		}
	}
	if after := c.status(2); after.Last != before.Last || after.Commit < before.Commit {
		t.Fatalf("%+v after old appends, %+v before", after, before)
	}
}

func TestPaper5_4_1_VotesNeedAnUpToDateLog(t *testing.T) {
	for _, tc := range []struct {
		index, term uint64
		granted     bool
	}{{5, 2, true}, {4, 2, false}, {9, 1, false}, {1, 3, true}, {6, 2, true}} {
		cfg := defaults
		cfg.CheckQuorum = false
		c := newClusterAtRest(t, cfg, 1, 2, 3)
		c.elect(1)
		c.propose(1, "x")
		c.run() // logs end with 5/2
		if err := c.step(wire.Message{Type: wire.MsgVote, From: 2, To: 3, Term: 9, Index: tc.index, LogTerm: tc.term}); err != nil {
			t.Fatal(err)
		}
		c.sync(c.members[3], 9)
		if answer := c.take(wire.MsgVoteResp)[0]; answer.Reject == tc.granted {
			t.Errorf("candidate whose log ends with %d/%d: rejected %v", tc.index, tc.term, answer.Reject)
		}
	}
}

func TestPaper5_4_2_OldTermsCommitOnlyWithAnOwnEntry(t *testing.T) {
	// The paper's figure 8: an entry of an old term stands on a majority and is still not committed.
	conf := machine{conf: wire.ConfState{Voters: []uint64{1, 2, 3}}}
	c := newCluster(t, defaults, nil, nil)
	old := []wire.Entry{{Term: 1, Index: 1}, {Term: 2, Index: 2}}
	for _, id := range []uint64{1, 2, 3} {
		c.add(id, disk{state: wire.HardState{Term: 3}, entries: old, machine: conf})
	}
	c.elect(1)
	if s := c.status(1); s.Commit != 3 || s.Term != 4 {
		t.Fatalf("with its own entry everything commits: %+v", s)
	}

	d := newCluster(t, defaults, nil, nil)
	for _, id := range []uint64{1, 2, 3} {
		d.add(id, disk{state: wire.HardState{Term: 3}, entries: old, machine: conf})
	}
	d.do(1, (*raft.Core).Campaign)
	for range 4 { // question, answer, vote, answer
		d.sync(d.members[1], 9)
		d.sync(d.members[2], 9)
		for range len(d.network) {
			d.deliver(0)
		}
	}
	if s := d.status(1); s.Role != raft.Leader {
		t.Fatalf("%+v", s)
	}
	d.network = nil
	for _, from := range []uint64{2, 3} { // everybody has the old entries, nobody the new one
		if err := d.step(wire.Message{Type: wire.MsgAppResp, From: from, To: 1, Term: 4, Index: 2}); err != nil {
			t.Fatal(err)
		}
	}
	if s := d.status(1); s.Commit != 0 {
		t.Fatalf("committed to %d by counting entries of an old term", s.Commit)
	}
}

func TestPaper7_SnapshotKeepsWhatFollowsIt(t *testing.T) {
	c := three(t)
	c.elect(1)
	c.propose(1, "a", "b")
	c.run()
	before := c.status(2)
	snapshot := wire.Snapshot{Meta: wire.SnapshotMeta{ConfState: before.ConfState, Index: 5, Term: 2}}
	if err := c.step(wire.Message{Type: wire.MsgSnap, From: 1, To: 2, Term: 2, Snapshot: &snapshot}); err != nil {
		t.Fatal(err)
	}
	if after := c.status(2); after.Last != before.Last || after.First != before.First {
		t.Fatalf("%+v after a snapshot that tells nothing new, %+v before", after, before)
	}
}

func TestPaper8_LeaderBeginsWithAnEmptyEntry(t *testing.T) {
	c := newClusterAtRest(t, defaults, 1)
	c.elect(1)
	entries := c.members[1].disk.entries
	if last := entries[len(entries)-1]; last.Term != 2 || len(last.Data) != 0 || last.Type != wire.EntryNormal {
		t.Fatalf("%+v", last)
	}
}

func TestThesis3_10_TransferNeedsTheWholeLog(t *testing.T) {
	c := three(t)
	c.elect(1)
	c.propose(1, "a")
	c.network = nil
	c.do(1, func(core *raft.Core) { core.TransferLeader(3) })
	if len(c.take(wire.MsgTimeoutNow)) > 0 {
		t.Fatal("told to campaign without the whole log")
	}
	c.do(1, func(core *raft.Core) {
		if err := core.Propose([]byte("b")); !errors.Is(err, raft.ErrDropped) {
			t.Fatalf("a proposal during a transfer: %v", err)
		}
	})
	c.tick(1, 1)
	c.run()
	if s := c.status(3); s.Role != raft.Leader {
		t.Fatalf("%+v", s)
	}
}

func TestThesis4_1_OneChangeAtATime(t *testing.T) {
	c := three(t)
	c.elect(1)
	c.do(1, func(core *raft.Core) {
		for _, want := range []error{nil, raft.ErrConfChangePending} {
			if err := core.ProposeConfChange(wire.ConfChange{Type: wire.ConfChangeAddLearnerNode, NodeID: 7}); !errors.Is(err, want) {
				t.Fatalf("%v, want %v", err, want)
			}
		}
	})
	c.run()
	if s := c.status(2); !slices.Equal(s.ConfState.Learners, []uint64{7}) {
		t.Fatalf("%+v", s.ConfState)
	}
}

func TestThesis4_1_RefusedAndImpossibleChanges(t *testing.T) {
	c := newClusterAtRest(t, defaults, 1)
	c.elect(1)
	c.do(1, func(core *raft.Core) {
		if err := core.ProposeConfChange(wire.ConfChange{Type: wire.ConfChangeRemoveNode, NodeID: 1}); err == nil {
			t.Fatal("the last voter may go")
		}
		for _, cc := range []wire.ConfChange{{Type: wire.ConfChangeRemoveNode, NodeID: 1}, {NodeID: 0}, {Type: 9, NodeID: 2}} {
			if got := core.ApplyConfChange(cc); !slices.Equal(got.Voters, []uint64{1}) || len(got.Learners) > 0 {
				t.Fatalf("%+v made %+v", cc, got)
			}
		}
	})
}

func TestThesis4_2_1_LearnersDoNotCount(t *testing.T) {
	c := newCluster(t, defaults, []uint64{1, 2}, []uint64{3})
	c.run()
	c.elect(1)
	c.isolate([]uint64{2})
	c.propose(1, "a")
	c.run()
	if s := c.status(1); s.Commit == s.Last {
		t.Fatalf("committed by a learner's word: %+v", s)
	}
	c.do(3, (*raft.Core).Campaign)
	if s := c.status(3); s.Role != raft.Follower {
		t.Fatalf("a learner campaigns: %+v", s)
	}
}

func TestThesis4_2_2_RemovedLeaderStepsDown(t *testing.T) {
	c := three(t)
	c.elect(1)
	c.do(1, func(core *raft.Core) {
		if err := core.ProposeConfChange(wire.ConfChange{Type: wire.ConfChangeRemoveNode, NodeID: 1}); err != nil {
			t.Fatal(err)
		}
	})
	if s := c.status(1); s.Role != raft.Leader {
		t.Fatal("stepped down before the change was committed")
	}
	c.run()
	if s := c.status(1); s.Role != raft.Follower || slices.Contains(s.ConfState.Voters, 1) {
		t.Fatalf("%+v", s)
	}
}

// TestRemovedLeaderLeavesNobodyStuck: of two, the leader removes itself, and the other does not learn that this is
// committed. It needs the removed one's vote, cannot get it, and learns from the refusal.
func TestRemovedLeaderLeavesNobodyStuck(t *testing.T) {
	c := newClusterAtRest(t, defaults, 1, 2)
	c.elect(1)
	c.do(1, func(core *raft.Core) {
		if err := core.ProposeConfChange(wire.ConfChange{Type: wire.ConfChangeRemoveNode, NodeID: 1}); err != nil {
			t.Fatal(err)
		}
		_ = core.Propose([]byte("longer"))
	})
	c.sync(c.members[1], 1)
	appends := c.take(wire.MsgApp)
	change := slices.IndexFunc(appends, func(m wire.Message) bool { return len(m.Entries) > 0 })
	c.network = appends[change : change+1] // not what follows
	c.run(1)
	c.network = nil
	c.sync(c.members[1], 9)
	c.isolate(nil)
	for range 2 {
		c.tick(1, 15)
		c.tick(2, 15)
		c.run()
	}
	if s := c.status(2); s.Role != raft.Leader || !slices.Equal(s.ConfState.Voters, []uint64{2}) {
		t.Fatalf("%+v\n%+v", s, c.status(1))
	}
}

func TestThesis4_2_3_VotesAreRefusedWhileALeaderIsHeard(t *testing.T) {
	c := three(t)
	c.elect(1)
	ask := func(context string) int {
		m := wire.Message{Type: wire.MsgVote, From: 3, To: 2, Term: 20, Index: 99, LogTerm: 19, Context: []byte(context)}
		if err := c.step(m); err != nil {
			t.Fatal(err)
		}
		c.sync(c.members[2], 9)
		return len(c.take(wire.MsgVoteResp))
	}
	if ask("") != 0 || c.status(2).Term != 2 {
		t.Fatal("a vote request disturbed a follower that hears its leader")
	}
	if ask("CampaignTransfer") != 1 {
		t.Fatal("a transfer must get through")
	}
}

func TestThesis6_2_LeaderWithoutQuorumStepsDown(t *testing.T) {
	c := three(t)
	c.elect(1)
	c.isolate([]uint64{2, 3})
	c.tick(1, 21)
	if s := c.status(1); s.Role != raft.Follower || s.Term != 2 {
		t.Fatalf("%+v", s)
	}
}

func TestThesis6_4_ReadNeedsARound(t *testing.T) {
	c := three(t)
	c.elect(1)
	c.do(1, func(core *raft.Core) {
		if err := core.ReadIndex(7); err != nil {
			t.Fatal(err)
		}
	})
	rounds := c.take(wire.MsgHeartbeat)
	if len(c.members[1].reads) != 0 || len(rounds) != 2 || len(rounds[0].Context) != 8 || rounds[0].Context[0] != 1 {
		t.Fatalf("answered %v with %+v in flight", c.members[1].reads, rounds)
	}
	answer := wire.Message{Type: wire.MsgHeartbeatResp, From: 2, To: 1, Term: 2}
	for _, context := range [][]byte{nil, {1}, {0, 0, 0, 0, 0, 0, 0, 0}} { // says nothing about this round
		answer.Context = context
		if err := c.step(answer); err != nil {
			t.Fatal(err)
		}
	}
	if len(c.members[1].reads) != 0 {
		t.Fatal("answered by the word of an older round")
	}
	answer.Context = rounds[0].Context
	if err := c.step(answer); err != nil {
		t.Fatal(err)
	}
	if reads := c.members[1].reads; len(reads) != 1 || reads[0] != (raft.ReadState{ID: 7, Index: 4}) {
		t.Fatalf("%+v", reads)
	}
}

// TestThesis6_4_QuestionOfAFollowerIsASign: with the leader it is a quorum of three, so no round is needed; but not of five, not if it is older
// than the leader's first commit, not if its sender has gone to another term or does not say.
func TestThesis6_4_QuestionOfAFollowerIsASign(t *testing.T) {
	c := three(t)
	c.elect(1)
	c.do(2, func(core *raft.Core) { _ = core.ReadIndex(9) })
	questions := c.take(wire.MsgReadIndex)
	if len(questions) != 1 || questions[0].LogTerm != 2 {
		t.Fatalf("questions: %+v", questions)
	}
	if err := c.step(questions[0]); err != nil || len(c.network) != 1 || c.network[0].Type != wire.MsgReadIndexResp || c.network[0].Index != 4 {
		t.Fatalf("%v; on their way: %+v", err, c.network)
	}
	for _, term := range []uint64{0, 1, 3} {
		c.network = nil
		questions[0].LogTerm = term
		if err := c.step(questions[0]); err != nil || len(c.take(wire.MsgReadIndexResp)) > 0 {
			t.Fatalf("%v; answered a question of term %d", err, term)
		}
	}
	c = newClusterAtRest(t, defaults, 1, 2, 3, 4, 5)
	c.elect(1)
	c.do(2, func(core *raft.Core) { _ = core.ReadIndex(9) })
	c.deliver(0)
	if len(c.take(wire.MsgHeartbeat)) != 4 {
		t.Fatal("no round in a cluster of five")
	}
	c = three(t)
	c.do(1, (*raft.Core).Campaign)
	for c.status(1).Role != raft.Leader {
		c.each(func(n *member) { c.sync(n, 1) })
		c.deliver(0)
	}
	c.network = nil
	questions[0].LogTerm = c.status(1).Term
	if err := c.step(questions[0]); err != nil || len(c.network) > 0 {
		t.Fatalf("%v; before its first commit the leader answers: %+v", err, c.network)
	}
}

func TestThesis6_4_LostHeartbeatsAreRepeated(t *testing.T) {
	c := newClusterAtRest(t, defaults, 1, 2, 3, 4, 5)
	c.elect(1)
	c.do(2, func(core *raft.Core) { _ = core.ReadIndex(9) })
	c.deliver(0)
	c.network = nil // the round is lost
	c.tick(1, 1)
	c.run()
	if reads := c.members[2].reads; len(reads) != 1 || reads[0].ID != 9 {
		t.Fatalf("%+v", reads)
	}
}

func TestThesis9_6_PreVoteDoesNotRaiseTheTerm(t *testing.T) {
	c := three(t)
	c.isolate([]uint64{3})
	c.tick(3, 100)
	if s := c.status(3); s.Term != 1 || s.Role != raft.PreCandidate {
		t.Fatalf("%+v", s)
	}
}

func TestThesis10_2_1_LeaderSendsBeforeItsDisk(t *testing.T) {
	c := three(t)
	c.elect(1)
	c.propose(1, "a")
	if sent := c.take(wire.MsgApp); len(sent) != 2 || c.status(1).Durable == c.status(1).Last {
		t.Fatalf("%d appends on their way, durable %d of %d", len(sent), c.status(1).Durable, c.status(1).Last)
	}
}

func TestThesis10_2_1_LeaderCountsItselfOnlyWhenDurable(t *testing.T) {
	c := newClusterAtRest(t, defaults, 1)
	c.elect(1)
	c.propose(1, "a")
	if s := c.status(1); s.Commit != s.Last-1 {
		t.Fatalf("%+v", s)
	}
	c.run()
	if s := c.status(1); s.Commit != s.Last || s.Applied != s.Last {
		t.Fatalf("%+v", s)
	}
}

func TestThesis10_2_1_PipelineHasABound(t *testing.T) {
	cfg := defaults
	cfg.MaxInflightMessages = 3
	c := newClusterAtRest(t, cfg, 1, 2, 3)
	c.elect(1)
	for range 9 {
		c.propose(1, "x")
	}
	if sent := c.take(wire.MsgApp); len(sent) != 6 {
		t.Fatalf("%d appends in flight to two followers", len(sent))
	}
	c.do(1, func(core *raft.Core) { core.ReportUnreachable(2) })
	if p := c.status(1).Peers[1]; p.State != progress.Probe || p.Next != p.Match+1 {
		t.Fatalf("%+v", p)
	}
}

func TestPaper5_2_HeartbeatsKeepFollowersQuiet(t *testing.T) {
	c := three(t)
	c.elect(1)
	for range 100 {
		for _, id := range c.ids {
			c.tick(id, 1)
			if s := c.status(id); s.Lead != 1 {
				t.Fatalf("%+v", s)
			}
		}
		c.run()
	}
}

// TestThesis6_2_NewMembersGetTime: a leader that makes sure of its quorum does not miss a member that was added just now.
func TestThesis6_2_NewMembersGetTime(t *testing.T) {
	c := newClusterAtRest(t, defaults, 1)
	c.elect(1)
	c.tick(1, 9)
	c.do(1, func(core *raft.Core) { _ = core.ProposeConfChange(wire.ConfChange{NodeID: 2}) })
	c.run()
	c.tick(1, 1)
	if s := c.status(1); s.Role != raft.Leader || len(s.ConfState.Voters) != 2 {
		t.Fatalf("%+v", s)
	}
	c.tick(1, 10)
	if s := c.status(1); s.Role != raft.Follower {
		t.Fatalf("leads on without a quorum: %+v", s)
	}
}

// TestPaper5_3_BackOffSkipsTerms: finding where two logs agree takes an exchange for each term in which they differ, not
// for each entry.
func TestPaper5_3_BackOffSkipsTerms(t *testing.T) {
	log := func(term uint64) (entries []wire.Entry) {
		for index := range uint64(300) {
			entries = append(entries, wire.Entry{Index: index + 1, Term: 1})
			if index >= 100 {
				entries[index].Term = term + index/150
			}
		}
		return entries
	}
	c := newCluster(t, defaults, nil, nil)
	conf := machine{conf: wire.ConfState{Voters: []uint64{1, 2, 3}}}
	for id, entries := range map[uint64][]wire.Entry{1: log(6), 2: log(3), 3: log(6)} {
		c.add(id, disk{state: wire.HardState{Term: 9}, entries: entries, machine: conf})
	}
	refusals := 0
	c.trace = func(format string, args ...any) {
		if line := fmt.Sprintf(format, args...); strings.HasPrefix(line, "2->1 AppResp") && strings.Contains(line, "rejected") {
			refusals++
		}
	}
	c.elect(1)
	c.tickAll(2)
	if s := c.status(2); s.Commit != 301 || refusals > 4 {
		t.Fatalf("%d refusals, then %+v", refusals, s)
	}
}

// TestPaper7_StragglersGetASnapshot: who needs what the leader has forgotten gets its state instead.
func TestPaper7_StragglersGetASnapshot(t *testing.T) {
	c := behind(t)
	c.run()
	if s := c.status(3); s.Applied != 7 || s.First != 8 || c.members[3].machine.sum != c.members[1].machine.sum {
		t.Fatalf("%+v", s)
	}
}

// TestThesis6_4_ReadsShareARound: what comes while a round is under way waits for the next, and is answered by it together.
func TestThesis6_4_ReadsShareARound(t *testing.T) {
	c := three(t)
	c.elect(1)
	for id := range uint64(5) {
		c.do(1+id%3, func(core *raft.Core) { _ = core.ReadIndex(id) })
	}
	rounds := map[byte]bool{}
	for range 20 {
		for _, m := range c.network {
			if m.Type == wire.MsgHeartbeat && len(m.Context) == 8 {
				rounds[m.Context[0]] = true
			}
		}
		for range len(c.network) {
			c.deliver(0)
		}
	}
	answered := 0
	for _, n := range c.members {
		answered += len(n.reads)
	}
	if answered != 5 || len(rounds) != 2 {
		t.Fatalf("%d reads in %d rounds", answered, len(rounds))
	}
}

// TestThesis6_4_FormerLeaderAnswersNobody: it does not know that another one leads and has committed more.
func TestThesis6_4_FormerLeaderAnswersNobody(t *testing.T) {
	cfg := defaults
	cfg.CheckQuorum = false
	c := newClusterAtRest(t, cfg, 1, 2, 3)
	c.elect(1)
	c.isolate([]uint64{1})
	c.elect(2)
	c.propose(2, "newer")
	c.run()
	c.do(1, func(core *raft.Core) { _ = core.ReadIndex(1) })
	c.tick(1, 30)
	if s := c.status(1); s.Role != raft.Leader || len(c.members[1].reads) > 0 {
		t.Fatalf("%+v, reads %v", s, c.members[1].reads)
	}
}

// TestThesis3_10_TransfereeNeedNotWait: it is elected although everybody hears a leader, and without asking around first.
func TestThesis3_10_TransfereeNeedNotWait(t *testing.T) {
	c := three(t)
	c.elect(1)
	c.do(1, func(core *raft.Core) { core.TransferLeader(2) })
	c.run()
	if s := c.status(2); s.Role != raft.Leader || s.Term != 3 || c.status(1).Lead != 2 {
		t.Fatalf("%+v", s)
	}
}
