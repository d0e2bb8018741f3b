package model

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestDamagedWatches: whatever is changed in what a watcher saw, it is noticed.
func TestDamagedWatches(t *testing.T) {
	rng := newSeed(t)
	for range 200 {
		w := newWorld(t, rng, 1+rng.IntN(4))
		w.unknown = 5
		h := w.run(30 + rng.IntN(60))
		// A second watcher says what happened in revisions that no answer explains.
		h.Watches = []WatchLog{w.watch("a", openEnd), w.watch("a", openEnd)}
		what := damageWatch(rng, &h.Watches[0])
		if what == "" {
			continue
		}
		var v *Violation
		if err := h.Check(10 * time.Second); !errors.As(err, &v) {
			t.Fatalf("%s, and the judge says: %v", what, err)
		}
	}
}

// damageWatch changes one thing and names it; nothing, if there is nothing to change.
func damageWatch(rng *rand.Rand, log *WatchLog) string {
	n := len(log.Responses) - 1 // the last is a notice of progress
	if n < 2 {
		return ""
	}
	i := rng.IntN(n)
	r := &log.Responses[i]
	e := &r.Events[rng.IntN(len(r.Events))]
	switch rng.IntN(8) {
	case 0:
		log.Responses = slices.Delete(log.Responses, i, i+1)
		return "a revision lost"
	case 1:
		log.Responses = slices.Insert(log.Responses, i, *r)
		return "a revision twice"
	case 2:
		j := (i + 1) % n
		log.Responses[i], log.Responses[j] = log.Responses[j], log.Responses[i]
		return "two revisions swapped"
	case 3:
		e.KV.Mod++
		return "an event in the next revision"
	case 4:
		e.KV.Key += "x"
		return "an event of another key"
	case 5:
		e.Delete = !e.Delete
		return "a put for a deletion, or the reverse"
	case 6:
		e.Prev = &KV{Key: e.KV.Key, Value: "damaged"}
		return "a previous value from nowhere"
	}
	r.Revision = e.KV.Mod - 1
	return "a header below its events"
}

// TestDamagedLeases: lives of leases that a clock could have made are right; the
// same, with a key that goes a little too soon or stays too long, are not.
func TestDamagedLeases(t *testing.T) {
	rng := newSeed(t)
	for range 500 {
		h, end := lifeOfLease(rng)
		l := &h.Leases[0]
		if err := h.Check(0); err != nil {
			t.Fatal(err)
		}
		early := end - 2 - rng.Int64N(l.TTL*second/2)
		l.Gone = early
		for i := range l.Renewed {
			l.Gone = max(l.Gone, l.Renewed[i].Return+1)
		}
		l.Gone = max(l.Gone, l.Granted.Return+1)
		l.Seen = 0
		if l.Gone < end {
			expectLease(t, h, "gone too soon")
		}
		l.Gone, l.Seen = 0, end+int64(h.Limits.LeaseGrace)+10*second
		expectLease(t, h, "there too long")
	}
}

func expectLease(t *testing.T, h *History, what string) {
	t.Helper()
	var v *Violation
	if err := h.Check(0); !errors.As(err, &v) || v.Property != "lease" {
		t.Fatalf("%s: %+v, and the judge says: %v", what, h.Leases[0], err)
	}
}

// lifeOfLease is one lease that is renewed a few times and goes when it may; end is
// the first moment at which it may go.
func lifeOfLease(rng *rand.Rand) (*History, int64) {
	now := 1 + rng.Int64N(second)
	call := func() Span {
		s := Span{Call: now, Return: now + 1 + rng.Int64N(second/10)}
		now = s.Return + rng.Int64N(second)
		return s
	}
	l := LeaseLog{ID: 1, TTL: 3 + rng.Int64N(5), Granted: call()}
	end := l.Granted.Call + l.TTL*second
	for range rng.IntN(4) {
		s := call()
		l.Renewed = append(l.Renewed, s)
		end = s.Call + l.TTL*second
	}
	l.Seen = end - 1
	l.Gone = end + rng.Int64N(second)
	l.Until = l.Gone
	return &History{Limits: Limits{LeaseGrace: 5 * time.Second}, Leases: []LeaseLog{l}}, end
}
