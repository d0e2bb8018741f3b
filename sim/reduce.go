package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/quoin-kv/quoin/sim/cluster"
	"github.com/quoin-kv/quoin/sim/plan"
)

// reduce makes a plan smaller as long as the same check fails: it leaves out faults, in halves first and one by one at last, then clients,
// then trouble of the network, then time.
func reduce(p *plan.Plan, check string, stdout io.Writer) *plan.Plan {
	fails := func(q *plan.Plan) bool {
		r := cluster.Run(q, nil)
		return r.Failure != nil && r.Failure.Check == check
	}
	for before := -1; before != size(p); {
		before = size(p)
		p = shorter(p, fails)
		p = fewer(p, fails, func(q *plan.Plan) *[]plan.Fault { return &q.Faults })
		p = fewer(p, fails, func(q *plan.Plan) *[]plan.Client { return &q.Clients })
		p = calmer(p, fails)
	}
	fmt.Fprintf(stdout, "seed %d reduced to %d faults and %d clients in %.1f s\n", p.Seed, len(p.Faults), len(p.Clients), float64(p.Safety)/1e9)
	return p
}

// size is what reducing makes smaller.
func size(p *plan.Plan) int {
	return len(p.Faults) + len(p.Clients) + p.Network.Loss + p.Network.Duplicate + p.Network.Reorder + p.Network.ReplyLoss + int(p.Safety/1e9)
}

// fewer leaves out elements of a list of the plan.
func fewer[T any](p *plan.Plan, fails func(*plan.Plan) bool, list func(*plan.Plan) *[]T) *plan.Plan {
	for chunk := max(len(*list(p))/2, 1); ; chunk /= 2 {
		for at := 0; at < len(*list(p)); {
			q := *p
			all := list(&q)
			*all = slices.Delete(slices.Clone(*all), at, min(at+chunk, len(*all)))
			if fails(&q) {
				p = &q
			} else {
				at += chunk
			}
		}
		if chunk <= 1 {
			return p
		}
	}
}

// shorter ends the part with faults earlier.
func shorter(p *plan.Plan, fails func(*plan.Plan) bool) *plan.Plan {
	for _, tenths := range []int64{1, 3, 5, 7, 9} {
		q := *p
		q.Safety = p.Safety * tenths / 10
		q.Faults = slices.DeleteFunc(slices.Clone(p.Faults), func(f plan.Fault) bool { return f.At >= q.Safety })
		if fails(&q) {
			return &q
		}
	}
	return p
}

// calmer takes away trouble of the network.
func calmer(p *plan.Plan, fails func(*plan.Plan) bool) *plan.Plan {
	for _, calm := range []func(*plan.Network){
		func(n *plan.Network) { n.Loss = 0 },
		func(n *plan.Network) { n.Duplicate = 0 },
		func(n *plan.Network) { n.Reorder = 0 },
		func(n *plan.Network) { n.ReplyLoss = 0 },
	} {
		q := *p
		calm(&q.Network)
		if q.Network != p.Network && fails(&q) {
			p = &q
		}
	}
	return p
}
