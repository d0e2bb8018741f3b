package replica

import (
	"errors"
	"slices"
	"testing"

	"github.com/quoin-kv/quoin/raft"
	"github.com/quoin-kv/quoin/raft/wire"
)

// reader is a read that counts its answers.
type reader struct {
	answers []error
	gone    bool
}

func (r *reader) Answered(err error) { r.answers = append(r.answers, err) }

func (r *reader) Gone() bool { return r.gone }

var errLost = errors.New("lost")

func never(uint64) bool { return false }

// begin starts a round and returns its id, 0 if none was started.
func begin(r *Rounds) (asked uint64) {
	r.Begin(func(id uint64) error { asked = id; return nil })
	return asked
}

func TestRoundsJoinReads(t *testing.T) {
	r := NewRounds(6)
	var one, two, three reader
	if begin(r) != 0 {
		t.Error("a round for nobody")
	}
	r.Add(&one)
	r.Add(&two)
	r.Begin(func(uint64) error { return errLost })
	if id := begin(r); id != 8 || r.Due() {
		t.Errorf("the round has id %d, want 8: 7 was refused", id)
	}
	r.Add(&three)
	if begin(r) != 0 || r.Due() {
		t.Error("two rounds at once")
	}
	r.Finish([]uint64{6, 7}, nil)
	if len(one.answers) != 0 {
		t.Error("answered by another id")
	}
	r.Finish([]uint64{7, 8}, nil)
	r.Finish([]uint64{8}, nil)
	if len(one.answers) != 1 || len(two.answers) != 1 || one.answers[0] != nil || len(three.answers) != 0 {
		t.Errorf("answers %v, %v, %v: a round is answered once", one.answers, two.answers, three.answers)
	}
	if !r.Due() || begin(r) != 9 {
		t.Error("the read that came meanwhile has no round")
	}
}

func TestRoundsAreAskedAgain(t *testing.T) {
	r := NewRounds(6)
	var first, second reader
	r.Add(&first)
	begin(r)
	r.Add(&second)
	overdue := false
	for range 2 * roundTicks {
		overdue = r.Age(func(id uint64) bool { return id == 7 }) || overdue
	}
	if overdue || r.Due() {
		t.Error("a round whose index is known is asked again")
	}
	for i := range roundTicks {
		if overdue := r.Age(never); overdue != (i == roundTicks-1) {
			t.Errorf("overdue after %d ticks: %v", i+1, overdue)
		}
	}
	if !r.Due() || !slices.Equal(r.waiting, []Read{&first, &second}) {
		t.Fatal("after its time a round is under way")
	}
	r.Finish([]uint64{0, 7}, nil)
	if len(first.answers) != 0 {
		t.Error("the late answer to a round that is asked again was taken")
	}
	if begin(r) != 8 || !r.AskAgain(never) || begin(r) != 9 {
		t.Error("a new leader is not asked at once")
	}
	if r.AskAgain(func(id uint64) bool { return id == 9 }) {
		t.Error("a round whose index is known is asked again")
	}
	first.gone = true
	r.AskAgain(never)
	r.Age(never)
	if !slices.Equal(r.waiting, []Read{&second}) {
		t.Error("a read that nobody waits for is kept")
	}
}

func TestRoundsAreLost(t *testing.T) {
	r := NewRounds(0)
	var one reader
	r.Add(&one)
	begin(r)
	r.Lose([]uint64{9}, 0, errLost)
	r.Lose([]uint64{1}, 2, errLost)
	if !r.Due() || len(one.answers) != 0 {
		t.Error("with another leader a round is asked again")
	}
	r.Lose([]uint64{begin(r)}, 0, errLost)
	if !slices.Equal(one.answers, []error{errLost}) {
		t.Errorf("without a leader: %v", one.answers)
	}
}

func TestReadsOfAnIndex(t *testing.T) {
	r := NewRounds(0)
	var early, late, gone, round, next reader
	r.AddAt(5, &early)
	r.AddAt(6, &late)
	r.AddAt(7, &gone)
	r.Reached(4)
	r.Reached(5)
	if len(early.answers) != 1 || len(late.answers) != 0 {
		t.Errorf("at 5: %v, %v", early.answers, late.answers)
	}
	gone.gone = true
	r.Age(never)
	r.Reached(6)
	r.Add(&round)
	begin(r)
	r.Add(&next)
	r.AddAt(8, &early)
	r.End(errLost)
	r.Reached(10)
	if len(late.answers) != 1 || len(gone.answers) != 0 || len(early.answers) != 2 || !slices.Equal(round.answers, []error{errLost}) || !slices.Equal(next.answers, round.answers) {
		t.Errorf("in the end: %v, %v, %v, %v, %v", late.answers, gone.answers, early.answers, round.answers, next.answers)
	}
}

func TestSole(t *testing.T) {
	alone := wire.ConfState{Voters: []uint64{1}}
	state := func(term uint64, role raft.Role, c wire.ConfState) *raft.Status {
		return &raft.Status{ID: 1, Term: term, Role: role, ConfState: c}
	}
	var s Sole
	s.Began(3)
	for i, step := range []struct {
		st           *raft.Status
		commit, want uint64
	}{
		{state(4, raft.Leader, alone), 10, 0}, // the first entry of its term is not applied
		{state(3, raft.Follower, alone), 10, 0},
		{state(3, raft.Leader, alone), 10, 10},
		{state(3, raft.Leader, alone), 20, 10},
		{state(3, raft.Leader, wire.ConfState{Voters: []uint64{1}, Learners: []uint64{2}}), 30, 0},
		{state(3, raft.Leader, wire.ConfState{Voters: []uint64{1}, VotersOutgoing: []uint64{1, 2}}), 30, 0},
		{state(3, raft.Leader, wire.ConfState{Voters: []uint64{1}, LearnersNext: []uint64{2}}), 30, 0},
		{state(3, raft.Leader, wire.ConfState{Voters: []uint64{1, 2}}), 30, 0},
		{state(3, raft.Leader, wire.ConfState{Voters: []uint64{2}}), 30, 0},
		{state(3, raft.Leader, alone), 40, 40}, // the other one may know of 40
		{state(5, raft.Leader, alone), 50, 0},
	} {
		if got := s.Look(step.st, step.commit); got != step.want {
			t.Errorf("step %d: from %d, want %d", i, got, step.want)
		}
	}
	s.Began(5)
	s.Began(0)
	if got := s.Look(state(5, raft.Leader, alone), 60); got != 60 {
		t.Errorf("in a new term from %d, want 60", got)
	}
}
