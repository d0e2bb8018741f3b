package raft_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/quoin-kv/quoin/raft"
	"github.com/quoin-kv/quoin/raft/progress"
	"github.com/quoin-kv/quoin/raft/wire"
)

// peer is what leader 1 knows about id.
func (c *cluster) peer(id uint64) raft.Peer {
	peers := c.status(1).Peers
	return peers[slices.IndexFunc(peers, func(p raft.Peer) bool { return p.ID == id })]
}

// heartbeat lets the leader tick once and everything happen.
func (c *cluster) heartbeat() {
	c.t.Helper()
	c.tick(1, 1)
	c.run()
}

func TestFlowIsBoundedInBytes(t *testing.T) {
	cfg := defaults
	cfg.MaxInflightBytes, cfg.MaxMessageBytes = 100, 60
	c := newClusterAtRest(t, cfg, 1, 2)
	c.elect(1)
	for range 9 {
		c.propose(1, "0123456789012345678901234567890123456789") // more than half a message each
	}
	if sent := c.take(wire.MsgApp); len(sent) != 3 {
		t.Fatalf("%d messages in flight", len(sent))
	}
	c.heartbeat()
	if s := c.status(2); s.Commit != 12 {
		t.Fatalf("%+v", s)
	}
}

// TestProbeSendsOneAtATime: until a follower has answered, one message is on its way, not all of the log.
func TestProbeSendsOneAtATime(t *testing.T) {
	c := newClusterAtRest(t, defaults, 1, 2)
	c.elect(1)
	c.do(1, func(core *raft.Core) { core.ReportUnreachable(2) })
	for range 5 {
		c.propose(1, "x")
	}
	if sent := c.take(wire.MsgApp); len(sent) != 1 {
		t.Fatalf("%d messages to a follower that is being probed", len(sent))
	}
	c.heartbeat()
	if p := c.peer(2); p.State != progress.Replicate || p.Match != 8 {
		t.Fatalf("%+v", p)
	}
}

// TestLossIsRepairedByHeartbeats: whatever is lost, without anybody saying so, is sent again after a heartbeat or two.
func TestLossIsRepairedByHeartbeats(t *testing.T) {
	cfg := defaults
	cfg.MaxInflightMessages = 2
	for _, count := range []int{1, 2, 5} {
		t.Run(fmt.Sprint(count), func(t *testing.T) {
			c := newClusterAtRest(t, cfg, 1, 2, 3)
			c.elect(1)
			for i := range count {
				c.propose(1, fmt.Sprint(i))
			}
			c.network = nil
			c.heartbeat()
			c.heartbeat()
			if s := c.status(3); s.Commit != uint64(4+count) {
				t.Fatalf("%+v\n%+v", s, c.peer(3))
			}
		})
	}
}

// TestReversedBatchesArrive: etcd 3.7 sends what it decided at once in reverse order.
func TestReversedBatchesArrive(t *testing.T) {
	c := three(t)
	c.elect(1)
	for i := range 6 {
		c.propose(1, fmt.Sprint(i))
	}
	for range 20 {
		slices.Reverse(c.network)
		for range len(c.network) {
			c.deliver(0)
		}
		c.each(func(n *member) { c.sync(n, len(n.pending)) })
	}
	c.heartbeat()
	for id := uint64(1); id <= 3; id++ {
		if s := c.status(id); s.Commit != 10 {
			t.Fatalf("%+v", s)
		}
	}
}

// behind is a cluster whose leader 1 has forgotten what member 3 lacks, and has just ordered a snapshot for it.
func behind(t *testing.T) *cluster {
	c := three(t)
	c.elect(1)
	c.isolate([]uint64{3})
	c.propose(1, "a", "b", "c")
	c.run()
	c.flush(c.members[1], 0)
	c.isolate(nil)
	c.tick(1, 1)
	for len(c.network) > 0 && c.network[0].Type != wire.MsgSnap {
		c.deliver(0)
		c.each(func(n *member) { c.sync(n, len(n.pending)) })
	}
	if p := c.peer(3); p.State != progress.Snapshot || len(c.network) == 0 {
		t.Fatalf("%+v, %d messages", p, len(c.network))
	}
	return c
}

func TestFailedSnapshotIsSentAgain(t *testing.T) {
	c := behind(t)
	c.network = nil
	for range 5 {
		c.heartbeat()
		if p := c.peer(3); p.State != progress.Snapshot {
			t.Fatalf("%+v while a snapshot is on its way", p)
		}
	}
	c.do(1, func(core *raft.Core) { core.ReportSnapshot(3, false) })
	if len(c.network) > 0 {
		t.Fatal("sent again without a sign of life")
	}
	c.heartbeat()
	if s := c.status(3); s.Applied != 7 || c.peer(3).State != progress.Replicate {
		t.Fatalf("%+v, %+v", s, c.peer(3))
	}
}

// TestSentSnapshotWhoseAnswerIsLost: that it was sent is enough to go on behind it.
func TestSentSnapshotWhoseAnswerIsLost(t *testing.T) {
	c := behind(t)
	c.deliver(0)
	c.sync(c.members[3], 9)
	c.network = nil
	c.do(1, func(core *raft.Core) { core.ReportSnapshot(3, true) })
	c.propose(1, "d")
	if p := c.peer(3); p.State != progress.Probe || p.Next != 8 {
		t.Fatalf("%+v", p)
	}
	c.heartbeat()
	if s := c.status(3); s.Applied != 8 {
		t.Fatalf("%+v", s)
	}
}

