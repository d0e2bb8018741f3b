package main

import (
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestUsage reads this process's own counters while it works, as much as
// another clock of the kernel says.
func TestUsage(t *testing.T) {
	before, err := readUsage(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	const work = 100 * time.Millisecond
	for began := ownTime(t); ownTime(t) < began+work; {
		runtime.Gosched()
	}
	after, err := readUsage(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	used := after.cpu - before.cpu
	if used < work-2*clockTick || used > 10*work {
		t.Errorf("%v of work count as %v", work, used)
	}
}

// ownTime is the CPU time that this process has used.
func ownTime(t *testing.T) time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &now); err != nil {
		t.Fatal(err)
	}
	return time.Duration(now.Nano())
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
	if err := resetPeak(os.Getpid()); err != nil {
		t.Fatal(err)
	}
	before := peak()
	// Memory of our own, so that the collector has no part in it.
	block, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < size; i += 4096 {
		block[i] = 1
	}
	grown := peak()
	if grown < before+size/2 {
		t.Errorf("the peak went from %d to %d after use of %d", before, grown, size)
	}
	if err := unix.Munmap(block); err != nil {
		t.Fatal(err)
	}
	if err := resetPeak(os.Getpid()); err != nil {
		t.Fatal(err)
	}
	if now := peak(); now > grown-size/2 {
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
