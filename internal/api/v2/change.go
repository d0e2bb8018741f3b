package v2

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/quoin-kv/quoin/internal/kverr"
)

// plan is a change that was decided on.
type plan struct {
	compares []*pb.Compare
	ops      []*pb.RequestOp
	granted  leaseID   // for this change
	dropped  []leaseID // leases that nothing should be attached to afterwards
	lapse    bool      // the granted lease is to end at once
	event    *event    // what to tell; nodes without an index get that of the change
}

// change looks at a path, decides and commits until nothing came in between.
func (h *Handler) change(ctx context.Context, p string, decide func(context.Context, *found) (*plan, error)) (*event, error) {
	var e *event
	err := atLevels(func(l level) (err error) {
		for e == nil && err == nil {
			e, err = h.attempt(ctx, p, l, decide)
		}
		return err
	})
	return e, err
}

// attempt is one round of change; without an event or error something came in between.
func (h *Handler) attempt(ctx context.Context, p string, l level, decide func(context.Context, *found) (*plan, error)) (*event, error) {
	f, err := h.lookup(ctx, p, l, false)
	if err != nil {
		return nil, err
	}
	todo, err := decide(ctx, f)
	if errors.Is(err, kverr.Compacted) {
		return nil, nil // while it was read; the next revision is younger
	}
	if err != nil {
		return nil, asDecided(err, f.rev)
	}
	out, err := h.txn(ctx, &pb.TxnRequest{Compare: todo.compares, Success: todo.ops})
	if err != nil || !out.Succeeded {
		h.release(ctx, todo.granted)
		if errors.Is(err, kverr.LeaseNotFound) || errors.Is(err, kverr.KeyNotFound) {
			err = nil // it was over already, or the key is gone
		}
		return nil, err
	}
	h.release(ctx, todo.dropped...)
	if todo.lapse {
		h.revoke(ctx, todo.granted)
	}
	return todo.event.at(out.Header.Revision), nil
}

// asDecided adds the index to a refusal and leaves other errors as they are.
func asDecided(err error, index int64) error {
	var r *refusal
	if errors.As(err, &r) {
		return asRefusal(r, index)
	}
	return err
}

// at completes an event with its index.
func (e *event) at(index int64) *event {
	e.index = index
	if e.Node.Modified == 0 {
		e.Node.Modified = index
	}
	if e.Node.Created == 0 {
		e.Node.Created = index
	}
	return e
}

// newPlan begins a plan that holds while the parents are as they were found.
func (h *Handler) newPlan(f *found) *plan {
	p := new(plan)
	for i := range f.parents {
		e := &f.parents[i]
		p.compares = append(p.compares, unchanged(h.space.file(e.path), 0))
		if f.level != levelFile {
			p.compares = append(p.compares, unchanged(h.space.dir(e.path), e.markedAt()))
		}
	}
	return p
}

// markedAt is when the marker was written last, 0 if there is none.
func (e *element) markedAt() int64 {
	if !e.marked {
		return 0
	}
	return e.inside.ModRevision
}

// guardTarget has the plan hold while the target is the same file, or nothing as before.
func (h *Handler) guardTarget(p *plan, f *found) {
	modified := int64(0)
	if f.target.file != nil {
		modified = f.target.file.ModRevision
	}
	p.compares = append(p.compares, unchanged(h.space.file(f.target.path), modified))
	if dir := h.space.dir(f.target.path); f.level != levelFile && f.target.inside == nil {
		p.compares = append(p.compares, nothingIn(dir, end(dir)))
	}
}

// makeParents makes the markers that are missing above the target.
func (h *Handler) makeParents(p *plan, f *found) {
	if f.level > levelPath {
		return
	}
	for i := range f.parents {
		if e := &f.parents[i]; !e.marked {
			p.ops = append(p.ops, putOp(h.space.dir(e.path), string(implied), f.leaseOfParent()))
		}
	}
}

// lease is what a new version of the target is attached to: a lease of its own if there is a time to live, else that of its directory.
func (h *Handler) lease(ctx context.Context, p *plan, f *found, c *call, dir bool) (leaseID, error) {
	above := f.leaseOfParent()
	if c.ttl == nil {
		return above, nil
	}
	now := h.now()
	seconds := max(int64(*c.ttl), h.minTTL)
	if above != 0 { // nothing outlives its directory
		seconds = max(1, min(seconds, above.ends().Unix()-now.Unix()))
	}
	for {
		id := newLeaseID(now.Add(time.Duration(seconds)*time.Second), dir, c.refresh, rand.Int64())
		err := invoke(ctx, h.store.LeaseGrant, &pb.LeaseGrantRequest{ID: int64(id), TTL: seconds}, new(pb.LeaseGrantResponse))
		if err == nil {
			p.granted, p.lapse = id, *c.ttl == 0
			return id, nil
		}
		if !errors.Is(err, kverr.LeaseExist) {
			return 0, err
		}
	}
}

// release ends leases that were made here and that nothing is attached to any more. What goes wrong is left to their time to live.
func (h *Handler) release(ctx context.Context, leases ...leaseID) {
	for _, id := range leases {
		if !id.ours() {
			continue
		}
		out := new(pb.LeaseTimeToLiveResponse)
		err := invoke(ctx, h.store.LeaseTimeToLive, &pb.LeaseTimeToLiveRequest{ID: int64(id), Keys: true}, out)
		if err == nil && out.TTL >= 0 && len(out.Keys) == 0 {
			h.revoke(ctx, id)
		}
	}
}

func (h *Handler) revoke(ctx context.Context, id leaseID) {
	_ = invoke(ctx, h.store.LeaseRevoke, &pb.LeaseRevokeRequest{ID: int64(id)}, new(pb.LeaseRevokeResponse))
}
