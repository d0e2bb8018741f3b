package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// A small key: what it takes in memory is mostly what the server adds to it.
const (
	memoryKeyBytes   = 32
	memoryValueBytes = 16
	// memorySettle is how long a server gets to write out what is on its way to
	// the database, and to give back what it needed for that.
	memorySettle = 15 * time.Second
)

// memoryWorks are the rows about the memory that keys take.
func memoryWorks(n scale) []work {
	var all []work
	for _, keys := range n.memoryKeys {
		all = append(all, work{
			name:     fmt.Sprintf("memory-%d", keys),
			about:    fmt.Sprintf("resident memory that %d keys of %d bytes with values of %d add, put one by one", keys, memoryKeyBytes, memoryValueBytes),
			restarts: true,
			prepare: func(ctx context.Context, c *cluster) (load, error) {
				return fillMemory(ctx, c, keys, n)
			},
		})
	}
	return all
}

// fillMemory puts the keys and returns a load that tells how much larger the
// server is than before.
func fillMemory(ctx context.Context, c *cluster, keys int, n scale) (load, error) {
	before, err := c.residentMemory()
	if err != nil {
		return nil, err
	}
	u := unary{path: pathPut, connections: 1, inFlight: n.inFlight, limit: int64(keys), body: memoryPuts()}
	if _, err := u.run(ctx, c.addresses(), 0, 20*time.Minute); err != nil {
		return nil, err
	}
	if err := pause(ctx, min(memorySettle, time.Duration(keys)*100*time.Microsecond)); err != nil {
		return nil, err
	}
	return func(context.Context, *cluster, uint64, time.Duration) (tally, error) {
		now, err := c.residentMemory()
		return tally{ops: int64(keys), elapsed: time.Second, peak: now, growth: now - before}, err
	}, nil
}

// memoryPuts writes puts of one key after the other, for a single connection.
func memoryPuts() func(*rand.Rand, []byte) []byte {
	value := payload(4, memoryValueBytes)
	next := 0
	return func(_ *rand.Rand, buf []byte) []byte {
		next++
		return appendPut(buf, fmt.Appendf(nil, "%s%0*d", keyPrefix, memoryKeyBytes-len(keyPrefix), next), value)
	}
}

// residentMemory adds up what the members have in memory, mapped files included.
func (c *cluster) residentMemory() (sum int64, err error) {
	for _, s := range c.members {
		kb, err := procField(s.pid(), "status", "VmRSS:")
		if err != nil {
			return sum, err
		}
		sum += kb << 10
	}
	return sum, nil
}

// memoryTable renders what keys take.
func (r report) memoryTable() string {
	var b strings.Builder
	for _, w := range r.Works {
		if !w.isMemory() {
			continue
		}
		if b.Len() == 0 {
			b.WriteString("\nMemory that a small key takes.\n\n| work | bytes per key | factor |\n|---|---|---|\n")
		}
		var sides [2][]float64
		for _, one := range w.Rounds {
			for i, s := range []sample{one.A, one.B} {
				sides[i] = append(sides[i], float64(s.GrowthBytes)/float64(max(s.Ops, 1)))
			}
		}
		v := [2]float64{median(sides[0]), median(sides[1])}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", w.Name, pairOf(v), times(v[1], v[0]))
	}
	return b.String()
}

func (w workResult) isMemory() bool { return len(w.Rounds) > 0 && w.Rounds[0].A.GrowthBytes != 0 }
