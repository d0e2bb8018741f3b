package confchange

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/quoin-kv/quoin/raft/quorum"
	"github.com/quoin-kv/quoin/raft/wire"
)

// parse reads changes: v1 adds voter 1, l1 learner 1, r1 removes, u1 updates.
func parse(t *testing.T, text string) (changes []wire.ConfChangeSingle) {
	t.Helper()
	kinds := map[byte]wire.ConfChangeType{'v': 0, 'r': 1, 'u': 2, 'l': 3, '?': 77}
	for _, word := range strings.Fields(text) {
		var id uint64
		if _, err := fmt.Sscan(word[1:], &id); err != nil {
			t.Fatal(err)
		}
		changes = append(changes, wire.ConfChangeSingle{Type: kinds[word[0]], NodeID: id})
	}
	return changes
}

func show(c Config) string {
	s := fmt.Sprint([]uint64(c.Voters.Incoming))
	if c.Joint() {
		s += fmt.Sprint("&", []uint64(c.Voters.Outgoing))
	}
	if len(c.Learners) > 0 {
		s += fmt.Sprint(" learners", c.Learners)
	}
	if len(c.LearnersNext) > 0 {
		s += fmt.Sprint(" next", c.LearnersNext)
	}
	if c.AutoLeave {
		s += " auto"
	}
	return s
}

