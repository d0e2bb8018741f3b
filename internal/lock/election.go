package lock

import (
	"bytes"
	"context"
	"errors"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/internal/watch"
)

// Campaign answers a CampaignRequest when its sender leads.
func (q *Queues) Campaign(ctx context.Context, raw []byte) ([]byte, error) {
	var r request.Campaign
	if err := r.Unmarshal(raw); err != nil {
		return nil, err
	}
	p, err := q.enter(ctx, r.Name, r.Lease, r.Value)
	if err != nil {
		return nil, plain(err)
	}
	leader := &request.LeaderKey{Name: r.Name, Key: p.key, Rev: p.rev, Lease: p.lease}
	if !p.created && !bytes.Equal(p.value, r.Value) {
		_, err = q.proclaim(ctx, leader, r.Value)
	}
	if err == nil {
		_, err = q.reach(ctx, p)
	}
	if err != nil {
		q.leave(ctx, p)
		return nil, plain(orExpired(err, errElectionExpired))
	}
	return request.AppendCampaignResponse(nil, p.header, leader), nil
}

// Proclaim answers a ProclaimRequest.
func (q *Queues) Proclaim(ctx context.Context, raw []byte) ([]byte, error) {
	var r request.Proclaim
	if err := r.Unmarshal(raw); err != nil {
		return nil, err
	}
	if r.Leader == nil {
		return nil, errMissingLeader
	}
	asked := r.Leader.Lease == 0
	if asked {
		lease, err := q.grant(ctx)
		if err != nil {
			return nil, plain(err)
		}
		r.Leader.Lease = lease
	}
	header, err := q.proclaim(ctx, r.Leader, r.Value)
	if err != nil {
		q.leave(ctx, &place{lease: r.Leader.Lease, asked: asked})
		return nil, plain(err)
	}
	return request.AppendHeaderResponse(nil, header), nil
}

func (q *Queues) proclaim(ctx context.Context, leader *request.LeaderKey, value []byte) (request.ResponseHeader, error) {
	header, result, err := q.txn(ctx, &request.Txn{
		Compare: []request.Compare{createdAt(leader.Key, leader.Rev)},
		Success: []request.Op{{Put: &request.Put{Key: leader.Key, Value: value, Lease: leader.Lease}}},
	})
	if err == nil && !result.Succeeded {
		err = errNotLeader
	}
	return header, err
}

// Resign answers a ResignRequest. Who does not lead any more has resigned already.
func (q *Queues) Resign(ctx context.Context, raw []byte) ([]byte, error) {
	var r request.Resign
	if err := r.Unmarshal(raw); err != nil {
		return nil, err
	}
	if r.Leader == nil {
		return nil, errMissingLeader
	}
	header, _, err := q.remove(ctx, r.Leader.Key, r.Leader.Rev)
	if err != nil {
		return nil, plain(err)
	}
	return request.AppendHeaderResponse(nil, header), nil
}

// Leader answers a LeaderRequest.
func (q *Queues) Leader(ctx context.Context, raw []byte) ([]byte, error) {
	var r request.Leader
	if err := r.Unmarshal(raw); err != nil {
		return nil, err
	}
	header, result, err := q.read(ctx, oldest(queue(r.Name)))
	switch {
	case err != nil:
		return nil, plain(err)
	case len(result.KVs) == 0:
		return nil, errNoLeader
	}
	return request.AppendLeaderResponse(nil, header, result.KVs[0]), nil
}

// queue is the prefix of the keys of a queue.
func queue(name []byte) []byte { return append(append([]byte{}, name...), '/') }

// Observe answers a LeaderRequest with the leader, then with everything that leaders proclaim and with all their successors, each handed to
// send, also those who have come and gone meanwhile, unless their time is compacted. It ends with the context or with the first error.
func (q *Queues) Observe(ctx context.Context, raw []byte, send func(reply []byte) error) error {
	var r request.Leader
	if err := r.Unmarshal(raw); err != nil {
		return err
	}
	o := &observation{queues: q, prefix: queue(r.Name), send: send}
	for {
		switch err := o.term(ctx); {
		case errors.Is(err, errCompacted), errors.Is(err, kverr.Compacted):
			o.after = 0 // the present is what is left
		case err != nil:
			return plain(err)
		}
	}
}

// observation is what an observer has seen.
type observation struct {
	queues *Queues
	prefix []byte
	send   func(reply []byte) error
	last   int64 // the revision of what was sent last
	after  int64 // the revision at which the last leader led no more, 0 for none
}

// term waits for a leader and follows it until it leads no more.
func (o *observation) term(ctx context.Context) error {
	look := oldest(o.prefix)
	look.Revision = o.after
	header, result, err := o.queues.read(ctx, look)
	if err != nil {
		return err
	}
	if o.after > 0 {
		header.Revision = o.after
	}
	var leader schema.KeyValue
	if len(result.KVs) > 0 {
		leader, err = o.tell(header, result.KVs[0])
	} else {
		leader, err = o.first(ctx, header)
	}
	if err != nil {
		return err
	}
	start := max(header.Revision, leader.ModRevision) + 1
	return o.queues.follow(ctx, watch.CreateRequest{Key: leader.Key, StartRevision: start}, func(e event) (bool, error) {
		record, err := o.tellEvent(header, e)
		if e.deleted {
			o.after = record.ModRevision
		}
		return e.deleted, err
	})
}

// first waits for the first key of an empty queue.
func (o *observation) first(ctx context.Context, header request.ResponseHeader) (leader schema.KeyValue, err error) {
	all := watch.CreateRequest{Key: o.prefix, RangeEnd: after(o.prefix), StartRevision: header.Revision + 1}
	err = o.queues.follow(ctx, all, func(e event) (done bool, err error) {
		if !e.deleted {
			leader, err = o.tellEvent(header, e)
		}
		return !e.deleted, err
	})
	return leader, err
}

// tellEvent tells of a change under a header of its revision, and of a deletion nothing.
func (o *observation) tellEvent(header request.ResponseHeader, e event) (record schema.KeyValue, err error) {
	if err := record.Unmarshal(e.record); err != nil || e.deleted {
		return record, err
	}
	header.Revision = record.ModRevision
	return o.tell(header, e.record)
}

// tell sends the record of a leader, unless that was sent already.
func (o *observation) tell(header request.ResponseHeader, raw []byte) (record schema.KeyValue, err error) {
	if err := record.Unmarshal(raw); err != nil || record.ModRevision == o.last {
		return record, err
	}
	o.last = record.ModRevision
	return record, o.send(request.AppendLeaderResponse(nil, header, raw))
}
