package ctl

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"strings"
	"sync"
	"testing"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// A fake answers every call with what the test laid out and notes what it was asked.
type fake struct {
	etcdserverpb.UnimplementedKVServer
	etcdserverpb.UnimplementedWatchServer
	etcdserverpb.UnimplementedMaintenanceServer

	address string
	mu      struct {
		sync.Mutex
		requests []string
		token    string // of the last put
	}
}

func (f *fake) token() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.token
}

// startFake serves a fake on a loopback port until the test ends.
func startFake(t *testing.T) *fake {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{address: listener.Addr().String()}
	server := grpc.NewServer()
	etcdserverpb.RegisterKVServer(server, f)
	etcdserverpb.RegisterWatchServer(server, f)
	etcdserverpb.RegisterMaintenanceServer(server, f)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener) // ends with Stop
	}()
	t.Cleanup(func() { server.Stop(); <-done })
	return f
}

// note keeps a request in a form that does not vary.
func (f *fake) note(request proto.Message) {
	text, err := protojson.Marshal(request)
	if err != nil {
		panic(err)
	}
	var line bytes.Buffer
	if err := json.Compact(&line, text); err != nil {
		panic(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.requests = append(f.mu.requests, string(request.ProtoReflect().Descriptor().Name())+" "+line.String())
}

// take returns the requests since the last take.
func (f *fake) take() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	taken := f.mu.requests
	f.mu.requests = nil
	return taken
}

func header() *etcdserverpb.ResponseHeader {
	return &etcdserverpb.ResponseHeader{ClusterId: 0xcdf818194e3a8c32, MemberId: 0x8e9e05c52164694d, Revision: 7, RaftTerm: 2}
}

func pair(key, value string) *mvccpb.KeyValue {
	return &mvccpb.KeyValue{Key: []byte(key), Value: []byte(value), CreateRevision: 3, ModRevision: 5, Version: 2}
}

func (f *fake) Range(_ context.Context, r *etcdserverpb.RangeRequest) (*etcdserverpb.RangeResponse, error) {
	f.note(r)
	switch {
	case string(r.Key) == "absent":
		return &etcdserverpb.RangeResponse{Header: header()}, nil
	case r.Revision == 1:
		return nil, rpctypes.ErrGRPCCompacted
	case r.CountOnly:
		return &etcdserverpb.RangeResponse{Header: header(), Count: 41}, nil
	}
	kvs := []*mvccpb.KeyValue{pair("a", "1"), pair("b", "two\nlines")}
	if r.KeysOnly {
		for _, kv := range kvs {
			kv.Value = nil
		}
	}
	return &etcdserverpb.RangeResponse{Header: header(), Kvs: kvs, Count: 2}, nil
}

// RangeStream sends what Range answers, a pair at a time. It refuses to sort.
func (f *fake) RangeStream(r *etcdserverpb.RangeRequest, stream etcdserverpb.KV_RangeStreamServer) error {
	if r.SortOrder == etcdserverpb.RangeRequest_DESCEND {
		return status.Error(codes.Unimplemented, "no sorting")
	}
	all, err := f.Range(stream.Context(), r)
	if err != nil {
		return err
	}
	for _, kv := range all.Kvs {
		if err := stream.Send(&etcdserverpb.RangeStreamResponse{RangeResponse: &etcdserverpb.RangeResponse{Kvs: []*mvccpb.KeyValue{kv}}}); err != nil {
			return err
		}
	}
	all.Kvs = nil
	return stream.Send(&etcdserverpb.RangeStreamResponse{RangeResponse: all})
}

func (f *fake) Put(ctx context.Context, r *etcdserverpb.PutRequest) (*etcdserverpb.PutResponse, error) {
	f.note(r)
	md, _ := metadata.FromIncomingContext(ctx)
	f.mu.Lock()
	f.mu.token = strings.Join(md.Get(rpctypes.TokenFieldNameGRPC), " ")
	f.mu.Unlock()
	if len(r.Key) == 0 {
		return nil, rpctypes.ErrGRPCEmptyKey
	}
	answer := &etcdserverpb.PutResponse{Header: header()}
	if r.PrevKv {
		answer.PrevKv = pair(string(r.Key), "before")
	}
	return answer, nil
}

func (f *fake) Txn(_ context.Context, r *etcdserverpb.TxnRequest) (*etcdserverpb.TxnResponse, error) {
	f.note(r)
	return &etcdserverpb.TxnResponse{Header: header(), Succeeded: true}, nil
}

func (f *fake) DeleteRange(_ context.Context, r *etcdserverpb.DeleteRangeRequest) (*etcdserverpb.DeleteRangeResponse, error) {
	f.note(r)
	answer := &etcdserverpb.DeleteRangeResponse{Header: header(), Deleted: 2}
	if r.PrevKv {
		answer.PrevKvs = []*mvccpb.KeyValue{pair("a", "1"), pair("b", "2")}
	}
	return answer, nil
}

func (f *fake) Compact(_ context.Context, r *etcdserverpb.CompactionRequest) (*etcdserverpb.CompactionResponse, error) {
	f.note(r)
	return &etcdserverpb.CompactionResponse{Header: header()}, nil
}

func (f *fake) Defragment(_ context.Context, r *etcdserverpb.DefragmentRequest) (*etcdserverpb.DefragmentResponse, error) {
	f.note(r)
	return &etcdserverpb.DefragmentResponse{Header: header()}, nil
}

func (f *fake) Status(_ context.Context, r *etcdserverpb.StatusRequest) (*etcdserverpb.StatusResponse, error) {
	f.note(r)
	return &etcdserverpb.StatusResponse{
		Header: header(), Version: "3.7.1", StorageVersion: "3.7.0", DbSize: 25_432, DbSizeInUse: 999,
		DbSizeQuota: 2 << 30, Leader: header().MemberId, RaftIndex: 12, RaftTerm: 2, RaftAppliedIndex: 11,
		Errors: []string{"memberID:1 alarm:NOSPACE"},
	}, nil
}

// Watch answers a creation with two events, the second with a previous pair,
// and a progress note; a watch of the key "old" it cancels as compacted. To a
// request for progress it answers with a note.
func (f *fake) Watch(stream etcdserverpb.Watch_WatchServer) error {
	for id := int64(0); ; {
		request, err := stream.Recv()
		if err != nil {
			return err
		}
		answers := []*etcdserverpb.WatchResponse{{Header: header(), WatchId: -1}}
		if create := request.GetCreateRequest(); create != nil {
			f.note(create)
			answers = watchAnswers(id, string(create.Key))
			id++
		}
		for _, answer := range answers {
			if err := stream.Send(answer); err != nil {
				return err
			}
		}
	}
}

func watchAnswers(id int64, key string) []*etcdserverpb.WatchResponse {
	created := &etcdserverpb.WatchResponse{Header: header(), WatchId: id, Created: true}
	if key == "old" {
		return []*etcdserverpb.WatchResponse{created, {Header: header(), WatchId: id, Canceled: true, CompactRevision: 4}}
	}
	return []*etcdserverpb.WatchResponse{
		created,
		{Header: header(), WatchId: id, Events: []*mvccpb.Event{
			{Type: mvccpb.Event_PUT, Kv: pair("a", "1")},
			{Type: mvccpb.Event_DELETE, Kv: &mvccpb.KeyValue{Key: []byte("b"), ModRevision: 7}, PrevKv: pair("b", "2")},
		}},
		{Header: header(), WatchId: id},
	}
}
