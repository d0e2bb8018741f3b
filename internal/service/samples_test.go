package service

import (
	"testing"
	"time"
)

// TestSamples follows long periods without a member: a revision is written each second, so that revisions tell their age.
func TestSamples(t *testing.T) {
	for _, c := range []struct{ period, first, then time.Duration }{
		{time.Nanosecond, time.Millisecond, time.Millisecond},
		{10 * time.Minute, 10 * time.Minute, 10 * time.Minute},
		{time.Hour, time.Hour, time.Hour},
		{90 * time.Minute, 90 * time.Minute, time.Hour},
		{24 * time.Hour, 24 * time.Hour, time.Hour},
	} {
		start := time.Unix(0, 0)
		now, p := start, newSamples(c.period, start)
		due := start.Add(c.first)
		for range 1000 {
			p.note(int64(now.Sub(start)/time.Second) + 1)
			now = now.Add(p.pause)
			rev, ok := p.due(now)
			if c.period >= time.Second && ok != !now.Before(due) {
				t.Fatalf("%v: at %v due: %v", c.period, now.Sub(start), ok)
			}
			if !ok {
				continue
			}
			age := now.Sub(start) - time.Duration(rev-1)*time.Second
			if age < c.period || age > c.period+2*p.pause+time.Second {
				t.Fatalf("%v: history of %v is kept at %v", c.period, age, now.Sub(start))
			}
			p.done(rev, now)
			due = now.Add(c.then)
		}
		if keep := int(c.period/p.pause) + 1; len(p.revs) > keep {
			t.Errorf("%v: %d notes are kept, want at most %d", c.period, len(p.revs), keep)
		}
	}
}
