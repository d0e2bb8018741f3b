package cluster

import (
	"context"
	"errors"
	"fmt"
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
}

func (w *world) newCaller(index int, c plan.Client) caller {
	return caller{w: w, index: index, rng: engine.Random(w.plan.Seed, "client", index), stick: c.Stick}
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
		if m == nil || !m.ready {
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

// kv is a client that reads and writes.
type kv struct {
	caller
	config  plan.Client
	waiting bool
	count   int
	seen    map[model.Bytes]model.KV
	rev     int64
}

func (w *world) startClients() {
	for i, c := range w.plan.Clients {
		w.clients = append(w.clients, w.newClient(i, c))
	}
	for _, c := range w.clients {
		c.begin()
	}
}

func (w *world) newClient(i int, c plan.Client) actor {
	return &kv{caller: w.newCaller(i, c), config: c, seen: map[model.Bytes]model.KV{}}
}

func (k *kv) begin() { k.rest() }

func (k *kv) busy() bool { return k.waiting }

// rest lets the client think, then act again.
func (k *kv) rest() {
	k.w.engine.After(k.config.Think/4+k.rng.Int64N(3*k.config.Think/2+1), k.act)
}

// act sends the next request, unless the simulation comes to its end.
func (k *kv) act() {
	if k.w.closing {
		return
	}
	k.waiting = true
	k.count++
	r := k.draw()
	h := k.choose()
	called := k.w.engine.Now()
	raw := client.Encode(&r)
	timeout := int64(1e9) + k.rng.Int64N(9e9)
	k.call(h, timeout, func(m *member) ([]byte, error) { return serve(m, r.Kind, raw) }, func(reply []byte, err error) {
		k.waiting = false
		k.record(h, &r, called, reply, err)
		k.rest()
	})
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
	case model.Revoke:
		return m.service.LeaseRevoke(ctx, raw)
	}
	panic("expected an operation that services have, found " + kind.String())
}

// record notes what became of a request.
func (k *kv) record(h *host, r *model.Request, called int64, reply []byte, err error) {
	op := model.Op{Client: k.index, Member: h.id, Request: *r, Call: called, Return: k.w.engine.Now()}
	switch failure, definite := judgeError(err); {
	case err == nil:
		op.Response, err = client.Decode(r.Kind, reply)
		if err != nil {
			k.w.fail("codec", "%v", err)
		}
		k.learn(&op)
	case errors.Is(err, errNobody):
		return
	case definite:
		op.Response.Failure = failure
	case readOnly(r):
		op.Response.Failure = model.FailureRefused
	default:
		op.Unknown = true
	}
	k.w.engine.Note("op", k.index, uint64(op.Call), uint64(op.Revision), uint64(len(op.Failure)))
	k.w.engine.Comment(k.index, "%s %q -> rev %d %q unknown=%v (%v)", r.Kind, r.Key, op.Revision, op.Failure, op.Unknown, err)
	k.w.recorder.history.Ops = append(k.w.recorder.history.Ops, op)
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
	case errors.Is(err, context.DeadlineExceeded):
		return model.FailureRefused, true // the core never had it
	case errors.As(err, &known) && known.Retry == kverr.RetryLater:
		return model.FailureRefused, true
	}
	return "", false
}

func readOnly(r *model.Request) bool {
	if r.Kind != model.Txn {
		return r.Kind == model.Range
	}
	for _, ops := range [][]model.Request{r.Then, r.Else} {
		for i := range ops {
			if !readOnly(&ops[i]) {
				return false
			}
		}
	}
	return true
}

// learn remembers what an answer says, for later conditions.
func (k *kv) learn(op *model.Op) {
	k.rev = max(k.rev, op.Revision)
	if op.Kind == model.Range {
		for _, kv := range op.KVs {
			k.seen[kv.Key] = kv
		}
	}
}

// draw makes the next request.
func (k *kv) draw() model.Request {
	switch n := k.rng.IntN(100); {
	case n < 35:
		return k.put()
	case n < 60:
		return model.Request{Kind: model.Range, Key: k.key()}
	case n < 66:
		return model.Request{Kind: model.Range, Key: k.key(), Serializable: true}
	case n < 74:
		return k.wideRange()
	case n < 82:
		return k.remove()
	default:
		return k.txn()
	}
}

func (k *kv) key() model.Bytes { return model.Bytes(fmt.Sprintf("k%02d", k.rng.IntN(k.config.Keys))) }

func (k *kv) value() model.Bytes { return model.Bytes(fmt.Sprintf("%d.%d", k.index, k.count)) }

func (k *kv) put() model.Request {
	return model.Request{Kind: model.Put, Key: k.key(), Value: k.value(), PrevKV: k.rng.IntN(3) == 0}
}

func (k *kv) remove() model.Request {
	r := model.Request{Kind: model.Delete, Key: k.key(), PrevKV: k.rng.IntN(3) == 0}
	if k.rng.IntN(4) == 0 {
		r.End = k.key()
	}
	return r
}

func (k *kv) wideRange() model.Request {
	r := model.Request{Kind: model.Range, Key: "k", End: "l"}
	switch k.rng.IntN(5) {
	case 0:
		r.Limit = 1 + k.rng.Int64N(5)
	case 1:
		r.CountOnly = true
	case 2:
		r.KeysOnly = true
	case 3:
		r.AtRevision = max(1, k.rev-k.rng.Int64N(50))
	}
	return r
}

// txn compares and sets, or does several things at once.
func (k *kv) txn() model.Request {
	key := k.key()
	r := model.Request{Kind: model.Txn}
	switch last, known := k.seen[key]; {
	case known && k.rng.IntN(2) == 0:
		r.Compares = []model.Compare{{Key: key, Target: model.TargetMod, Relation: model.Equal, Number: last.Mod}}
	case known:
		r.Compares = []model.Compare{{Key: key, Target: model.TargetValue, Relation: model.Equal, Value: last.Value}}
	default:
		r.Compares = []model.Compare{{Key: key, Target: model.TargetVersion, Relation: model.Equal}}
	}
	r.Then = []model.Request{{Kind: model.Put, Key: key, Value: k.value()}, {Kind: model.Range, Key: k.key()}}
	r.Else = []model.Request{{Kind: model.Range, Key: key}}
	if other := k.key(); other != key && k.rng.IntN(2) == 0 {
		r.Then = append(r.Then, model.Request{Kind: model.Delete, Key: other})
	}
	return r
}
