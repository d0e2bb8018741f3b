package behaviour

import (
	"fmt"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// fromKey is the range end that stands for every key from the first on.
const fromKey = "\x00"

// key is the real key of a logical name.
func (e *env) key(name string) []byte { return []byte(e.prefix + name) }

// allEnd is the range end of all keys of the case; use it with key("").
func (e *env) allEnd() []byte { return []byte(clientv3.GetPrefixRangeEnd(e.prefix)) }

// end is the real form of a logical range end: empty and from-key stay, "*"
// means the end of the case's keys.
func (e *env) end(name string) []byte {
	switch name {
	case "":
		return nil
	case fromKey:
		return []byte(fromKey)
	case "*":
		return e.allEnd()
	}
	return e.key(name)
}

// Logical requests: the constructors below hold logical names, and the
// methods named "real" put the case's prefix in front of them, in place.

func get(key, end string) *pb.RangeRequest {
	return &pb.RangeRequest{Key: []byte(key), RangeEnd: []byte(end)}
}

func put(key, value string) *pb.PutRequest {
	return &pb.PutRequest{Key: []byte(key), Value: []byte(value)}
}

func del(key, end string) *pb.DeleteRangeRequest {
	return &pb.DeleteRangeRequest{Key: []byte(key), RangeEnd: []byte(end)}
}

func (e *env) realRange(r *pb.RangeRequest) *pb.RangeRequest {
	r.Key, r.RangeEnd = e.key(string(r.Key)), e.end(string(r.RangeEnd))
	return r
}

func (e *env) realPut(r *pb.PutRequest) *pb.PutRequest {
	r.Key = e.key(string(r.Key))
	return r
}

func (e *env) realDelete(r *pb.DeleteRangeRequest) *pb.DeleteRangeRequest {
	r.Key, r.RangeEnd = e.key(string(r.Key)), e.end(string(r.RangeEnd))
	return r
}

func (e *env) realTxn(r *pb.TxnRequest) *pb.TxnRequest {
	for _, c := range r.Compare {
		c.Key, c.RangeEnd = e.key(string(c.Key)), e.end(string(c.RangeEnd))
	}
	e.realOps(r.Success)
	e.realOps(r.Failure)
	return r
}

func (e *env) realOps(ops []*pb.RequestOp) {
	for _, op := range ops {
		switch r := op.Request.(type) {
		case *pb.RequestOp_RequestRange:
			e.realRange(r.RequestRange)
		case *pb.RequestOp_RequestPut:
			e.realPut(r.RequestPut)
		case *pb.RequestOp_RequestDeleteRange:
			e.realDelete(r.RequestDeleteRange)
		case *pb.RequestOp_RequestTxn:
			e.realTxn(r.RequestTxn)
		}
	}
}

// Calls with logical names that must succeed.

func (e *env) mustPut(r *pb.PutRequest) *pb.PutResponse {
	e.Helper()
	resp, err := e.kv.Put(e.ctx, e.realPut(r))
	e.ok(err)
	return resp
}

func (e *env) mustGet(r *pb.RangeRequest) *pb.RangeResponse {
	e.Helper()
	resp, err := e.kv.Range(e.ctx, e.realRange(r))
	e.ok(err)
	return resp
}

func (e *env) mustDelete(r *pb.DeleteRangeRequest) *pb.DeleteRangeResponse {
	e.Helper()
	resp, err := e.kv.DeleteRange(e.ctx, e.realDelete(r))
	e.ok(err)
	return resp
}

func (e *env) mustTxn(r *pb.TxnRequest) *pb.TxnResponse {
	e.Helper()
	resp, err := e.kv.Txn(e.ctx, e.realTxn(r))
	e.ok(err)
	return resp
}

func (e *env) mustCompact(revision int64) {
	e.Helper()
	_, err := e.kv.Compact(e.ctx, &pb.CompactionRequest{Revision: revision, Physical: true})
	e.ok(err)
}

// revision reads the store's current revision.
func (e *env) revision() int64 {
	e.Helper()
	resp, err := e.kv.Range(e.ctx, &pb.RangeRequest{Key: []byte("~"), CountOnly: true})
	e.ok(err)
	return resp.Header.Revision
}

// wrote ends the case unless exactly n revisions were made since its start.
func (e *env) wrote(n int64) {
	e.Helper()
	e.equal("revisions written", e.revision()-e.base, n)
}

// name is the logical name of a real key.
func (e *env) name(key []byte) string { return strings.TrimPrefix(string(key), e.prefix) }

// names joins the logical names of the keys with spaces.
func (e *env) names(kvs []*mvccpb.KeyValue) string {
	names := make([]string, len(kvs))
	for i, kv := range kvs {
		names[i] = e.name(kv.Key)
	}
	return strings.Join(names, " ")
}

// show writes one record as "key=value c1 m2 v2", with a lease as " l7";
// create and mod revisions are relative to the start of the case.
func (e *env) show(kv *mvccpb.KeyValue) string {
	if kv == nil {
		return "none"
	}
	s := fmt.Sprintf("%s=%s c%d m%d v%d", e.name(kv.Key), kv.Value, kv.CreateRevision-e.base, kv.ModRevision-e.base, kv.Version)
	if kv.Lease != 0 {
		s += fmt.Sprintf(" l%d", kv.Lease)
	}
	return s
}

// shows joins the records with "; ".
func (e *env) shows(kvs []*mvccpb.KeyValue) string {
	list := make([]string, len(kvs))
	for i, kv := range kvs {
		list[i] = e.show(kv)
	}
	return strings.Join(list, "; ")
}

// state is every record of the case as shows writes it.
func (e *env) state() string {
	e.Helper()
	return e.shows(e.mustGet(get("", "*")).Kvs)
}
