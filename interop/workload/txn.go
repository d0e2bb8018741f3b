package workload

import (
	"bytes"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// depthMax is how deep transactions are nested.
const depthMax = 3

// txn makes a transaction. Its puts mostly take different keys, so that most
// transactions pass the check for keys written twice.
func (g *Generator) txn(depth int) *pb.TxnRequest {
	keys := g.rand.Perm(len(g.keys))
	return g.txnOf(depth, &keys)
}

func (g *Generator) txnOf(depth int, keys *[]int) *pb.TxnRequest {
	r := &pb.TxnRequest{}
	for range g.rand.IntN(3) {
		r.Compare = append(r.Compare, g.compare())
	}
	readOnly := depth == 0 && g.one(6)
	for range g.rand.IntN(4) {
		r.Success = append(r.Success, g.op(depth, keys, readOnly))
	}
	for range g.rand.IntN(4) {
		r.Failure = append(r.Failure, g.op(depth, keys, readOnly))
	}
	return r
}

func (g *Generator) op(depth int, keys *[]int, readOnly bool) *pb.RequestOp {
	n := g.rand.IntN(100)
	switch {
	case readOnly || n < 30:
		return &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: g.get()}}
	case n < 70:
		return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: g.txnPut(keys)}}
	case n < 82:
		return &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: g.txnDelete(keys)}}
	case n < 99 && depth < depthMax:
		return &pb.RequestOp{Request: &pb.RequestOp_RequestTxn{RequestTxn: g.txnOf(depth+1, keys)}}
	case g.one(10):
		return &pb.RequestOp{}
	default:
		return &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: g.get()}}
	}
}

// fresh is a key that no other put or delete of the transaction has; sometimes
// it is any key.
func (g *Generator) fresh(keys *[]int) []byte {
	if len(*keys) == 0 || g.one(20) {
		return g.key()
	}
	key := g.keys[(*keys)[0]]
	*keys = (*keys)[1:]
	return []byte(key)
}

func (g *Generator) txnPut(keys *[]int) *pb.PutRequest {
	r := g.put()
	if g.one(2) {
		r.Lease, r.IgnoreLease, r.IgnoreValue = 0, false, false
	}
	r.Key = g.fresh(keys)
	return r
}

// txnDelete never leaves the end of its range open: the check for keys written
// twice does not see such a range, and where a put behind it hits a key that it
// deletes, etcd 3.7 is no reference. It ends with a panic if the put keeps the old
// value or lease, and its hash and its compaction at that very revision take the
// key for deleted.
func (g *Generator) txnDelete(keys *[]int) *pb.DeleteRangeRequest {
	r := g.delete()
	if !g.one(3) {
		r.Key, r.RangeEnd = g.fresh(keys), nil
	}
	if bytes.Equal(r.RangeEnd, []byte{0}) {
		r.RangeEnd = []byte{0xff}
	}
	return r
}

// compare makes a condition that is often true: missing keys and revisions
// close to the present are preferred.
func (g *Generator) compare() *pb.Compare {
	key, end := g.span()
	c := &pb.Compare{Key: key, Result: pb.Compare_CompareResult(g.rand.IntN(4)), Target: pb.Compare_CompareTarget(g.rand.IntN(5))}
	if g.one(5) {
		c.RangeEnd = end
	}
	target := c.Target
	if g.one(30) {
		target = pb.Compare_CompareTarget(g.rand.IntN(5)) // an arm that does not fit
	}
	switch target {
	case pb.Compare_VERSION:
		c.TargetUnion = &pb.Compare_Version{Version: int64(g.rand.IntN(4))}
	case pb.Compare_CREATE:
		c.TargetUnion = &pb.Compare_CreateRevision{CreateRevision: g.anyRevision()}
	case pb.Compare_MOD:
		c.TargetUnion = &pb.Compare_ModRevision{ModRevision: g.anyRevision()}
	case pb.Compare_VALUE:
		c.TargetUnion = &pb.Compare_Value{Value: g.value()}
	case pb.Compare_LEASE:
		c.TargetUnion = &pb.Compare_Lease{Lease: pick(g, 0, g.lease())}
	}
	return c
}
