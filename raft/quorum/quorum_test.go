package quorum

import (
	"math"
	"math/rand/v2"
	"testing"
)

type acks map[uint64]uint64

func (a acks) Acked(id uint64) uint64 { return a[id] }

func TestCommitted(t *testing.T) {
	for _, tc := range []struct {
		name  string
		joint Joint
		acks  acks
		want  uint64
	}{
		{"nobody", Joint{}, nil, math.MaxUint64},
		{"one", Joint{Incoming: Majority{1}}, acks{1: 5}, 5},
		{"two need both", Joint{Incoming: Majority{1, 2}}, acks{1: 5, 2: 3}, 3},
		{"three need two", Joint{Incoming: Majority{1, 2, 3}}, acks{1: 5, 2: 3}, 3},
		{"four need three", Joint{Incoming: Majority{1, 2, 3, 4}}, acks{1: 9, 2: 8, 3: 7, 4: 6}, 7},
		{"a stranger does not count", Joint{Incoming: Majority{1, 2, 3}}, acks{1: 5, 4: 5}, 0},
		{"joint needs both sets", Joint{Majority{1, 2, 3}, Majority{3, 4, 5}}, acks{1: 9, 2: 9, 3: 2, 4: 4, 5: 1}, 2},
	} {
		if got := tc.joint.Committed(tc.acks); got != tc.want {
			t.Errorf("%s: committed %d, want %d", tc.name, got, tc.want)
		}
	}
}

func TestVote(t *testing.T) {
	three, joint := Joint{Incoming: Majority{1, 2, 3}}, Joint{Majority{1, 2, 3}, Majority{3, 4}}
	for _, tc := range []struct {
		name  string
		joint Joint
		votes map[uint64]bool
		want  Result
	}{
		{"nobody", Joint{}, nil, Won},
		{"open", three, map[uint64]bool{1: true, 2: false}, Pending},
		{"won", three, map[uint64]bool{1: true, 3: true}, Won},
		{"lost", three, map[uint64]bool{1: false, 3: false}, Lost},
		{"even sets are lost by a half", Joint{Incoming: Majority{1, 2}}, map[uint64]bool{1: true, 2: false}, Lost},
		{"joint: one set is not enough", joint, map[uint64]bool{1: true, 2: true, 3: true}, Pending},
		{"joint: either set loses", joint, map[uint64]bool{1: true, 2: true, 4: false}, Lost},
		{"joint: both", joint, map[uint64]bool{1: true, 3: true, 4: true}, Won},
	} {
		if got := tc.joint.Vote(tc.votes); got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

func TestMembers(t *testing.T) {
	j := Joint{Incoming: Majority{2, 4}, Outgoing: Majority{7}}
	for id, want := range map[uint64]bool{2: true, 4: true, 7: true, 3: false} {
		if j.Contains(id) != want {
			t.Errorf("contains %d: %v", id, !want)
		}
	}
}

// naiveCommitted tries every acknowledged number and counts.
func naiveCommitted(m Majority, a acks) uint64 {
	if len(m) == 0 {
		return math.MaxUint64
	}
	best := uint64(0)
	for _, candidate := range m {
		count := 0
		for _, id := range m {
			if a[id] >= a[candidate] {
				count++
			}
		}
		if 2*count > len(m) {
			best = max(best, a[candidate])
		}
	}
	return best
}

// naiveVote plays every way the open votes can still fall.
func naiveVote(j Joint, votes map[uint64]bool) Result {
	var open []uint64
	for id := uint64(1); id <= 10; id++ {
		if _, ok := votes[id]; !ok && j.Contains(id) {
			open = append(open, id)
		}
	}
	wins, losses := 0, 0
	for mask := range 1 << len(open) {
		for i, id := range open {
			votes[id] = mask>>i&1 == 1
		}
		if wonByCount(j.Incoming, votes) && wonByCount(j.Outgoing, votes) {
			wins++
		} else {
			losses++
		}
	}
	for _, id := range open {
		delete(votes, id)
	}
	switch {
	case losses == 0:
		return Won
	case wins == 0:
		return Lost
	}
	return Pending
}

func wonByCount(m Majority, votes map[uint64]bool) bool {
	yes := 0
	for _, id := range m {
		if votes[id] {
			yes++
		}
	}
	return len(m) == 0 || 2*yes > len(m)
}

func randomMajority(r *rand.Rand, limit int) (m Majority) {
	for id := range uint64(10) {
		if len(m) < limit && r.IntN(2) == 0 {
			m = append(m, id+1)
		}
	}
	return m
}

// TestFastAgreesWithNaive compares the answers with those of the plainest possible algorithms.
func TestFastAgreesWithNaive(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 3000 {
		j := Joint{randomMajority(r, 10), randomMajority(r, r.IntN(6))}
		a, votes := acks{}, map[uint64]bool{}
		for id := range uint64(10) {
			a[id+1] = r.Uint64N(6)
			if r.IntN(3) > 0 {
				votes[id+1] = r.IntN(2) == 0
			}
		}
		if got, want := j.Committed(a), min(naiveCommitted(j.Incoming, a), naiveCommitted(j.Outgoing, a)); got != want {
			t.Fatalf("seed %d: %v with %v: committed %d, naive %d", seed, j, a, got, want)
		}
		if got, want := j.Vote(votes), naiveVote(j, votes); got != want {
			t.Fatalf("seed %d: %v with %v: %v, naive %v", seed, j, votes, got, want)
		}
	}
}

func BenchmarkCommitted(b *testing.B) {
	b.ReportAllocs()
	j, a := Joint{Incoming: Majority{1, 2, 3, 4, 5}}, acks{1: 5, 2: 3, 3: 8, 4: 1, 5: 9}
	var acked Acked = a
	for b.Loop() {
		j.Committed(acked)
	}
}
