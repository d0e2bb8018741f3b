package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/quoin-kv/quoin/internal/model"
)

const (
	// leaseTTL is what leases are asked for, in seconds. Members raise what is less
	// than one and a half election timeouts.
	leaseTTL = 1
	// leaseDrift is how far two clocks of one machine can drift apart in a lease's life.
	leaseDrift = 0.01
	// leaseGrace covers what gives a lease its time anew: changes of leader.
	leaseGrace = 45 * time.Second
)

// leases grants one lease after the other, keeps it alive for a while and looks
// when its key goes, until work ends.
func (s *session) leases(ctx, work context.Context, rng *rand.Rand) {
	for n := 0; work.Err() == nil; n++ {
		s.lease(ctx, work, rng, s.recorder.leases+int64(s.client)<<32+int64(n)+1)
		pause(work, 20*time.Millisecond)
	}
}

// lease is the life of one lease, of which nothing is said unless all of its
// beginning was answered.
func (s *session) lease(ctx, work context.Context, rng *rand.Rand, id int64) {
	granted, ok := s.do(ctx, model.Request{Kind: model.Grant, Lease: id})
	if !ok || granted.Failure != model.FailureNone {
		return
	}
	log := model.LeaseLog{ID: id, TTL: granted.Response.Count, Granted: model.Span{Call: granted.Call, Return: granted.Return}}
	key := model.Bytes(fmt.Sprintf("%slease/%x", tracked, id))
	put, ok := s.do(ctx, model.Request{Kind: model.Put, Key: key, Lease: id})
	if !ok || put.Failure != model.FailureNone {
		return
	}
	// Some live through the whole fault: a leader that is none any more must not end them.
	renewals := rng.IntN(3)
	if rng.IntN(2) == 0 {
		renewals = 40
	}
	for n := 0; n < renewals && work.Err() == nil; n++ {
		span, alive := s.renew(ctx, id)
		if alive || span.Unknown {
			log.Renewed = append(log.Renewed, span)
		} else {
			break
		}
		pause(ctx, 200*time.Millisecond)
	}
	if rng.IntN(4) == 0 {
		revoke, _ := s.do(ctx, model.Request{Kind: model.Revoke, Lease: id})
		log.Revoked = &model.Span{Call: revoke.Call, Return: revoke.Return, Unknown: revoke.Unknown}
	}
	s.awaitGone(ctx, key, &log)
	s.recorder.lease(log)
}

// renew keeps the lease alive once. alive says that the answer promised time.
func (s *session) renew(ctx context.Context, id int64) (span model.Span, alive bool) {
	ctx, cancel := context.WithTimeout(ctx, flags.election/2)
	defer cancel()
	span = model.Span{Call: s.recorder.now()}
	defer func() { span.Return = s.recorder.now() }()
	span.Unknown = true
	stream, err := etcdserverpb.NewLeaseClient(s.conn).LeaseKeepAlive(ctx)
	if err != nil || stream.Send(&etcdserverpb.LeaseKeepAliveRequest{ID: id}) != nil {
		return span, false
	}
	response, err := stream.Recv()
	if err != nil {
		return span, false
	}
	span.Unknown = false
	return span, response.TTL > 0
}

// awaitGone looks for the lease's key until it is gone.
func (s *session) awaitGone(ctx context.Context, key model.Bytes, log *model.LeaseLog) {
	for ctx.Err() == nil && log.Gone == 0 {
		op, ok := s.do(ctx, model.Request{Kind: model.Range, Key: key})
		switch {
		case !ok || op.Failure != model.FailureNone:
		case op.Response.Count > 0:
			log.Seen = op.Call
		default:
			log.Gone = op.Return
		}
		if log.Gone == 0 {
			pause(ctx, 50*time.Millisecond)
		}
	}
	log.Until = s.recorder.now()
}
