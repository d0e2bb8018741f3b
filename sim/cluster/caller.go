package cluster

import (
	"context"
	"errors"
	"math/rand/v2"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/model"
	"github.com/quoin-kv/quoin/sim/client"
	"github.com/quoin-kv/quoin/sim/engine"
	"github.com/quoin-kv/quoin/sim/plan"
)

// actor is what the other parts of a simulation know of a client.
type actor interface {
	begin()
	busy() bool // something is under way
}

// recorder gathers what clients saw.
type recorder struct {
	history model.History
}

func (r *recorder) unknown() (n int) {
	for i := range r.history.Ops {
		if r.history.Ops[i].Unknown {
			n++
		}
	}
	return n
}

// errNoAnswer is all that a client knows of a call whose answer did not come.
var errNoAnswer = errors.New("no answer")

// errNobody is the answer of a host on which nothing listens: nothing has happened.
var errNobody = errors.New("connection refused")

// caller sends requests for a client.
type caller struct {
	w     *world
	index int
	rng   *rand.Rand
	host  *host
	stick int
	early bool // members that are not ready answer it, too: of them it may only ask for what is linearizable
}

func (w *world) newCaller(c plan.Client) caller {
	return caller{w: w, index: c.ID, rng: engine.Random(w.plan.Seed, "client", c.ID), stick: c.Stick}
}

// choose returns the host to ask next.
func (c *caller) choose() *host {
	if c.host == nil || c.host.retired || c.rng.IntN(1000) >= c.stick {
		all := c.w.present()
		c.host = all[c.rng.IntN(len(all))]
	}
	return c.host
}

// call lets serve run on a member and hands over the answer, once.
func (c *caller) call(h *host, timeout int64, serve func(m *member) ([]byte, error), answer func(reply []byte, err error)) {
	once := func(reply []byte, err error) {
		if answer != nil {
			fn := answer
			answer = nil
			fn(reply, err)
		}
	}
	w := c.w
	w.engine.After(timeout, func() { once(nil, errNoAnswer) })
	w.engine.After(w.network.delay(), func() {
		m := h.member
		if m == nil || !m.ready && !c.early {
			w.engine.After(w.network.delay(), func() { once(nil, errNobody) })
			return
		}
		m.proc.Exec(func() { m.proc.Go(func() { c.serve(m, serve, once) }) })
	})
}

// serve is the member's side of a call.
func (c *caller) serve(m *member, serve func(m *member) ([]byte, error), answer func([]byte, error)) {
	var reply []byte
	err := errNoAnswer // if the member ends meanwhile
	defer func() {
		if !c.w.network.chance(c.w.network.config.ReplyLoss) {
			c.w.engine.After(c.w.network.delay(), func() { answer(reply, err) })
		}
	}()
	reply, err = serve(m)
}

func (w *world) startClients() {
	for _, c := range w.plan.Clients {
		w.clients = append(w.clients, w.newClient(c))
	}
	for _, c := range w.clients {
		c.begin()
	}
}

func (w *world) newClient(c plan.Client) actor {
	switch c.Kind {
	case plan.Watcher:
		return &watcher{caller: w.newCaller(c), config: c}
	case plan.Greeter:
		g := &greeter{caller: w.newCaller(c)}
		g.early = true
		w.greeters = append(w.greeters, g)
		return g
	case plan.Leaser:
		return &leaser{caller: w.newCaller(c), config: c}
	}
	return &kv{caller: w.newCaller(c), config: c, seen: map[model.Bytes]model.KV{}}
}

// judgeError says what an error means for the state, and whether it means anything definite.
func judgeError(err error) (model.Failure, bool) {
	var known *kverr.Error
	switch {
	case err == nil:
		return "", false
	case errors.Is(err, kverr.Compacted):
		return model.FailureCompacted, true
	case errors.Is(err, kverr.FutureRev):
		return model.FailureFuture, true
	case errors.Is(err, kverr.LeaseNotFound):
		return model.FailureLeaseNotFound, true
	case errors.Is(err, kverr.LeaseExist):
		return model.FailureLeaseExists, true
	case errors.Is(err, kverr.KeyNotFound):
		return model.FailureKeyNotFound, true
	case errors.Is(err, kverr.Stopped):
		return "", false
	case errors.Is(err, context.DeadlineExceeded):
		return model.FailureRefused, true // the core never had it
	case errors.Is(err, kverr.NoSpace):
		return model.FailureRefused, true
	case errors.As(err, &known) && known.Retry == kverr.RetryLater:
		return model.FailureRefused, true
	}
	return "", false
}

// operation sends an operation of the model to a member, notes what became of it and then calls after. Nothing is noted of an operation
// that reached nobody.
func (c *caller) operation(r model.Request, raw []byte, after func(op *model.Op)) {
	c.operationAt(c.choose(), r, raw, after)
}

// operationAt is operation for one member.
func (c *caller) operationAt(h *host, r model.Request, raw []byte, after func(op *model.Op)) {
	op := model.Op{Client: c.index, Member: h.id, Request: r, Call: c.w.engine.Now()}
	ask := serve
	if c.rng.IntN(2) == 0 {
		ask = serveDirect
	}
	c.call(h, c.patience(), func(m *member) ([]byte, error) { return ask(m, r.Kind, raw) }, func(reply []byte, err error) {
		op.Return = c.w.engine.Now()
		if c.outcome(&op, reply, err) {
			c.w.recorder.history.Ops = append(c.w.recorder.history.Ops, op)
		}
		after(&op)
	})
}

// patience is how long the client waits for an answer.
func (c *caller) patience() int64 { return 1e9 + c.rng.Int64N(9e9) }

// outcome notes in an operation what became of it, and returns false if it reached nobody.
func (c *caller) outcome(op *model.Op, reply []byte, err error) bool {
	switch failure, definite := judgeError(err); {
	case err == nil:
		if op.Response, err = client.Decode(op.Kind, reply); err != nil {
			c.w.fail("codec", "%v", err)
		}
	case errors.Is(err, errNobody):
		op.Failure = model.FailureRefused
		return false
	case definite && !c.w.maybeDone(err):
		op.Failure = failure
	case readOnly(&op.Request):
		op.Failure = model.FailureRefused
	default:
		op.Unknown = true
	}
	c.w.engine.Note("op", c.index, uint64(op.Call), uint64(op.Revision), uint64(len(op.Failure)))
	if c.w.engine.Traced() {
		c.w.engine.Comment(c.index, "client: %s %q at %x -> rev %d %q unknown %v (%v)", op.Kind, op.Key, op.Member, op.Revision, op.Failure, op.Unknown, err)
	}
	return true
}

// maybeDone reports whether a definite refusal is none after all: a member that is over its quota does what is committed, and tells its client
// that there is no space.
func (w *world) maybeDone(err error) bool {
	return w.plan.Tuning.Quota > 0 && errors.Is(err, kverr.NoSpace)
}

// serve asks a member's service for an operation.
func serve(m *member, kind model.Kind, raw []byte) ([]byte, error) {
	ctx := context.Background()
	switch kind {
	case model.Put:
		return m.service.Put(ctx, raw)
	case model.Delete:
		return m.service.DeleteRange(ctx, raw)
	case model.Range:
		return m.service.Range(ctx, raw)
	case model.Txn:
		return m.service.Txn(ctx, raw)
	case model.Compact:
		return m.service.Compact(ctx, raw)
	case model.Grant:
		return m.service.LeaseGrant(ctx, raw)
	case model.Revoke:
		return m.service.LeaseRevoke(ctx, raw)
	}
	panic("expected an operation that services have, found " + kind.String())
}
