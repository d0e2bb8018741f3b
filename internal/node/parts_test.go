package node

import (
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/machine"
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
}

func TestRoundsAreAskedAgain(t *testing.T) {
	wait := func() *readWaiter { return &readWaiter{done: make(chan error, 1)} }
	unknown := func(uint64) bool { return false }
	first, second := wait(), wait()
	r := rounds{current: 7, inFlight: []*readWaiter{first}, waiting: []*readWaiter{second}}
	overdue := false
	for range 2 * roundTicks {
		overdue = r.age(func(id uint64) bool { return id == 7 }) || overdue
	}
	if r.current != 7 || overdue {
		t.Error("a round whose index is known is asked again")
	}
	for i := range roundTicks {
		if overdue := r.age(unknown); overdue != (i == roundTicks-1) {
			t.Errorf("overdue after %d ticks: %v", i+1, overdue)
		}
	}
	if r.current != 0 || !slices.Equal(r.waiting, []*readWaiter{first, second}) {
		t.Fatalf("after its time round %d is under way, %d reads wait", r.current, len(r.waiting))
	}
	r.finish([]uint64{0, 7}, nil)
	if len(first.done) != 0 {
		t.Error("the late answer to a round that is asked again was taken")
	}
	r.current, r.inFlight, r.waiting = 8, r.waiting, nil
	r.lose([]uint64{7}, 0)
	r.finish([]uint64{6, 8}, nil)
	r.lose([]uint64{8}, 0)
	if len(first.done) != 1 || len(second.done) != 1 || <-first.done != nil {
		t.Error("a round is answered once, by its own id")
	}
	r.current, r.inFlight = 9, []*readWaiter{first}
	r.lose([]uint64{9}, 0)
	if err := <-first.done; !errors.Is(err, kverr.LeaderChanged) {
		t.Errorf("a lost round gives %v", err)
	}
	r.current, r.inFlight, r.waiting = 10, []*readWaiter{first}, []*readWaiter{second}
	r.lose([]uint64{9}, 2)
	r.lose([]uint64{10}, 2)
	if r.current != 0 || !slices.Equal(r.waiting, []*readWaiter{first, second}) {
		t.Errorf("with another leader round %d is under way, %d reads wait", r.current, len(r.waiting))
	}
	first.gone.Store(true)
	r.waiting, r.applied = []*readWaiter{first}, []*readWaiter{first, second}
	r.age(unknown)
	if len(r.waiting) != 0 || !slices.Equal(r.applied, []*readWaiter{second}) {
		t.Error("reads that nobody waits for are kept")
	}
}

func TestWaiters(t *testing.T) {
	w := newWaiters(bound{requests: 3, bytes: 10})
	add := func(id uint64, bytes int) *waiter {
		one, _ := w.add(&proposal{id: id, data: make([]byte, bytes)})
		return one
	}
	one, two := add(1, 6), add(2, 4)
	if one == nil || two == nil || add(3, 1) != nil {
		t.Fatal("10 bytes are allowed, not 11")
	}
	proposals := []proposal{{id: 1}, {id: 5}, {id: 2}}
	if kept := w.wanted(proposals, 7); len(kept) != 2 || kept[1].id != 2 || proposals[2].id != 0 {
		t.Errorf("wanted are %v", kept)
	}
	w.wanted([]proposal{{id: 2}}, 0)
	if forgotten, accepted := w.abandon(1); !forgotten || !accepted {
		t.Errorf("abandoned %v, accepted %v", forgotten, accepted)
	}
	w.answer([]machine.Outcome{{ID: 1}, {ID: 2, Reply: []byte("r")}, {ID: 2}}, time.Time{})
	if forgotten, _ := w.abandon(2); forgotten {
		t.Error("answered and abandoned")
	}
	if len(one.done) != 0 || len(two.done) != 1 || string(two.reply) != "r" {
		t.Errorf("signals %d and %d, reply %q", len(one.done), len(two.done), two.reply)
	}
	large := add(4, 100)
	if large == nil || w.len() != 1 || w.mu.bytes != 100 {
		t.Errorf("%d waiters of %d bytes", w.len(), w.mu.bytes)
	}
	w.refuse(4, kverr.Stopped)
	if len(large.done) != 1 || !errors.Is(large.err, kverr.Stopped) || w.mu.bytes != 0 {
		t.Errorf("refused with %v, %d bytes wait", large.err, w.mu.bytes)
	}
}

func TestTickForgetsWhatNobodyWaitsFor(t *testing.T) {
	core, err := raft.New(raft.Config{
		ID: 1, ElectionTicks: 10, HeartbeatTicks: 1, MaxMessageBytes: 1, MaxInflightMessages: 1, Jitter: func(int) int { return 0 },
	}, raft.Boot{Snapshot: wire.SnapshotMeta{ConfState: wire.ConfState{Voters: []uint64{1, 2}}}})
	if err != nil {
		t.Fatal(err)
	}
	l := &loop{Node: &Node{waiters: newWaiters(bound{requests: 5})}, core: replica.NewConsensus(core, replica.ConsensusOptions{}, 0, 0)}
	l.proposals = []proposal{{id: 1}, {id: 2}, {id: 3}}
	for i := range l.proposals {
		l.waiters.add(&l.proposals[i])
	}
	l.waiters.abandon(2)
	l.tick()
	if len(l.proposals) != 2 || l.proposals[1].id != 3 {
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
	of := func(n, bytes int) (proposals []proposal) {
		for range n {
			proposals = append(proposals, proposal{data: make([]byte, bytes)})
		}
		return proposals
	}
	for _, c := range []struct {
		proposals []proposal
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

func TestANewLeaderIsAskedAtOnce(t *testing.T) {
	wait := func() *readWaiter { return &readWaiter{done: make(chan error, 1)} }
	first, second := wait(), wait()
	known := false
	indexed := func(id uint64) bool { return known && id == 7 }
	r := rounds{}
	if r.askAgain(indexed) {
		t.Error("nobody waits")
	}
	r = rounds{current: 7, inFlight: []*readWaiter{first}, waiting: []*readWaiter{second}}
	known = true
	if r.askAgain(indexed) || r.current != 7 {
		t.Error("a round whose index is known is asked again")
	}
	known = false
	if !r.askAgain(indexed) || r.current != 0 || !slices.Equal(r.waiting, []*readWaiter{first, second}) {
		t.Errorf("round %d is under way, %d reads wait", r.current, len(r.waiting))
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
