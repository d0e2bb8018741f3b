package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
)

// An upkeep is what an operator's work on the database did to the clients.
type upkeep struct {
	Seconds    float64 `json:"seconds"`     // that the work took
	FileBefore int64   `json:"file_before"` // size of the database as the server reports it, in bytes
	FileAfter  int64   `json:"file_after"`
	Puts       calm    `json:"puts"`
	Gets       calm    `json:"gets"`
}

// A calm compares the latencies of one kind of call, in milliseconds, before
// the work and during it.
type calm struct {
	QuietP99  float64 `json:"quiet_p99_ms"`
	QuietP999 float64 `json:"quiet_p999_ms"`
	DuringP99 float64 `json:"during_p99_ms"`
	Longest   float64 `json:"longest_ms"` // during the work
	Ops       int64   `json:"ops"`        // during the work
	Refused   int64   `json:"refused"`    // of them
}

func compareCalm(quiet, during tally) calm {
	return calm{
		QuietP99: millis(quiet.percentile(0.99)), QuietP999: millis(quiet.percentile(0.999)), DuringP99: millis(during.percentile(0.99)),
		Longest: millis(during.percentile(1)), Ops: during.ops, Refused: during.refused,
	}
}

// What clients do while the operator works.
const (
	upkeepPuts    = 16 // under way
	upkeepGets    = 8
	upkeepValue   = 1 << 10 // bytes
	upkeepKeys    = 100_000 // that clients touch, at most
	upkeepTimeout = 20 * time.Minute
	upkeepSettle  = 2 * time.Second
)

// upkeepWorks are the rows about an operator's work on a large database.
func upkeepWorks(n scale) []work {
	keys := int(n.upkeepBytes / upkeepValue)
	return []work{
		upkeepWork("defrag", fmt.Sprintf("defragmentation of %d MB of which most is free, under load", n.upkeepBytes>>20), keys*4/10, n,
			func(ctx context.Context, c *cluster) error { return makeFree(ctx, c, keys) },
			func(ctx context.Context, c *cluster) error {
				return call(ctx, c.address(), pathDefragment, &etcdserverpb.DefragmentRequest{}, &etcdserverpb.DefragmentResponse{})
			}),
		upkeepWork("compact", fmt.Sprintf("compaction of %d MB of which half is history, under load", n.upkeepBytes>>20), keys/2, n,
			func(ctx context.Context, c *cluster) error { return makeHistory(ctx, c, keys/2) },
			compactAll),
	}
}

// upkeepWork makes a work whose every round prepares the database, and then
// measures a load on the first so many keys without and with the operator's work.
func upkeepWork(name, about string, keys int, n scale, prepare, do func(context.Context, *cluster) error) work {
	l := upkeepLoad{connections: n.connections, keys: min(keys, upkeepKeys), prepare: prepare, do: do}
	return work{name: name, about: about, restarts: true, prepare: func(context.Context, *cluster) (load, error) { return l.run, nil }}
}

type upkeepLoad struct {
	connections int
	keys        int
	prepare, do func(context.Context, *cluster) error
}

func (l upkeepLoad) run(ctx context.Context, c *cluster, seed uint64, length time.Duration) (tally, error) {
	ctx, cancel := context.WithTimeout(ctx, upkeepTimeout)
	defer cancel()
	if err := l.prepare(ctx, c); err != nil {
		return tally{}, fmt.Errorf("preparing the database: %w", err)
	}
	if err := pause(ctx, upkeepSettle); err != nil {
		return tally{}, err
	}
	quiet, err := l.clients(ctx, c, seed, func(ctx context.Context) error { return pause(ctx, length) })
	if err != nil {
		return tally{}, err
	}
	u := &upkeep{}
	if u.FileBefore, err = fileBytes(ctx, c); err != nil {
		return tally{}, err
	}
	during, err := l.clients(ctx, c, seed+1, func(ctx context.Context) error { return l.do(ctx, c) })
	if err != nil {
		return tally{}, err
	}
	if u.FileAfter, err = fileBytes(ctx, c); err != nil {
		return tally{}, err
	}
	u.Seconds = during.took.Seconds()
	u.Puts, u.Gets = compareCalm(quiet.puts, during.puts), compareCalm(quiet.gets, during.gets)
	all := during.puts
	all.merge(during.gets)
	all.elapsed, all.upkeep = during.took, u
	return all, nil
}

// twoTallies is what puts and gets saw while something else was done.
type twoTallies struct {
	puts, gets tally
	took       time.Duration // of the other thing
}

// clients keeps puts and gets going until do returns.
func (l upkeepLoad) clients(ctx context.Context, c *cluster, seed uint64, do func(context.Context) error) (t twoTallies, err error) {
	loading, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	var putErr, getErr error
	run := func(u unary, t *tally, err *error) {
		wg.Go(func() {
			u.connections, u.patient = l.connections, true
			*t, *err = u.run(loading, c.addresses()[:1], seed, upkeepTimeout)
			if errors.Is(*err, context.Canceled) && ctx.Err() == nil {
				*err = nil
			}
		})
	}
	run(unary{path: pathPut, inFlight: upkeepPuts, body: randomPuts(l.keys, upkeepValue)}, &t.puts, &putErr)
	run(unary{path: pathRange, inFlight: upkeepGets, body: randomGets(l.keys, false)}, &t.gets, &getErr)
	began := time.Now()
	err = do(loading)
	t.took = time.Since(began)
	stop()
	wg.Wait()
	return t, errors.Join(err, putErr, getErr)
}

