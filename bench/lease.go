package main

import (
	"context"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
)

// keepAliveTTL is long enough that no lease of a measurement ever expires, in seconds.
const keepAliveTTL = 7200

// A keepAlive is a closed loop of renewals: each connection has one stream with
// so many requests under way, over all leases in turn.
type keepAlive struct {
	connections int
	inFlight    int
	requests    [][]byte
}

// grantLeases makes the leases and returns the loop that renews them.
func grantLeases(address string, leases, connections, inFlight int) (*keepAlive, error) {
	c, err := dial(address, patience)
	if err != nil {
		return nil, err
	}
	defer c.close()
	k := &keepAlive{connections: connections, inFlight: inFlight}
	for range leases {
		var lease etcdserverpb.LeaseGrantResponse
		if err := c.call(pathGrant, &etcdserverpb.LeaseGrantRequest{TTL: keepAliveTTL}, &lease); err != nil {
			return nil, err
		}
		k.requests = append(k.requests, must(&etcdserverpb.LeaseKeepAliveRequest{ID: lease.ID}))
	}
	return k, nil
}

// run renews for the given time.
func (k *keepAlive) run(ctx context.Context, address string, length time.Duration) (tally, error) {
	return inParallel(k.connections, func(i int) (tally, error) {
		l := &keepAliveLoop{keepAlive: k, next: share(len(k.requests), k.connections, i) * i, slots: share(k.inFlight, k.connections, i)}
		return l.run(ctx, address, length)
	})
}

// A keepAliveLoop is one connection's part. The server answers a stream's
// requests in order, so the oldest one under way is the one that is answered.
type keepAliveLoop struct {
	*keepAlive
	slots    int
	next     int
	sent     []time.Time
	messages messages
	tally    tally
	failure  error
}

func (l *keepAliveLoop) run(ctx context.Context, address string, length time.Duration) (tally, error) {
	c, err := dial(address, length+patience)
	if err != nil {
		return tally{}, err
	}
	defer c.close()
	c.onData = func(_ uint32, piece []byte) { l.messages.feed(piece, l.answered) }
	c.onEnd = func(_ uint32, err error) { l.failure = fmt.Errorf("keep-alive stream ended: %w", err) }
	id, err := c.open(pathKeepAlive)
	if err != nil {
		return tally{}, err
	}
	began := time.Now()
	for {
		more := ctx.Err() == nil && time.Since(began) < length
		if !more && len(l.sent) == 0 {
			break
		}
		if more {
			if err := l.fill(c, id); err != nil {
				return tally{}, err
			}
		}
		if err := c.read(); err != nil {
			return tally{}, err
		}
		if l.failure != nil {
			return tally{}, l.failure
		}
	}
	l.tally.elapsed = time.Since(began)
	return l.tally, ctx.Err()
}

func (l *keepAliveLoop) fill(c *conn, id uint32) error {
	for len(l.sent) < l.slots {
		room, err := c.send(id, l.requests[l.next%len(l.requests)])
		if err != nil || !room {
			return err
		}
		l.next++
		l.sent = append(l.sent, time.Now())
	}
	return nil
}

func (l *keepAliveLoop) answered([]byte) {
	if len(l.sent) == 0 {
		l.failure = fmt.Errorf("an answer without a request")
		return
	}
	l.tally.ops++
	l.tally.latencies = append(l.tally.latencies, time.Since(l.sent[0]))
	l.sent = l.sent[:copy(l.sent, l.sent[1:])]
}
