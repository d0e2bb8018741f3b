package node

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/quoin-kv/quoin/internal/replica"
	"github.com/quoin-kv/quoin/raft"
	"github.com/quoin-kv/quoin/raft/wire"
)

func TestMailbox(t *testing.T) {
	m := newMailbox[*int](make(chan struct{}, 1))
	one := new(int)
	m.put(one)
	m.put(one, one)
	if len(m.wake) != 1 {
		t.Errorf("%d signals", len(m.wake))
	}
	first := m.take()
	if len(first) != 3 {
		t.Fatalf("took %d items", len(first))
	}
	m.put(one)
	if first[0] != one {
		t.Error("what was taken is overwritten before it is given back")
	}
	m.done(first)
	if !slices.Equal(first, []*int{nil, nil, nil}) {
		t.Error("what is given back is kept alive")
	}
	m.done(m.take())
	m.put(make([]*int, spareItems+1)...)
	m.done(m.take())
	if cap(m.spare) != 0 {
		t.Errorf("memory for %d items is kept after a burst", cap(m.spare))
	}
	if left := m.put(one); !left {
		t.Error("an open mailbox takes nothing")
	}
	if left := m.close(); len(left) != 1 || m.put(one) || len(m.take()) != 0 {
		t.Errorf("closed with %d items, and takes more", len(left))
	}
}

func TestTickForgetsWhatNobodyWaitsFor(t *testing.T) {
	core, err := raft.New(raft.Config{
		ID: 1, ElectionTicks: 10, HeartbeatTicks: 1, MaxMessageBytes: 1, MaxInflightMessages: 1, Jitter: func(int) int { return 0 },
	}, raft.Boot{Snapshot: wire.SnapshotMeta{ConfState: wire.ConfState{Voters: []uint64{1, 2}}}})
	if err != nil {
		t.Fatal(err)
	}
	n := &Node{waiters: newWaiters(replica.Bound{Requests: 5}), started: time.Now()}
	l := &loop{Node: n, core: replica.NewConsensus(core, replica.ConsensusOptions{}, 0, 0), rounds: replica.NewRounds(0)}
	l.proposals = []*replica.Proposal{{ID: 1}, {ID: 2}, {ID: 3}}
	l.waiters.add(l.proposals)
	l.waiters.abandon(l.proposals[1])
	l.tick()
	if len(l.proposals) != 2 || l.proposals[1].ID != 3 {
		t.Errorf("without a leader %v are kept", l.proposals)
	}
}

func TestInboxIsBounded(t *testing.T) {
	b := &inbox{mailbox: newMailbox[wire.Message](make(chan struct{}, 1))}
	fill := func(m wire.Message) (taken int) {
		for b.offer(m) {
			taken++
		}
		return taken
	}
	if n := fill(wire.Message{}); n != maxInboxMessages {
		t.Errorf("%d empty messages found room", n)
	}
	b.done(b.take())
	large := wire.Message{Entries: []wire.Entry{{Data: make([]byte, maxInboxBytes/4)}}, Snapshot: &wire.Snapshot{Data: []byte("x")}}
	if n := fill(large); n != 3 {
		t.Errorf("%d messages of a quarter found room", n)
	}
	b.done(b.take())
	large.Context = make([]byte, maxInboxBytes)
	if n := fill(large); n != 1 {
		t.Errorf("%d messages that are too large found room, want one", n)
	}
	b.done(b.take())
	if b.count.Load() != 0 || b.bytes.Load() != 0 {
		t.Errorf("empty, but %d messages of %d bytes are counted", b.count.Load(), b.bytes.Load())
	}
}

func TestPortion(t *testing.T) {
	of := func(n, bytes int) (proposals []*replica.Proposal) {
		for range n {
			proposals = append(proposals, &replica.Proposal{Data: make([]byte, bytes)})
		}
		return proposals
	}
	for _, c := range []struct {
		proposals []*replica.Proposal
		want      int
	}{
		{nil, 0},
		{of(1, 2*maxTurnBytes), 1},
		{of(3, maxTurnBytes/2), 2},
		{of(3, 1+maxTurnBytes/2), 1},
		{of(maxTurnProposals, 1), maxTurnProposals},
		{of(2*maxTurnProposals, 1), maxTurnProposals},
	} {
		if got := portion(c.proposals); got != c.want {
			t.Errorf("%d of %d proposals, want %d", got, len(c.proposals), c.want)
		}
	}
}

func TestUnreachableIsNotedOnce(t *testing.T) {
	var s idSet
	if !s.add(1) || !s.add(2) || s.add(1) {
		t.Error("each id is new once")
	}
	if got := s.take(); !slices.Equal(got, []uint64{1, 2}) || s.take() != nil || !s.add(1) {
		t.Errorf("took %v", got)
	}
}

// TestAcksAreHeldWhileTheMachineIsBehind: the leader hears of what is stored only when half of the backlog is worked off; everything else
// leaves at once.
func TestAcksAreHeldWhileTheMachineIsBehind(t *testing.T) {
	var sent []wire.Message
	n := &Node{cfg: Config{MaxPendingBytes: 100, Send: func(ms []wire.Message) { sent = append(sent, ms...) }}}
	ack := func(index uint64) wire.Message { return wire.Message{Type: wire.MsgAppResp, To: 1, Index: index} }
	want := func(what string, messages ...wire.Message) {
		t.Helper()
		if len(sent) != len(messages) || len(sent) > 0 && !reflect.DeepEqual(sent, messages) {
			t.Errorf("%s: sent %v, want %v", what, sent, messages)
		}
		sent = nil
	}
	vote := wire.Message{Type: wire.MsgVoteResp, To: 1}
	refusal := wire.Message{Type: wire.MsgAppResp, To: 1, Index: 9, Reject: true}
	n.sendAfterSync([]wire.Message{ack(1)})
	want("nothing waits", ack(1))
	n.backlog.Store(101)
	n.sendAfterSync([]wire.Message{ack(2), vote})
	n.sendAfterSync([]wire.Message{refusal, ack(3)})
	n.sendAfterSync([]wire.Message{ack(4)})
	want("much waits", vote, refusal)
	n.backlog.Store(51)
	n.releaseAcks()
	want("more than half of it waits")
	n.backlog.Store(50)
	n.releaseAcks()
	n.releaseAcks()
	want("half of it waits", ack(4))
	n.sendAfterSync(nil)
	want("nothing is to be sent")
}
