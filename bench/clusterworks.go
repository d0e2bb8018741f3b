package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
)

// clusterSize is how many members the clusters measured have.
const clusterSize = 3

// clusterWorks returns the rows that need several members.
func clusterWorks(n scale) []work {
	put := unary{path: pathPut, inFlight: n.inFlight, body: randomPuts(n.keys, smallValue)}
	get := unary{path: pathRange, inFlight: n.inFlight, body: randomGets(n.keys, false)}
	const put3, get3 = "put to a cluster of three", "linearizable get from a cluster of three"
	return []work{
		plain("put-3", put3+", at the leader", 0, 0, n, put).on(clusterSize),
		plain("put-3-one", put3+", one client, one after the other", 0, 0, n,
			unary{path: pathPut, inFlight: 1, body: randomPuts(n.keys, smallValue)}).on(clusterSize),
		spread("put-3-spread", put3+", over all members", 0, n, put),
		plain("get-3", get3+", at the leader", n.keys, smallValue, n, get).on(clusterSize),
		spread("get-3-spread", get3+", over all members", n.keys, n, get),
		leaderKillWork(n),
		catchUpWork(n),
	}
}

// on makes a work one of so many members.
func (w work) on(members int) work {
	w.members = members
	return w
}

// spread is a work of unary calls to all members alike.
func spread(name, about string, keys int, n scale, u unary) work {
	u.connections = n.connections
	return work{name: name, about: about, members: clusterSize, prepare: func(ctx context.Context, c *cluster) (load, error) {
		err := fillKeys(ctx, c.address(), keys, smallValue)
		return func(ctx context.Context, c *cluster, seed uint64, length time.Duration) (tally, error) {
			return u.run(ctx, c.addresses(), seed, length)
		}, err
	}}
}

// leaderKillWork kills the leader under load; the time runs from the kill to the
// first acknowledged write.
func leaderKillWork(n scale) work {
	return work{
		name: "leader-kill", about: "from the kill of the leader of three to the next acknowledged write",
		members: clusterSize, restarts: true,
		prepare: func(ctx context.Context, c *cluster) (load, error) {
			return killLeader, fillKeys(ctx, c.address(), n.keys, smallValue)
		},
	}
}

func killLeader(ctx context.Context, c *cluster, _ uint64, _ time.Duration) (tally, error) {
	if err := c.sort(ctx); err != nil {
		return tally{}, err
	}
	leader := c.members[0]
	began := time.Now()
	if err := leader.kill(); err != nil {
		return tally{}, err
	}
	if err := c.members[1].awaitWrite(ctx); err != nil {
		return tally{}, err
	}
	took := time.Since(began)
	return tally{ops: 1, elapsed: took, latencies: []time.Duration{took}}, leader.start(ctx)
}

// tryTimeout ends a write that the member lets wait: what was on its way to the
// killed leader is lost.
const tryTimeout = 100 * time.Millisecond

// awaitWrite returns once the member has acknowledged a write.
func (s *server) awaitWrite(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		err := s.tryWrite(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
	}
}

func (s *server) tryWrite(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	return call(ctx, s.address, pathPut, &etcdserverpb.PutRequest{Key: keyAt(0), Value: []byte("x")}, &etcdserverpb.PutResponse{})
}

// catchUpWork has a member miss many writes; the time runs from its start to the
// moment at which it has applied them all. So many writes are missed that the
// leader has to send a snapshot.
func catchUpWork(n scale) work {
	return work{
		name: "catch-up", about: fmt.Sprintf("start of a member of three that missed %d writes, to having them", n.catchUpKeys),
		members: clusterSize, restarts: true,
		prepare: func(ctx context.Context, c *cluster) (load, error) {
			return func(ctx context.Context, c *cluster, _ uint64, _ time.Duration) (tally, error) {
				return catchUp(ctx, c, n)
			}, nil
		},
	}
}

func catchUp(ctx context.Context, c *cluster, n scale) (tally, error) {
	if err := c.sort(ctx); err != nil {
		return tally{}, err
	}
	away := c.members[len(c.members)-1]
	if err := away.kill(); err != nil {
		return tally{}, err
	}
	u := unary{path: pathPut, connections: 1, inFlight: n.inFlight, limit: int64(n.catchUpKeys), body: orderedPuts(smallValue)}
	if _, err := u.run(ctx, c.addresses()[:1], 0, 10*time.Minute); err != nil {
		return tally{}, err
	}
	goal, err := c.members[0].status(ctx)
	if err != nil {
		return tally{}, err
	}
	began := time.Now()
	if err := away.launch(); err != nil {
		return tally{}, err
	}
	if err := away.awaitApplied(ctx, goal.RaftAppliedIndex); err != nil {
		return tally{}, err
	}
	took := time.Since(began)
	return tally{ops: 1, elapsed: took, latencies: []time.Duration{took}}, nil
}

// awaitApplied returns once the member has applied the log up to index.
func (s *server) awaitApplied(ctx context.Context, index uint64) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	probe := time.NewTicker(probeInterval)
	defer probe.Stop()
	for {
		status, err := s.status(ctx)
		if err == nil && status.RaftAppliedIndex >= index {
			return nil
		}
		if s.gone() {
			return errors.New("ended instead of catching up")
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("applied index below %d: %w", index, ctx.Err())
		case <-probe.C:
		}
	}
}
