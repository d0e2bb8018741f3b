package interop

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	electionpb "go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb"
	lockpb "go.etcd.io/etcd/server/v3/etcdserver/api/v3lock/v3lockpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/quoin-kv/quoin/internal/api/gateway"
	"github.com/quoin-kv/quoin/internal/request"
)

// TestQueueDescriptions: the services Lock and Election are described as etcd describes them.
func TestQueueDescriptions(t *testing.T) {
	t.Parallel()
	ours, err := gateway.QueueServices()
	if err != nil {
		t.Fatal(err)
	}
	theirs := []protoreflect.FileDescriptor{lockpb.File_v3lock_proto, electionpb.File_v3election_proto}
	for i, s := range ours {
		if got, want := outline(s.ParentFile()), outline(theirs[i]); got != want {
			t.Errorf("described as\n%s\nwant\n%s", got, want)
		}
	}
}

// outline is what matters of a description.
func outline(f protoreflect.FileDescriptor) string {
	var b bytes.Buffer
	fmt.Fprintln(&b, f.Package(), f.Syntax())
	for i := range f.Messages().Len() {
		m := f.Messages().Get(i)
		fmt.Fprintln(&b, m.FullName())
		for i := range m.Fields().Len() {
			f := m.Fields().Get(i)
			fmt.Fprint(&b, "\t", f.Number(), " ", f.Name(), " ", f.JSONName(), " ", f.Kind(), " ", f.Cardinality())
			if f.Message() != nil {
				fmt.Fprint(&b, " ", f.Message().FullName())
			}
			fmt.Fprintln(&b)
		}
	}
	for i := range f.Services().Len() {
		s := f.Services().Get(i)
		for i := range s.Methods().Len() {
			m := s.Methods().Get(i)
			fmt.Fprintln(&b, s.FullName(), m.Name(), m.Input().FullName(), m.Output().FullName(), m.IsStreamingClient(), m.IsStreamingServer())
		}
	}
	return b.String()
}

// TestQueueCodecs: requests that etcd's code writes are read as they are, and answers are read by etcd's code as they were meant.
func TestQueueCodecs(t *testing.T) {
	t.Parallel()
	t.Logf("seed %d", flags.seed)
	r := rand.New(rand.NewPCG(flags.seed, 0))
	for range 2000 {
		checkQueueRequests(t, r)
		checkQueueAnswers(t, r)
	}
}

func someBytes(r *rand.Rand) []byte {
	b := make([]byte, r.IntN(4))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func someNumber(r *rand.Rand) int64 {
	if r.IntN(3) == 0 {
		return 0
	}
	return int64(r.Uint64()) >> r.IntN(64)
}

func encode(t *testing.T, m proto.Message) []byte {
	t.Helper()
	raw, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func checkQueueRequests(t *testing.T, r *rand.Rand) {
	t.Helper()
	key := &electionpb.LeaderKey{Name: someBytes(r), Key: someBytes(r), Rev: someNumber(r), Lease: someNumber(r)}
	if r.IntN(4) == 0 {
		key = nil
	}
	theirs := []proto.Message{
		&lockpb.LockRequest{Name: someBytes(r), Lease: someNumber(r)},
		&lockpb.UnlockRequest{Key: someBytes(r)},
		&electionpb.CampaignRequest{Name: someBytes(r), Lease: someNumber(r), Value: someBytes(r)},
		&electionpb.LeaderRequest{Name: someBytes(r)},
		&electionpb.ProclaimRequest{Leader: key, Value: someBytes(r)},
		&electionpb.ResignRequest{Leader: key},
	}
	ours := []interface{ Unmarshal(b []byte) error }{
		new(request.Lock), new(request.Unlock), new(request.Campaign), new(request.Leader), new(request.Proclaim), new(request.Resign),
	}
	for i, m := range theirs {
		if err := ours[i].Unmarshal(encode(t, m)); err != nil {
			t.Fatalf("%v: %v", m, err)
		}
		if back := asTheirs(ours[i]); !proto.Equal(back, m) {
			t.Fatalf("%T %v is read as %v", m, m, back)
		}
	}
}

// asTheirs is a request in etcd's types.
func asTheirs(r any) proto.Message {
	switch r := r.(type) {
	case *request.Lock:
		return &lockpb.LockRequest{Name: r.Name, Lease: r.Lease}
	case *request.Unlock:
		return &lockpb.UnlockRequest{Key: r.Key}
	case *request.Campaign:
		return &electionpb.CampaignRequest{Name: r.Name, Lease: r.Lease, Value: r.Value}
	case *request.Leader:
		return &electionpb.LeaderRequest{Name: r.Name}
	case *request.Proclaim:
		return &electionpb.ProclaimRequest{Leader: leaderKey(r.Leader), Value: r.Value}
	case *request.Resign:
		return &electionpb.ResignRequest{Leader: leaderKey(r.Leader)}
	}
	return nil
}

func leaderKey(k *request.LeaderKey) *electionpb.LeaderKey {
	if k == nil {
		return nil
	}
	return &electionpb.LeaderKey{Name: k.Name, Key: k.Key, Rev: k.Rev, Lease: k.Lease}
}

func checkQueueAnswers(t *testing.T, r *rand.Rand) {
	t.Helper()
	h := request.ResponseHeader{ClusterID: r.Uint64(), MemberID: r.Uint64(), Revision: someNumber(r), RaftTerm: r.Uint64()}
	header := &pb.ResponseHeader{ClusterId: h.ClusterID, MemberId: h.MemberID, Revision: h.Revision, RaftTerm: h.RaftTerm}
	key := &request.LeaderKey{Name: someBytes(r), Key: someBytes(r), Rev: someNumber(r), Lease: someNumber(r)}
	kv := &mvccpb.KeyValue{Key: someBytes(r), Value: someBytes(r), ModRevision: someNumber(r)}
	name := someBytes(r)
	for _, pair := range []struct {
		raw  []byte
		want proto.Message
	}{
		{request.AppendLockResponse(nil, h, name), &lockpb.LockResponse{Header: header, Key: name}},
		{request.AppendHeaderResponse(nil, h), &lockpb.UnlockResponse{Header: header}},
		{request.AppendCampaignResponse(nil, h, key), &electionpb.CampaignResponse{Header: header, Leader: leaderKey(key)}},
		{request.AppendLeaderResponse(nil, h, encode(t, kv)), &electionpb.LeaderResponse{Header: header, Kv: kv}},
		{request.AppendHeaderResponse(nil, h), &electionpb.ProclaimResponse{Header: header}},
		{request.AppendHeaderResponse(nil, h), &electionpb.ResignResponse{Header: header}},
	} {
		got := pair.want.ProtoReflect().New().Interface()
		if err := proto.Unmarshal(pair.raw, got); err != nil || !proto.Equal(got, pair.want) {
			t.Fatalf("%T: %v, %v, want %v", pair.want, got, err, pair.want)
		}
	}
}
