package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
)

const pathRangeStream = "/etcdserverpb.KV/RangeStream"

const (
	// manyLists is how many clients list everything at once where it is about
	// the memory that this takes.
	manyLists = 20
	// longKeys is the key space of -long.
	longKeys = 1_000_000
)

// readWorks returns the rows of lists, streams of them, pages one after the
// other, and the mix of requests that Kubernetes makes.
func readWorks(n scale) []work {
	of := fmt.Sprintf("of %d keys of %d bytes", n.listKeys, largeValue)
	last := n.large[len(n.large)-1]
	return []work{
		plain("list", "list "+of, n.listKeys, largeValue, n, unary{path: pathRange, inFlight: 2, body: always(everything())}),
		plain("range-stream", "the same by RangeStream", n.listKeys, largeValue, n,
			unary{path: pathRangeStream, inFlight: 2, body: always(everything())}),
		listGrowthWork(n),
		plain(fmt.Sprintf("paging-%d", last), fmt.Sprintf("page of %d keys out of %d, one after the other", pageKeys, last), last, smallValue, n,
			unary{path: pathRange, inFlight: fewCalls, body: pagesInTurn(last, pageKeys)}),
		kubeWork(n),
	}
}

// pagesInTurn writes the requests for the pages of a list, from the first to
// the last and again.
func pagesInTurn(keys, size int) func(*rand.Rand, []byte) []byte {
	var next atomic.Int64
	count := (keys + size - 1) / size
	return func(_ *rand.Rand, buf []byte) []byte {
		from := int(next.Add(1)-1) % count * size
		return append(buf, must(&etcdserverpb.RangeRequest{Key: keyAt(from), RangeEnd: []byte(keyEnd), Limit: int64(size)})...)
	}
}

// listGrowthWork has many clients list everything at once, again and again; its
// memory is what the server grows by.
func listGrowthWork(n scale) work {
	u := unary{path: pathRange, connections: manyLists, inFlight: manyLists, body: always(everything())}
	return work{
		name:  fmt.Sprintf("list-%d", manyLists),
		about: fmt.Sprintf("list of %d keys of %d bytes, by %d clients at once; memory is what the server grew by", n.listKeys, largeValue, manyLists),
		prepare: func(ctx context.Context, c *cluster) (load, error) {
			err := fillKeys(ctx, c.address(), n.listKeys, largeValue)
			resting := map[*cluster]int64{}
			return func(ctx context.Context, c *cluster, seed uint64, length time.Duration) (tally, error) {
				if resting[c] == 0 { // before the first list
					if err := c.resetPeak(); err != nil {
						return tally{}, err
					}
					var err error
					if resting[c], err = c.peakMemory(); err != nil {
						return tally{}, err
					}
				}
				t, err := u.run(ctx, c.addresses(), seed, length)
				if err != nil {
					return t, err
				}
				peak, err := c.peakMemory()
				t.peak = max(1, peak-resting[c])
				return t, err
			}, err
		},
	}
}

// The mix of Kubernetes: of a hundred requests so many are lists of a
// namespace and gets, the others compare and put.
const (
	kubeLists     = 5
	kubeGets      = 25
	kubeNamespace = 100 // keys
	kubeValue     = 512 // bytes
	kubeWatchers  = 20
)

// kubeWork mixes updates as Kubernetes makes them with reads, while watchers
// follow everything.
func kubeWork(n scale) work {
	u := unary{connections: n.connections, inFlight: n.inFlight, choose: kubeMix(n.kubeKeys)}
	return work{
		name: "kube",
		about: fmt.Sprintf("compare and put %d%%, get %d%%, list of %d keys %d%%; %d watchers of everything",
			100-kubeLists-kubeGets, kubeGets, kubeNamespace, kubeLists, kubeWatchers),
		prepare: func(ctx context.Context, c *cluster) (load, error) {
			if err := fillKeys(ctx, c.address(), n.kubeKeys, kubeValue); err != nil {
				return nil, err
			}
			crowd, err := newCrowd(c.address(), kubeWatchers, everyEvent(0))
			return func(ctx context.Context, c *cluster, seed uint64, length time.Duration) (tally, error) {
				t, err := u.run(ctx, c.addresses()[:1], seed, length)
				if err == nil {
					err = crowd.failure()
				}
				return t, err
			}, err
		},
	}
}

// everyEvent asks for what happens to all keys, from a revision on or from now.
func everyEvent(from int64) *etcdserverpb.WatchCreateRequest {
	return &etcdserverpb.WatchCreateRequest{Key: []byte(keyPrefix), RangeEnd: []byte(keyEnd), StartRevision: from}
}

// kubeMix chooses requests; all are encoded beforehand.
func kubeMix(keys int) func(*rand.Rand, []byte) (string, []byte) {
	updates, gets, lists := make([][]byte, keys), make([][]byte, keys), make([][]byte, 0, keys/kubeNamespace)
	value := payload(4, kubeValue)
	for i := range keys {
		updates[i], gets[i] = must(compareAndPut(keyAt(i), value)), must(&etcdserverpb.RangeRequest{Key: keyAt(i)})
		if i%kubeNamespace == 0 {
			lists = append(lists, must(&etcdserverpb.RangeRequest{Key: keyAt(i), RangeEnd: keyAt(i + kubeNamespace), Limit: pageKeys}))
		}
	}
	return func(r *rand.Rand, buf []byte) (string, []byte) {
		switch dice := r.IntN(100); {
		case dice < kubeLists:
			return pathRange, append(buf, lists[r.IntN(len(lists))]...)
		case dice < kubeLists+kubeGets:
			return pathRange, append(buf, gets[r.IntN(keys)]...)
		}
		return pathTxn, append(buf, updates[r.IntN(keys)]...)
	}
}

// compareAndPut puts a key that exists, and otherwise reads it.
func compareAndPut(key, value []byte) *etcdserverpb.TxnRequest {
	return &etcdserverpb.TxnRequest{
		Compare: []*etcdserverpb.Compare{{
			Key: key, Target: etcdserverpb.Compare_MOD, Result: etcdserverpb.Compare_GREATER,
			TargetUnion: &etcdserverpb.Compare_ModRevision{ModRevision: 0},
		}},
		Success: []*etcdserverpb.RequestOp{{Request: &etcdserverpb.RequestOp_RequestPut{
			RequestPut: &etcdserverpb.PutRequest{Key: key, Value: value},
		}}},
		Failure: []*etcdserverpb.RequestOp{{Request: &etcdserverpb.RequestOp_RequestRange{
			RequestRange: &etcdserverpb.RangeRequest{Key: key},
		}}},
	}
}
