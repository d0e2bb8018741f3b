package cluster

import (
	"github.com/quoin-kv/quoin/internal/model"
	"github.com/quoin-kv/quoin/sim/client"
)

// greeter is a client that reads everything from each new leader in the first moments of its term, when it may not know yet what is committed,
// nor show it. It does not wait until a member that has just started lets others in: what is linearizable is so at any time.
type greeter struct {
	caller
	open int // requests under way
}

// How often a greeter reads from a leader at most, and how long after the election, in virtual nanoseconds.
const (
	greetings     = 4
	greetingDelay = 30e6
)

func (g *greeter) begin() {} // leaders are what it waits for

func (g *greeter) busy() bool { return g.open > 0 }

// greet lets clients that wait for leaders read from this one.
func (w *world) greet(h *host) {
	for _, g := range w.greeters {
		for range 1 + g.rng.IntN(greetings) {
			w.engine.After(g.rng.Int64N(greetingDelay), func() { g.read(h) })
		}
	}
}

func (g *greeter) read(h *host) {
	if g.w.closing {
		return
	}
	g.open++
	r := model.Request{Kind: model.Range, Key: "k", End: "l"}
	g.operationAt(h, r, client.Encode(&r), func(*model.Op) { g.open-- })
}
