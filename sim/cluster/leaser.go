package cluster

import (
	"fmt"
	"slices"

	"github.com/quoin-kv/quoin/internal/model"
	"github.com/quoin-kv/quoin/sim/client"
	"github.com/quoin-kv/quoin/sim/plan"
)

// leaser is a client with one lease at a time: it grants it, attaches a key, keeps it alive for a while or not at all, and then revokes it or
// watches it end.
type leaser struct {
	caller
	config plan.Client
	count  int64
	lease  *model.LeaseLog // nil if it has none
	key    model.Bytes
	until  int64 // it keeps the lease alive until then
	revoke bool  // and revokes it
	under  int   // calls under way
}

func (l *leaser) begin() { l.w.engine.After(l.rng.Int64N(5e9), l.act) }

func (l *leaser) busy() bool { return l.under > 0 || l.lease != nil }

func (l *leaser) rest() {
	l.w.engine.After(l.config.Think/2+l.rng.Int64N(l.config.Think), l.act)
}

// act does the next thing.
func (l *leaser) act() {
	switch now := l.w.engine.Now(); {
	case l.lease == nil && l.w.closing:
	case l.lease == nil:
		l.grant()
	case now < l.until && !l.w.closing && l.rng.IntN(3) > 0:
		l.keepAlive()
	case now >= l.until && l.revoke:
		l.revokeLease()
	default:
		l.look()
	}
}

// do runs an operation, and what after calls for before it rests.
func (l *leaser) do(r model.Request, raw []byte, after func(op *model.Op) (then func())) {
	l.under++
	l.operation(r, raw, func(op *model.Op) {
		l.under--
		if then := after(op); then != nil {
			then()
			return
		}
		l.rest()
	})
}

func (l *leaser) grant() {
	l.count++
	id, ttl := int64(l.index+1)<<32|l.count, 1+l.rng.Int64N(8)
	l.do(model.Request{Kind: model.Grant, Lease: id}, client.EncodeGrant(id, ttl), func(op *model.Op) func() {
		if op.Unknown || op.Failure != "" {
			return nil
		}
		l.lease = &model.LeaseLog{ID: id, TTL: max(ttl, l.w.minLeaseTTL()), Granted: model.Span{Call: op.Call, Return: op.Return}}
		l.key = model.Bytes(fmt.Sprintf("l%d.%d", l.index, l.count))
		l.until, l.revoke = op.Return+l.rng.Int64N(30e9), l.rng.IntN(3) == 0
		return l.attach
	})
}

// attach puts a key with the lease, and sometimes one that others may take off it.
func (l *leaser) attach() {
	r := model.Request{Kind: model.Put, Key: l.key, Value: l.key, Lease: l.lease.ID}
	if l.rng.IntN(3) == 0 {
		r = model.Request{Kind: model.Txn, Then: []model.Request{r, {Kind: model.Put, Key: "k00", Value: l.key, Lease: l.lease.ID}}}
	}
	l.do(r, client.Encode(&r), func(op *model.Op) func() {
		if op.Unknown || op.Failure != "" {
			l.forget() // whether there is a key is not known
		}
		return nil
	})
}

// keepAlive renews the lease.
func (l *leaser) keepAlive() {
	lease, called := l.lease, l.w.engine.Now()
	l.under++
	raw := client.EncodeKeepAlive(lease.ID)
	l.call(l.choose(), l.patience(), func(m *member) ([]byte, error) { return m.keepAlive(raw) }, func(reply []byte, err error) {
		l.under--
		span := model.Span{Call: called, Return: l.w.engine.Now()}
		l.renewed(lease, span, reply, err)
		l.rest()
	})
}

// renewed notes what became of a renewal.
func (l *leaser) renewed(lease *model.LeaseLog, span model.Span, reply []byte, err error) {
	ttl := int64(0)
	if err == nil {
		_, _, ttl, err = client.DecodeLease(reply)
	}
	l.w.engine.Note("renewed", l.index, uint64(ttl), uint64(span.Return))
	l.w.engine.Comment(l.index, "client: renewal of %x: %d, %v", lease.ID, ttl, err)
	switch {
	case err != nil:
		span.Unknown = true
		lease.Renewed = append(lease.Renewed, span)
	case ttl > 0:
		lease.Renewed = append(lease.Renewed, span)
	default:
		l.gone(span.Return)
	}
}

func (l *leaser) revokeLease() {
	lease := l.lease
	r := model.Request{Kind: model.Revoke, Lease: lease.ID}
	l.do(r, client.Encode(&r), func(op *model.Op) func() {
		if op.Unknown || op.Failure == "" {
			lease.Revoked = &model.Span{Call: op.Call, Return: op.Return, Unknown: op.Unknown}
		}
		l.revoke = op.Failure == model.FailureRefused
		return nil
	})
}

// look looks whether the key is still there.
func (l *leaser) look() {
	lease := l.lease
	r := model.Request{Kind: model.Range, Key: l.key}
	l.do(r, client.Encode(&r), func(op *model.Op) func() {
		switch {
		case op.Failure != "":
		case op.Count > 0:
			lease.Seen = op.Call
		default:
			l.gone(op.Return)
		}
		return nil
	})
}

// gone notes the end of the lease.
func (l *leaser) gone(at int64) {
	l.lease.Gone = at
	l.finish()
}

// finish hands the log of the lease over, unless a clock has jumped meanwhile: the leader's time is what counts, and it was not the recorder's.
func (l *leaser) finish() {
	l.lease.Until = l.w.engine.Now()
	jumped := slices.ContainsFunc(l.w.jumps, func(at int64) bool { return at >= l.lease.Granted.Call && at <= l.lease.Until })
	if !jumped {
		l.w.recorder.history.Leases = append(l.w.recorder.history.Leases, *l.lease)
	}
	l.forget()
}

func (l *leaser) forget() { l.lease = nil }
