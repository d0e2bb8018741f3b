// Package lock is the services Lock and Election: queues for something that only one may have at a time.
//
// A queue is the keys under its name. Who wants the thing creates one there, hung on its lease, and has the thing while its key is the oldest.
// Everything is done with the verbs of package service in the context of the call, so permissions, limits and leases are those of any client,
// and a client that does the same by itself stands in the same queue.
//
// What a queue can promise ends where the lease does: a holder that does not notice that its lease has ended goes on. Whoever is written to by
// holders must compare the revision at which the holder's key was created; docs/locks.md says how.
//
// A call waits in its own goroutine and starts none. When it ends without success it takes its key away, and a lease that it asked for by
// itself.
package lock

import (
	"context"
	"errors"
	"strconv"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/internal/service"
)

// What clients are told; they know these texts.
var (
	errSessionExpired  = errors.New("mutex: session is expired")
	errElectionExpired = errors.New("election: session is expired")
	errNotLeader       = errors.New("election: not leader")
	errNoLeader        = errors.New("election: no leader")
	errMissingLeader   = errors.New(`"leader" field must be provided`)
)

// Queues answers the calls of both services. Requests and answers are in wire form.
type Queues struct{ svc *service.Service }

// New returns the queues in the key space of svc.
func New(svc *service.Service) *Queues { return &Queues{svc} }

// Lock answers a LockRequest when the lock is had.
func (q *Queues) Lock(ctx context.Context, raw []byte) ([]byte, error) {
	var r request.Lock
	if err := r.Unmarshal(raw); err != nil {
		return nil, err
	}
	p, err := q.enter(ctx, r.Name, r.Lease, nil)
	if err != nil {
		return nil, plain(err)
	}
	header, err := q.reach(ctx, p)
	if err != nil {
		q.leave(ctx, p)
		return nil, plain(orExpired(err, errSessionExpired))
	}
	return request.AppendLockResponse(nil, header, p.key), nil
}

// Unlock answers an UnlockRequest. It deletes the key, whoever made it.
func (q *Queues) Unlock(ctx context.Context, raw []byte) ([]byte, error) {
	var r request.Unlock
	if err := r.Unmarshal(raw); err != nil {
		return nil, err
	}
	reply, err := q.svc.DeleteRange(ctx, (&request.DeleteRange{Key: r.Key}).Append(nil))
	if err != nil {
		return nil, plain(err)
	}
	header, err := request.ParseHeaderResponse(reply)
	return request.AppendHeaderResponse(nil, header), err
}

// place is one's place in a queue.
type place struct {
	prefix []byte // of the keys of the queue
	key    []byte
	lease  int64
	asked  bool  // the lease was asked for by this call
	rev    int64 // at which the key was created

	created bool   // by this call
	value   []byte // of the key, if it was there before
	owner   int64  // the revision of the queue's oldest key
	header  request.ResponseHeader
}

// enter takes a place in the queue of a name, which is the one that the lease already has in it, if any.
func (q *Queues) enter(ctx context.Context, name []byte, lease int64, value []byte) (*place, error) {
	p := &place{prefix: queue(name), lease: lease}
	if lease == 0 {
		granted, err := q.grant(ctx)
		if err != nil {
			return nil, err
		}
		p.lease, p.asked = granted, true
	}
	p.key = strconv.AppendInt(p.prefix[:len(p.prefix):len(p.prefix)], p.lease, 16)
	if err := q.create(ctx, p, value); err != nil {
		q.leave(ctx, p)
		return nil, err
	}
	return p, nil
}

// create makes the key of a place unless it is there. It does not end with the call, so that nobody is left in the queue of whom nobody knows.
func (q *Queues) create(ctx context.Context, p *place, value []byte) error {
	oldest := request.Op{Range: oldest(p.prefix)}
	header, result, err := q.txn(context.WithoutCancel(ctx), &request.Txn{
		Compare: []request.Compare{createdAt(p.key, 0)},
		Success: []request.Op{{Put: &request.Put{Key: p.key, Value: value, Lease: p.lease}}, oldest},
		Failure: []request.Op{{Range: &request.Range{Key: p.key}}, oldest},
	})
	if err != nil {
		return err
	}
	p.header, p.created, p.rev = header, result.Succeeded, header.Revision
	own, first := result.Responses[0].Range, result.Responses[1].Range
	if !p.created {
		record, err := only(own)
		if err != nil {
			return err
		}
		p.rev, p.value = record.CreateRevision, record.Value
	}
	record, err := only(first)
	p.owner = record.CreateRevision
	return err
}

