package raft_test

import (
	"slices"
	"testing"

	"github.com/quoin-kv/quoin/raft"
	"github.com/quoin-kv/quoin/raft/wire"
)

// tickAll lets time pass for everybody, with all that happens meanwhile but on the disks of held.
func (c *cluster) tickAll(ticks int, held ...uint64) {
	c.t.Helper()
	for range ticks {
		c.each(func(n *member) { c.tick(n.id, 1) })
		c.run(held...)
	}
}

// stalledFive is a cluster of five whose leader 1 has a stalled disk, while the others have stored and committed more.
func stalledFive(t *testing.T) *cluster {
	c := newClusterAtRest(t, defaults, 1, 2, 3, 4, 5)
	c.elect(1)
	c.propose(1, "a")
	c.run(1)
	c.tickAll(10, 1)
	if s := c.status(1); s.Role != raft.Leader || s.Transferee != 0 {
		t.Fatalf("gave up before an election timeout had passed: %+v", s)
	}
	return c
}

// transferee lets an election timeout pass for the leader, and returns to whom it hands over then.
func (c *cluster) nextTransferee() uint64 {
	c.t.Helper()
	c.tick(1, 10)
	to := c.status(1).Transferee
	c.network = slices.DeleteFunc(c.network, func(m wire.Message) bool { return m.Type == wire.MsgTimeoutNow })
	c.run(1)
	return to
}

func TestStalledLeaderHandsOver(t *testing.T) {
	c := stalledFive(t)
	c.isolate([]uint64{2}) // it is not heard of, and misses b
	c.propose(1, "b")
	c.tickAll(10, 1)
	if s := c.status(1); s.Lead != 3 || !s.Stalled {
		t.Fatalf("%+v", s)
	}
	c.isolate(nil)
	before := c.history.elections
	c.tickAll(100, 1)
	if s := c.status(3); s.Role != raft.Leader || c.history.elections != before {
		t.Fatalf("leadership does not stay: %+v, %d elections", s, c.history.elections-before)
	}
	if s := c.status(1); s.Lead != 3 || s.Stalled != true || s.Commit != s.Last {
		t.Fatalf("%+v", s)
	}
	c.run()
	if s := c.status(1); s.Stalled || s.Durable != s.Last {
		t.Fatalf("%+v", s)
	}
}

// TestStalledLeaderTriesOneAfterTheOther: whoever does not take over is not asked again at once, and in between proposals
// are taken.
func TestStalledLeaderTriesOneAfterTheOther(t *testing.T) {
	c := stalledFive(t)
	var asked []uint64
	for range 6 {
		asked = append(asked, c.nextTransferee())
	}
	if !slices.Equal(asked, []uint64{2, 0, 3, 0, 2, 0}) {
		t.Fatalf("asked %v", asked)
	}
}

func TestStalledLeaderStaysIfNothingIsWon(t *testing.T) {
	for name, held := range map[string][]uint64{"all disks": {1, 2, 3}, "own and another": {1, 2}} {
		c := three(t)
		c.elect(1)
		c.propose(1, "a")
		c.tickAll(60, held...)
		if s := c.status(1); s.Role != raft.Leader || s.Term != 2 || s.Transferee != 0 || !s.Stalled {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

// TestSteadySlowDiskIsNotStalled: what counts is the age of a single write, not that there always is one.
func TestSteadySlowDiskIsNotStalled(t *testing.T) {
	c := three(t)
	c.elect(1)
	for range 20 {
		c.propose(1, "x")
		c.tickAll(8, 1)
		c.sync(c.members[1], len(c.members[1].pending)-1)
	}
	if s := c.status(1); s.Role != raft.Leader || s.Term != 2 || s.Stalled {
		t.Fatalf("%+v", s)
	}
}

func TestStalledMemberDoesNotCampaign(t *testing.T) {
	c := three(t)
	c.elect(1)
	c.propose(1, "x")
	c.run(2)
	c.tickAll(15, 2)
	c.isolate([]uint64{1})
	c.tick(2, 40)
	if s := c.status(2); s.Role != raft.Follower || s.Lead != 0 || s.Term != 2 {
		t.Fatalf("%+v", s)
	}
	if err := c.step(wire.Message{Type: wire.MsgTimeoutNow, From: 1, To: 2, Term: 2}); err != nil || c.status(2).Role != raft.Follower {
		t.Fatalf("campaigns on request: %v", err)
	}
	if err := c.step(wire.Message{Type: wire.MsgPreVote, From: 3, To: 2, Term: 3, Index: 9, LogTerm: 2}); err != nil {
		t.Fatal(err)
	}
	if answers := c.take(wire.MsgPreVoteResp); len(answers) != 1 || !answers[0].Reject {
		t.Fatalf("promises a vote that it cannot store: %+v", answers)
	}
	c.sync(c.members[2], 9)
	c.tick(2, 20)
	if s := c.status(2); s.Role != raft.PreCandidate {
		t.Fatalf("%+v", s)
	}
}
