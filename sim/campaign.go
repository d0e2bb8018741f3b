package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/quoin-kv/quoin/sim/cluster"
	"github.com/quoin-kv/quoin/sim/plan"
)

// totals is what a campaign adds up.
type totals struct {
	mu struct {
		sync.Mutex
		next       uint64
		seeds      int
		failures   int
		simulated  time.Duration
		operations int
		fewest     int           // operations of a seed
		shortest   time.Duration // simulated time of a seed
		unknown    int
		steps      uint64
		faults     map[string]int
	}
}

// campaign runs seeds one after the other, several at a time.
func campaign(o *options, stdout io.Writer) int {
	t := &totals{}
	t.mu.next, t.mu.faults = o.seed, map[string]int{}
	fmt.Fprintf(stdout, "first seed %d, %d at a time\n", o.seed, o.procs)
	start := time.Now()
	var workers sync.WaitGroup
	for range o.procs {
		workers.Go(func() {
			for {
				seed, ok := t.take(o, start)
				if !ok {
					return
				}
				p := plan.Draw(seed)
				r := cluster.Run(p, nil)
				t.add(seed, r, stdout)
				if r.Failure != nil {
					o.follow(p, r.Failure, stdout)
				}
			}
		})
	}
	workers.Wait()
	t.report(stdout, time.Since(start))
	if t.mu.failures > 0 {
		return 1
	}
	return 0
}

// take returns the next seed, and false when the campaign is over.
func (t *totals) take(o *options, start time.Time) (uint64, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if o.seeds > 0 && t.mu.next >= o.seed+uint64(o.seeds) || o.duration > 0 && time.Since(start) >= o.duration {
		return 0, false
	}
	seed := t.mu.next
	t.mu.next++
	return seed, true
}

// add counts a result.
func (t *totals) add(seed uint64, r *cluster.Result, stdout io.Writer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mu.seeds == 0 {
		t.mu.fewest, t.mu.shortest = r.Operations, r.Simulated
	}
	t.mu.fewest, t.mu.shortest = min(t.mu.fewest, r.Operations), min(t.mu.shortest, r.Simulated)
	t.mu.seeds++
	t.mu.simulated += r.Simulated
	t.mu.operations += r.Operations
	t.mu.unknown += r.Unknown
	t.mu.steps += r.Steps
	for kind, n := range r.Faults {
		t.mu.faults[kind] += n
	}
	if r.Failure != nil {
		t.mu.failures++
		fmt.Fprintf(stdout, "FAIL seed %d: %s\n", seed, r.Failure)
	}
}

// report prints the totals.
func (t *totals) report(stdout io.Writer, took time.Duration) {
	m := &t.mu
	fmt.Fprintf(stdout, "%d seeds in %v (%.2f per second), %.1f simulated hours, %d operations (%d unknown), %d steps, %d failures\n",
		m.seeds, took.Round(time.Second), float64(m.seeds)/took.Seconds(), m.simulated.Hours(), m.operations, m.unknown, m.steps, m.failures)
	fmt.Fprintf(stdout, "in each seed at least %v simulated and %d operations\n", m.shortest.Round(time.Second), m.fewest)
	var parts []string
	for _, kind := range slices.Sorted(maps.Keys(m.faults)) {
		parts = append(parts, fmt.Sprintf("%s %d", kind, m.faults[kind]))
	}
	fmt.Fprintf(stdout, "faults: %s\n", strings.Join(parts, ", "))
}

// follow leaves what a failing seed needs, after making its plan smaller if that is wanted.
func (o *options) follow(p *plan.Plan, f *cluster.Failure, stdout io.Writer) {
	if o.reduce {
		p = reduce(p, f.Check, stdout)
	}
	dir, err := leave(o.out, p)
	if err != nil {
		fmt.Fprintf(stdout, "seed %d: %v\n", p.Seed, err)
		return
	}
	fmt.Fprintf(stdout, "seed %d: see %s\n", p.Seed, dir)
}
