package main

import (
	"os"
	"runtime"
	"testing"
	"time"
)

// TestUsage reads this process's own counters while it works.
func TestUsage(t *testing.T) {
	before, err := readUsage(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for time.Since(began) < 100*time.Millisecond {
		runtime.Gosched()
	}
	after, err := readUsage(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	used := after.cpu - before.cpu
	if used < 2*clockTick || used > 10*time.Since(began) {
		t.Errorf("100 ms of work count as %v", used)
	}
}

// TestPeakMemory: the peak follows a large use and forgets it when told to.
func TestPeakMemory(t *testing.T) {
	const size = 64 << 20
	peak := func() int64 {
		bytes, err := peakMemory(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		return bytes
	}
	before := peak()
	block := make([]byte, size)
	for i := 0; i < size; i += 4096 {
		block[i] = 1
	}
	grown := peak()
	if grown < before+size/2 {
		t.Errorf("the peak went from %d to %d after use of %d", before, grown, size)
	}
	runtime.KeepAlive(block)
	if err := resetPeak(os.Getpid()); err != nil {
		t.Fatal(err)
	}
	if now := peak(); now > grown {
		t.Errorf("the peak is %d after a reset, %d before", now, grown)
	}
}

func TestNoSuchProcess(t *testing.T) {
	if _, err := readUsage(0); err == nil {
		t.Error("process 0 has counters")
	}
	if _, err := procField(os.Getpid(), "status", "Nonsense:"); err == nil {
		t.Error("found a field that is not there")
	}
}
