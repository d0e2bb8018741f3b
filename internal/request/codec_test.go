package request_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/quoin-kv/quoin/internal/request"
)

func TestBytesAliasTheInput(t *testing.T) {
	wire := (&request.Put{Key: []byte("key"), Value: []byte("value")}).Append(nil)
	var p request.Put
	if err := p.Unmarshal(wire); err != nil {
		t.Fatal(err)
	}
	wire[len(wire)-1] = 'E'
	if string(p.Value) != "valuE" {
		t.Fatalf("value %q is a copy", p.Value)
	}
}

// nested returns a transaction of the given number of levels.
func nested(levels int) []byte {
	var b []byte
	for range levels - 1 {
		op := protowire.AppendBytes(protowire.AppendTag(nil, 4, protowire.BytesType), b)
		b = protowire.AppendBytes(protowire.AppendTag(nil, 2, protowire.BytesType), op)
	}
	return b
}

func TestNestingIsBounded(t *testing.T) {
	var ok, tooDeep request.Txn
	if err := ok.Unmarshal(nested(request.MaxTxnDepth)); err != nil {
		t.Errorf("%d levels: %v", request.MaxTxnDepth, err)
	}
	err := tooDeep.Unmarshal(nested(request.MaxTxnDepth + 1))
	if !errors.Is(err, request.ErrMalformed) {
		t.Errorf("%d levels: %v", request.MaxTxnDepth+1, err)
	}
}

func TestLastOperandWins(t *testing.T) {
	var c request.Compare
	// version 5, then mod_revision 6, then value "v", then lease 7
	for _, step := range []struct {
		wire   []byte
		target int32
		number int64
		value  string
	}{
		{[]byte{0x20, 5}, request.TargetVersion, 5, ""},
		{[]byte{0x30, 6}, request.TargetMod, 6, ""},
		{nil, request.TargetVersion, 0, ""},
		{[]byte{0x3a, 1, 'v'}, request.TargetValue, 0, "v"},
		{nil, request.TargetMod, 0, ""},
		{[]byte{0x28, 8}, request.TargetCreate, 8, ""},
		{[]byte{0x40, 7}, request.TargetLease, 7, ""},
		{nil, request.TargetCreate, 0, ""},
		{nil, request.TargetValue, 0, ""},
		{nil, 9, 0, ""},
	} {
		if err := c.Unmarshal(step.wire); err != nil {
			t.Fatal(err)
		}
		c.Target = step.target
		if n, v := c.Operand(); n != step.number || string(v) != step.value {
			t.Errorf("after %x the operand for target %d is %d, %q; want %d, %q", step.wire, step.target, n, v, step.number, step.value)
		}
	}
}

func TestErrorsNameTheInnermostMessage(t *testing.T) {
	var txn request.Txn
	err := txn.Unmarshal([]byte{0x12, 0x03, 0x12, 0x01, 0x0a}) // success { put { key: truncated } }
	want := "request: decoding PutRequest: malformed protobuf message: unexpected EOF"
	if err == nil || err.Error() != want {
		t.Fatalf("got %v, want %s", err, want)
	}
}

func TestInternalAgreesWithGeneratedCode(t *testing.T) {
	s := newSource(t, 4)
	fields := (&pb.InternalRaftRequest{}).ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		num := fields.Get(i).Number()
		if num == 1 || num == 100 {
			continue
		}
		f := request.Field(num)
		if request.New(f) == nil {
			t.Errorf("field %d (%s) has no type", num, fields.Get(i).Name())
			continue
		}
		for range 20 {
			m := &pb.InternalRaftRequest{Header: &pb.RequestHeader{ID: s.Uint64(), Username: "u", AuthRevision: s.Uint64() >> 40}}
			s.fill(m.ProtoReflect().Mutable(fields.Get(i)).Message(), 6)
			judgeInternal(t, m, f)
		}
	}
}

func judgeInternal(t *testing.T, m *pb.InternalRaftRequest, f request.Field) {
	t.Helper()
	wire := canonical(t, m)
	in, err := request.ParseInternal(wire)
	if err != nil {
		t.Fatalf("field %d: %v", f, err)
	}
	h := request.Header{ID: m.Header.ID, Username: m.Header.Username, AuthRevision: m.Header.AuthRevision}
	if in.Header != h || in.Field != f || in.ID() != m.Header.ID {
		t.Fatalf("field %d: parsed %+v, want %+v", f, in, h)
	}
	if got := in.Request.Append(nil); !bytes.Equal(got, in.Raw) {
		t.Fatalf("field %d: request encodes to %x, want %x", f, got, in.Raw)
	}
	if got := request.AppendInternal(nil, h, f, in.Raw); !bytes.Equal(got, wire) {
		t.Fatalf("field %d: entry\n%x, want\n%x", f, got, wire)
	}
	if got := request.SizeInternal(h, f, len(in.Raw)); got != len(wire) {
		t.Fatalf("field %d: size %d, want %d", f, got, len(wire))
	}
}

func TestInternalMergesAndKeepsLegacyIDs(t *testing.T) {
	a := canonical(t, &pb.InternalRaftRequest{ID: 7, Put: &pb.PutRequest{Key: []byte("k"), Lease: 4}})
	b := canonical(t, &pb.InternalRaftRequest{Header: &pb.RequestHeader{ID: 9}, Put: &pb.PutRequest{Value: []byte("v")}})
	in, err := request.ParseInternal(append(a, b...))
	if err != nil {
		t.Fatal(err)
	}
	put := in.Request.(*request.Put)
	if in.ID() != 7 || string(put.Key) != "k" || string(put.Value) != "v" || put.Lease != 4 {
		t.Fatalf("parsed %+v with %+v", in, put)
	}
	var again request.Put
	if err := again.Unmarshal(in.Raw); err != nil || !bytes.Equal(again.Append(nil), put.Append(nil)) {
		t.Fatalf("raw bytes hold %+v (%v), want %+v", again, err, put)
	}
}

