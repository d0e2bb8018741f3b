package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
)

// Every expiring lease has one key below this prefix: when no key is left, no
// lease is.
const (
	leasePrefix = "lease/"
	leaseEnd    = "lease0"
)

// Timing of a work in which many leases expire at once.
const (
	expiryLead     = 200 * time.Millisecond // the load is measured from so long before
	expiryInterval = 20 * time.Millisecond  // between two looks at what is left
	expiryTimeout  = 10 * time.Minute
	expiryTTLMin   = 2 * time.Second // the shortest that servers grant
	grantsPerSec   = 2500            // that a server is trusted to manage
)

// grantWork is leases that are granted, many under way.
func grantWork(n scale) work {
	request := &etcdserverpb.LeaseGrantRequest{TTL: keepAliveTTL}
	return plain("lease-grant", fmt.Sprintf("grant of a lease, %d under way", n.inFlight), 0, 0, n,
		unary{path: pathGrant, inFlight: n.inFlight, body: always(request)})
}

// expireWork is leases that all expire at one moment, under a load of puts.
func expireWork(n scale) work {
	e := expiring{leases: n.expiring, upkeepLoad: upkeepLoad{connections: n.connections, keys: n.keys}, inFlight: n.inFlight}
	return work{
		name: "lease-expire", about: fmt.Sprintf("%d leases with a key each that expire at the same moment, under load; seconds from that moment until all are gone", n.expiring),
		restarts: true,
		prepare:  func(context.Context, *cluster) (load, error) { return e.run, nil },
	}
}

// expiring is such a work.
type expiring struct {
	upkeepLoad
	leases   int
	inFlight int
}

// run grants the leases, measures the load before they expire and then while
// they do.
func (e expiring) run(ctx context.Context, c *cluster, seed uint64, length time.Duration) (tally, error) {
	ctx, cancel := context.WithTimeout(ctx, expiryTimeout)
	defer cancel()
	end := time.Now().Add(time.Duration(e.leases)*time.Second/grantsPerSec + length + expiryLead + expiryTTLMin)
	if err := e.grant(ctx, c, seed, end); err != nil {
		return tally{}, err
	}
	quiet, err := e.clients(ctx, c, seed, func(ctx context.Context) error { return pause(ctx, length) })
	if err != nil {
		return tally{}, err
	}
	if time.Until(end) < 0 {
		return tally{}, fmt.Errorf("granting %d leases took until %v after they were to expire", e.leases, -time.Until(end))
	}
	if err := pause(ctx, time.Until(end)-expiryLead); err != nil {
		return tally{}, err
	}
	during, err := e.clients(ctx, c, seed+1, func(ctx context.Context) error { return awaitGone(ctx, c) })
	if err != nil {
		return tally{}, err
	}
	took := max(during.took-expiryLead, time.Millisecond)
	t := during.puts
	t.merge(during.gets)
	t.elapsed = took
	t.upkeep = &upkeep{Seconds: took.Seconds(), Puts: compareCalm(quiet.puts, during.puts), Gets: compareCalm(quiet.gets, during.gets)}
	return t, nil
}

// grant makes the leases, each with the TTL that makes it expire within the
// second after end, and puts a key on each.
func (e expiring) grant(ctx context.Context, c *cluster, seed uint64, end time.Time) error {
	first := int64(seed)<<32 + 1
	next := first
	u := unary{path: pathGrant, connections: 1, inFlight: e.inFlight, limit: int64(e.leases)}
	u.body = func(_ *rand.Rand, buf []byte) []byte {
		ttl := (time.Until(end) + time.Second - 1) / time.Second
		next++
		return append(buf, must(&etcdserverpb.LeaseGrantRequest{ID: next - 1, TTL: int64(ttl)})...)
	}
	if _, err := u.run(ctx, c.addresses()[:1], seed, expiryTimeout); err != nil {
		return err
	}
	id := first
	u = unary{path: pathTxn, connections: 1, inFlight: 8, limit: int64((e.leases + txnPuts - 1) / txnPuts)}
	u.body = func(_ *rand.Rand, buf []byte) []byte {
		txn := &etcdserverpb.TxnRequest{}
		for ; len(txn.Success) < txnPuts && id < first+int64(e.leases); id++ {
			txn.Success = append(txn.Success, &etcdserverpb.RequestOp{Request: &etcdserverpb.RequestOp_RequestPut{
				RequestPut: &etcdserverpb.PutRequest{Key: fmt.Appendf(nil, "%s%016x", leasePrefix, id), Lease: id},
			}})
		}
		return append(buf, must(txn)...)
	}
	_, err := u.run(ctx, c.addresses()[:1], seed, expiryTimeout)
	return err
}

// awaitGone returns when no key with a lease is left.
func awaitGone(ctx context.Context, c *cluster) error {
	count := &etcdserverpb.RangeRequest{Key: []byte(leasePrefix), RangeEnd: []byte(leaseEnd), CountOnly: true, Serializable: true}
	for {
		var answer etcdserverpb.RangeResponse
		err := call(ctx, c.address(), pathRange, count, &answer)
		if err != nil || answer.Count == 0 {
			return err
		}
		if err := pause(ctx, expiryInterval); err != nil {
			return errors.Join(err, fmt.Errorf("%d leases are left", answer.Count))
		}
	}
}
