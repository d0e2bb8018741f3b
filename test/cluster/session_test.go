package cluster

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/quoin-kv/quoin/internal/model"
)

// A session is one client at one member. It records every call; it never
// repeats one. The generated stubs are used, since the official client repeats
// some calls by itself.
type session struct {
	recorder *recorder
	client   int
	member   uint64
	conn     grpc.ClientConnInterface
	timeout  time.Duration // when it gives up on a call
}

func (r *recorder) session(m *member) *session {
	return &session{recorder: r, client: r.client(), member: m.id, conn: m.conn, timeout: callTimeout}
}

// callTimeout is when most clients give up on a call.
const callTimeout = 2 * time.Second

// do makes a call and records it. ok says that there was an answer, which may be a failure.
func (s *session) do(ctx context.Context, r model.Request) (op model.Op, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	op = model.Op{Client: s.client, Member: s.member, Request: r, Call: s.recorder.now()}
	response, err := s.call(ctx, r)
	op.Response, op.Return = response, s.recorder.now()
	op.Request.Value = brief([]byte(r.Value))
	if err != nil {
		op.Response.Failure, op.Unknown = outcome(err)
		if op.Failure == model.FailureRefused || op.Unknown && !writes(r) {
			return op, false
		}
		if op.Unknown {
			s.recorder.lost(err)
		}
	}
	s.recorder.op(op)
	return op, !op.Unknown
}

// writes says whether a request can change anything; otherwise nothing is lost
// with its answer.
func writes(r model.Request) bool { return r.Kind != model.Range }

// outcome reads an error: a failure that says what it is, a refusal that surely had no
// effect, or unknown.
func outcome(err error) (model.Failure, bool) {
	s := status.Convert(err)
	switch s.Message() {
	case "etcdserver: mvcc: required revision has been compacted":
		return model.FailureCompacted, false
	case "etcdserver: mvcc: required revision is a future revision":
		return model.FailureFuture, false
	case "etcdserver: requested lease not found":
		return model.FailureLeaseNotFound, false
	case "etcdserver: lease already exists":
		return model.FailureLeaseExists, false
	case "etcdserver: key not found":
		return model.FailureKeyNotFound, false
	}
	refused := s.Code() == codes.InvalidArgument || s.Code() == codes.ResourceExhausted ||
		s.Code() == codes.Unauthenticated || s.Code() == codes.PermissionDenied ||
		s.Code() == codes.Unavailable && strings.Contains(s.Message(), "Error while dialing")
	if refused {
		return model.FailureRefused, false
	}
	return model.FailureNone, true
}

func (s *session) call(ctx context.Context, r model.Request) (model.Response, error) {
	kv, leases := etcdserverpb.NewKVClient(s.conn), etcdserverpb.NewLeaseClient(s.conn)
	switch r.Kind {
	case model.Put:
		response, err := kv.Put(ctx, putRequest(r))
		return fromPut(response), err
	case model.Delete:
		response, err := kv.DeleteRange(ctx, deleteRequest(r))
		return fromDelete(response), err
	case model.Range:
		response, err := kv.Range(ctx, rangeRequest(r))
		return fromRange(response), err
	case model.Txn:
		response, err := kv.Txn(ctx, txnRequest(r))
		return fromTxn(response), err
	case model.Compact:
		response, err := kv.Compact(ctx, &etcdserverpb.CompactionRequest{Revision: r.AtRevision})
		return model.Response{Revision: response.GetHeader().GetRevision()}, err
	case model.Grant:
		response, err := leases.LeaseGrant(ctx, &etcdserverpb.LeaseGrantRequest{ID: r.Lease, TTL: leaseTTL})
		return model.Response{Revision: response.GetHeader().GetRevision(), Count: response.GetTTL()}, err
	case model.Revoke:
		response, err := leases.LeaseRevoke(ctx, &etcdserverpb.LeaseRevokeRequest{ID: r.Lease})
		return model.Response{Revision: response.GetHeader().GetRevision()}, err
	}
	panic(fmt.Sprintf("a request of kind %v", r.Kind))
}

func putRequest(r model.Request) *etcdserverpb.PutRequest {
	return &etcdserverpb.PutRequest{
		Key: []byte(r.Key), Value: []byte(r.Value), Lease: r.Lease, PrevKv: r.PrevKV,
		IgnoreValue: r.IgnoreValue, IgnoreLease: r.IgnoreLease,
	}
}

func deleteRequest(r model.Request) *etcdserverpb.DeleteRangeRequest {
	return &etcdserverpb.DeleteRangeRequest{Key: []byte(r.Key), RangeEnd: []byte(r.End), PrevKv: r.PrevKV}
}

func rangeRequest(r model.Request) *etcdserverpb.RangeRequest {
	return &etcdserverpb.RangeRequest{
		Key: []byte(r.Key), RangeEnd: []byte(r.End), Revision: r.AtRevision, Limit: r.Limit,
		CountOnly: r.CountOnly, KeysOnly: r.KeysOnly, Serializable: r.Serializable,
	}
}

