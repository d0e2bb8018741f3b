package schema

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"
)

// sameKeyValue decodes b with both decoders and compares outcome and content.
func sameKeyValue(t *testing.T, b []byte) {
	t.Helper()
	var got KeyValue
	var want mvccpb.KeyValue
	gotErr, wantErr := got.Unmarshal(b), proto.Unmarshal(b, &want)
	if (gotErr == nil) != (wantErr == nil) {
		t.Fatalf("%x: our error %v, theirs %v", b, gotErr, wantErr)
	}
	if gotErr != nil {
		return
	}
	same := bytes.Equal(got.Key, want.Key) && bytes.Equal(got.Value, want.Value) &&
		got.CreateRevision == want.CreateRevision && got.ModRevision == want.ModRevision &&
		got.Version == want.Version && got.Lease == want.Lease
	if !same {
		t.Fatalf("%x: ours %+v, theirs %v", b, got, &want)
	}
	sameEncoding(t, &got, &want)
}

func sameEncoding(t *testing.T, got *KeyValue, want *mvccpb.KeyValue) {
	t.Helper()
	want.ProtoReflect().SetUnknown(nil)
	theirs, err := proto.MarshalOptions{Deterministic: true}.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	ours := got.Append(nil)
	if !bytes.Equal(ours, theirs) || got.Size() != len(ours) {
		t.Fatalf("%+v: ours %x (size %d), theirs %x", got, ours, got.Size(), theirs)
	}
	if !bytes.Equal(got.KeyIn(ours), got.Key) {
		t.Fatalf("%+v: found the key %x in %x", got, got.KeyIn(ours), ours)
	}
}

func FuzzKeyValue(f *testing.F) {
	full := KeyValue{Key: []byte("k"), CreateRevision: 1, ModRevision: 2, Version: -3, Value: []byte("v"), Lease: 1 << 62}
	f.Add(full.Append(nil))
	f.Add(append(full.Append(nil), full.Append(nil)...))
	f.Add([]byte("\x08\x01\x12\x01a\x53\x08\x01\x54\x3d1234\x399999999\x01"))
	f.Add([]byte("\x0a\x00\x2a\x00"))
	f.Fuzz(sameKeyValue)
}

// A LeaseRecord has the shape of a ResponseHeader's first three fields.
func FuzzLeaseRecord(f *testing.F) {
	full := LeaseRecord{ID: -1, TTL: 60, RemainingTTL: 5}
	f.Add(full.Append(nil))
	f.Add([]byte("\x22\x03abc\x18\x01\x18\x02"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var got LeaseRecord
		var want etcdserverpb.ResponseHeader
		gotErr, wantErr := got.Unmarshal(b), proto.Unmarshal(b, &want)
		if (gotErr == nil) != (wantErr == nil) {
			t.Fatalf("%x: our error %v, theirs %v", b, gotErr, wantErr)
		}
		theirs := LeaseRecord{ID: int64(want.ClusterId), TTL: int64(want.MemberId), RemainingTTL: want.Revision}
		if gotErr == nil && got != theirs {
			t.Fatalf("%x: ours %+v, theirs %+v", b, got, theirs)
		}
	})
}

func FuzzAlarmKey(f *testing.F) {
	f.Add(AlarmKey(1<<63, 2))
	f.Add(AlarmKey(0, -1))
	f.Fuzz(func(t *testing.T, b []byte) {
		id, alarm, err := ParseAlarmKey(b)
		var want etcdserverpb.AlarmMember
		wantErr := proto.Unmarshal(b, &want)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("%x: our error %v, theirs %v", b, err, wantErr)
		}
		if err == nil && (id != want.MemberID || alarm != int32(want.Alarm)) {
			t.Fatalf("%x: ours %d %d, theirs %v", b, id, alarm, &want)
		}
		want.ProtoReflect().SetUnknown(nil)
		theirs, _ := proto.Marshal(&want)
		if ours := AlarmKey(id, alarm); err == nil && !bytes.Equal(ours, theirs) {
			t.Fatalf("ours %x, theirs %x", ours, theirs)
		}
	})
}

// Whatever a key decoder accepts, its encoder gives back unchanged.
func FuzzKeys(f *testing.F) {
	f.Add(AppendRev(nil, Rev{1, 2}, false))
	f.Add(AppendRev(nil, Rev{1, 2}, true))
	f.Add(MemberKey(255))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, tombstone, err := ParseRev(b); err == nil && !bytes.Equal(AppendRev(nil, r, tombstone), b) {
			t.Fatalf("revision %x", b)
		}
		if id, err := ParseMemberKey(b); err == nil && !bytes.Equal(MemberKey(id), b) {
			t.Fatalf("member %x", b)
		}
	})
}

func FuzzJSON(f *testing.F) {
	f.Add([]byte(`{"id":1,"peerURLs":["a"],"voters":[1],"auto_leave":true}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var m, m2 Member
		if err := m.Unmarshal(b); err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		if err := m2.Unmarshal(m.Append(nil)); err != nil || !bytes.Equal(m2.Append(nil), m.Append(nil)) {
			t.Fatalf("%s: %v", m.Append(nil), err)
		}
	})
}

func TestRandomRecordsAgainstMvccpb(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	number := func() int64 { return int64(r.Uint64()>>r.IntN(64)) * int64(r.IntN(2)) }
	text := func() []byte { return bytes.Repeat([]byte{byte(r.Uint32())}, r.IntN(200)*r.IntN(2)) }
	for range 2000 {
		kv := KeyValue{Key: text(), CreateRevision: number(), ModRevision: number(), Version: number(), Value: text(), Lease: number()}
		b := kv.Append(nil)
		sameKeyValue(t, b)
		if len(b) > 0 {
			b[r.IntN(len(b))] ^= 1 << r.IntN(8)
		}
		sameKeyValue(t, b)
	}
}

func BenchmarkKeyValueAppend(b *testing.B) {
	kv := KeyValue{Key: []byte("some/key/of/usual/size"), CreateRevision: 1e6, ModRevision: 1e7, Version: 30, Value: make([]byte, 256)}
	buf := make([]byte, 0, kv.Size())
	b.ReportAllocs()
	for b.Loop() {
		buf = kv.Append(buf[:0])
	}
}

func BenchmarkKeyValueUnmarshal(b *testing.B) {
	kv := KeyValue{Key: []byte("some/key/of/usual/size"), CreateRevision: 1e6, ModRevision: 1e7, Version: 30, Value: make([]byte, 256)}
	buf := kv.Append(nil)
	b.ReportAllocs()
	for b.Loop() {
		if err := kv.Unmarshal(buf); err != nil {
			b.Fatal(err)
		}
	}
}