// reach waits until a place is the first, and returns the header of the moment. Error: errGone if the place is lost meanwhile.
func (q *Queues) reach(ctx context.Context, p *place) (request.ResponseHeader, error) {
	if p.owner == p.rev {
		if p.created {
			return p.header, ctx.Err()
		}
		return p.header, nil // it was had before: the end of this call is no reason to take it away
	}
	if err := q.waitBefore(ctx, p.prefix, p.rev); err != nil {
		return p.header, err
	}
	header, result, err := q.read(ctx, &request.Range{Key: p.key})
	if err != nil {
		return header, err
	}
	if len(result.KVs) == 0 {
		return header, errGone
	}
	if record, err := only(&result); err != nil || record.CreateRevision != p.rev {
		return header, errors.Join(err, errGone)
	}
	return header, nil
}

// errGone says that the key of a place was deleted, as the end of its lease does.
var errGone = errors.New("lock: the key is gone")

func orExpired(err, expired error) error {
	if errors.Is(err, errGone) {
		return expired
	}
	return err
}

// leave gives a place up, also when the call has ended. What fails then is left to the end of the lease.
func (q *Queues) leave(ctx context.Context, p *place) {
	ctx = context.WithoutCancel(ctx)
	if p.asked {
		_, _ = q.svc.LeaseRevoke(ctx, (&request.LeaseRevoke{ID: p.lease}).Append(nil))
		return
	}
	if p.rev != 0 {
		_, _, _ = q.remove(ctx, p.key, p.rev)
	}
}

// remove deletes a key unless it is another than the one that was created at rev.
func (q *Queues) remove(ctx context.Context, key []byte, rev int64) (request.ResponseHeader, request.TxnResult, error) {
	return q.txn(ctx, &request.Txn{
		Compare: []request.Compare{createdAt(key, rev)},
		Success: []request.Op{{DeleteRange: &request.DeleteRange{Key: key}}},
	})
}

// leaseSeconds is the time to live of leases that clients did not bring.
const leaseSeconds = 60

func (q *Queues) grant(ctx context.Context) (int64, error) {
	reply, err := q.svc.LeaseGrant(ctx, (&request.LeaseGrant{TTL: leaseSeconds}).Append(nil))
	if err != nil {
		return 0, err
	}
	granted, err := request.ParseLeaseGrantResponse(reply)
	return granted.ID, err
}

func createdAt(key []byte, rev int64) request.Compare {
	return request.Compare{Key: key, Target: request.TargetCreate, Arm: request.ArmCreate, CreateRevision: rev}
}

// oldest asks for the oldest key of a queue.
func oldest(prefix []byte) *request.Range {
	return &request.Range{Key: prefix, RangeEnd: after(prefix), Limit: 1, SortTarget: request.SortByCreate, SortOrder: request.SortAscend}
}

// after is the first key behind those of a queue, whose names end with a slash.
func after(prefix []byte) []byte {
	end := append([]byte{}, prefix...)
	end[len(end)-1]++
	return end
}

func (q *Queues) txn(ctx context.Context, t *request.Txn) (h request.ResponseHeader, r request.TxnResult, err error) {
	reply, err := q.svc.Txn(ctx, t.Append(nil))
	if err != nil {
		return h, r, err
	}
	return request.ParseTxnResponse(reply)
}

func (q *Queues) read(ctx context.Context, r *request.Range) (h request.ResponseHeader, result request.RangeResult, err error) {
	reply, err := q.svc.Range(ctx, r.Append(nil))
	if err != nil {
		return h, result, err
	}
	return request.ParseRangeResponse(reply)
}

// only is the one record of a result.
func only(r *request.RangeResult) (record schema.KeyValue, err error) {
	if r == nil || len(r.KVs) != 1 {
		return record, errors.New("lock: the store answered something else than one record")
	}
	err = record.Unmarshal(r.KVs[0])
	return record, err
}

// plain is an error as these services tell it: the text of the store's, without its code.
func plain(err error) error {
	if known, ok := kverr.From(err); ok {
		return errors.New(known.Text)
	}
	return err
}
