package client

import (
	"reflect"
	"testing"

	"github.com/quoin-kv/quoin/internal/model"
	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/internal/watch"
)

func stored(kv model.KV) []byte {
	return (&schema.KeyValue{
		Key: []byte(kv.Key), Value: []byte(kv.Value), CreateRevision: kv.Create, ModRevision: kv.Mod, Version: kv.Version, Lease: kv.Lease,
	}).Append(nil)
}

func someKV() model.KV {
	return model.KV{Key: "k", Value: "v", Create: 2, Mod: 5, Version: 3, Lease: 7}
}

// TestEncode: what is sent is what the service reads.
func TestEncode(t *testing.T) {
	r := model.Request{
		Kind: model.Txn,
		Compares: []model.Compare{
			{Key: "a", Target: model.TargetMod, Relation: model.Greater, Number: 4},
			{Key: "b", End: "c", Target: model.TargetValue, Relation: model.NotEqual, Value: "x"},
		},
		Then: []model.Request{
			{Kind: model.Put, Key: "k", Value: "v", Lease: 3, PrevKV: true},
			{Kind: model.Range, Key: "k", End: "l", Limit: 2, AtRevision: 9, KeysOnly: true},
		},
		Else: []model.Request{{Kind: model.Delete, Key: "k", End: "l", PrevKV: true}},
	}
	var got request.Txn
	if err := got.Unmarshal(Encode(&r)); err != nil {
		t.Fatal(err)
	}
	want := request.Txn{
		Compare: []request.Compare{
			{Result: request.CompareGreater, Target: request.TargetMod, Key: []byte("a"), Arm: request.ArmMod, ModRevision: 4},
			{Result: request.CompareNotEqual, Target: request.TargetValue, Key: []byte("b"), RangeEnd: []byte("c"), Arm: request.ArmValue, Value: []byte("x")},
		},
		Success: []request.Op{
			{Put: &request.Put{Key: []byte("k"), Value: []byte("v"), Lease: 3, PrevKV: true}},
			{Range: &request.Range{Key: []byte("k"), RangeEnd: []byte("l"), Limit: 2, Revision: 9, KeysOnly: true}},
		},
		Failure: []request.Op{{DeleteRange: &request.DeleteRange{Key: []byte("k"), RangeEnd: []byte("l"), PrevKV: true}}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

// TestDecode: what the service writes is what the client sees.
func TestDecode(t *testing.T) {
	h := request.ResponseHeader{ClusterID: 1, MemberID: 2, Revision: 9, RaftTerm: 4}
	raw := stored(someKV())
	found := request.RangeResult{KVs: [][]byte{raw}, More: true, Count: 3}
	deleted := request.DeleteRangeResult{Deleted: 1, PrevKVs: [][]byte{raw}}
	txn := request.TxnResult{Succeeded: true, Responses: []request.OpResult{
		{Revision: 9, Put: &request.PutResult{PrevKV: raw}},
		{Txn: &request.TxnResult{Responses: []request.OpResult{{Revision: 8, Range: &found}}}},
	}}
	kvs := []model.KV{someKV()}
	cases := []struct {
		kind model.Kind
		raw  []byte
		want model.Response
	}{
		{model.Range, request.AppendRangeResponse(nil, h, &found), model.Response{Revision: 9, KVs: kvs, Count: 3, More: true}},
		{model.Put, request.AppendPutResponse(nil, h, &request.PutResult{PrevKV: raw}), model.Response{Revision: 9, KVs: kvs}},
		{model.Delete, request.AppendDeleteRangeResponse(nil, h, &deleted), model.Response{Revision: 9, KVs: kvs, Count: 1}},
		{model.Compact, request.AppendCompactionResponse(nil, h), model.Response{Revision: 9}},
		{model.Txn, request.AppendTxnResponse(nil, h, &txn), model.Response{Revision: 9, Succeeded: true, Responses: []model.Response{
			{Revision: 9, KVs: kvs}, {Responses: []model.Response{{Revision: 8, KVs: kvs, Count: 3, More: true}}},
		}}},
	}
	for _, c := range cases {
		got, err := Decode(c.kind, c.raw)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %+v, %v\nwant %+v", c.kind, got, err, c.want)
		}
	}
}

func TestDecodeLease(t *testing.T) {
	raw := request.AppendLeaseKeepAliveResponse(nil, request.ResponseHeader{Revision: 9}, request.LeaseTTL{ID: 5, TTL: 8})
	if rev, id, ttl, err := DecodeLease(raw); rev != 9 || id != 5 || ttl != 8 || err != nil {
		t.Errorf("got %d %d %d %v", rev, id, ttl, err)
	}
}

func TestDecodeWatch(t *testing.T) {
	kv := someKV()
	put := append([]byte{2<<3 | 2, byte(len(stored(kv)))}, stored(kv)...)
	gone := model.KV{Key: "k", Mod: 6}
	remove := append([]byte{1 << 3, 1, 2<<3 | 2, byte(len(stored(gone)))}, stored(gone)...)
	remove = append(append(remove, 3<<3|2, byte(len(stored(kv)))), stored(kv)...)
	r := watch.Response{WatchID: 4, HeaderRevision: 6, Events: [][]byte{put, remove}}
	got, err := DecodeWatch(watch.AppendResponse(nil, watch.Header{RaftTerm: 3}, r))
	want := WatchMessage{ID: 4, WatchResponse: model.WatchResponse{Revision: 6, Events: []model.Event{{KV: kv}, {Delete: true, KV: gone, Prev: &kv}}}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
	r = watch.Response{WatchID: 4, HeaderRevision: 6, Canceled: true, CompactRevision: 5, CancelReason: "why"}
	got, err = DecodeWatch(watch.AppendResponse(nil, watch.Header{}, r))
	if err != nil || !got.Canceled || got.CompactRevision != 5 || got.Reason != "why" {
		t.Errorf("got %+v, %v", got, err)
	}
}

// FuzzDecode: no bytes make a decoder panic.
func FuzzDecode(f *testing.F) {
	f.Add(request.AppendRangeResponse(nil, request.ResponseHeader{Revision: 9}, &request.RangeResult{KVs: [][]byte{stored(someKV())}, Count: 1}))
	f.Fuzz(func(_ *testing.T, b []byte) {
		for kind := model.Put; kind <= model.Revoke; kind++ {
			_, _ = Decode(kind, b)
		}
		_, _ = DecodeWatch(b)
		_, _, _, _ = DecodeLease(b)
	})
}
