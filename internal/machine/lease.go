package machine

import (
	"github.com/quoin-kv/quoin/internal/lease"
	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/schema"
)

// grant makes a lease. Its id was chosen by whoever proposed it.
func (a *apply) grant(r *request.LeaseGrant) {
	ttl, err := lease.GrantedTTL(r.TTL, a.cfg.MinLeaseTTL)
	if err == nil {
		err = a.leases.Grant(r.ID, ttl)
	}
	if a.out.Err = err; err != nil {
		return
	}
	a.saveLease(schema.LeaseRecord{ID: r.ID, TTL: ttl})
	a.out.Leases = append(a.out.Leases, LeaseChange{ID: r.ID, TTL: ttl})
	a.reply(func(h request.ResponseHeader) []byte {
		return request.AppendLeaseGrantResponse(nil, h, request.LeaseTTL{ID: r.ID, TTL: ttl})
	})
}

func (a *apply) saveLease(l schema.LeaseRecord) {
	a.storage.Put(schema.Lease, schema.AppendLeaseKey(nil, l.ID), l.Append(nil))
}

// revoke ends a lease and deletes its keys, in key order and in one revision.
func (a *apply) revoke(r *request.LeaseRevoke) {
	keys, err := a.leases.Revoke(r.ID)
	if a.out.Err = err; err != nil {
		return
	}
	tx := a.begin()
	for _, key := range keys {
		tx.DeleteRange(key, nil)
		a.out.Ops.Deletes++
	}
	a.end(tx)
	a.storage.Delete(schema.Lease, schema.AppendLeaseKey(nil, r.ID))
	a.out.Leases = append(a.out.Leases, LeaseChange{ID: r.ID, Revoked: true})
	a.reply(func(h request.ResponseHeader) []byte { return request.AppendLeaseRevokeResponse(nil, h) })
}

// checkpoint notes how much time leases have left, so that a new leader need not extend them fully.
func (a *apply) checkpoint(r *request.LeaseCheckpoint) {
	for _, c := range r.Checkpoints {
		if l, ok := a.leases.Checkpoint(c.ID, c.RemainingTTL); ok {
			a.saveLease(l)
			a.out.Leases = append(a.out.Leases, LeaseChange{ID: l.ID, TTL: l.TTL, Checkpoint: true, Remaining: l.RemainingTTL})
		}
	}
	a.reply(func(h request.ResponseHeader) []byte { return request.AppendHeaderResponse(nil, h) })
}