func TestInternalRefusesWhatItDoesNotKnow(t *testing.T) {
	for _, c := range []struct {
		name string
		wire []byte
		want string
	}{
		{"nothing", nil, "request: log entry has no request"},
		{"header alone", []byte{0xa2, 0x06, 0x00}, "request: log entry has no request"},
		{"old request", []byte{0x12, 0x00}, "request: log entry has the unknown field 2 (wire type 2)"},
		{"future request", []byte{0x22, 0x00, 0x82, 0xf1, 0x04, 0x00}, "request: log entry has two requests, fields 4 and 10000"},
		{"future request alone", []byte{0x82, 0xf1, 0x04, 0x00}, "request: log entry has the unknown field 10000 (wire type 2)"},
		{"put as a number", []byte{0x20, 0x01}, "request: log entry has the unknown field 4 (wire type 0)"},
		{"two requests", []byte{0x22, 0x00, 0x2a, 0x00}, "request: log entry has two requests, fields 4 and 5"},
		{"cut off", []byte{0x22, 0x05}, "request: decoding InternalRaftRequest: malformed protobuf message: unexpected EOF"},
	} {
		_, err := request.ParseInternal(c.wire)
		if err == nil || err.Error() != c.want {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
	var unknown *request.UnknownFieldError
	if _, err := request.ParseInternal([]byte{0x12, 0x00}); !errors.As(err, &unknown) || unknown.Field != 2 {
		t.Errorf("unknown field 2 is reported as %v", err)
	}
}

func FuzzParseInternal(f *testing.F) {
	for _, field := range []request.Field{request.FieldPut, request.FieldTxn, request.FieldAuthUserAdd, request.FieldMemberAttrSet} {
		f.Add(request.AppendInternal(nil, request.Header{ID: 1, Username: "u"}, field, []byte{0x0a, 0x01, 'k'}))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		in, err := request.ParseInternal(b)
		var theirs pb.InternalRaftRequest
		theirErr := proto.Unmarshal(b, &theirs)
		if err == nil && theirErr != nil {
			t.Fatalf("accepted %x, which is %v", b, theirErr)
		}
		if errors.Is(err, request.ErrMalformed) && theirErr == nil && !tooDeep(err) {
			t.Fatalf("refused %x: %v", b, err)
		}
		if err != nil {
			return
		}
		// The generated code writes a header only if there is one.
		theirs.ID, theirs.Header = 0, &pb.RequestHeader{ID: in.Header.ID, Username: in.Header.Username, AuthRevision: in.Header.AuthRevision}
		proto.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(canonical(t, &theirs), &theirs)
		got := request.AppendInternal(nil, in.Header, in.Field, in.Request.Append(nil))
		if want := canonical(t, &theirs); !bytes.Equal(got, want) {
			t.Fatalf("parsed %x as %x, want %x", b, got, want)
		}
	})
}

func benchmarkPut() []byte {
	return (&request.Put{Key: []byte("/registry/pods/default/pod-12345"), Value: bytes.Repeat([]byte("v"), 256), Lease: 77}).Append(nil)
}

func benchmarkTxn() []byte {
	txn := &request.Txn{
		Compare: []request.Compare{{Target: request.TargetMod, Key: []byte("/registry/pods/default/pod-12345"), Arm: request.ArmMod, ModRevision: 12345}},
		Success: []request.Op{{Put: &request.Put{Key: []byte("/registry/pods/default/pod-12345"), Value: bytes.Repeat([]byte("v"), 256)}}},
		Failure: []request.Op{{Range: &request.Range{Key: []byte("/registry/pods/default/pod-12345")}}},
	}
	return txn.Append(nil)
}

func BenchmarkUnmarshalPut(b *testing.B) {
	wire := benchmarkPut()
	b.ReportAllocs()
	for b.Loop() {
		var r request.Put
		if err := r.Unmarshal(wire); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkUnmarshalRange(b *testing.B) {
	wire := (&request.Range{Key: []byte("/registry/pods/"), RangeEnd: []byte("/registry/pods0"), Limit: 500, Revision: 123456}).Append(nil)
	b.ReportAllocs()
	for b.Loop() {
		var r request.Range
		if err := r.Unmarshal(wire); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkUnmarshalTxn(b *testing.B) {
	wire := benchmarkTxn()
	b.ReportAllocs()
	for b.Loop() {
		var r request.Txn
		if err := r.Unmarshal(wire); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkValidateTxn(b *testing.B) {
	var r request.Txn
	if err := r.Unmarshal(benchmarkTxn()); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := r.Validate(128); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendInternal(b *testing.B) {
	raw := benchmarkPut()
	b.ReportAllocs()
	for b.Loop() {
		request.AppendInternal(nil, request.Header{ID: 1 << 60}, request.FieldPut, raw)
	}
}

func BenchmarkParseInternalPut(b *testing.B) {
	wire := request.AppendInternal(nil, request.Header{ID: 1 << 60}, request.FieldPut, benchmarkPut())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := request.ParseInternal(wire); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendRangeResponse(b *testing.B) {
	for _, n := range []int{1, 1000} {
		result := &request.RangeResult{Count: int64(n)}
		for range n {
			result.KVs = append(result.KVs, bytes.Repeat([]byte("v"), 300))
		}
		h := request.ResponseHeader{ClusterID: 1 << 60, MemberID: 1 << 61, Revision: 1 << 30, RaftTerm: 5}
		b.Run(fmt.Sprintf("%dkeys", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				request.AppendRangeResponse(nil, h, result)
			}
		})
	}
}
