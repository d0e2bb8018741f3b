package proxy

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

func TestNamespaceRanges(t *testing.T) {
	for _, tc := range []struct{ prefix, key, end, first, last string }{
		{"p/", "a", "", "p/a", ""},
		{"p/", "a", "b", "p/a", "p/b"},
		{"p/", "a", "\x00", "p/a", "p0"},
		{"p/", "\x00", "\x00", "p/\x00", "p0"},
		{"p/", "a", "\x00\x00", "p/a", "p/\x00\x00"},
		{"p\xff", "a", "\x00", "p\xffa", "q"},
		{"\xff\xff", "a", "\x00", "\xff\xffa", "\x00"},
		{"p", "b", "a", "pb", "pa"},
	} {
		first, last, err := namespace{[]byte(tc.prefix)}.into([]byte(tc.key), []byte(tc.end))
		if err != nil || string(first) != tc.first || string(last) != tc.last {
			t.Errorf("%q: [%q, %q) is [%q, %q), %v", tc.prefix, tc.key, tc.end, first, last, err)
		}
	}
	if _, _, err := (namespace{[]byte("p")}).into(nil, []byte("x")); !errors.Is(err, rpctypes.ErrGRPCEmptyKey) {
		t.Error(err)
	}
}

// within reports whether a key is in a range as members take it.
func within(key, first, last []byte) bool {
	switch {
	case len(last) == 0:
		return bytes.Equal(key, first)
	case string(last) == toEnd:
		return bytes.Compare(key, first) >= 0
	}
	return bytes.Compare(key, first) >= 0 && bytes.Compare(key, last) < 0
}

// FuzzNamespace: a range in a namespace has the keys that it has without, and none of another's.
func FuzzNamespace(f *testing.F) {
	for _, s := range []string{"p/", "\xff", "a\xff\xff", "\x00"} {
		f.Add([]byte(s), []byte("a"), []byte("b"), []byte("aa"))
		f.Add([]byte(s), []byte("a"), []byte{0}, []byte("p0"))
		f.Add([]byte(s), []byte("a"), []byte{}, []byte("a"))
	}
	f.Fuzz(func(t *testing.T, prefix, key, end, probe []byte) {
		if len(prefix) == 0 || len(key) == 0 {
			return
		}
		n := namespace{prefix}
		first, last, err := n.into(key, end)
		if err != nil {
			t.Fatal(err)
		}
		if within(n.name(probe), first, last) != within(probe, key, end) {
			t.Errorf("%q in [%q, %q): differs behind %q", probe, key, end, prefix)
		}
		if !bytes.HasPrefix(probe, prefix) && within(probe, first, last) {
			t.Errorf("%q is in [%q, %q) behind %q", probe, first, last, prefix)
		}
	})
}

