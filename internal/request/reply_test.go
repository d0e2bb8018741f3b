package request_test

import (
	"bytes"
	"errors"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"

	"github.com/quoin-kv/quoin/internal/request"
)

func mustEncode(t testing.TB, m proto.Message) []byte {
	t.Helper()
	raw, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestParseReplies(t *testing.T) {
	header := &pb.ResponseHeader{ClusterId: 1, MemberId: 2, Revision: 3, RaftTerm: 4}
	want := request.ResponseHeader{ClusterID: 1, MemberID: 2, Revision: 3, RaftTerm: 4}
	kv := &mvccpb.KeyValue{Key: []byte("k"), Value: []byte("v")}
	list := &pb.RangeResponse{Header: header, Kvs: []*mvccpb.KeyValue{kv, {}}, More: true, Count: 9}

	if h, err := request.ParseHeaderResponse(mustEncode(t, list)); err != nil || h != want {
		t.Errorf("header %+v, %v", h, err)
	}
	h, r, err := request.ParseRangeResponse(mustEncode(t, list))
	if err != nil || h != want || len(r.KVs) != 2 || !bytes.Equal(r.KVs[0], mustEncode(t, kv)) || len(r.KVs[1]) != 0 || !r.More || r.Count != 9 {
		t.Errorf("range %+v %+v, %v", h, r, err)
	}
	txn := &pb.TxnResponse{Header: header, Succeeded: true, Responses: []*pb.ResponseOp{
		{Response: &pb.ResponseOp_ResponsePut{ResponsePut: &pb.PutResponse{Header: header}}},
		{Response: &pb.ResponseOp_ResponseRange{ResponseRange: list}},
	}}
	h, result, err := request.ParseTxnResponse(mustEncode(t, txn))
	if err != nil || h != want || !result.Succeeded || len(result.Responses) != 2 {
		t.Fatalf("transaction %+v %+v, %v", h, result, err)
	}
	if op := result.Responses[1]; result.Responses[0].Range != nil || op.Range == nil || len(op.Range.KVs) != 2 || op.Revision != 3 {
		t.Errorf("operations %+v", result.Responses)
	}
	record, deleted, err := request.ParseEvent(mustEncode(t, &mvccpb.Event{Type: mvccpb.Event_DELETE, Kv: kv, PrevKv: &mvccpb.KeyValue{}}))
	if err != nil || !deleted || !bytes.Equal(record, mustEncode(t, kv)) {
		t.Errorf("event %q %v, %v", record, deleted, err)
	}
	lease, err := request.ParseLeaseGrantResponse(mustEncode(t, &pb.LeaseGrantResponse{Header: header, ID: 7, TTL: 60}))
	if err != nil || lease != (request.LeaseTTL{ID: 7, TTL: 60}) {
		t.Errorf("lease %+v, %v", lease, err)
	}
}

// FuzzParseReplies: whatever the bytes are, they are read or refused as malformed.
func FuzzParseReplies(f *testing.F) {
	f.Add([]byte{0x0a, 2, 0x18, 3, 0x12, 2, 0x0a, 0})
	f.Add([]byte{0x1a, 4, 0x0a, 2, 0x12, 0})
	f.Add([]byte{0x0a, 9})
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _, err1 := request.ParseRangeResponse(b)
		_, _, err2 := request.ParseTxnResponse(b)
		_, _, err3 := request.ParseEvent(b)
		_, err4 := request.ParseHeaderResponse(b)
		errs := []error{err1, err2, err3, err4}
		for _, r := range []interface{ Unmarshal(b []byte) error }{
			new(request.Lock), new(request.Unlock), new(request.Campaign), new(request.Leader), new(request.Proclaim), new(request.Resign),
		} {
			errs = append(errs, r.Unmarshal(b))
		}
		for i, err := range errs {
			if err != nil && !errors.Is(err, request.ErrMalformed) {
				t.Errorf("%d: %v", i, err)
			}
		}
	})
}