func config(t *testing.T, cs wire.ConfState) Config {
	t.Helper()
	c, err := FromState(cs)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestThesis4_1_OneServerAtATime: direct changes touch at most one voter, so that old and new majorities overlap.
func TestThesis4_1_OneServerAtATime(t *testing.T) {
	base := config(t, wire.ConfState{Voters: []uint64{3, 1, 2}, Learners: []uint64{4}})
	for _, tc := range []struct {
		changes, want string
		err           error
	}{
		{"v5", "[1 2 3 5] learners[4]", nil},
		{"v4", "[1 2 3 4]", nil},
		{"l5", "[1 2 3] learners[4 5]", nil},
		{"l3", "[1 2] learners[3 4]", nil},
		{"r3", "[1 2] learners[4]", nil},
		{"r4", "[1 2 3]", nil},
		{"r9", "[1 2 3] learners[4]", nil},
		{"v1", "[1 2 3] learners[4]", nil},
		{"u1", "[1 2 3] learners[4]", nil},
		{"v0", "[1 2 3] learners[4]", nil},
		{"v5 v6", "", ErrSeveralVoters},
		{"r1 v5", "", ErrSeveralVoters},
		{"r1 r2 r3", "", ErrNoVoters},
		{"?1", "", ErrUnknownType},
	} {
		got, err := base.Simple(parse(t, tc.changes)...)
		if !errors.Is(err, tc.err) {
			t.Errorf("%s: error %v, want %v", tc.changes, err, tc.err)
		} else if err == nil && show(got) != tc.want {
			t.Errorf("%s: %s, want %s", tc.changes, show(got), tc.want)
		}
	}
	if show(base) != "[1 2 3] learners[4]" {
		t.Errorf("a change modified its base: %s", show(base))
	}
}

// TestThesis4_3_JointConsensus: arbitrary changes go through a configuration in which both majorities decide.
func TestThesis4_3_JointConsensus(t *testing.T) {
	base := config(t, wire.ConfState{Voters: []uint64{1, 2, 3}})
	joint, err := base.EnterJoint(true, parse(t, "v4 l2 r3 l9")...)
	if err != nil || show(joint) != "[1 4]&[1 2 3] learners[9] next[2] auto" {
		t.Fatalf("joint: %s, %v", show(joint), err)
	}
	if !slices.Equal(joint.Members(), []uint64{1, 2, 3, 4, 9}) {
		t.Fatalf("members %v", joint.Members())
	}
	if _, err := joint.EnterJoint(false); !errors.Is(err, ErrJoint) {
		t.Fatalf("entered twice: %v", err)
	}
	if _, err := joint.Simple(parse(t, "v5")...); !errors.Is(err, ErrJoint) {
		t.Fatalf("changed while joint: %v", err)
	}
	left, err := joint.LeaveJoint()
	if err != nil || show(left) != "[1 4] learners[2 9]" {
		t.Fatalf("left: %s, %v", show(left), err)
	}
	if _, err := left.LeaveJoint(); !errors.Is(err, ErrNotJoint) {
		t.Fatalf("left twice: %v", err)
	}
	if _, err := (Config{}).EnterJoint(false, parse(t, "v1")...); !errors.Is(err, ErrNoVoters) {
		t.Fatalf("joint of nobody: %v", err)
	}
}

func TestApplyChoosesTheWay(t *testing.T) {
	base := config(t, wire.ConfState{Voters: []uint64{1, 2}})
	for _, tc := range []struct {
		transition wire.ConfChangeTransition
		changes    string
		want       string
	}{
		{wire.TransitionAuto, "v3", "[1 2 3]"},
		{wire.TransitionAuto, "v3 v4", "[1 2 3 4]&[1 2] auto"},
		{wire.TransitionJointImplicit, "v3", "[1 2 3]&[1 2] auto"},
		{wire.TransitionJointExplicit, "v3 r1", "[2 3]&[1 2]"},
	} {
		got, err := base.Apply(wire.ConfChangeV2{Transition: tc.transition, Changes: parse(t, tc.changes)})
		if err != nil || show(got) != tc.want {
			t.Errorf("%v %s: %s, %v, want %s", tc.transition, tc.changes, show(got), err, tc.want)
		}
	}
	if _, err := base.Apply(wire.ConfChangeV2{}); !errors.Is(err, ErrNotJoint) {
		t.Errorf("left a configuration that is not joint: %v", err)
	}
}

func TestInvalidStates(t *testing.T) {
	for invariant, cs := range map[string]wire.ConfState{
		"1": {Learners: []uint64{1}},
		"2": {Voters: []uint64{1}, Learners: []uint64{1}},
		"3": {Voters: []uint64{1}, VotersOutgoing: []uint64{2}, LearnersNext: []uint64{3}},
		"4": {Voters: []uint64{1}, AutoLeave: true},
		"5": {Voters: []uint64{1, 1}},
	} {
		if _, err := FromState(cs); !errors.Is(err, ErrInvalidMembers) || !strings.Contains(err.Error(), "invariant "+invariant) {
			t.Errorf("%+v: %v, want invariant %s", cs, err, invariant)
		}
	}
}

// TestDirectAndJointAgree applies random changes one by one and all at once: both ways must end in the same place, keep
// the invariants, and overlap in their majorities at each step.
func TestDirectAndJointAgree(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 2000 {
		base := Config{Voters: quorum.Joint{Incoming: quorum.Majority{1, 2, 3}}, Learners: []uint64{7}}
		var changes []wire.ConfChangeSingle
		for range 1 + r.IntN(6) {
			changes = append(changes, wire.ConfChangeSingle{Type: wire.ConfChangeType(r.IntN(4)), NodeID: r.Uint64N(9)})
		}
		direct, err := oneByOne(t, base, changes)
		if err != nil {
			continue // no voters on the way; the joint way may still be possible
		}
		joint, err := base.EnterJoint(false, changes...)
		if err != nil {
			t.Fatalf("seed %d: %v: joint refused: %v", seed, changes, err)
		}
		if err := joint.Check(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		left, err := joint.LeaveJoint()
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(direct.State(), left.State()) {
			t.Fatalf("seed %d: %v: direct %s, joint %s", seed, changes, show(direct), show(left))
		}
	}
}

func oneByOne(t *testing.T, c Config, changes []wire.ConfChangeSingle) (Config, error) {
	for _, change := range changes {
		next, err := c.Simple(change)
		if err != nil {
			return c, err
		}
		if err := next.Check(); err != nil {
			t.Fatal(err)
		}
		if !majoritiesOverlap(c.Voters.Incoming, next.Voters.Incoming) {
			t.Fatalf("majorities of %s and %s need not overlap", show(c), show(next))
		}
		c = next
	}
	return c, nil
}

// majoritiesOverlap tries all pairs of majorities.
func majoritiesOverlap(a, b quorum.Majority) bool {
	for x := range 1 << len(a) {
		for y := range 1 << len(b) {
			sa, sb := subset(a, x), subset(b, y)
			if 2*len(sa) > len(a) && 2*len(sb) > len(b) && !intersect(sa, sb) {
				return false
			}
		}
	}
	return true
}

func subset(m quorum.Majority, mask int) (ids quorum.Majority) {
	for i, id := range m {
		if mask>>i&1 == 1 {
			ids = append(ids, id)
		}
	}
	return ids
}

func intersect(a, b quorum.Majority) bool {
	return slices.ContainsFunc(a, b.Contains)
}