func txnRequest(r model.Request) *etcdserverpb.TxnRequest {
	txn := &etcdserverpb.TxnRequest{Success: requestOps(r.Then), Failure: requestOps(r.Else)}
	for _, c := range r.Compares {
		txn.Compare = append(txn.Compare, compare(c))
	}
	return txn
}

func requestOps(requests []model.Request) []*etcdserverpb.RequestOp {
	var all []*etcdserverpb.RequestOp
	for _, r := range requests {
		op := &etcdserverpb.RequestOp{}
		switch r.Kind {
		case model.Put:
			op.Request = &etcdserverpb.RequestOp_RequestPut{RequestPut: putRequest(r)}
		case model.Delete:
			op.Request = &etcdserverpb.RequestOp_RequestDeleteRange{RequestDeleteRange: deleteRequest(r)}
		case model.Range:
			op.Request = &etcdserverpb.RequestOp_RequestRange{RequestRange: rangeRequest(r)}
		case model.Txn:
			op.Request = &etcdserverpb.RequestOp_RequestTxn{RequestTxn: txnRequest(r)}
		}
		all = append(all, op)
	}
	return all
}

func compare(c model.Compare) *etcdserverpb.Compare {
	out := &etcdserverpb.Compare{Key: []byte(c.Key), RangeEnd: []byte(c.End)}
	switch c.Relation {
	case model.Equal:
		out.Result = etcdserverpb.Compare_EQUAL
	case model.NotEqual:
		out.Result = etcdserverpb.Compare_NOT_EQUAL
	case model.Less:
		out.Result = etcdserverpb.Compare_LESS
	case model.Greater:
		out.Result = etcdserverpb.Compare_GREATER
	}
	switch c.Target {
	case model.TargetVersion:
		out.Target, out.TargetUnion = etcdserverpb.Compare_VERSION, &etcdserverpb.Compare_Version{Version: c.Number}
	case model.TargetCreate:
		out.Target, out.TargetUnion = etcdserverpb.Compare_CREATE, &etcdserverpb.Compare_CreateRevision{CreateRevision: c.Number}
	case model.TargetMod:
		out.Target, out.TargetUnion = etcdserverpb.Compare_MOD, &etcdserverpb.Compare_ModRevision{ModRevision: c.Number}
	case model.TargetLease:
		out.Target, out.TargetUnion = etcdserverpb.Compare_LEASE, &etcdserverpb.Compare_Lease{Lease: c.Number}
	case model.TargetValue:
		out.Target, out.TargetUnion = etcdserverpb.Compare_VALUE, &etcdserverpb.Compare_Value{Value: []byte(c.Value)}
	}
	return out
}

func fromPut(r *etcdserverpb.PutResponse) model.Response {
	response := model.Response{Revision: r.GetHeader().GetRevision()}
	if r.GetPrevKv() != nil {
		response.KVs = []model.KV{fromKV(r.PrevKv)}
	}
	return response
}

func fromDelete(r *etcdserverpb.DeleteRangeResponse) model.Response {
	return model.Response{Revision: r.GetHeader().GetRevision(), Count: r.GetDeleted(), KVs: fromKVs(r.GetPrevKvs())}
}

func fromRange(r *etcdserverpb.RangeResponse) model.Response {
	return model.Response{Revision: r.GetHeader().GetRevision(), Count: r.GetCount(), More: r.GetMore(), KVs: fromKVs(r.GetKvs())}
}

func fromTxn(r *etcdserverpb.TxnResponse) model.Response {
	response := model.Response{Revision: r.GetHeader().GetRevision(), Succeeded: r.GetSucceeded()}
	for _, inner := range r.GetResponses() {
		switch v := inner.Response.(type) {
		case *etcdserverpb.ResponseOp_ResponsePut:
			response.Responses = append(response.Responses, fromPut(v.ResponsePut))
		case *etcdserverpb.ResponseOp_ResponseDeleteRange:
			response.Responses = append(response.Responses, fromDelete(v.ResponseDeleteRange))
		case *etcdserverpb.ResponseOp_ResponseRange:
			response.Responses = append(response.Responses, fromRange(v.ResponseRange))
		case *etcdserverpb.ResponseOp_ResponseTxn:
			response.Responses = append(response.Responses, fromTxn(v.ResponseTxn))
		}
	}
	return response
}

func fromKVs(kvs []*mvccpb.KeyValue) []model.KV {
	var all []model.KV
	for _, kv := range kvs {
		all = append(all, fromKV(kv))
	}
	return all
}

func fromKV(kv *mvccpb.KeyValue) model.KV {
	return model.KV{
		Key: model.Bytes(kv.Key), Value: brief(kv.Value), Create: kv.CreateRevision, Mod: kv.ModRevision,
		Version: kv.Version, Lease: kv.Lease,
	}
}

// brief is a value as it stands in the history: long ones by their hash.
func brief(value []byte) model.Bytes {
	const most = 64
	if len(value) <= most {
		return model.Bytes(value)
	}
	return model.Bytes(fmt.Sprintf("%d bytes, sha256 %x", len(value), sha256.Sum256(value)))
}
