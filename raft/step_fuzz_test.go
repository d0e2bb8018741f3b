package raft_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/quoin-kv/quoin/raft"
	"github.com/quoin-kv/quoin/raft/wire"
)

// anyRole returns a member of a cluster of three in one of the roles, with a log that ends with 6/2.
func anyRole(t *testing.T, role raft.Role) *raft.Core {
	c := three(t)
	c.elect(1)
	c.propose(1, "a", "b")
	c.run()
	switch role {
	case raft.Leader:
		return c.members[1].core
	case raft.PreCandidate:
		c.tick(2, 20)
	case raft.Candidate:
		if err := c.step(wire.Message{Type: wire.MsgTimeoutNow, From: 1, To: 2, Term: 2}); err != nil {
			t.Fatal(err)
		}
	}
	return c.members[2].core
}

// stepAnything hands a message to a core and does what follows. Nothing that a peer says may break an invariant.
func stepAnything(t *testing.T, core *raft.Core, m wire.Message) {
	_ = core.Step(m)
	for range 3 {
		if err := core.Check(); err != nil {
			t.Fatalf("after %+v: %v", m, err)
		}
		e := core.Effects()
		if e.Seq == 0 {
			return
		}
		if e.InstallSnapshot != nil {
			core.Applied(e.InstallSnapshot.Meta.Index)
		}
		if n := len(e.Committed); n > 0 {
			core.Applied(e.Committed[n-1].Index)
		}
		core.Persisted(e.Seq)
	}
}

var allRoles = []raft.Role{raft.Follower, raft.PreCandidate, raft.Candidate, raft.Leader}

// TestAnythingFromPeers steps random messages with plausible and implausible numbers.
func TestAnythingFromPeers(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 20 {
		for _, role := range allRoles {
			core := anyRole(t, role)
			for range 60 {
				stepAnything(t, core, anyMessage(r))
			}
		}
	}
}

func anyMessage(r *rand.Rand) wire.Message {
	number := func() uint64 {
		return []uint64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ^uint64(0), r.Uint64()}[r.IntN(12)]
	}
	m := wire.Message{
		Type: wire.MessageType(r.IntN(24)), From: 1 + r.Uint64N(3), To: 2, Term: 2 + r.Uint64N(3), LogTerm: 1 + r.Uint64N(3),
		Index: r.Uint64N(10), Commit: number(), Reject: r.IntN(2) == 0, RejectHint: number(), Context: make([]byte, r.IntN(10)),
	}
	if r.IntN(10) == 0 {
		m.Term, m.LogTerm, m.Index = number(), number(), number()
	}
	for i := range r.Uint64N(4) {
		m.Entries = append(m.Entries, wire.Entry{Type: wire.EntryType(r.IntN(3)), Term: 2 + r.Uint64N(2), Index: m.Index + i + 1, Data: make([]byte, 8*r.IntN(2))})
	}
	if m.Type == wire.MsgSnap {
		conf := wire.ConfState{Voters: []uint64{1, 2, 3}[:r.IntN(4)], Learners: []uint64{4}[:r.IntN(2)]}
		m.Snapshot = &wire.Snapshot{Meta: wire.SnapshotMeta{Index: number(), Term: number(), ConfState: conf}}
	}
	return m
}

// FuzzStep lets the fuzzer write the messages.
func FuzzStep(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 1))
	for i := range uint8(20) {
		m := anyMessage(r)
		f.Add(i, m.Append(nil))
	}
	f.Fuzz(func(t *testing.T, role uint8, data []byte) {
		var m wire.Message
		if m.Unmarshal(slices.Clone(data)) == nil {
			stepAnything(t, anyRole(t, allRoles[int(role)%len(allRoles)]), m)
		}
	})
}