// TestNamespaceMessages: in every place where a message has a key it gets the prefix, and loses it.
func TestNamespaceMessages(t *testing.T) {
	key, end, behind, last := []byte("k"), []byte("l"), []byte("p/k"), []byte("p/l")
	edits := namespace{[]byte("p/")}.edits()
	ops := func(key, end []byte) []*pb.RequestOp {
		return []*pb.RequestOp{
			{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: key, RangeEnd: end}}},
			{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: key}}},
			{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: &pb.DeleteRangeRequest{Key: key, RangeEnd: end}}},
		}
	}
	txn := func(key, end []byte) *pb.TxnRequest {
		inner := &pb.TxnRequest{Compare: []*pb.Compare{{Key: key}}, Success: ops(key, end)}
		return &pb.TxnRequest{
			Compare: []*pb.Compare{{Key: key, RangeEnd: end}}, Success: ops(key, end),
			Failure: append(ops(key, nil), &pb.RequestOp{Request: &pb.RequestOp_RequestTxn{RequestTxn: inner}}),
		}
	}
	watch := func(key, end []byte) *pb.WatchRequest {
		return &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{Key: key, RangeEnd: end}}}
	}
	for _, tc := range []struct {
		method     string
		from, want proto.Message
	}{
		{pb.KV_Range_FullMethodName, &pb.RangeRequest{Key: key, RangeEnd: end, Limit: 3}, &pb.RangeRequest{Key: behind, RangeEnd: last, Limit: 3}},
		{pb.KV_Put_FullMethodName, &pb.PutRequest{Key: key, Value: key}, &pb.PutRequest{Key: behind, Value: key}},
		{pb.KV_DeleteRange_FullMethodName, &pb.DeleteRangeRequest{Key: key, RangeEnd: []byte{0}}, &pb.DeleteRangeRequest{Key: behind, RangeEnd: []byte("p0")}},
		{pb.KV_Txn_FullMethodName, txn(key, end), txn(behind, last)},
		{pb.Watch_Watch_FullMethodName, watch(key, end), watch(behind, last)},
		{pb.Watch_Watch_FullMethodName, watch(nil, []byte{0}), watch([]byte("p/\x00"), []byte("p0"))},
	} {
		got, err := edits[tc.method].request(encoded(tc.from))
		if err != nil || !bytes.Equal(got, encoded(tc.want)) {
			t.Errorf("%s: %x, want %x, %v", tc.method, got, encoded(tc.want), err)
		}
	}
	kv := func(key []byte) *mvccpb.KeyValue { return &mvccpb.KeyValue{Key: key, Value: key[:1]} }
	results := func(key []byte) []*pb.ResponseOp {
		return []*pb.ResponseOp{
			{Response: &pb.ResponseOp_ResponseRange{ResponseRange: &pb.RangeResponse{Kvs: []*mvccpb.KeyValue{kv(key), kv(key)}}}},
			{Response: &pb.ResponseOp_ResponsePut{ResponsePut: &pb.PutResponse{PrevKv: kv(key)}}},
			{Response: &pb.ResponseOp_ResponseDeleteRange{ResponseDeleteRange: &pb.DeleteRangeResponse{PrevKvs: []*mvccpb.KeyValue{kv(key)}}}},
		}
	}
	answers := func(key []byte) map[string]proto.Message {
		nested := &pb.ResponseOp{Response: &pb.ResponseOp_ResponseTxn{ResponseTxn: &pb.TxnResponse{Responses: results(key)}}}
		return map[string]proto.Message{
			pb.KV_Range_FullMethodName:       results(key)[0].GetResponseRange(),
			pb.KV_RangeStream_FullMethodName: &pb.RangeStreamResponse{RangeResponse: results(key)[0].GetResponseRange()},
			pb.KV_Put_FullMethodName:         results(key)[1].GetResponsePut(),
			pb.KV_DeleteRange_FullMethodName: results(key)[2].GetResponseDeleteRange(),
			pb.KV_Txn_FullMethodName:         &pb.TxnResponse{Succeeded: true, Responses: append(results(key), nested)},
			pb.Watch_Watch_FullMethodName:    &pb.WatchResponse{Events: []*mvccpb.Event{{Kv: kv(key), PrevKv: kv(key)}, {}}},
		}
	}
	want := answers([]byte("p"))
	for method, m := range answers([]byte("p/p")) {
		got, err := edits[method].answer(encoded(m))
		if err != nil || !bytes.Equal(got, encoded(want[method])) {
			t.Errorf("%s: %x, want %x, %v", method, got, encoded(want[method]), err)
		}
	}
	lease := &pb.LeaseTimeToLiveResponse{Keys: [][]byte{[]byte("p/a"), []byte("other"), []byte("p/b")}}
	same := func(k []byte, s string) bool { return string(k) == s }
	if err := (namespace{[]byte("p/")}).leaseAnswer(lease); err != nil || !slices.EqualFunc(lease.Keys, []string{"a", "b"}, same) {
		t.Errorf("keys of a lease: %q", lease.Keys)
	}
}

// TestNamespaceRefuses: an empty key, which would not be empty behind the prefix, and what is no message.
func TestNamespaceRefuses(t *testing.T) {
	edits := namespace{[]byte("p/")}.edits()
	empty := []*pb.RequestOp{{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{}}}}
	for method, m := range map[string]proto.Message{
		pb.KV_Range_FullMethodName: &pb.RangeRequest{}, pb.KV_Put_FullMethodName: &pb.PutRequest{}, pb.KV_DeleteRange_FullMethodName: &pb.DeleteRangeRequest{},
		pb.KV_Txn_FullMethodName: &pb.TxnRequest{Failure: empty},
	} {
		if _, err := edits[method].request(encoded(m)); !errors.Is(err, rpctypes.ErrGRPCEmptyKey) {
			t.Errorf("%s: %v", method, err)
		}
		if _, err := edits[method].request([]byte("\xff")); status.Code(err) != codes.Internal {
			t.Errorf("%s: %v", method, err)
		}
	}
	if _, err := edits[pb.KV_Txn_FullMethodName].request(encoded(&pb.TxnRequest{Compare: []*pb.Compare{{}}})); !errors.Is(err, rpctypes.ErrGRPCEmptyKey) {
		t.Errorf("a comparison: %v", err)
	}
}
