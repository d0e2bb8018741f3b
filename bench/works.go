package main

import (
	"context"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
)

// A load runs work on a server, one member or several, for some time.
type load func(ctx context.Context, c *cluster, seed uint64, length time.Duration) (tally, error)

// A work is one row of the table: what is prepared once on each server and what
// is then measured, round after round.
type work struct {
	name string
	// about says what one operation is.
	about string
	// prepare fills a new server and returns the load.
	prepare func(ctx context.Context, c *cluster) (load, error)
	// members is how many members the server has, 0 for one.
	members int
	// flags, if not nil, returns flags of the server beside those of all; the
	// files they name it makes in the directory.
	flags func(dir string) ([]string, error)
	// restarts: the load ends and starts processes itself, whose counters begin
	// at zero. It has no warm-up.
	restarts bool
}

// A scale is how large the works are.
type scale struct {
	keys        int   // random puts and gets
	large       []int // key spaces of counts and pages
	rangeKeys   int
	otherKeys   int // beside those that the range is of
	watchers    []int
	leases      int
	restartKeys int
	catchUpKeys int // written while a member was away
	connections int
	inFlight    int
	upkeepBytes int64 // of the database that an operator works on
	listClients []int // that read everything at once
	listBytes   int64 // of values in what they read
	restartLots int   // keys of a large database that is started on
	memoryKeys  []int
	expiring    int // leases at once
	logins      int // at the same time
	listKeys    int // in one list
	kubeKeys    int
	behind      int // revisions that watchers catch up with
}

// fullScale is what the published table uses.
func fullScale() scale {
	return scale{
		keys: 10_000, large: []int{20_000, 200_000}, rangeKeys: 1000, watchers: []int{100, 1000, 10_000},
		leases: 1000, restartKeys: 100_000, catchUpKeys: 100_000, connections: 8, inFlight: 256, upkeepBytes: 2 << 30,
		listClients: []int{20, 50}, listBytes: 1 << 30, listKeys: 20_000, kubeKeys: 10_000, behind: 20_000,
		logins: 500, restartLots: 1_000_000, memoryKeys: []int{200_000, 1_000_000}, expiring: 100_000,
	}
}

// grown has so many times the keys and leases, and so many times the clients,
// while one operation stays what it is: how far costs depend on either is seen
// beside a run without.
func (n scale) grown(keys, clients int) scale {
	n.keys, n.kubeKeys, n.leases, n.otherKeys = n.keys*keys, n.kubeKeys*keys, n.leases*keys, n.rangeKeys*(keys-1)
	n.connections, n.inFlight = n.connections*clients, n.inFlight*clients
	return n
}

// shortScale only shows that everything works.
func shortScale() scale {
	return scale{
		keys: 500, large: []int{2000, 8000}, rangeKeys: 1000, watchers: []int{100},
		leases: 50, restartKeys: 2000, catchUpKeys: 2000, connections: 4, inFlight: 32, upkeepBytes: 16 << 20,
		listClients: []int{3}, listBytes: 16 << 20, listKeys: 500, kubeKeys: 500, behind: 200,
		logins: 10, restartLots: 5000, memoryKeys: []int{2000}, expiring: 500,
	}
}

const (
	smallValue = 128  // bytes, puts and gets
	largeValue = 1024 // bytes, ranges
	pageKeys   = 500
	fewCalls   = 8 // calls under way where one is much work
)

// works returns all rows at a scale.
func works(n scale) []work {
	all := []work{
		plain("put", fmt.Sprintf("put of %d bytes, %d under way", smallValue, n.inFlight), 0, 0, n,
			unary{path: pathPut, inFlight: n.inFlight, body: randomPuts(n.keys, smallValue)}),
		plain("put-one", "put, one client, one after the other", 0, 0, n,
			unary{path: pathPut, inFlight: 1, body: randomPuts(n.keys, smallValue)}),
		plain("put-10k", "put of 10,000 bytes, 64 under way", 0, 0, n,
			unary{path: pathPut, inFlight: min(64, n.inFlight), body: randomPuts(1000, 10_000)}),
		plain("put-1m", fmt.Sprintf("put of 1,000,000 bytes, %d under way", fewCalls), 0, 0, n,
			unary{path: pathPut, inFlight: fewCalls, body: randomPuts(100, 1_000_000)}),
		plain("get", fmt.Sprintf("linearizable get of %d bytes, %d under way", smallValue, n.inFlight), n.keys, smallValue, n,
			unary{path: pathRange, inFlight: n.inFlight, body: randomGets(n.keys, false)}),
		plain("get-serializable", "the same, serializable", n.keys, smallValue, n,
			unary{path: pathRange, inFlight: n.inFlight, body: randomGets(n.keys, true)}),
		plain("range", fmt.Sprintf("range of %d keys of %d bytes", n.rangeKeys, largeValue), n.rangeKeys+n.otherKeys, largeValue, n,
			unary{path: pathRange, inFlight: fewCalls, body: always(firstKeys(n.rangeKeys))}),
	}
	for _, keys := range n.large {
		all = append(all, countWork(keys, n), pageWork(keys, n))
	}
	for _, watchers := range n.watchers {
		all = append(all, watchWork(watchers))
	}
	all = append(all, grantWork(n), keepAliveWork(n), expireWork(n), restartWork(n), restartLotsWork(n))
	all = append(all, memoryWorks(n)...)
	all = append(all, authWorks(n)...)
	all = append(all, upkeepWorks(n)...)
	all = append(all, listWorks(n)...)
	all = append(all, readWorks(n)...)
	all = append(all, watchWorks(n)...)
	return append(all, clusterWorks(n)...)
}

