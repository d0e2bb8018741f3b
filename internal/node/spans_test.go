package node

import (
	"testing"
	"time"
)

// TestSpans: the time between two moments that went by during spans, of which the last 64 are remembered.
func TestSpans(t *testing.T) {
	start := time.Unix(1000, 0)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	var s spans
	if got := s.within(at(0), at(10)); got != 0 {
		t.Errorf("of no spans: %v", got)
	}
	for i := range 100 { // 10 to 14, 20 to 24, ...; the last is 1000 to 1004
		s.add(at(10*(i+1)), at(10*(i+1)+4))
	}
	for _, c := range []struct{ from, to, want int }{
		{992, 1002, 4},     // the ends of two
		{1001, 1003, 2},    // within one
		{1004, 1010, 0},    // behind all
		{994, 1000, 0},     // between two
		{960, 2000, 20},    // the last five
		{0, 2000, 64 * 4},  // all that are remembered
		{0, 371, 1},        // the oldest of them
		{100, 200, 0},      // forgotten
		{1002, 1001, 0},    // nothing
		{365, 995, 63 * 4}, // all but the last
	} {
		if got := s.within(at(c.from), at(c.to)); got != time.Duration(c.want)*time.Millisecond {
			t.Errorf("from %d to %d: %v, want %d ms", c.from, c.to, got, c.want)
		}
	}
}
