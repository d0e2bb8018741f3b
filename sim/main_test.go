package main

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/quoin-kv/quoin/sim/cluster"
	"github.com/quoin-kv/quoin/sim/plan"
)

// What a test run plays at most: so many new seeds, as long as it has not taken longer than this.
const (
	freshSeeds = 48
	freshTime  = 6 * time.Second
)

// TestFreshSeeds plays seeds that nobody has seen before.
func TestFreshSeeds(t *testing.T) {
	first, start := rand.Uint64()>>16, time.Now()
	played := uint64(0)
	for ; played < freshSeeds && time.Since(start) < freshTime; played++ {
		seed := first + played
		if r := cluster.Run(plan.Draw(seed), nil); r.Failure != nil {
			t.Errorf("seed %d: %v\nreproduce with: go run ./sim -seed %d", seed, r.Failure, seed)
		}
	}
	t.Logf("seeds from %d on, %d of them", first, played)
}

// TestSameSeedSameRun: a seed decides everything that happens.
func TestSameSeedSameRun(t *testing.T) {
	first := rand.Uint64() >> 16
	for i := range uint64(2) {
		seed := first + i
		a, b := cluster.Run(plan.Draw(seed), nil), cluster.Run(plan.Draw(seed), nil)
		if a.Hash != b.Hash || a.Steps != b.Steps || a.Operations != b.Operations {
			t.Errorf("seed %d: %d steps with hash %x, then %d with %x", seed, a.Steps, a.Hash, b.Steps, b.Hash)
		}
	}
}

// TestReduce: what does not matter for a failure is left out.
func TestReduce(t *testing.T) {
	p := plan.Draw(1)
	needed := p.Faults[len(p.Faults)/2].Kind
	fails := func(q *plan.Plan) bool {
		for _, f := range q.Faults {
			if f.Kind == needed {
				return true
			}
		}
		return false
	}
	q := fewer(p, fails, func(q *plan.Plan) *[]plan.Fault { return &q.Faults })
	if len(q.Faults) != 1 || q.Faults[0].Kind != needed {
		t.Errorf("reduced to %v, want one %s", q.Faults, needed)
	}
	if len(p.Faults) < 2 {
		t.Errorf("the plan that was reduced has changed: %v", p.Faults)
	}
}