func everything() *etcdserverpb.RangeRequest {
	return &etcdserverpb.RangeRequest{Key: []byte(keyPrefix), RangeEnd: []byte(keyEnd)}
}

// firstKeys asks for the keys before one of them.
func firstKeys(n int) *etcdserverpb.RangeRequest {
	return &etcdserverpb.RangeRequest{Key: keyAt(0), RangeEnd: keyAt(n)}
}

// plain is a work of unary calls over keys that are there, in the database
// file.
func plain(name, about string, keys, valueBytes int, n scale, u unary) work {
	u.connections = n.connections
	return work{name: name, about: about, prepare: func(ctx context.Context, c *cluster) (load, error) {
		err := fillKeys(ctx, c.address(), keys, valueBytes)
		if err == nil && keys > 0 {
			err = settle(ctx, c.address())
		}
		return func(ctx context.Context, c *cluster, seed uint64, length time.Duration) (tally, error) {
			return u.run(ctx, c.addresses()[:1], seed, length)
		}, err
	}}
}

// settle brings what was written into the database file, and has later reads
// look for it there: a member may go on reading from memory what was written
// last.
func settle(ctx context.Context, address string) error {
	if err := call(ctx, address, pathDefragment, &etcdserverpb.DefragmentRequest{}, &etcdserverpb.DefragmentResponse{}); err != nil {
		return err
	}
	return call(ctx, address, pathPut, &etcdserverpb.PutRequest{Key: []byte("settled")}, &etcdserverpb.PutResponse{})
}

func countWork(keys int, n scale) work {
	request := everything()
	request.CountOnly = true
	return plain(fmt.Sprintf("count-%d", keys), fmt.Sprintf("count of %d keys", keys), keys, smallValue, n,
		unary{path: pathRange, inFlight: fewCalls, body: always(request)})
}

func pageWork(keys int, n scale) work {
	return plain(fmt.Sprintf("page-%d", keys), fmt.Sprintf("page of %d keys out of %d", pageKeys, keys), keys, smallValue, n,
		unary{path: pathRange, inFlight: fewCalls, body: pages(keys, pageKeys)})
}

func watchWork(watchers int) work {
	return work{
		name: fmt.Sprintf("watch-%d", watchers), about: fmt.Sprintf("event delivered to one of %d watchers of a key", watchers),
		prepare: func(_ context.Context, c *cluster) (load, error) {
			f, err := newFanOut(c.address(), watchers)
			return func(ctx context.Context, _ *cluster, _ uint64, length time.Duration) (tally, error) {
				return f.run(ctx, length)
			}, err
		},
	}
}

func keepAliveWork(n scale) work {
	return work{
		name: "keep-alive", about: fmt.Sprintf("renewal of one of %d leases", n.leases),
		prepare: func(_ context.Context, c *cluster) (load, error) {
			k, err := grantLeases(c.address(), n.leases, n.connections, n.inFlight)
			return func(ctx context.Context, c *cluster, _ uint64, length time.Duration) (tally, error) {
				return k.run(ctx, c.address(), length)
			}, err
		},
	}
}

// restartWork kills the server after so many puts of different keys; the time
// runs from the new process's start to its first answer.
func restartWork(n scale) work {
	return work{
		name: "restart", about: fmt.Sprintf("start after a kill, %d writes behind it", n.restartKeys),
		restarts: true,
		prepare: func(ctx context.Context, c *cluster) (load, error) {
			u := unary{path: pathPut, connections: 1, inFlight: n.inFlight, limit: int64(n.restartKeys), body: orderedPuts(smallValue)}
			_, err := u.run(ctx, c.addresses(), 0, 10*time.Minute)
			return restart, err
		},
	}
}

// restartLotsWork is the same with a large database, written in transactions.
func restartLotsWork(n scale) work {
	return work{
		name: fmt.Sprintf("restart-%d", n.restartLots), about: fmt.Sprintf("start after a kill, %d keys in the database", n.restartLots),
		restarts: true,
		prepare: func(ctx context.Context, c *cluster) (load, error) {
			return restart, fillKeys(ctx, c.address(), n.restartLots, smallValue)
		},
	}
}

func restart(ctx context.Context, c *cluster, _ uint64, _ time.Duration) (tally, error) {
	s := c.members[0]
	if err := s.kill(); err != nil {
		return tally{}, err
	}
	began := time.Now()
	if err := s.start(ctx); err != nil {
		return tally{}, err
	}
	took := time.Since(began)
	return tally{ops: 1, elapsed: took, latencies: []time.Duration{took}}, nil
}
