package progress

import (
	"math/rand/v2"
	"testing"
)

var limits = Limits{Messages: 3, Bytes: 100}

// want is what a reader of the progress can see.
type want struct {
	match, next uint64
	state       State
	paused      bool
}

func expect(t *testing.T, step string, p *Progress, w want) {
	t.Helper()
	if err := p.Check(); err != nil {
		t.Fatalf("%s: %v", step, err)
	}
	if got := (want{p.Match, p.Next, p.State, p.Paused()}); got != w {
		t.Fatalf("%s: %+v, want %+v", step, got, w)
	}
}

// TestProbeThenReplicate walks from not knowing to sending ahead (thesis section 10.2.1).
func TestProbeThenReplicate(t *testing.T) {
	p := New(10, limits)
	expect(t, "new", p, want{0, 10, Probe, false})
	p.Sent(2, 10)
	expect(t, "one probe at a time", p, want{0, 10, Probe, true})
	if !p.Rejected(9, 4) || p.Rejected(9, 4) {
		t.Fatal("the first rejection counts, its repetition does not")
	}
	expect(t, "rejected", p, want{0, 5, Probe, false})
	p.Sent(1, 10)
	if !p.Acknowledged(4) {
		t.Fatal("an acknowledged probe tells something")
	}
	expect(t, "agreed", p, want{4, 5, Replicate, false})
	p.Sent(2, 10)
	p.Sent(0, 0)
	p.Sent(1, 10)
	expect(t, "ahead", p, want{4, 8, Replicate, false})
	p.Sent(1, 10)
	expect(t, "full", p, want{4, 9, Replicate, true})
	if p.Acknowledged(3) {
		t.Fatal("an old acknowledgement tells nothing")
	}
	p.Acknowledged(6)
	expect(t, "room again", p, want{6, 9, Replicate, false})
	if p.Rejected(6, 0) {
		t.Fatal("a rejection of what is known to agree is old")
	}
	p.Rejected(8, 0)
	expect(t, "something got lost", p, want{6, 7, Probe, false})
}

func TestBytesInFlight(t *testing.T) {
	p := New(1, limits)
	p.Acknowledged(0)
	p.Sent(1, 250)
	expect(t, "one large message may go", p, want{0, 2, Replicate, true})
	p.Resume()
	expect(t, "a heartbeat's answer makes room", p, want{0, 2, Replicate, false})
}

func TestSnapshot(t *testing.T) {
	start := func() *Progress {
		p := New(5, limits)
		p.BecomeSnapshot(20)
		return p
	}
	p := start()
	expect(t, "on its way", p, want{0, 21, Snapshot, true})
	p.Acknowledged(7)
	expect(t, "an older acknowledgement", p, want{7, 21, Snapshot, true})
	p.Acknowledged(22)
	expect(t, "installed", p, want{22, 23, Replicate, false})

	p = start()
	p.SnapshotDone(true)
	expect(t, "sent, wait for the answer", p, want{0, 21, Probe, true})
	p.SnapshotDone(false)
	expect(t, "told twice", p, want{0, 21, Probe, true})

	p = start()
	p.SnapshotDone(false)
	expect(t, "failed, start over", p, want{0, 1, Probe, true})
	p.Resume()
	expect(t, "after a sign of life", p, want{0, 1, Probe, false})
}

// TestRandomWalk keeps the invariants under any order of answers.
func TestRandomWalk(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		p, last := New(1+r.Uint64N(10), Limits{Messages: 1 + r.IntN(6), Bytes: r.Uint64N(50)}), uint64(20)
		for step := range 100 {
			switch r.IntN(7) {
			case 0, 1, 2:
				if !p.Paused() {
					p.Sent(r.IntN(3), r.Uint64N(20))
					last = max(last, p.Next)
				}
			case 3:
				p.Acknowledged(r.Uint64N(last))
			case 4:
				p.Rejected(r.Uint64N(last), r.Uint64N(last))
			case 5:
				p.Resume()
			case 6:
				switch r.IntN(4) {
				case 0:
					p.BecomeProbe()
				case 1:
					p.BecomeSnapshot(p.Match + 1 + r.Uint64N(5))
					last = max(last, p.Next)
				default:
					p.SnapshotDone(r.IntN(2) == 0)
				}
			}
			if err := p.Check(); err != nil {
				t.Fatalf("seed %d step %d: %v", seed, step, err)
			}
		}
	}
}

func TestSet(t *testing.T) {
	var s Set
	create := func() *Progress { return New(7, limits) }
	s.Members([]uint64{1, 3}, create)
	s.Get(3).Match = 5
	s.Get(3).ReadRound = 2
	s.Members([]uint64{2, 3}, create)
	if s.Get(1) != nil || s.Get(2) == nil || s.Get(3).Match != 5 || len(s.IDs()) != 2 {
		t.Fatalf("members after the change: %v", s.IDs())
	}
	if (Matches{&s}).Acked(3) != 5 || (Matches{&s}).Acked(1) != 0 || (ReadRounds{&s}).Acked(3) != 2 || (ReadRounds{&s}).Acked(9) != 0 {
		t.Fatal("what the quorum sees is not what is there")
	}
}

func TestFullRingRefusesMore(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Fatal("more than the limit was let into the ring")
		}
	}()
	f := Inflights{limits: Limits{Messages: 1}}
	f.Add(1, 1)
	f.Add(2, 1)
}
