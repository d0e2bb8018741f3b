package node

import (
	"testing"
	"time"
)

// TestPace: removals become more while their flushes write little, and fewer when they write much, within bounds.
func TestPace(t *testing.T) {
	p := pace{removals: removalMin}
	for _, c := range []struct {
		written int64
		want    int
	}{
		{removalGoal / 8, 200},
		{removalGoal / 8, 400},
		{removalGoal + removalGoal/2, 400},
		{10 * removalGoal, 200},
		{100 * removalGoal, 100},
		{100 * removalGoal, 100},
		{0, 200},
		{0, 400},
		{0, 800},
		{0, 1000},
		{0, 1000},
	} {
		p.flushed(c.written)
		if got := p.clamp(1000); got != c.want {
			t.Fatalf("after a flush of %d bytes: %d removals, want %d", c.written, got, c.want)
		}
	}
	if got := p.clamp(10); got != 10 {
		t.Errorf("%d removals where a step may do 10", got)
	}
}

// TestRest: a step is followed by a rest that is as long as it was large, and all rests fit in removalTime.
func TestRest(t *testing.T) {
	const shortest = 10 * time.Millisecond
	for _, c := range []struct {
		about    string
		removals int
		written  int64
		left     int
		since    time.Duration
		want     time.Duration
	}{
		{"few removals that write little", 10, removalGoal / 50, 10, 0, shortest},
		{"half a step", 500, removalGoal / 50, 100_000, 0, removalRest / 2},
		{"as much as may be written", removalMin, removalGoal, 100_000, 0, removalRest},
		{"far more than may be written", removalMin, 100 * removalGoal, 1000, 0, removalRest},
		{"so many that the time is short", 1000, 0, 3_999_000, 0, removalTime / 4000},
		{"half of the time is over", 1000, 0, 1_999_000, removalTime / 2, removalTime / 4000},
		{"the time is over", 1000, removalGoal, 1_000_000, removalTime, shortest},
		{"the time is long over", 1000, removalGoal, 1_000_000, time.Hour, shortest},
	} {
		p := pace{removals: c.removals, written: c.written}
		if got := p.rest(c.left, 1000, c.since, shortest); got != c.want {
			t.Errorf("%s: %v, want %v", c.about, got, c.want)
		}
	}
}

// TestTurns: each voter has a turn in every interval, and they are as far apart as can be.
func TestTurns(t *testing.T) {
	voters := []uint64{3e6, 5e6, 9e6, 13e6 + 7e9} // the first turn is 30 ms after the second
	for _, now := range []int64{0, 1, 249, 250, 999, 1000, 1795291578368} {
		turns := map[int64]bool{}
		for _, self := range voters {
			wait := untilTurn(time.UnixMilli(now), time.Second, voters, self)
			if wait <= 0 || wait > time.Second {
				t.Errorf("at %d ms: %v until the turn of %d", now, wait, self)
			}
			turns[(now+wait.Milliseconds())%1000] = true
		}
		if len(turns) != 4 || !turns[30] || !turns[280] || !turns[530] || !turns[780] {
			t.Errorf("at %d ms: turns at %v", now, turns)
		}
	}
	if wait := untilTurn(time.UnixMilli(1300), time.Second, nil, 7); wait != 700*time.Millisecond {
		t.Errorf("%v until the turn of a member without a vote", wait)
	}
}
