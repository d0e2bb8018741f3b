package v3

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"testing"
	"testing/synctest"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
)

func create(r *pb.WatchCreateRequest) *pb.WatchRequest {
	return &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: r}}
}

func recv(t testing.TB, w pb.Watch_WatchClient) *pb.WatchResponse {
	t.Helper()
	r, err := w.Recv()
	check(t, err)
	return r
}

func TestWatch(t *testing.T) {
	e := startEdge(t, 1)
	ctx := t.Context()
	w, err := e.watch.Watch(ctx)
	check(t, err)
	check(t, w.Send(&pb.WatchRequest{})) // says nothing, means nothing
	check(t, w.Send(create(&pb.WatchCreateRequest{Key: []byte("k"), WatchId: 9, Filters: []pb.WatchCreateRequest_FilterType{pb.WatchCreateRequest_NODELETE, 7}})))
	r := recv(t, w)
	header(t, "created", r.Header, 1)
	if !r.Created || r.WatchId != 9 || r.Canceled {
		t.Errorf("created: %v", r)
	}
	check(t, w.Send(create(&pb.WatchCreateRequest{Key: []byte("k"), StartRevision: -1})))
	if r = recv(t, w); !r.Created || !r.Canceled || r.WatchId != -1 || r.CancelReason != "etcdserver: mvcc: required revision has been compacted" {
		t.Errorf("refused: %v", r)
	}
	_, err = e.kv.Put(ctx, &pb.PutRequest{Key: []byte("k"), Value: []byte("1")})
	check(t, err)
	_, err = e.kv.DeleteRange(ctx, &pb.DeleteRangeRequest{Key: []byte("k")}) // filtered out
	check(t, err)
	r = recv(t, w)
	header(t, "event", r.Header, 2)
	if len(r.Events) != 1 || string(r.Events[0].Kv.Value) != "1" || r.WatchId != 9 {
		t.Errorf("event: %v", r)
	}
	check(t, w.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{}}))
	r = recv(t, w)
	header(t, "progress", r.Header, 3)
	if len(r.Events) != 0 || r.WatchId != -1 {
		t.Errorf("progress: %v", r)
	}
	check(t, w.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CancelRequest{CancelRequest: &pb.WatchCancelRequest{WatchId: 9}}}))
	if r = recv(t, w); !r.Canceled || r.WatchId != 9 || r.CancelReason != "" {
		t.Errorf("canceled: %v", r)
	}
}

// TestWatchGoesOnWhenTheClientHasSaidAll: the end of the client's requests is not the end of the call.
func TestWatchGoesOnWhenTheClientHasSaidAll(t *testing.T) {
	e := startEdge(t, 1)
	w, err := e.watch.Watch(t.Context())
	check(t, err)
	check(t, w.Send(create(&pb.WatchCreateRequest{Key: []byte("k")})))
	check(t, w.CloseSend())
	recv(t, w)
	_, err = e.kv.Put(t.Context(), &pb.PutRequest{Key: []byte("k")})
	check(t, err)
	if r := recv(t, w); len(r.Events) != 1 {
		t.Errorf("event: %v", r)
	}
}

// TestEndOfWatch is about what the server says at the end, which a client that has gone itself does not get to see.
func TestEndOfWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := startEdge(t, 1)
		handler := watchStreams(e.Service)["Watch"]
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- handler(nil, silentStream{ctx: ctx}) }()
		synctest.Wait()
		cancel()
		wantStatus(t, "the client cancels", <-ended, codes.Canceled, "etcdserver: watch canceled")
		ctx, cancel = context.WithTimeout(t.Context(), 1)
		defer cancel()
		wantStatus(t, "the client's time is over", handler(nil, silentStream{ctx: ctx}), codes.DeadlineExceeded, "context deadline exceeded")
		if n := e.WatchStats().Streams; n != 0 {
			t.Errorf("%d streams are left", n)
		}
	})
}

// silentStream is the stream of a client that sends nothing.
type silentStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s silentStream) Context() context.Context { return s.ctx }

func (s silentStream) RecvMsg(any) error {
	<-s.ctx.Done()
	return s.ctx.Err()
}

func (s silentStream) SendMsg(any) error { return nil }

// TestStopUnderCalls stops the member while a watch is open and others are just being opened.
func TestStopUnderCalls(t *testing.T) {
	e := startEdge(t, 1)
	w, err := e.watch.Watch(t.Context())
	check(t, err)
	check(t, w.Send(create(&pb.WatchCreateRequest{Key: []byte("k")})))
	recv(t, w)
	k, err := e.lease.LeaseKeepAlive(t.Context())
	check(t, err)
	check(t, k.Send(&pb.LeaseKeepAliveRequest{ID: 1}))
	_, err = k.Recv()
	check(t, err)
	ends := make(chan error, 1)
	go func() {
		for {
			if _, err := e.kv.Put(t.Context(), &pb.PutRequest{Key: []byte("k")}); err != nil {
				ends <- err
				return
			}
		}
	}()
	recv(t, w) // puts are under way
	e.Close()
	for err = nil; err == nil; {
		_, err = w.Recv()
	}
	wantStatus(t, "open watch", err, codes.Unavailable, "etcdserver: server stopped")
	late, err := e.watch.Watch(t.Context())
	check(t, err)
	_, err = late.Recv()
	wantStatus(t, "watch opened during the stop", err, codes.Unavailable, "etcdserver: server stopped")
	e.stop()
	if err := <-ends; err == nil {
		t.Error("puts go on after the stop")
	}
	if _, err := k.Recv(); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("keep-alive ends with %v", err)
	}
}

// wantSnapshot checks the framing of a snapshot.
func wantSnapshot(t *testing.T, blobs []*pb.SnapshotResponse) {
	t.Helper()
	if len(blobs) < 4 {
		t.Fatalf("%d blobs for 100 kB", len(blobs))
	}
	last := len(blobs) - 1
	digest := sha256.New()
	remaining := uint64(0)
	for _, b := range blobs[:last] {
		remaining += uint64(len(b.Blob))
		digest.Write(b.Blob)
	}
	for i, b := range blobs {
		if i < last {
			remaining -= uint64(len(b.Blob))
		}
		if i < last-1 && len(b.Blob) != snapshotBlobBytes || b.RemainingBytes != remaining || b.Header != nil || b.Version != blobs[0].Version {
			t.Errorf("blob %d of %d: %d bytes, %d remain, want %d, version %q", i, last, len(b.Blob), b.RemainingBytes, remaining, b.Version)
		}
	}
	if string(blobs[last].Blob) != string(digest.Sum(nil)) {
		t.Errorf("the digest is %x, want %x", blobs[last].Blob, digest.Sum(nil))
	}
}
