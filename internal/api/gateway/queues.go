package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// registerQueues adds the routes of the services Lock and Election to a mux.
func registerQueues(mux *runtime.ServeMux, conn grpc.ClientConnInterface) error {
	services, err := QueueServices()
	if err != nil {
		return err
	}
	for _, s := range services {
		for i := range s.Methods().Len() {
			r := &route{mux, conn, s.Methods().Get(i)}
			handle := r.unary
			if r.method.IsStreamingServer() {
				handle = r.stream
			}
			if err := mux.HandlePath(http.MethodPost, queuePath(r.method), handle); err != nil {
				return fmt.Errorf("registering %s: %w", r.name(), err)
			}
		}
	}
	return nil
}

// queuePath is where a method of Lock or Election is found.
func queuePath(m protoreflect.MethodDescriptor) string {
	return prefix + strings.ToLower(string(m.Parent().Name())+"/"+string(m.Name()))
}

// route is a method that exists as a description only.
type route struct {
	mux    *runtime.ServeMux
	conn   grpc.ClientConnInterface
	method protoreflect.MethodDescriptor
}

// name is what gRPC calls the method.
func (r *route) name() string {
	return fmt.Sprintf("/%s/%s", r.method.Parent().FullName(), r.method.Name())
}

// begin reads the request of a call and makes the context to pass it on in. If it reports false it has answered.
func (r *route) begin(ctx context.Context, w http.ResponseWriter, req *http.Request) (context.Context, proto.Message, bool) {
	inbound, outbound := runtime.MarshalerForRequest(r.mux, req)
	annotated, err := runtime.AnnotateContext(ctx, r.mux, req, r.name(), runtime.WithHTTPPathPattern(queuePath(r.method)))
	if err != nil {
		runtime.HTTPError(ctx, r.mux, outbound, w, req, err)
		return nil, nil, false
	}
	in := dynamicpb.NewMessage(r.method.Input())
	if err := inbound.NewDecoder(req.Body).Decode(in); err != nil && !errors.Is(err, io.EOF) {
		runtime.HTTPError(annotated, r.mux, outbound, w, req, status.Errorf(codes.InvalidArgument, "%v", err))
		return nil, nil, false
	}
	_, _ = io.Copy(io.Discard, req.Body) // only then the server notices a client that goes away
	return annotated, in, true
}

func (r *route) unary(w http.ResponseWriter, req *http.Request, _ map[string]string) {
	ctx, cancel := context.WithCancel(req.Context())
	defer cancel()
	ctx, in, ok := r.begin(ctx, w, req)
	if !ok {
		return
	}
	_, outbound := runtime.MarshalerForRequest(r.mux, req)
	out, meta := dynamicpb.NewMessage(r.method.Output()), runtime.ServerMetadata{}
	err := r.conn.Invoke(ctx, r.name(), in, out, grpc.Header(&meta.HeaderMD), grpc.Trailer(&meta.TrailerMD))
	ctx = runtime.NewServerMetadataContext(ctx, meta)
	if err != nil {
		runtime.HTTPError(ctx, r.mux, outbound, w, req, err)
		return
	}
	runtime.ForwardResponseMessage(ctx, r.mux, outbound, w, req, out, r.mux.GetForwardResponseOptions()...)
}

func (r *route) stream(w http.ResponseWriter, req *http.Request, _ map[string]string) {
	ctx, cancel := context.WithCancel(req.Context())
	defer cancel()
	ctx, in, ok := r.begin(ctx, w, req)
	if !ok {
		return
	}
	_, outbound := runtime.MarshalerForRequest(r.mux, req)
	stream, meta, err := r.open(ctx, in)
	ctx = runtime.NewServerMetadataContext(ctx, meta)
	if err != nil {
		runtime.HTTPError(ctx, r.mux, outbound, w, req, err)
		return
	}
	receive := func() (proto.Message, error) {
		out := dynamicpb.NewMessage(r.method.Output())
		return out, stream.RecvMsg(out)
	}
	runtime.ForwardResponseStream(ctx, r.mux, outbound, w, req, receive, r.mux.GetForwardResponseOptions()...)
}

// open sends the request of a stream and waits for the header of its answers.
func (r *route) open(ctx context.Context, in proto.Message) (grpc.ClientStream, runtime.ServerMetadata, error) {
	stream, err := r.conn.NewStream(ctx, &grpc.StreamDesc{StreamName: string(r.method.Name()), ServerStreams: true}, r.name())
	if err != nil {
		return nil, runtime.ServerMetadata{}, err
	}
	if err := errors.Join(stream.SendMsg(in), stream.CloseSend()); err != nil {
		return nil, runtime.ServerMetadata{}, err
	}
	header, err := stream.Header()
	return stream, runtime.ServerMetadata{HeaderMD: header}, err
}
