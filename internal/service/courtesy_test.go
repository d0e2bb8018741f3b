package service

import (
	"runtime"
	"testing"
	"time"
)

// TestCourtesy: without writes nobody waits; with writes those who catch up take an eighth of the time between them, and nobody waits long.
func TestCourtesy(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	const work = int64(time.Millisecond)
	var c courtesy
	now := int64(time.Hour)
	if wait := c.after(now-work, now); wait != 0 {
		t.Errorf("waits %v for nobody", wait)
	}
	c.wrote.Store(now)
	if wait := c.after(now-work, now); wait != time.Duration(7*work) {
		t.Errorf("alone: waits %v after working for %v", wait, time.Duration(work))
	}
	streams, worked := [4]int64{}, int64(0) // when each may go on
	for start := now; now < start+int64(time.Second); {
		c.wrote.Store(now)
		next := 0
		for i, at := range streams {
			if at < streams[next] {
				next = i
			}
		}
		now = max(now, streams[next]) + work
		worked += work
		streams[next] = now + int64(c.after(now-work, now))
	}
	if share := float64(worked) / float64(time.Second); share < 0.11 || share > 0.14 {
		t.Errorf("they take %.2f of the time", share)
	}
	if wait := c.after(now-int64(time.Minute), now); wait != courtesyWaitMax {
		t.Errorf("waits %v", wait)
	}
}
