package workload

import (
	"bytes"
	"cmp"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"
)

// normalize clears what may differ between two correct servers: ids and terms
// of the outer header, remaining lease times, and orders that are undefined.
func normalize(op Op, resp proto.Message) {
	if r, ok := resp.(headed); ok && r.GetHeader() != nil {
		h := r.GetHeader()
		h.ClusterId, h.MemberId, h.RaftTerm = 0, 0, 0
	}
	switch r := resp.(type) {
	case *pb.RangeResponse:
		normalizeRange(op.Request.(*pb.RangeRequest), r)
	case *pb.TxnResponse:
		normalizeTxn(op.Request.(*pb.TxnRequest), r)
	case *pb.LeaseTimeToLiveResponse:
		r.TTL = min(r.TTL, 1)
		slices.SortFunc(r.Keys, bytes.Compare)
	case *pb.LeaseLeasesResponse:
		slices.SortFunc(r.Leases, func(a, b *pb.LeaseStatus) int { return cmp.Compare(a.ID, b.ID) })
	}
}

func normalizeTxn(req *pb.TxnRequest, resp *pb.TxnResponse) {
	ops := req.Failure
	if resp.Succeeded {
		ops = req.Success
	}
	for i, op := range resp.Responses {
		switch r := op.Response.(type) {
		case *pb.ResponseOp_ResponseRange:
			normalizeRange(ops[i].GetRequestRange(), r.ResponseRange)
		case *pb.ResponseOp_ResponseTxn:
			normalizeTxn(ops[i].GetRequestTxn(), r.ResponseTxn)
		}
	}
}

// normalizeRange orders records with equal sort values by key. If the limit cut
// the answer inside a group of equal values, any of the group may have been
// left out, so that group is reduced to its size.
func normalizeRange(req *pb.RangeRequest, resp *pb.RangeResponse) {
	compare := sortOf(req.SortTarget)
	if compare == nil || len(resp.Kvs) == 0 {
		return
	}
	if req.KeysOnly && req.SortTarget == pb.RangeRequest_VALUE {
		compare = func(_, _ *mvccpb.KeyValue) int { return 0 }
	}
	kvs := resp.Kvs
	if resp.More {
		last := kvs[len(kvs)-1]
		for i, kv := range kvs {
			if compare(kv, last) == 0 {
				kvs[i] = &mvccpb.KeyValue{Version: -1}
			}
		}
		kvs = slices.DeleteFunc(slices.Clone(kvs), func(kv *mvccpb.KeyValue) bool { return kv.Version == -1 })
	}
	sortTies(kvs, compare)
	copy(resp.Kvs, kvs)
}

// sortTies sorts each run of equal records by key.
func sortTies(kvs []*mvccpb.KeyValue, compare func(a, b *mvccpb.KeyValue) int) {
	for start := 0; start < len(kvs); {
		end := start + 1
		for end < len(kvs) && compare(kvs[start], kvs[end]) == 0 {
			end++
		}
		slices.SortFunc(kvs[start:end], func(a, b *mvccpb.KeyValue) int { return bytes.Compare(a.Key, b.Key) })
		start = end
	}
}

// sortOf compares by a sort target; nil for the key, which has no ties.
func sortOf(target pb.RangeRequest_SortTarget) func(a, b *mvccpb.KeyValue) int {
	switch target {
	case pb.RangeRequest_VERSION:
		return func(a, b *mvccpb.KeyValue) int { return cmp.Compare(a.Version, b.Version) }
	case pb.RangeRequest_CREATE:
		return func(a, b *mvccpb.KeyValue) int { return cmp.Compare(a.CreateRevision, b.CreateRevision) }
	case pb.RangeRequest_MOD:
		return func(a, b *mvccpb.KeyValue) int { return cmp.Compare(a.ModRevision, b.ModRevision) }
	case pb.RangeRequest_VALUE:
		return func(a, b *mvccpb.KeyValue) int { return bytes.Compare(a.Value, b.Value) }
	}
	return nil
}
