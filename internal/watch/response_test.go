package watch

import (
	"math"
	"testing"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"

	"github.com/quoin-kv/quoin/internal/mvcc"
	"github.com/quoin-kv/quoin/internal/schema"
)

func TestAppendResponseIsWatchResponse(t *testing.T) {
	put := &mvccpb.Event{Kv: &mvccpb.KeyValue{Key: []byte("k"), ModRevision: 7, CreateRevision: 5, Version: 2, Value: []byte("v")}}
	del := &mvccpb.Event{Type: mvccpb.Event_DELETE, Kv: &mvccpb.KeyValue{Key: []byte("k"), ModRevision: 8}, PrevKv: put.Kv}
	for name, want := range map[string]*etcdserverpb.WatchResponse{
		"nothing": {Header: &etcdserverpb.ResponseHeader{}},
		"created": {Header: &etcdserverpb.ResponseHeader{ClusterId: math.MaxUint64, MemberId: 1 << 63, Revision: math.MaxInt64, RaftTerm: 4}, WatchId: -1, Created: true, Canceled: true, CancelReason: "no"},
		"compact": {Header: &etcdserverpb.ResponseHeader{ClusterId: 1, MemberId: 2, RaftTerm: 4}, WatchId: math.MaxInt64, Canceled: true, CompactRevision: 300},
		"events":  {Header: &etcdserverpb.ResponseHeader{ClusterId: 1, MemberId: 2, Revision: 8, RaftTerm: 4}, WatchId: 3, Fragment: true, Events: []*mvccpb.Event{put, del}},
	} {
		r := Response{
			WatchID: want.WatchId, Created: want.Created, Canceled: want.Canceled, CompactRevision: want.CompactRevision,
			CancelReason: want.CancelReason, Fragment: want.Fragment, HeaderRevision: want.Header.Revision,
		}
		for _, ev := range want.Events {
			b, err := proto.Marshal(ev)
			must(t, err)
			r.Events = append(r.Events, b)
		}
		h := Header{ClusterID: want.Header.ClusterId, MemberID: want.Header.MemberId, RaftTerm: want.Header.RaftTerm}
		b := AppendResponse([]byte("x"), h, r)
		var got etcdserverpb.WatchResponse
		must(t, proto.Unmarshal(b[1:], &got))
		if b[0] != 'x' || !proto.Equal(&got, want) {
			t.Errorf("%s: got %v, want %v", name, &got, want)
		}
		canonical, err := proto.MarshalOptions{Deterministic: true}.Marshal(want)
		must(t, err)
		if string(canonical) != string(b[1:]) {
			t.Errorf("%s: got bytes %x, want %x", name, b[1:], canonical)
		}
		if size := r.Size(); size < len(b)-1 || size > len(b)-1+headerBytesMax {
			t.Errorf("%s: Size() = %d for %d bytes", name, size, len(b)-1)
		}
	}
}

func TestEventEncoding(t *testing.T) {
	kv := schema.KeyValue{Key: []byte("key"), CreateRevision: 300, ModRevision: 300, Version: 1, Value: make([]byte, 300)}
	old := schema.KeyValue{Key: []byte("key"), CreateRevision: 2, ModRevision: 2, Version: 1}
	for _, c := range []struct {
		ev     mvcc.Event
		before []byte
		want   *mvccpb.Event
	}{
		{
			mvcc.Event{Rev: schema.Rev{Main: 300}, Key: kv.Key, Record: kv.Append(nil)},
			nil,
			&mvccpb.Event{Kv: &mvccpb.KeyValue{Key: kv.Key, CreateRevision: 300, ModRevision: 300, Version: 1, Value: kv.Value}},
		},
		{
			mvcc.Event{Rev: schema.Rev{Main: 300}, Delete: true, Key: kv.Key},
			old.Append(nil),
			&mvccpb.Event{
				Type: mvccpb.Event_DELETE, Kv: &mvccpb.KeyValue{Key: kv.Key, ModRevision: 300},
				PrevKv: &mvccpb.KeyValue{Key: kv.Key, CreateRevision: 2, ModRevision: 2, Version: 1},
			},
		},
	} {
		b := newEntry([]mvcc.Event{c.ev}).events[0].encode(c.before)
		if cap(b) != len(b) {
			t.Errorf("%d bytes reserved for %d", cap(b), len(b))
		}
		var got mvccpb.Event
		must(t, proto.Unmarshal(b, &got))
		if !proto.Equal(&got, c.want) {
			t.Errorf("got %v, want %v", &got, c.want)
		}
	}
}
