package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// listServerBytesMax is how much memory of its own a server gets while it
	// is asked for large lists; one that wants more ends, instead of the
	// machine.
	listServerBytesMax = 12 << 30
	// listPatience bounds such a round.
	listPatience = 10 * time.Minute
	// peakInterval is the pause between two looks at a server that may end.
	peakInterval = 20 * time.Millisecond
)

// listWorks returns the rows of many clients that read everything at once.
func listWorks(n scale) []work {
	var all []work
	for _, clients := range n.listClients {
		all = append(all, work{
			name:     fmt.Sprintf("lists-%d", clients),
			about:    fmt.Sprintf("list of all of %d MB in values of %d bytes, by %d clients at once", n.listBytes/1e6, largeValue, clients),
			restarts: true,
			prepare: func(ctx context.Context, c *cluster) (load, error) {
				return lists(clients), fillKeys(ctx, c.address(), int(n.listBytes/largeValue), largeValue)
			},
		})
	}
	return all
}

// lists has so many clients read everything once, on a server that has just
// started.
func lists(clients int) load {
	return func(ctx context.Context, c *cluster, seed uint64, _ time.Duration) (tally, error) {
		s := c.members[0]
		if err := errors.Join(s.kill(), s.start(ctx)); err != nil {
			return tally{}, err
		}
		if err := limitMemory(s.pid(), listServerBytesMax); err != nil {
			return tally{}, err
		}
		if err := c.resetPeak(); err != nil {
			return tally{}, err
		}
		watched := watchPeak(s.pid())
		u := unary{path: pathRange, connections: clients, inFlight: clients, limit: int64(clients), body: always(everything())}
		t, err := u.run(ctx, c.addresses(), seed, listPatience)
		peak := watched()
		if err != nil && s.gone() {
			t, err = tally{elapsed: time.Nanosecond, died: true}, errors.Join(s.kill(), s.start(ctx))
		}
		t.peak = peak
		return t, err
	}
}

// limitMemory bounds what a process may allocate; mapped files do not count.
func limitMemory(pid int, bytes uint64) error {
	return unix.Prlimit(pid, unix.RLIMIT_DATA, &unix.Rlimit{Cur: bytes, Max: bytes}, nil)
}

// watchPeak looks at the peak memory of a process that may end. The function it
// returns ends that and tells the last value seen.
func watchPeak(pid int) func() int64 {
	var peak int64
	var wg sync.WaitGroup
	done := make(chan struct{})
	wg.Go(func() {
		tick := time.NewTicker(peakInterval)
		defer tick.Stop()
		for {
			if now, err := peakMemory(pid); err == nil {
				peak = now
			}
			select {
			case <-tick.C:
			case <-done:
				return
			}
		}
	})
	return func() int64 {
		close(done)
		wg.Wait()
		return peak
	}
}
