package v3

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/quoin-kv/quoin/internal/service/servicetest"
)

// startRated runs an edge that takes so many requests in a second.
func startRated(t *testing.T, perSecond uint) *edge {
	t.Helper()
	m := servicetest.Start(t, servicetest.NewDisks(t, 1))
	check(t, m.Probe(t.Context(), true))
	return serveWith(t, m, func(o *Options) { o.Limits.RequestsPerSecond = perSecond })
}

func TestRateOfCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := startRated(t, 100)
		time.Sleep(time.Minute)
		get := func() error {
			_, err := e.kv.Range(t.Context(), &pb.RangeRequest{Key: []byte("k")})
			return err
		}
		taken := 0
		for ; taken < 1000; taken++ {
			if err := get(); err != nil {
				wantStatus(t, "one too many", err, codes.ResourceExhausted, "etcdserver: too many requests")
				break
			}
		}
		if taken < 100 || taken > 110 { // a heartbeat or two may have passed meanwhile
			t.Errorf("%d calls at once, want those of a second", taken)
		}
		stream, err := e.kv.RangeStream(t.Context(), &pb.RangeRequest{Key: []byte("k")})
		check(t, err)
		if _, err := stream.Recv(); status.Code(err) != codes.ResourceExhausted {
			t.Errorf("stream of answers: %v", err)
		}
		grant(t, e)
		if _, err := healthpb.NewHealthClient(e.conn).Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
			t.Errorf("health check: %v", err)
		}
		time.Sleep(100 * time.Millisecond)
		check(t, get())
		e.stop()
	})
}

// grant renews a lease that does not exist, which is answered.
func grant(t *testing.T, e *edge) {
	t.Helper()
	stream, err := e.lease.LeaseKeepAlive(t.Context())
	check(t, err)
	for range 10 {
		check(t, stream.Send(&pb.LeaseKeepAliveRequest{ID: 1}))
		if _, err := stream.Recv(); err != nil {
			t.Errorf("keep-alive: %v", err)
		}
	}
	check(t, stream.CloseSend())
}

// TestRateOfWatches: requests of a watch stream beyond the rate are late, not lost.
func TestRateOfWatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := startRated(t, 10)
		ctx, cancel := context.WithCancel(t.Context())
		stream, err := e.watch.Watch(ctx)
		check(t, err)
		start := time.Now()
		const watchers = 50
		go func() {
			for range watchers {
				create := &pb.WatchCreateRequest{Key: []byte("k")}
				_ = stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: create}})
			}
		}()
		for range watchers {
			if r, err := stream.Recv(); err != nil || !r.Created {
				t.Fatalf("got %v, %v", r, err)
			}
		}
		if took := time.Since(start); took < 3*time.Second || took > 6*time.Second {
			t.Errorf("%d requests at 10 a second took %v", watchers, took)
		}
		cancel()
		e.stop()
	})
}

func BenchmarkRate(b *testing.B) {
	r := newRate(1_000_000_000)
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			r.take()
		}
	})
}
