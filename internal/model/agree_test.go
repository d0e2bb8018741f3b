package model

import (
	"errors"
	"flag"
	"math/rand/v2"
	"testing"
	"time"
)

var seedFlag = flag.Uint64("seed", 0, "seed of the random histories; 0 draws one")

// newSeed returns a source of randomness and prints what repeats it.
func newSeed(t *testing.T) *rand.Rand {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("repeat with -seed %d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

// TestRightHistories: what a world records is accepted, with and without watchers.
func TestRightHistories(t *testing.T) {
	rng := newSeed(t)
	for range 500 {
		w := newWorld(t, rng, 1+rng.IntN(8))
		h := w.run(20 + rng.IntN(200))
		h.Watches = []WatchLog{w.watch("a", openEnd), w.watch("b", ""), w.watch("a", "c")}
		if err := h.Check(10 * time.Second); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAgreement: the search and porcupine judge alike, right histories and damaged ones.
func TestAgreement(t *testing.T) {
	rng := newSeed(t)
	right, wrong := 0, 0
	for range 1000 {
		w := newWorld(t, rng, 1+rng.IntN(4))
		w.unknown, w.alone = rng.IntN(30), false
		h := w.run(4 + rng.IntN(20))
		if rng.IntN(4) > 0 {
			damage(rng, h)
		}
		_, quick := h.order(5 * time.Second)
		if errors.Is(quick, ErrUndecided) {
			t.Fatal(quick)
		}
		slow := h.CheckSlowly(200 * time.Millisecond)
		if errors.Is(slow, ErrUndecided) {
			continue
		}
		if (quick == nil) != (slow == nil) {
			for i := range h.Ops {
				t.Log(h.Ops[i].describe())
			}
			t.Fatalf("the search says %v, porcupine says %v", quick, slow)
		}
		if quick == nil {
			right++
		} else {
			wrong++
		}
	}
	t.Logf("%d right, %d wrong", right, wrong)
	if right < 100 || wrong < 100 {
		t.Fatalf("%d right and %d wrong histories: not a test of both", right, wrong)
	}
}

// damage changes one thing in a history; it may stay right.
func damage(rng *rand.Rand, h *History) {
	i := rng.IntN(len(h.Ops))
	op := &h.Ops[i]
	switch rng.IntN(10) {
	case 0:
		op.Response.Revision += rng.Int64N(5) - 2
	case 1:
		if len(op.KVs) > 0 {
			op.KVs[0].Value = "damaged"
		}
	case 2:
		h.Ops = append(h.Ops[:i:i], h.Ops[i+1:]...)
	case 3:
		shift := rng.Int64N(40) - 20
		op.Call += shift
		op.Return += shift
	case 4:
		other := &h.Ops[rng.IntN(len(h.Ops))]
		op.Response, other.Response = other.Response, op.Response
	case 5:
		op.Unknown = !op.Unknown
	case 6:
		op.Failure = []Failure{FailureLeaseNotFound, FailureCompacted, FailureFuture, FailureKeyNotFound, FailureNone}[rng.IntN(5)]
	case 7:
		op.Call, op.Return = op.Call-rng.Int64N(10), op.Return-rng.Int64N(4)
	case 8:
		op.Succeeded = !op.Succeeded
	case 9:
		op.Count += rng.Int64N(3) - 1
	}
}

// BenchmarkCheck judges a thousand operations of 16 clients with three watchers.
func BenchmarkCheck(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	w := newWorld(nil, rng, 16)
	w.unknown = 3
	h := w.run(1000)
	h.Watches = []WatchLog{w.watch("a", openEnd), w.watch("b", ""), w.watch("a", "c")}
	b.ReportAllocs()
	for b.Loop() {
		if err := h.Check(0); err != nil {
			b.Fatal(err)
		}
	}
}
