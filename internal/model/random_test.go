package model

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// A world makes histories by running clients against one Store: calls, effects
// and returns happen one after the other at times that rise, so that what it
// records is right by construction.
type world struct {
	t       *testing.T
	rng     *rand.Rand
	now     int64
	store   *Store
	history *History
	clients []*client
	free    []Request // taken effect later, perhaps
	leases  int64
	// unknown is how many in a hundred operations lose their answer.
	unknown int
	// movers lets leases and compactions happen.
	movers bool
	// alone lets reads be serializable.
	alone bool
	// behind is what each member has applied, which may be less than there is.
	behind map[uint64]*Store
}

// A client is at one of three points of a call.
type client struct {
	op      *Op // nil: idle
	applied bool
}

func newWorld(t *testing.T, rng *rand.Rand, clients int) *world {
	w := &world{t: t, rng: rng, store: NewStore(Snapshot{}), history: &History{}, unknown: 10, movers: true, alone: true, behind: map[uint64]*Store{}}
	for range clients {
		w.clients = append(w.clients, &client{})
	}
	return w
}

// run makes a history of n operations.
func (w *world) run(n int) *History {
	for len(w.history.Ops) < n {
		w.step()
	}
	for _, c := range w.clients {
		if c.op != nil {
			c.op.Unknown, c.op.Response = true, Response{}
			w.history.Ops = append(w.history.Ops, *c.op)
		}
	}
	return w.history
}

func (w *world) step() {
	w.now += 1 + w.rng.Int64N(3)
	if w.rng.IntN(40) == 0 {
		w.happen()
		return
	}
	id := w.rng.IntN(len(w.clients))
	c := w.clients[id]
	switch {
	case c.op == nil:
		c.op, c.applied = &Op{Client: id, Member: uint64(id%3 + 1), Request: w.request(), Call: w.now}, false
		w.lose(c)
	case !c.applied:
		c.op.Response = w.apply(c.op.Member, c.op.Request)
		c.applied = true
	default:
		w.answer(c)
	}
}

// lose lets a client give up at once on an operation that may happen later.
func (w *world) lose(c *client) {
	if w.rng.IntN(100) >= w.unknown {
		return
	}
	c.op.Unknown = true
	w.free = append(w.free, c.op.Request)
	w.history.Ops = append(w.history.Ops, *c.op)
	c.op = nil
}

// happen is what comes by itself: a lost operation takes effect, a lease ends.
func (w *world) happen() {
	if len(w.free) > 0 {
		i := w.rng.IntN(len(w.free))
		if w.rng.IntN(3) > 0 {
			w.store.Apply(w.free[i])
		}
		w.free = slices.Delete(w.free, i, i+1)
		return
	}
	if w.leases > 0 && w.movers {
		w.store.Apply(Request{Kind: Expire, Lease: 1 + w.rng.Int64N(w.leases)})
	}
}

func (w *world) apply(member uint64, r Request) Response {
	if !isSerializable(r) {
		response := w.store.Apply(r)
		w.behind[member] = w.store.Clone()
		return response
	}
	if w.behind[member] == nil || w.rng.IntN(3) == 0 {
		w.behind[member] = w.store.Clone()
	}
	return w.behind[member].Apply(r)
}

func (w *world) answer(c *client) {
	c.op.Return = w.now
	if c.op.Failure == FailureNone && (c.op.Kind == Grant || c.op.Kind == Revoke || c.op.Kind == Compact) {
		c.op.Response.Revision = w.store.revision
		w.behind[c.op.Member] = w.store.Clone()
	}
	w.history.Ops = append(w.history.Ops, *c.op)
	c.op = nil
}

func (w *world) key() Bytes { return Bytes('a' + rune(w.rng.IntN(4))) }

func (w *world) request() Request {
	n := w.rng.IntN(100)
	switch {
	case n < 40 || !w.movers && n < 48:
		return w.put()
	case n < 44 && w.movers:
		w.leases++
		return Request{Kind: Grant, Lease: w.leases}
	case n < 46 && w.movers:
		return Request{Kind: Revoke, Lease: 1 + w.rng.Int64N(w.leases+1)}
	case n < 48 && w.movers:
		return Request{Kind: Compact, AtRevision: w.store.revision - w.rng.Int64N(4)}
	case n < 56:
		return w.deletion()
	case n < 66:
		return w.txn()
	}
	return w.reading()
}

func (w *world) put() Request {
	r := Request{Kind: Put, Key: w.key(), Value: Bytes(fmt.Sprint(w.rng.IntN(1000))), PrevKV: w.rng.IntN(2) == 0}
	if w.leases > 0 && w.movers && w.rng.IntN(3) == 0 {
		r.Lease = 1 + w.rng.Int64N(w.leases)
	}
	if w.rng.IntN(12) == 0 {
		r.Value, r.IgnoreValue = "", true
	}
	return r
}

func (w *world) deletion() Request {
	r := Request{Kind: Delete, Key: w.key(), PrevKV: w.rng.IntN(2) == 0}
	if w.rng.IntN(4) == 0 {
		r.End = "z"
	}
	return r
}

func (w *world) reading() Request {
	r := Request{Kind: Range, Key: w.key(), Serializable: w.alone && w.rng.IntN(6) == 0}
	if w.rng.IntN(2) == 0 {
		r.End = openEnd
		r.Limit = w.rng.Int64N(4)
	}
	switch w.rng.IntN(8) {
	case 0:
		r.CountOnly = true
	case 1:
		r.KeysOnly = true
	case 2:
		r.AtRevision = max(1, w.store.revision-w.rng.Int64N(6)+1)
	}
	return r
}

func (w *world) txn() Request {
	r := Request{Kind: Txn}
	for range w.rng.IntN(3) {
		r.Compares = append(r.Compares, Compare{
			Key: w.key(), Target: TargetVersion + Target(w.rng.IntN(5)), Relation: Equal + Relation(w.rng.IntN(4)),
			Number: w.rng.Int64N(3), Value: Bytes(fmt.Sprint(w.rng.IntN(1000))),
		})
	}
	r.Then = []Request{w.put(), {Kind: Range, Key: "a", End: "c"}}
	if w.rng.IntN(3) == 0 {
		r.Then = append(r.Then, Request{Kind: Txn, Else: []Request{{Kind: Delete, Key: "x"}}, Then: []Request{{Kind: Range, Key: "b"}}})
	}
	r.Else = []Request{w.deletion()}
	return r
}

// watch records what watchers would be shown of the whole history.
func (w *world) watch(key, end Bytes) WatchLog {
	log := WatchLog{Client: 100, Key: key, End: end, Start: 2, PrevKV: true, Until: w.store.revision}
	for r := int64(2); r <= w.store.revision; r++ {
		var events []Event
		for _, e := range w.store.Events(r) {
			if log.wants(e) {
				events = append(events, e)
			}
		}
		if len(events) > 0 {
			log.Responses = append(log.Responses, WatchResponse{Time: w.now, Revision: r, Events: events})
		}
	}
	log.Responses = append(log.Responses, WatchResponse{Time: w.now + 1, Revision: w.store.revision})
	return log
}
