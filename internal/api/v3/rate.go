package v3

import (
	"context"
	"math"
	"strings"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"

	"github.com/quoin-kv/quoin/internal/service"
)

// rate is a bucket of requests that fills evenly and holds those of one second. It may be used by many goroutines.
//
// Invariant: in any time t at most (t + one second) / interval requests are let through.
type rate struct {
	interval int64 // nanoseconds that one request costs
	start    time.Time
	paid     atomic.Int64 // time since start up to which requests have been taken
}

func newRate(perSecond uint) *rate {
	return &rate{interval: int64(time.Second) / int64(min(perSecond, uint(time.Second))), start: time.Now()}
}

// take takes one request, and reports false if there is none left.
func (r *rate) take() bool {
	_, ok := r.reserve(0)
	return ok
}

// giveBack undoes a take.
func (r *rate) giveBack() { r.paid.Add(-r.interval) }

// reserve takes a request that is due after a delay, if that is not above the given one.
func (r *rate) reserve(delayMax time.Duration) (time.Duration, bool) {
	now := int64(time.Since(r.start))
	for {
		paid := r.paid.Load()
		next := max(paid, now-int64(time.Second)) + r.interval
		if next-now > int64(delayMax) {
			return 0, false
		}
		if r.paid.CompareAndSwap(paid, next) {
			return time.Duration(max(0, next-now)), true
		}
	}
}

// wait takes a request as soon as there is one.
func (r *rate) wait(ctx context.Context) error {
	delay, _ := r.reserve(math.MaxInt64)
	if delay == 0 {
		return nil
	}
	due := time.NewTimer(delay)
	defer due.Stop()
	select {
	case <-due.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// unlimited reports whether a method is never refused: health checks and the renewal of leases, without which a busy member would be taken for
// a dead one or lose what its clients hold.
func unlimited(method string) bool {
	return method == pb.Lease_LeaseKeepAlive_FullMethodName || strings.HasPrefix(method, "/grpc.health.v1.Health/")
}

// unary refuses calls beyond the rate.
func (r *rate) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if !unlimited(info.FullMethod) && !r.take() {
		return nil, toStatus(service.ErrBusy)
	}
	return handler(ctx, req)
}

// stream refuses streams of answers beyond the rate. Of a watch, which stands for many, the requests have to wait instead.
func (r *rate) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	switch {
	case unlimited(info.FullMethod):
	case info.IsClientStream:
		stream = &ratedStream{stream, r}
	case !r.take():
		return toStatus(service.ErrBusy)
	}
	return handler(srv, stream)
}

// ratedStream takes the messages of a client no faster than the rate allows.
type ratedStream struct {
	grpc.ServerStream
	rate *rate
}

func (s *ratedStream) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	return s.rate.wait(s.Context())
}
