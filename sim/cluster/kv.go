package cluster

import (
	"fmt"
	"slices"

	"github.com/quoin-kv/quoin/internal/model"
	"github.com/quoin-kv/quoin/sim/client"
	"github.com/quoin-kv/quoin/sim/plan"
)

// kv is a client that reads and writes.
type kv struct {
	caller
	config plan.Client
	open   int // requests under way
	count  int
	next   []model.Request // to be sent before anything new
	seen   map[model.Bytes]model.KV
	rev    int64
}

func (k *kv) begin() { k.rest() }

func (k *kv) busy() bool { return k.open > 0 }

// rest lets the client think, then act again.
func (k *kv) rest() {
	k.w.engine.After(k.config.Think/4+k.rng.Int64N(3*k.config.Think/2+1), k.act)
}

// act sends the next request or several at once, unless the simulation comes to its end.
func (k *kv) act() {
	if k.w.closing {
		return
	}
	n := max(1, len(k.next))
	if k.config.Burst > 1 {
		n = max(n, 1+k.rng.IntN(k.config.Burst))
	}
	for range n {
		k.open++
		k.count++
		r := k.draw()
		k.operation(r, client.Encode(&r), k.answered)
	}
}

// answered rests when everything that was sent together has its answer.
func (k *kv) answered(op *model.Op) {
	k.open--
	k.learn(op)
	if k.open == 0 {
		k.rest()
	}
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

// learn remembers what an answer says, for later conditions. After a compaction it looks at where history begins now.
func (k *kv) learn(op *model.Op) {
	k.rev = max(k.rev, op.Revision)
	switch {
	case op.Unknown || op.Failure != "":
	case op.Kind == model.Range:
		for _, kv := range op.KVs {
			k.seen[kv.Key] = kv
		}
	case op.Kind == model.Compact:
		everything := model.Request{Kind: model.Range, Key: "\x00", End: "\x00", AtRevision: op.AtRevision}
		before := everything
		before.AtRevision--
		k.next = append(k.next, everything, before)
	}
}

// draw makes the next request.
func (k *kv) draw() model.Request {
	if len(k.next) > 0 {
		r := k.next[0]
		k.next = k.next[1:]
		return r
	}
	switch n := k.rng.IntN(100); {
	case n < 33:
		return k.put()
	case n < 57:
		return model.Request{Kind: model.Range, Key: k.key()}
	case n < 63:
		return model.Request{Kind: model.Range, Key: k.key(), Serializable: true}
	case n < 71:
		return k.wideRange()
	case n < 79:
		return k.remove()
	case n < 81 && k.config.Compacts:
		return model.Request{Kind: model.Compact, AtRevision: max(2, k.rev-k.rng.Int64N(100))}
	default:
		return k.txn()
	}
}

func (k *kv) key() model.Bytes { return model.Bytes(fmt.Sprintf("k%02d", k.rng.IntN(k.config.Keys))) }

func (k *kv) value() model.Bytes { return model.Bytes(fmt.Sprintf("%d.%d", k.index, k.count)) }

func (k *kv) put() model.Request {
	r := model.Request{Kind: model.Put, Key: k.key(), Value: k.value(), PrevKV: k.rng.IntN(3) == 0}
	switch k.rng.IntN(12) {
	case 0:
		r.Value, r.IgnoreValue = "", true
	case 1:
		r.IgnoreLease = true
	}
	return r
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

// txn compares and sets, or does several things at once. Its keys differ, as none may be changed twice.
func (k *kv) txn() model.Request {
	keys := k.keys()
	r := model.Request{Kind: model.Txn}
	for i := range 1 + k.rng.IntN(min(3, len(keys))) {
		r.Compares = append(r.Compares, k.compare(keys[i]))
	}
	r.Then = []model.Request{{Kind: model.Put, Key: keys[0], Value: k.value()}, {Kind: model.Range, Key: k.key()}}
	r.Else = []model.Request{{Kind: model.Range, Key: keys[0]}, {Kind: model.Range, Key: "k", End: "l", CountOnly: true}}
	if len(keys) > 1 && k.rng.IntN(2) == 0 {
		r.Then = append(r.Then, model.Request{Kind: model.Delete, Key: keys[1]})
	}
	if len(keys) > 2 && k.rng.IntN(3) == 0 {
		r.Then = append(r.Then, k.nested(keys[0], keys[2]))
	}
	return r
}

// nested is a transaction within another one, which depends on what that one has written.
func (k *kv) nested(written, key model.Bytes) model.Request {
	return model.Request{
		Kind:     model.Txn,
		Compares: []model.Compare{{Key: written, Target: model.TargetValue, Relation: model.Equal, Value: k.value()}},
		Then:     []model.Request{{Kind: model.Put, Key: key, Value: k.value()}},
		Else:     []model.Request{{Kind: model.Delete, Key: key}},
	}
}

// keys are up to three different keys.
func (k *kv) keys() (all []model.Bytes) {
	for range 3 {
		if key := k.key(); !slices.Contains(all, key) {
			all = append(all, key)
		}
	}
	return all
}

// compare is a condition that holds if nobody has changed the key since it was seen.
func (k *kv) compare(key model.Bytes) model.Compare {
	switch last, known := k.seen[key]; {
	case known && k.rng.IntN(2) == 0:
		return model.Compare{Key: key, Target: model.TargetMod, Relation: model.Equal, Number: last.Mod}
	case known:
		return model.Compare{Key: key, Target: model.TargetValue, Relation: model.Equal, Value: last.Value}
	}
	relation := model.Equal
	if k.rng.IntN(2) == 0 {
		relation = model.Greater
	}
	return model.Compare{Key: key, Target: model.TargetVersion, Relation: relation}
}
