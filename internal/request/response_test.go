package request_test

import (
	"bytes"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"

	"github.com/quoin-kv/quoin/internal/request"
)

// answer is a response in both forms.
type answer struct {
	name   string
	append func(b []byte) []byte
	theirs proto.Message
}

func (a answer) check(t *testing.T) {
	t.Helper()
	want := canonical(t, a.theirs)
	if got := a.append(nil); !bytes.Equal(got, want) {
		t.Fatalf("%s: encoded\n%x, want\n%x", a.name, got, want)
	}
	if got := a.append([]byte("x")); !bytes.Equal(got[1:], want) || got[0] != 'x' {
		t.Fatalf("%s: appended %x", a.name, got)
	}
	if allocs := testing.AllocsPerRun(5, func() { a.append(nil) }); allocs > 1 {
		t.Fatalf("%s: %v allocations, want at most 1", a.name, allocs)
	}
}

// records draws n records, encoded and decoded.
func (s source) records(n int) (ours [][]byte, theirs []*mvccpb.KeyValue) {
	for range n {
		kv := &mvccpb.KeyValue{}
		s.fill(kv.ProtoReflect(), 1)
		b, err := proto.Marshal(kv)
		if err != nil {
			panic(err)
		}
		ours, theirs = append(ours, b), append(theirs, kv)
	}
	return ours, theirs
}

func (s source) header() (request.ResponseHeader, *pb.ResponseHeader) {
	h := &pb.ResponseHeader{}
	s.fill(h.ProtoReflect(), 0)
	return request.ResponseHeader{ClusterID: h.ClusterId, MemberID: h.MemberId, Revision: h.Revision, RaftTerm: h.RaftTerm}, h
}

func (s source) rangeResult(h *pb.ResponseHeader) (*request.RangeResult, *pb.RangeResponse) {
	ours, theirs := s.records(s.IntN(4))
	more, n := s.IntN(2) == 0, int64(s.IntN(1000)-1)
	return &request.RangeResult{KVs: ours, More: more, Count: n}, &pb.RangeResponse{Header: h, Kvs: theirs, More: more, Count: n}
}

func (s source) putResult(h *pb.ResponseHeader) (*request.PutResult, *pb.PutResponse) {
	ours, theirs := s.records(1)
	if s.IntN(2) == 0 {
		return &request.PutResult{}, &pb.PutResponse{Header: h}
	}
	return &request.PutResult{PrevKV: ours[0]}, &pb.PutResponse{Header: h, PrevKv: theirs[0]}
}

func (s source) deleteResult(h *pb.ResponseHeader) (*request.DeleteRangeResult, *pb.DeleteRangeResponse) {
	ours, theirs := s.records(s.IntN(3))
	n := int64(s.IntN(300))
	return &request.DeleteRangeResult{Deleted: n, PrevKVs: ours}, &pb.DeleteRangeResponse{Header: h, Deleted: n, PrevKvs: theirs}
}

func (s source) txnResult(h *pb.ResponseHeader, depth int) (*request.TxnResult, *pb.TxnResponse) {
	ok := s.IntN(2) == 0
	ours, theirs := &request.TxnResult{Succeeded: ok}, &pb.TxnResponse{Header: h, Succeeded: ok}
	for range s.IntN(5) {
		a, b := s.opResult(depth)
		ours.Responses, theirs.Responses = append(ours.Responses, a), append(theirs.Responses, b)
	}
	return ours, theirs
}

func (s source) opResult(depth int) (request.OpResult, *pb.ResponseOp) {
	rev := int64(s.IntN(1 << 20))
	h := &pb.ResponseHeader{Revision: rev}
	switch s.IntN(5) {
	case 0:
		a, b := s.rangeResult(h)
		return request.OpResult{Revision: rev, Range: a}, &pb.ResponseOp{Response: &pb.ResponseOp_ResponseRange{ResponseRange: b}}
	case 1:
		a, b := s.putResult(h)
		return request.OpResult{Revision: rev, Put: a}, &pb.ResponseOp{Response: &pb.ResponseOp_ResponsePut{ResponsePut: b}}
	case 2:
		a, b := s.deleteResult(h)
		return request.OpResult{Revision: rev, DeleteRange: a}, &pb.ResponseOp{Response: &pb.ResponseOp_ResponseDeleteRange{ResponseDeleteRange: b}}
	case 3:
		if depth > 0 {
			a, b := s.txnResult(&pb.ResponseHeader{}, depth-1)
			return request.OpResult{Revision: rev, Txn: a}, &pb.ResponseOp{Response: &pb.ResponseOp_ResponseTxn{ResponseTxn: b}}
		}
	}
	return request.OpResult{}, &pb.ResponseOp{}
}

