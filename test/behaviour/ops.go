package behaviour

import (
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

func rangeOp(r *pb.RangeRequest) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: r}}
}

func putOp(r *pb.PutRequest) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: r}}
}

func deleteOp(r *pb.DeleteRangeRequest) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: r}}
}

func txnOp(r *pb.TxnRequest) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestTxn{RequestTxn: r}}
}

// Short forms for operation lists: p puts "1", d deletes, g gets, and t nests a
// transaction whose success branch is given.

func p(key string) *pb.RequestOp { return putOp(put(key, "1")) }

func d(key, end string) *pb.RequestOp { return deleteOp(del(key, end)) }

func g(key, end string) *pb.RequestOp { return rangeOp(get(key, end)) }

func t(success ...*pb.RequestOp) *pb.RequestOp {
	return txnOp(&pb.TxnRequest{Success: success})
}

// grant grants a lease that is revoked at the end of the case.
func (e *env) grant(ttl int64) int64 {
	e.Helper()
	resp, err := e.lease.LeaseGrant(e.ctx, &pb.LeaseGrantRequest{TTL: ttl})
	e.ok(err)
	e.revokeAtEnd(resp.ID)
	return resp.ID
}

// revokeAtEnd revokes the lease when the case is over, so that no expiry makes a
// revision while another case runs.
func (e *env) revokeAtEnd(id int64) {
	e.Cleanup(func() { _, _ = e.lease.LeaseRevoke(e.ctx, &pb.LeaseRevokeRequest{ID: id}) })
}
