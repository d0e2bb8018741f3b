package main

import (
	"context"
	"net"
	"sync"
	"testing"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// A fake is a server on grpc-go, so that the generator's own HTTP/2 is tested
// against the one that real servers use.
type fake struct {
	etcdserverpb.UnimplementedKVServer
	etcdserverpb.UnimplementedWatchServer
	etcdserverpb.UnimplementedLeaseServer

	answer *etcdserverpb.RangeResponse

	mu struct {
		sync.Mutex
		puts     []*etcdserverpb.PutRequest
		txnPuts  []*etcdserverpb.PutRequest
		renewals map[int64]int
		leases   int64
		watchers []chan *etcdserverpb.WatchResponse
	}
}

func startFake(t *testing.T) (*fake, string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{answer: &etcdserverpb.RangeResponse{Count: 1}}
	f.mu.renewals = map[int64]int{}
	server := grpc.NewServer()
	etcdserverpb.RegisterKVServer(server, f)
	etcdserverpb.RegisterWatchServer(server, f)
	etcdserverpb.RegisterLeaseServer(server, f)
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() { server.Stop(); wg.Wait() })
	return f, listener.Addr().String()
}

func (f *fake) Range(context.Context, *etcdserverpb.RangeRequest) (*etcdserverpb.RangeResponse, error) {
	return f.answer, nil
}

// Put keeps the request and tells the watchers; the key "refused" it refuses.
func (f *fake) Put(_ context.Context, r *etcdserverpb.PutRequest) (*etcdserverpb.PutResponse, error) {
	if string(r.Key) == "refused" {
		return nil, status.Error(codes.ResourceExhausted, "no space")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.puts = append(f.mu.puts, r)
	event := &etcdserverpb.WatchResponse{Events: []*mvccpb.Event{{Kv: &mvccpb.KeyValue{Key: r.Key, Value: r.Value}}}}
	for _, watcher := range f.mu.watchers {
		watcher <- event
	}
	return &etcdserverpb.PutResponse{}, nil
}

func (f *fake) Txn(_ context.Context, r *etcdserverpb.TxnRequest) (*etcdserverpb.TxnResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, op := range r.Success {
		f.mu.txnPuts = append(f.mu.txnPuts, op.GetRequestPut())
	}
	return &etcdserverpb.TxnResponse{}, nil
}

// Watch confirms each watcher of the stream and then sends it every put.
func (f *fake) Watch(stream etcdserverpb.Watch_WatchServer) error {
	out := make(chan *etcdserverpb.WatchResponse, 1024)
	go func() {
		for {
			if _, err := stream.Recv(); err != nil {
				return
			}
			f.mu.Lock()
			f.mu.watchers = append(f.mu.watchers, out)
			f.mu.Unlock()
			out <- &etcdserverpb.WatchResponse{Created: true}
		}
	}()
	for {
		select {
		case answer := <-out:
			if err := stream.Send(answer); err != nil {
				return err
			}
		case <-stream.Context().Done():
			return nil
		}
	}
}

func (f *fake) LeaseGrant(context.Context, *etcdserverpb.LeaseGrantRequest) (*etcdserverpb.LeaseGrantResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.leases++
	return &etcdserverpb.LeaseGrantResponse{ID: f.mu.leases}, nil
}

func (f *fake) LeaseKeepAlive(stream etcdserverpb.Lease_LeaseKeepAliveServer) error {
	for {
		r, err := stream.Recv()
		if err != nil {
			return nil
		}
		f.mu.Lock()
		f.mu.renewals[r.ID]++
		f.mu.Unlock()
		if err := stream.Send(&etcdserverpb.LeaseKeepAliveResponse{ID: r.ID}); err != nil {
			return err
		}
	}
}