// makeFree writes so many keys and removes most of them with their history.
func makeFree(ctx context.Context, c *cluster, keys int) error {
	if err := fillKeys(ctx, c.address(), keys, upkeepValue); err != nil {
		return err
	}
	const step = 1000
	for i := keys * 4 / 10; i < keys; i += step {
		r := &etcdserverpb.DeleteRangeRequest{Key: keyAt(i), RangeEnd: keyAt(min(i+step, keys))}
		if err := call(ctx, c.address(), pathDelete, r, &etcdserverpb.DeleteRangeResponse{}); err != nil {
			return err
		}
	}
	return compactAll(ctx, c)
}

// makeHistory writes so many keys twice.
func makeHistory(ctx context.Context, c *cluster, keys int) error {
	for range 2 {
		if err := fillKeys(ctx, c.address(), keys, upkeepValue); err != nil {
			return err
		}
	}
	return nil
}

// compactAll forgets all history and waits until it is removed.
func compactAll(ctx context.Context, c *cluster) error {
	status, err := c.members[0].status(ctx)
	if err != nil {
		return err
	}
	r := &etcdserverpb.CompactionRequest{Revision: status.Header.Revision, Physical: true}
	return call(ctx, c.address(), pathCompact, r, &etcdserverpb.CompactionResponse{})
}

func fileBytes(ctx context.Context, c *cluster) (int64, error) {
	status, err := c.members[0].status(ctx)
	return status.GetDbSize(), err
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// upkeepMedians are the medians of a work's rounds on one server.
func upkeepMedians(samples []sample) (u upkeep) {
	of := func(value func(*upkeep) float64) float64 {
		var all []float64
		for _, s := range samples {
			all = append(all, value(s.Upkeep))
		}
		return median(all)
	}
	kind := func(pick func(*upkeep) *calm) calm {
		return calm{
			QuietP99:  of(func(u *upkeep) float64 { return pick(u).QuietP99 }),
			QuietP999: of(func(u *upkeep) float64 { return pick(u).QuietP999 }),
			DuringP99: of(func(u *upkeep) float64 { return pick(u).DuringP99 }),
			Longest:   of(func(u *upkeep) float64 { return pick(u).Longest }),
			Ops:       int64(of(func(u *upkeep) float64 { return float64(pick(u).Ops) })),
			Refused:   int64(of(func(u *upkeep) float64 { return float64(pick(u).Refused) })),
		}
	}
	return upkeep{
		Seconds:    of(func(u *upkeep) float64 { return u.Seconds }),
		FileBefore: int64(of(func(u *upkeep) float64 { return float64(u.FileBefore) })),
		FileAfter:  int64(of(func(u *upkeep) float64 { return float64(u.FileAfter) })),
		Puts:       kind(func(u *upkeep) *calm { return &u.Puts }),
		Gets:       kind(func(u *upkeep) *calm { return &u.Gets }),
	}
}

// upkeepTable renders the works of an operator, which have nothing to do in the
// table of the others.
func (r report) upkeepTable() string {
	var b strings.Builder
	for _, w := range r.Works {
		if !w.isUpkeep() {
			continue
		}
		if b.Len() == 0 {
			b.WriteString("\nWhat an operator's work does to clients: p99 without it, with it, their ratio, p99.9 without it, the longest call with it, and calls refused.\n\n")
			b.WriteString("| work | server | seconds | file MB | put p99 ms | ratio | p99.9 → longest ms | refused | get p99 ms | ratio | p99.9 → longest ms | refused |\n")
			b.WriteString("|---|---|---|---|---|---|---|---|---|---|---|---|\n")
		}
		var sides [2][]sample
		for _, one := range w.Rounds {
			sides[0], sides[1] = append(sides[0], one.A), append(sides[1], one.B)
		}
		for i, p := range []party{r.A, r.B} {
			if sides[i][0].Upkeep == nil {
				continue // the server was left out
			}
			u := upkeepMedians(sides[i])
			fmt.Fprintf(&b, "| %s | %s | %s | %d → %d | %s | %s |\n", w.Name, p.Name, digits(u.Seconds), u.FileBefore/1e6, u.FileAfter/1e6, u.Puts, u.Gets)
		}
	}
	return b.String()
}

// String renders a calm as columns of the table.
func (c calm) String() string {
	return fmt.Sprintf("%s → %s | %s | %s → %s | %d of %d", digits(c.QuietP99), digits(c.DuringP99), times(c.DuringP99, c.QuietP99), digits(c.QuietP999), digits(c.Longest), c.Refused, c.Ops)
}

func (w workResult) isUpkeep() bool { return len(w.Rounds) > 0 && w.Rounds[0].A.Upkeep != nil }
