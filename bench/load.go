package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// patience is how much longer than planned a measurement may take.
const patience = 60 * time.Second

// A tally is what the generator saw.
type tally struct {
	ops       int64
	elapsed   time.Duration
	latencies []time.Duration
	refused   int64   // of ops, if the load is patient
	upkeep    *upkeep // of a work that is about one
	peak      int64   // largest resident size in bytes, of a work that watches it itself
	growth    int64   // of the resident size in bytes, of a work that is about it
	died      bool    // the server ended under the load
}

// merge adds the tally of another connection that ran at the same time.
func (t *tally) merge(o tally) {
	t.ops += o.ops
	t.refused += o.refused
	t.elapsed = max(t.elapsed, o.elapsed)
	t.latencies = append(t.latencies, o.latencies...)
}

// percentile returns the latency that the given part of the operations kept.
func (t *tally) percentile(part float64) time.Duration {
	if len(t.latencies) == 0 {
		return 0
	}
	slices.Sort(t.latencies)
	return t.latencies[min(int(part*float64(len(t.latencies))), len(t.latencies)-1)]
}

// A unary is a closed loop of unary calls: so many are always under way, spread
// over several connections.
type unary struct {
	path        string
	connections int
	inFlight    int // on all connections together
	// body writes one request into buf[:0]; r is seeded per connection.
	body func(r *rand.Rand, buf []byte) []byte
	// choose takes the place of path and body where the calls differ.
	choose func(r *rand.Rand, buf []byte) (path string, message []byte)
	// limit ends the loop after so many calls if it is not 0.
	limit int64
	// token is shown with every call, if not empty.
	token string
	// patient goes on when calls are refused, and counts them.
	patient bool
}

// run keeps the calls going for the given time, its connections spread over
// the addresses.
func (u unary) run(ctx context.Context, addresses []string, seed uint64, length time.Duration) (tally, error) {
	connections := min(u.connections, u.inFlight)
	return inParallel(connections, func(i int) (tally, error) {
		l := &unaryLoop{
			unary:  u,
			slots:  share(u.inFlight, connections, i),
			limit:  int64(share(int(u.limit), connections, i)),
			random: rand.New(rand.NewPCG(seed, uint64(i))),
			sent:   map[uint32]time.Time{},
		}
		return l.run(ctx, addresses[i%len(addresses)], length)
	})
}

// share cuts n into parts that differ by at most one.
func share(n, parts, i int) int {
	return (n*(i+1))/parts - (n*i)/parts
}

// inParallel runs a part on each of n goroutines and adds up their tallies.
func inParallel(n int, part func(i int) (tally, error)) (tally, error) {
	var wg sync.WaitGroup
	tallies, errs := make([]tally, n), make([]error, n)
	for i := range n {
		wg.Go(func() { tallies[i], errs[i] = part(i) })
	}
	wg.Wait()
	var sum tally
	for _, t := range tallies {
		sum.merge(t)
	}
	return sum, errors.Join(errs...)
}

// A unaryLoop is one connection's part of a unary.
type unaryLoop struct {
	unary
	slots   int
	limit   int64
	random  *rand.Rand
	buf     []byte // the next request, if it is not sent yet
	ready   bool
	sent    map[uint32]time.Time
	begun   int64
	tally   tally
	failure error
}

func (l *unaryLoop) run(ctx context.Context, address string, length time.Duration) (tally, error) {
	c, err := dial(address, length+patience)
	if err != nil {
		return tally{}, err
	}
	defer c.close()
	c.token, c.onEnd = l.token, l.end
	began := time.Now()
	for ctx.Err() == nil { // what is under way then, nobody waits for
		more := time.Since(began) < length && (l.unary.limit == 0 || l.begun < l.limit)
		if !more && len(l.sent) == 0 {
			break
		}
		if more {
			if err := l.fill(c); err != nil {
				return tally{}, err
			}
		}
		if err := c.read(); err != nil {
			return tally{}, err
		}
		if l.failure != nil {
			return tally{}, l.failure
		}
	}
	l.tally.elapsed = time.Since(began)
	return l.tally, ctx.Err()
}

// fill starts calls until all slots are taken, or the server's window is.
func (l *unaryLoop) fill(c *conn) error {
	for len(l.sent) < l.slots && (l.unary.limit == 0 || l.begun < l.limit) {
		if !l.ready {
			l.prepare()
		}
		id, err := c.start(l.path, l.buf)
		if err != nil {
			return err
		}
		if id == 0 {
			return nil
		}
		l.sent[id] = time.Now()
		l.ready = false
		l.begun++
	}
	return nil
}

// prepare makes the next request.
func (l *unaryLoop) prepare() {
	l.ready = true
	if l.choose != nil {
		l.path, l.buf = l.choose(l.random, l.buf[:0])
		return
	}
	l.buf = l.body(l.random, l.buf[:0])
}

func (l *unaryLoop) end(id uint32, err error) {
	switch {
	case err != nil && l.patient:
		l.tally.refused++
	case err != nil:
		l.failure = err
	}
	l.tally.ops++
	l.tally.latencies = append(l.tally.latencies, time.Since(l.sent[id]))
	delete(l.sent, id)
}
