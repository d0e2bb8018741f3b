package machine_test

import (
	"errors"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/machine"
)

// TestOverQuotaIsDone applies requests on a member that has no room for them: they are done, as on the others, but their clients are told that
// there is no space. What does not grow the database is not asked about.
func TestOverQuotaIsDone(t *testing.T) {
	w := newTwin(t, 1, true)
	var asked []int64
	w.full = func(cost int64) bool {
		asked = append(asked, cost)
		return true
	}
	apply := func(r *pb.InternalRaftRequest) machine.Outcome {
		data, err := proto.Marshal(r)
		w.check(err)
		return w.machine.Apply(machine.Command{Term: 1, Data: data, Wanted: func(uint64) bool { return true }})
	}
	put := &pb.PutRequest{Key: []byte("key"), Value: []byte("value")}
	op := &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: put}}
	for _, r := range []*pb.InternalRaftRequest{
		{ID: 1, Put: put},
		{ID: 2, Txn: &pb.TxnRequest{Success: []*pb.RequestOp{op}}},
		{ID: 3, LeaseGrant: &pb.LeaseGrantRequest{ID: 7, TTL: 60}},
	} {
		out := apply(r)
		if !out.OverQuota || !errors.Is(out.Err, kverr.NoSpace) || out.Reply != nil || len(out.Events)+len(out.Leases) != 1 {
			t.Errorf("%v: %+v", r, out)
		}
	}
	if want := []int64{264, 264, 64}; len(asked) != 3 || asked[0] != want[0] || asked[1] != want[1] || asked[2] != want[2] {
		t.Errorf("asked for %v bytes, want %v", asked, want)
	}
	for _, r := range []*pb.InternalRaftRequest{
		{ID: 4, DeleteRange: &pb.DeleteRangeRequest{Key: []byte("key")}},
		{ID: 5, LeaseRevoke: &pb.LeaseRevokeRequest{ID: 7}},
		{ID: 6, Compaction: &pb.CompactionRequest{Revision: 2}},
	} {
		if out := apply(r); out.OverQuota || out.Err != nil || out.Reply == nil {
			t.Errorf("%v: %+v", r, out)
		}
	}
	out := apply(&pb.InternalRaftRequest{ID: 8, Put: &pb.PutRequest{Key: []byte("key"), Lease: 99}})
	if !errors.Is(out.Err, kverr.LeaseNotFound) || out.OverQuota || len(out.Events) != 0 {
		t.Errorf("a put that is refused anyway: %+v", out)
	}
}
