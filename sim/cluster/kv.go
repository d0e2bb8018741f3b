package cluster

import (
	"fmt"

	"github.com/quoin-kv/quoin/internal/model"
	"github.com/quoin-kv/quoin/sim/client"
	"github.com/quoin-kv/quoin/sim/plan"
)

// kv is a client that reads and writes.
type kv struct {
	caller
	config  plan.Client
	waiting bool
	count   int
	seen    map[model.Bytes]model.KV
	rev     int64
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
	k.operation(r, client.Encode(&r), func(op *model.Op) {
		k.waiting = false
		k.learn(op)
		k.rest()
	})
}

// readOnly reports whether an operation changes nothing.
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
	case n < 84 && k.config.Compacts:
		return model.Request{Kind: model.Compact, AtRevision: max(1, k.rev-k.rng.Int64N(100))}
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
