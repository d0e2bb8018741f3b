package gateway

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"
)

func newReadable() *readableJSON { return &readableJSON{newBoundedJSON(1 << 20)} }

func TestReadableAnswers(t *testing.T) {
	for _, tc := range []struct {
		name string
		v    any
		want string
	}{
		{"empty", &pb.RangeResponse{}, `{}`},
		{"text", &mvccpb.KeyValue{Key: []byte("a<b>&\"\n"), Value: []byte("ü")}, `{"key":"a<b>&\"\n","value":"ü"}`},
		{"no text", &mvccpb.KeyValue{Key: []byte{0xff, 0}}, `{"key":{"base64":"/wA="}}`},
		{"numbers", &pb.ResponseHeader{ClusterId: math.MaxUint64, Revision: math.MinInt64}, `{"cluster_id":18446744073709551615,"revision":-9223372036854775808}`},
		{"enum", &mvccpb.Event{Type: mvccpb.Event_DELETE}, `{"type":"DELETE"}`},
		{"unknown enum", &mvccpb.Event{Type: 7}, `{"type":7}`},
		{"names of fields", &pb.MemberListResponse{Members: []*pb.Member{{ID: 1, PeerURLs: []string{"x", ""}, IsLearner: true}}}, `{"members":[{"ID":1,"peerURLs":["x",""],"isLearner":true}]}`},
		{"an arm that is set", &pb.ResponseOp{Response: &pb.ResponseOp_ResponsePut{ResponsePut: &pb.PutResponse{}}}, `{"response_put":{}}`},
		{"a stream's", map[string]any{"result": &pb.RangeResponse{Count: 1}}, `{"result":{"count":1}}`},
		{"a stream's failure", map[string]proto.Message{"error": &pb.RangeResponse{Count: 1}}, `{"error":{"count":1}}`},
	} {
		got, err := newReadable().Marshal(tc.v)
		if err != nil || string(got) != tc.want {
			t.Errorf("%s: %s, %v, want %s", tc.name, got, err, tc.want)
		}
	}
}

func TestReadableRequests(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"text", `{"key":"a","value":"ü\u0000"}`, `{"key":"YQ==","value":"w7wA"}`},
		{"no text", `{"key":{"base64":"/wA="}}`, `{"key":"/wA="}`},
		{"url-safe", `{"key":{"base64":"_wA"}}`, `{"key":"/wA="}`},
		{"null", `{"key":null}`, `{}`},
		{"numbers and strings", `{"key":"a","lease":5}`, `{"key":"YQ==","lease":"5"}`},
		{"camel case", `{"key":"a","ignoreLease":true,"lease":"5"}`, `{"key":"YQ==","lease":"5","ignore_lease":true}`},
		{"unknown fields", `{"key":"a","x":{"key":1}}`, `{"key":"YQ=="}`},
	} {
		var r pb.PutRequest
		if err := newReadable().Unmarshal([]byte(tc.text), &r); err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		var want pb.PutRequest
		if err := newBoundedJSON(1<<20).Unmarshal([]byte(tc.want), &want); err != nil || !proto.Equal(&r, &want) {
			t.Errorf("%s: %v, want %v (%v)", tc.name, &r, &want, err)
		}
	}
	for _, tc := range []struct{ name, text, want string }{
		{"a number", `{"key":5}`, "key: want a string"},
		{"an object", `{"key":{"base32":"x"}}`, "key: want a string"},
		{"no base64", `{"key":{"base64":"%"}}`, "invalid"},
		{"no object", `[]`, "syntax error"},
		{"too deep", strings.Repeat(`{"success":[{"request_txn":`, maxDepth) + "{}" + strings.Repeat("}]}", maxDepth), "deep"},
	} {
		var r pb.PutRequest
		var v proto.Message = &r
		if strings.Contains(tc.text, "success") {
			v = &pb.TxnRequest{}
		}
		if err := newReadable().Unmarshal([]byte(tc.text), v); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want %s", tc.name, err, tc.want)
		}
	}
}

// TestReadableRoundTrip: what is written is read as the same message, and is JSON.
func TestReadableRoundTrip(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	some := func() []byte {
		b := make([]byte, r.IntN(6))
		for i := range b {
			b[i] = byte(r.IntN(256) >> r.IntN(3))
		}
		return b
	}
	for range 300 {
		m := &pb.TxnRequest{
			Compare: []*pb.Compare{{Key: some(), Target: pb.Compare_VALUE, TargetUnion: &pb.Compare_Value{Value: some()}, Result: pb.Compare_CompareResult(r.IntN(4))}},
			Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestTxn{RequestTxn: &pb.TxnRequest{Failure: []*pb.RequestOp{
				{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: some(), Revision: r.Int64() - r.Int64(), Serializable: true}}},
			}}}}},
		}
		text, err := newReadable().Marshal(m)
		var back pb.TxnRequest
		if err != nil || !json.Valid(text) || newReadable().Unmarshal(text, &back) != nil || !proto.Equal(m, &back) {
			t.Fatalf("%v is written as %s and read as %v", m, text, &back)
		}
	}
}

// FuzzReadable: no request makes the reader panic, and what it accepts can be written and read again.
func FuzzReadable(f *testing.F) {
	f.Add([]byte(`{"compare":[{"key":"a","value":{"base64":"/w=="}}],"success":[{"request_put":{"key":"b"}}]}`))
	f.Add([]byte(`{"compare":null,"success":[null]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var m, back pb.TxnRequest
		if newReadable().Unmarshal(text, &m) != nil {
			return
		}
		out, err := newReadable().Marshal(&m)
		if err != nil || newReadable().Unmarshal(out, &back) != nil || !proto.Equal(&m, &back) {
			t.Errorf("%v is written as %s and read as %v", &m, out, &back)
		}
	})
}
