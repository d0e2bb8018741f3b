package service_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/service/servicetest"
)

// TestFloods sends more writes than may wait, while the disk stands still: those beyond are refused at once and with the right error, and
// what was acknowledged is there afterwards, and nothing that was refused.
func TestFloods(t *testing.T) {
	const writes, room = 2000, 100
	for _, tc := range []struct {
		name string
		send func(m *servicetest.Member, i int) error
		kept func(t *testing.T, m *servicetest.Member) int
	}{
		{"puts", func(m *servicetest.Member, i int) error {
			_, err := call(context.Background(), m.Put, &pb.PutRequest{Key: fmt.Appendf(nil, "f%d", i)}, new(pb.PutResponse))
			return err
		}, func(t *testing.T, m *servicetest.Member) int {
			list := &pb.RangeRequest{Key: []byte("f"), RangeEnd: []byte("g"), CountOnly: true}
			return int(must(t, m.Range, list, new(pb.RangeResponse)).Count)
		}},
		{"leases", func(m *servicetest.Member, i int) error {
			_, err := call(context.Background(), m.LeaseGrant, &pb.LeaseGrantRequest{ID: int64(i + 1), TTL: 600}, new(pb.LeaseGrantResponse))
			return err
		}, func(t *testing.T, m *servicetest.Member) int {
			return len(must(t, m.LeaseLeases, &pb.LeaseLeasesRequest{}, new(pb.LeaseLeasesResponse)).Leases)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m, g := startGated(t, func(o *servicetest.Options) { o.Node.MaxPending = room })
			g.shut.Store(true)
			var acknowledged, refused atomic.Int64
			var wg sync.WaitGroup
			for i := range writes {
				wg.Go(func() {
					switch err := tc.send(m, i); {
					case err == nil:
						acknowledged.Add(1)
					case errors.Is(err, kverr.TooManyRequests):
						refused.Add(1)
					default:
						t.Error(err)
					}
				})
			}
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for end := time.Now().Add(10 * time.Second); refused.Load() < writes-2*room && time.Now().Before(end); <-tick.C {
			}
			g.shut.Store(false)
			close(g.open)
			wg.Wait()
			if got := tc.kept(t, m); got != int(acknowledged.Load()) || acknowledged.Load()+refused.Load() != writes || acknowledged.Load() == 0 {
				t.Errorf("%d kept, %d acknowledged, %d refused", got, acknowledged.Load(), refused.Load())
			}
		})
	}
}
