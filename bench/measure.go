package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// warmUpPart is how much of a round's length goes to a load before it that is
// not measured.
const warmUpPart = 5

// A sample is one round of one work on one server.
type sample struct {
	Ops          int64   `json:"ops"`
	Seconds      float64 `json:"seconds"`
	P50Millis    float64 `json:"p50_ms"`
	P99Millis    float64 `json:"p99_ms"`
	CPUSeconds   float64 `json:"cpu_s"`                  // of the server, all its members
	LoadSeconds  float64 `json:"load_cpu_s"`             // CPU of the generator itself
	PeakBytes    int64   `json:"peak_bytes"`             // largest resident size, all members added up
	WrittenBytes int64   `json:"written_bytes"`          // by the server, to storage
	GrowthBytes  int64   `json:"growth_bytes,omitempty"` // of the resident size, in a work that is about it
	Upkeep       *upkeep `json:"upkeep,omitempty"`
	Died         bool    `json:"died,omitempty"` // it ended under the load, for want of memory
}

// A round is the same work on both servers, one after the other.
type round struct {
	A sample `json:"a"`
	B sample `json:"b"`
}

// measure runs the load once and reads the server's counters around it.
func measure(ctx context.Context, w work, l load, s *cluster, seed uint64, length time.Duration) (sample, error) {
	var before usage
	if !w.restarts {
		if _, err := l(ctx, s, seed+1, length/warmUpPart); err != nil {
			return sample{}, err
		}
		if err := s.resetPeak(); err != nil {
			return sample{}, err
		}
		var err error
		if before, err = s.usage(); err != nil {
			return sample{}, err
		}
	}
	ownBefore, err := cpuTime(os.Getpid())
	if err != nil {
		return sample{}, err
	}
	t, err := l(ctx, s, seed, length)
	if err != nil {
		return sample{}, err
	}
	ownAfter, err := cpuTime(os.Getpid())
	if err != nil {
		return sample{}, err
	}
	after, err := s.usage()
	if err != nil {
		return sample{}, err
	}
	peak, err := s.peakMemory()
	if t.peak > 0 {
		peak = t.peak
	}
	return sample{
		Ops:          t.ops,
		Seconds:      t.elapsed.Seconds(),
		P50Millis:    millis(t.percentile(0.50)),
		P99Millis:    millis(t.percentile(0.99)),
		CPUSeconds:   (after.cpu - before.cpu).Seconds(),
		LoadSeconds:  (ownAfter - ownBefore).Seconds(),
		PeakBytes:    peak,
		WrittenBytes: after.writtenBytes - before.writtenBytes,
		GrowthBytes:  t.growth,
		Upkeep:       t.upkeep,
		Died:         t.died,
	}, err
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// A plan is what a run of the program does.
type plan struct {
	a, b    []string // commands; b may be nil
	cores   cores
	dir     string // for the servers' data
	works   []work
	rounds  int
	length  time.Duration
	seed    uint64
	profile bool                             // keep a CPU profile of each work
	out     string                           // directory for the profiles
	open    bool                             // no users on A
	observe func(format string, args ...any) // told how far it is
}

// run measures every work and returns its rounds, in the order of the plan.
func (p plan) run(ctx context.Context) ([]workResult, error) {
	var results []workResult
	for i, w := range p.works {
		p.observe("%d/%d %s: prepare", i+1, len(p.works), w.name)
		rounds, err := p.compare(ctx, w)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", w.name, err)
		}
		r := workResult{Name: w.name, About: w.about, Rounds: rounds}
		p.observe("%d/%d %s: CPU per op %s", i+1, len(p.works), w.name, r.row().commentary())
		results = append(results, r)
	}
	return results, nil
}

// compare starts a fresh pair of servers and measures one work on them in
// alternating rounds: A first in one, B first in the next. Without B all of its
// samples are empty.
func (p plan) compare(ctx context.Context, w work) (rounds []round, err error) {
	var servers [2]*cluster
	var loads [2]load
	commands := [][]string{p.a, p.b}
	if p.b == nil {
		commands = commands[:1]
	}
	for i, command := range commands {
		s, err := p.server(ctx, w, i, command)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, s.remove()) }()
		servers[i], s.open = s, p.open && i == 0
		if loads[i], err = w.prepare(ctx, s); err != nil {
			return nil, fmt.Errorf("%s: prepare: %w", side(i), err)
		}
	}
	for n := range p.rounds {
		var samples [2]sample
		for turn := range commands {
			i := (n + turn) % len(commands)
			seed := p.seed + uint64(n)*1000
			samples[i], err = measure(ctx, w, loads[i], servers[i], seed, p.length)
			if err != nil {
				return nil, fmt.Errorf("%s, round %d: %w", side(i), n+1, err)
			}
		}
		rounds = append(rounds, round{A: samples[0], B: samples[1]})
	}
	if p.profile && !w.restarts {
		for i := range commands {
			if err := p.profileOf(ctx, w, i, loads[i], servers[i]); err != nil {
				return nil, fmt.Errorf("%s: profile: %w", side(i), err)
			}
		}
	}
	return rounds, nil
}

// server starts one of the two servers of a work.
func (p plan) server(ctx context.Context, w work, i int, command []string) (*cluster, error) {
	dir := filepath.Join(p.dir, w.name+"-"+side(i))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if w.flags != nil {
		more, err := w.flags(dir)
		if err != nil {
			return nil, err
		}
		command = append(slices.Clone(command), more...)
	}
	if p.profile {
		command = append(slices.Clone(command), "--enable-pprof")
	}
	return newCluster(ctx, command, p.cores, dir, max(1, w.members))
}

func side(i int) string { return [2]string{"a", "b"}[i] }
