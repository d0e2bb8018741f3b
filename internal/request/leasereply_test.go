package request_test

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"

	"github.com/quoin-kv/quoin/internal/request"
)

func TestParseLeaseReplies(t *testing.T) {
	h := request.ResponseHeader{ClusterID: 1, MemberID: 2, Revision: 3, RaftTerm: 4}
	for _, want := range []request.LeaseTTL{{}, {ID: 7, TTL: 60}, {ID: -7}} {
		got, err := request.ParseLeaseKeepAliveResponse(request.AppendLeaseKeepAliveResponse(nil, h, want))
		if err != nil || got != want {
			t.Errorf("keep-alive: %+v, %v, want %+v", got, err, want)
		}
	}
	for _, want := range []request.LeaseTimeToLiveResult{
		{}, {ID: 7, TTL: -1}, {ID: 7, TTL: 3, GrantedTTL: 60, Keys: [][]byte{[]byte("a"), {}, []byte("b")}},
	} {
		got, err := request.ParseLeaseTimeToLiveResponse(request.AppendLeaseTimeToLiveResponse(nil, h, &want))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("time to live: %+v, %v, want %+v", got, err, want)
		}
	}
}

// FuzzParseLeaseReplies: what a member answers is read as the generated code reads it, or refused with it.
func FuzzParseLeaseReplies(f *testing.F) {
	f.Add([]byte{0x10, 7, 0x18, 60})
	f.Add([]byte{0x10, 7, 0x2a, 1, 'k'})
	f.Fuzz(func(t *testing.T, b []byte) {
		var alive pb.LeaseKeepAliveResponse
		got, err := request.ParseLeaseKeepAliveResponse(b)
		if err == nil && proto.Unmarshal(b, &alive) == nil && (got.ID != alive.ID || got.TTL != alive.TTL) {
			t.Errorf("keep-alive %+v, generated %v", got, &alive)
		}
		var ttl pb.LeaseTimeToLiveResponse
		r, err := request.ParseLeaseTimeToLiveResponse(b)
		if err != nil {
			if !errors.Is(err, request.ErrMalformed) {
				t.Error(err)
			}
			return
		}
		if proto.Unmarshal(b, &ttl) != nil { // it also checks the header
			return
		}
		if r.ID != ttl.ID || r.TTL != ttl.TTL || r.GrantedTTL != ttl.GrantedTTL || !bytes.Equal(bytes.Join(r.Keys, []byte{0}), bytes.Join(ttl.Keys, []byte{0})) {
			t.Errorf("time to live %+v, generated %v", r, &ttl)
		}
	})
}