func TestKVResponsesAgreeWithGeneratedCode(t *testing.T) {
	s := newSource(t, 5)
	for range 200 {
		h, th := s.header()
		r, tr := s.rangeResult(th)
		answer{"range", func(b []byte) []byte { return request.AppendRangeResponse(b, h, r) }, tr}.check(t)
		p, tp := s.putResult(th)
		answer{"put", func(b []byte) []byte { return request.AppendPutResponse(b, h, p) }, tp}.check(t)
		d, td := s.deleteResult(th)
		answer{"delete", func(b []byte) []byte { return request.AppendDeleteRangeResponse(b, h, d) }, td}.check(t)
		x, tx := s.txnResult(th, 4)
		answer{"txn", func(b []byte) []byte { return request.AppendTxnResponse(b, h, x) }, tx}.check(t)
		chunk := &pb.RangeStreamResponse{RangeResponse: tr}
		answer{"last chunk", func(b []byte) []byte { return request.AppendRangeChunk(b, &h, r) }, chunk}.check(t)
		tr.Header = nil
		answer{"chunk", func(b []byte) []byte { return request.AppendRangeChunk(b, nil, r) }, chunk}.check(t)
	}
}

func TestOtherResponsesAgreeWithGeneratedCode(t *testing.T) {
	s := newSource(t, 6)
	for range 50 {
		h, th := s.header()
		l := request.LeaseTTL{ID: int64(s.Uint64()), TTL: int64(s.IntN(3) - 1)}
		keys := [][]byte{s.bytes(), s.bytes()}
		leases := []int64{l.ID, 0, 5}
		alarms := []request.AlarmMember{{MemberID: 7, Kind: request.AlarmCorrupt}, {}}
		live := &request.LeaseTimeToLiveResult{ID: l.ID, TTL: l.TTL, GrantedTTL: 9, Keys: keys}
		for _, a := range []answer{
			{"compaction", func(b []byte) []byte { return request.AppendCompactionResponse(b, h) }, &pb.CompactionResponse{Header: th}},
			{"revoke", func(b []byte) []byte { return request.AppendLeaseRevokeResponse(b, h) }, &pb.LeaseRevokeResponse{Header: th}},
			{"grant", func(b []byte) []byte { return request.AppendLeaseGrantResponse(b, h, l) }, &pb.LeaseGrantResponse{Header: th, ID: l.ID, TTL: l.TTL}},
			{"keep alive", func(b []byte) []byte { return request.AppendLeaseKeepAliveResponse(b, h, l) }, &pb.LeaseKeepAliveResponse{Header: th, ID: l.ID, TTL: l.TTL}},
			{"time to live", func(b []byte) []byte {
				return request.AppendLeaseTimeToLiveResponse(b, h, live)
			}, &pb.LeaseTimeToLiveResponse{Header: th, ID: l.ID, TTL: l.TTL, GrantedTTL: 9, Keys: keys}},
			{"leases", func(b []byte) []byte { return request.AppendLeaseLeasesResponse(b, h, leases) }, &pb.LeaseLeasesResponse{Header: th, Leases: []*pb.LeaseStatus{{ID: l.ID}, {}, {ID: 5}}}},
			{"alarm", func(b []byte) []byte {
				return request.AppendAlarmResponse(b, h, alarms)
			}, &pb.AlarmResponse{Header: th, Alarms: []*pb.AlarmMember{{MemberID: 7, Alarm: pb.AlarmType_CORRUPT}, {}}}},
		} {
			a.check(t)
		}
	}
}
