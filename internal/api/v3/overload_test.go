package v3

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/quoin-kv/quoin/internal/service/servicetest"
)

// heapInUse is the memory of objects that are still needed.
func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// await waits until the condition holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(20 * time.Second); !holds(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("still not: %s", what)
		}
	}
}

// slowest puts for some time and returns how long the slowest took.
func slowest(t *testing.T, e *edge, length time.Duration) (longest time.Duration) {
	t.Helper()
	for end := time.Now().Add(length); time.Now().Before(end); {
		start := time.Now()
		_, err := e.kv.Put(t.Context(), &pb.PutRequest{Key: []byte("x")})
		check(t, err)
		longest = max(longest, time.Since(start))
	}
	return longest
}

// TestOverloadByLists has fifty clients ask for everything and read nothing, with room for some of them: the others are refused, all of
// them together cost a fraction of one list each, and puts go on meanwhile.
func TestOverloadByLists(t *testing.T) {
	const clients, budget = 50, 32 << 20
	e := startLarge(t, func(o *servicetest.Options) { o.Service.RangeBudgetBytes = budget })
	defer func() {
		if t.Failed() {
			t.Logf("%+v", e.RangeBudget())
		}
	}()
	before := heapInUse()
	ctx, cancel := context.WithCancel(t.Context())
	var refused, ended atomic.Int64
	var wg sync.WaitGroup
	for range clients {
		kv, s := startStalling(t, e)
		close(s.stall)
		wg.Go(func() {
			defer func() { _ = s.Close() }()
			_, err := kv.Range(ctx, list)
			if err == nil {
				t.Error("an answer that nobody read")
			}
			ended.Add(1)
		})
	}
	await(t, "lists under way and in line", func() bool {
		s := e.RangeBudget()
		return s.Answers >= 20 && s.Waiting+s.Answers+int(s.Refused) == clients
	})
	if took := slowest(t, e, time.Second); took > 2*time.Second {
		t.Errorf("a put took %v", took)
	}
	s := e.RangeBudget()
	if s.UsedBytes > budget+clients*4096 {
		t.Errorf("%+v", s)
	}
	const listBytes = largeKeys * 200
	if grown := heapInUse() - before; grown > clients*listBytes/2 {
		t.Errorf("the heap grew by %d bytes for %d lists of %d", grown, clients, listBytes)
	}
	await(t, "those beyond are refused", func() bool { s := e.RangeBudget(); return s.Waiting == 0 && s.Refused > 0 })
	refused.Store(int64(e.RangeBudget().Refused))
	cancel()
	wg.Wait()
	if refused.Load()+int64(s.Answers) != clients || ended.Load() != clients {
		t.Errorf("%d refused and %d answered of %d", refused.Load(), s.Answers, clients)
	}
	e.DropAnswers() // of connections that broke
	if got, err := e.kv.Range(t.Context(), list); err != nil || got.Count != largeKeys {
		t.Errorf("afterwards: %d keys, %v", got.GetCount(), err)
	}
}

// TestOverloadByWatchers asks one stream for more watchers than may wait for their confirmation, and takes none: the stream waits, others do not,
// and in the end every watcher is there.
func TestOverloadByWatchers(t *testing.T) {
	e := startEdge(t, 1)
	const watchers = 20_000
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := e.watch.Watch(ctx)
	check(t, err)
	sent := make(chan error, 1)
	go func() {
		for range watchers {
			create := &pb.WatchCreateRequest{Key: []byte("x"), StartRevision: 1 << 40}
			if err := stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: create}}); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	if took := slowest(t, e, 500*time.Millisecond); took > 2*time.Second {
		t.Errorf("a put took %v", took)
	}
	for i := range watchers {
		r, err := stream.Recv()
		if err != nil || !r.Created || r.Canceled || r.WatchId != int64(i) {
			t.Fatalf("watcher %d: %v, %v", i, r, err)
		}
	}
	check(t, <-sent)
	if n := e.WatchStats().Watchers; n != watchers {
		t.Errorf("%d watchers", n)
	}
	cancel()
	await(t, "no watchers", func() bool { return e.WatchStats().Watchers == 0 })
}

// TestOverloadByLargeRequests: requests at and beyond the limits have their errors, at whatever place the limit is.
func TestOverloadByLargeRequests(t *testing.T) {
	const requestBytes = 100_000
	m := servicetest.Start(t, servicetest.NewDisks(t, 1), func(o *servicetest.Options) { o.Service.MaxRequestBytes = requestBytes })
	check(t, m.Probe(t.Context(), true))
	e := serveWith(t, m, func(o *Options) { o.Limits.MaxRequestBytes = 2 * requestBytes })
	put := func(bytes int) error {
		_, err := e.kv.Put(t.Context(), &pb.PutRequest{Key: []byte("k"), Value: make([]byte, bytes)})
		return err
	}
	check(t, put(requestBytes-100))
	wantStatus(t, "beyond a request", put(requestBytes), codes.InvalidArgument, "etcdserver: request is too large")
	if err := put(2 * requestBytes); status.Code(err) != codes.ResourceExhausted ||
		status.Convert(err).Message() != "grpc: received message larger than max (200007 vs. 200000)" {
		t.Errorf("beyond a message: %v", err)
	}
	_, err := e.kv.Txn(t.Context(), nested(5, 128))
	wantStatus(t, "operations in levels", err, codes.InvalidArgument, "etcdserver: too many operations in txn request")
}

// nested is a transaction within a transaction, so many deep, with as many operations at the bottom.
func nested(deep, ops int) *pb.TxnRequest {
	t := &pb.TxnRequest{}
	if deep == 0 {
		for range ops {
			get := &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: []byte("k")}}
			t.Success = append(t.Success, &pb.RequestOp{Request: get})
		}
		return t
	}
	t.Success = []*pb.RequestOp{{Request: &pb.RequestOp_RequestTxn{RequestTxn: nested(deep-1, ops)}}}
	return t
}
