package node

import (
	"testing"
	"time"
)

// TestPace: removals become more while their flushes are quick, and fewer when they are slow, within bounds.
func TestPace(t *testing.T) {
	p := pace{removals: removalMin}
	for _, c := range []struct {
		took time.Duration
		want int
	}{
		{time.Millisecond, 200},
		{time.Millisecond, 400},
		{removalGoal + removalGoal/2, 400},
		{30 * time.Millisecond, 200},
		{time.Second, 100},
		{time.Second, 100},
		{time.Millisecond, 200},
		{time.Millisecond, 400},
		{time.Millisecond, 800},
		{time.Millisecond, 1000},
		{time.Millisecond, 1000},
	} {
		p.flushed(c.took)
		if got := p.clamp(1000); got != c.want {
			t.Fatalf("after a flush of %v: %d removals, want %d", c.took, got, c.want)
		}
	}
	if got := p.clamp(10); got != 10 {
		t.Errorf("%d removals where a step may do 10", got)
	}
}