// TestChangesFromBeforeASnapshotCountNoMore: entries handed out before a snapshot came are still to be applied; the
// configuration is already that of the snapshot.
func TestChangesFromBeforeASnapshotCountNoMore(t *testing.T) {
	c := three(t)
	c.lazy = true
	remove := wire.ConfChange{Type: wire.ConfChangeRemoveNode, NodeID: 3}
	entries := []wire.Entry{{Type: wire.EntryConfChange, Index: 4, Term: 2, Data: remove.Append(nil)}}
	if err := c.step(wire.Message{Type: wire.MsgApp, From: 1, To: 2, Term: 2, Index: 3, LogTerm: 1, Entries: entries, Commit: 4}); err != nil {
		t.Fatal(err)
	}
	if err := c.step(snapshotAt(9, 2)); err != nil { // in it, 3 is a member again
		t.Fatal(err)
	}
	c.apply(c.members[2], 9)
	if s := c.status(2); !slices.Equal(s.ConfState.Voters, []uint64{1, 2, 3}) {
		t.Fatalf("%+v", s.ConfState)
	}
}

// TestTransfersDoNotKeepALeader: who hands over again and again still makes sure of its quorum.
func TestTransfersDoNotKeepALeader(t *testing.T) {
	c := three(t)
	c.elect(1)
	c.isolate([]uint64{2, 3})
	for i := range 8 {
		c.do(1, func(core *raft.Core) { core.TransferLeader(uint64(2 + i%2)) })
		c.tick(1, 3)
	}
	if s := c.status(1); s.Role != raft.Follower {
		t.Fatalf("%+v", s)
	}
}

func TestTransferNeedsAVoter(t *testing.T) {
	c := newCluster(t, defaults, []uint64{1, 2}, []uint64{3})
	c.run()
	c.elect(1)
	for _, to := range []uint64{0, 1, 3, 9} {
		c.do(1, func(core *raft.Core) { core.TransferLeader(to) })
		if s := c.status(1); s.Transferee != 0 || len(c.network) > 0 {
			t.Fatalf("hands over to %d: %+v", to, s)
		}
	}
	c.isolate([]uint64{2})
	c.propose(1, "x")
	c.do(1, func(core *raft.Core) { core.TransferLeader(2) })
	c.isolate(nil)
	demote := wire.ConfChange{Type: wire.ConfChangeAddLearnerNode, NodeID: 2}
	c.do(1, func(core *raft.Core) { core.ApplyConfChange(demote) })
	if s := c.status(1); s.Transferee != 0 {
		t.Fatalf("hands over to a learner: %+v", s)
	}
}

// TestDeadMemberIsRemoved: what is left decides, and the quorum is smaller from then on.
func TestDeadMemberIsRemoved(t *testing.T) {
	c := three(t)
	c.elect(1)
	c.crash(c.members[3], 0, 0)
	c.do(1, func(core *raft.Core) {
		_ = core.ProposeConfChange(wire.ConfChange{Type: wire.ConfChangeRemoveNode, NodeID: 3})
	})
	c.run()
	if s := c.status(1); len(s.ConfState.Voters) != 2 || len(s.Peers) != 2 {
		t.Fatalf("%+v", s)
	}
	c.isolate([]uint64{2})
	c.propose(1, "x")
	c.run()
	if s := c.status(1); s.Commit == s.Last {
		t.Fatal("one of two is no quorum")
	}
}

// TestRemovedMemberCannotDisturb: it may not know, and asks for votes; those who hear their leader do not answer.
func TestRemovedMemberCannotDisturb(t *testing.T) {
	c := three(t)
	c.elect(1)
	c.isolate([]uint64{3})
	c.do(1, func(core *raft.Core) {
		_ = core.ProposeConfChange(wire.ConfChange{Type: wire.ConfChangeRemoveNode, NodeID: 3})
	})
	c.run()
	c.isolate(nil)
	for range 40 {
		c.tickAll(1)
	}
	if s := c.status(1); s.Role != raft.Leader || s.Term != 2 {
		t.Fatalf("%+v", s)
	}
}

// TestEmptyDiskUnderAnOldID: a member that lost its disk is told by the next heartbeat of a leader that knew it, and must
// stop; also if it is being promoted meanwhile. It is removed and added under a new id.
func TestEmptyDiskUnderAnOldID(t *testing.T) {
	c := newCluster(t, defaults, []uint64{1, 2}, []uint64{3})
	c.run()
	c.elect(1)
	c.crash(c.members[3], 0, 0)
	c.cut(3)
	c.members[3].disk = disk{}
	c.start(c.members[3])
	c.do(1, func(core *raft.Core) { _ = core.ProposeConfChange(wire.ConfChange{NodeID: 3}) })
	c.tick(1, 1)
	var refused error
	for len(c.network) > 0 && refused == nil {
		m := c.network[0]
		c.network = c.network[1:]
		refused = c.step(m)
		c.each(func(n *member) { c.sync(n, len(n.pending)) })
	}
	if !errors.Is(refused, raft.ErrDiverged) {
		t.Fatalf("the loss was not noticed: %v", refused)
	}
}

// TestLearnerThatMissedItsPromotionVotes: it may be needed for a quorum before it knows that it is a voter.
func TestLearnerThatMissedItsPromotionVotes(t *testing.T) {
	c := newCluster(t, defaults, []uint64{1, 2}, []uint64{3})
	c.run()
	c.elect(1)
	c.isolate([]uint64{3})
	c.do(1, func(core *raft.Core) { _ = core.ProposeConfChange(wire.ConfChange{NodeID: 3}) })
	c.run()
	c.isolate([]uint64{1})
	c.tick(3, 40)
	c.tick(2, 15)
	c.run()
	if s := c.status(2); s.Role != raft.Leader || len(s.ConfState.Voters) != 3 {
		t.Fatalf("%+v", s)
	}
}
