package v3

import (
	"context"
	"errors"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"

	"github.com/quoin-kv/quoin/internal/faultpoint"
	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/service"
	"github.com/quoin-kv/quoin/internal/watch"
)

// watchStreams serves watch calls with two goroutines each: this one sends what the stream yields, the other takes the client's requests.
func watchStreams(svc *service.Service) map[string]grpc.StreamHandler {
	large := new(largeArrays)
	return map[string]grpc.StreamHandler{"Watch": func(_ any, stream grpc.ServerStream) error {
		ctx, cancel := context.WithCancelCause(stream.Context())
		defer cancel(nil)
		w := svc.Watch()
		defer w.Close()
		received := make(chan struct{})
		go func() {
			defer close(received)
			if err := receiveWatchRequests(stream, w); err != nil {
				cancel(err)
			}
		}()
		err := sendWatchResponses(ctx, newOutgoing(stream, large), w)
		if stream.Context().Err() == nil {
			return err // the receiver ends with the call
		}
		<-received
		if errors.Is(stream.Context().Err(), context.Canceled) {
			return toStatus(kverr.WatchCanceled)
		}
		return toStatus(stream.Context().Err())
	}}
}

// receiveWatchRequests feeds the client's requests to w until the client stops sending. The end of its requests is not the end of the call.
func receiveWatchRequests(stream grpc.ServerStream, w *service.WatchStream) error {
	for {
		var r pb.WatchRequest
		if err := stream.RecvMsg(&r); err != nil {
			return endOfStream(err)
		}
		if err := handleWatchRequest(stream.Context(), &r, w); err != nil {
			return err
		}
	}
}

func handleWatchRequest(ctx context.Context, r *pb.WatchRequest, w *service.WatchStream) error {
	switch u := r.RequestUnion.(type) {
	case *pb.WatchRequest_CreateRequest:
		return w.Create(ctx, createRequest(u.CreateRequest))
	case *pb.WatchRequest_CancelRequest:
		return w.Cancel(ctx, u.CancelRequest.GetWatchId())
	case *pb.WatchRequest_ProgressRequest:
		w.Progress()
	}
	return nil
}

func sendWatchResponses(ctx context.Context, out *outgoing, w *service.WatchStream) error {
	for {
		err := gatherWatchResponses(out, w)
		if err == nil {
			err = w.Yield(ctx)
		}
		none := out.messages() == 0
		if !none {
			faultpoint.Hit(faultpoint.BeforeSendWatchResponse)
		}
		if err := out.send(); err != nil {
			return err
		}
		w.Sent()
		if err == nil && none {
			err = w.Wait(ctx)
		}
		if err != nil {
			if cause := context.Cause(ctx); cause != nil {
				err = cause
			}
			return toStatus(err)
		}
	}
}

// gatherWatchResponses takes what there is to send, up to a bound.
func gatherWatchResponses(out *outgoing, w *service.WatchStream) error {
	for !out.full() {
		longer, ok, err := w.Poll(out.open())
		if !ok || err != nil {
			return err
		}
		out.close(longer)
	}
	return nil
}

func createRequest(r *pb.WatchCreateRequest) watch.CreateRequest {
	out := watch.CreateRequest{
		Key: r.GetKey(), RangeEnd: r.GetRangeEnd(), StartRevision: r.GetStartRevision(), WatchID: r.GetWatchId(),
		PrevKV: r.GetPrevKv(), Fragment: r.GetFragment(), ProgressNotify: r.GetProgressNotify(),
	}
	for _, f := range r.GetFilters() {
		switch f {
		case pb.WatchCreateRequest_NOPUT:
			out.NoPut = true
		case pb.WatchCreateRequest_NODELETE:
			out.NoDelete = true
		}
	}
	return out
}
