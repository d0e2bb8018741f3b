//go:build !race

// What is counted here is counted without the race detector, under which pools forget some of what they are given.

package v3

import (
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/quoin-kv/quoin/internal/service/servicetest"
)

// TestDirectAllocations holds what the hottest calls allocate from here to the disks, in a batch of 64.
func TestDirectAllocations(t *testing.T) {
	put := hotBatch(t, pb.KV_Put_FullMethodName, &pb.PutRequest{Key: []byte("k"), Value: make([]byte, 100)})
	get := hotBatch(t, pb.KV_Range_FullMethodName, &pb.RangeRequest{Key: []byte("k")})
	for _, one := range []struct {
		what  string
		serve func()
		most  float64
	}{{"put", put, 4.5}, {"get", get, 0.1}} {
		each := servicetest.Allocations(one.serve) / hotCalls
		t.Logf("%s: %.2f", one.what, each)
		if each > one.most {
			t.Errorf("a %s allocates %.2f times, at most %v are allowed", one.what, each, one.most)
		}
	}
}
