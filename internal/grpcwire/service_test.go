package grpcwire

import (
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// text is a message that is its own wire form.
type text struct{ s string }

// codec takes texts as they are.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2(proto.Name)} }

func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	switch v := v.(type) {
	case *text:
		if v.s == "unspeakable" {
			return nil, errors.New("unspeakable")
		}
		return mem.BufferSlice{mem.SliceBuffer(v.s)}, nil
	case mem.BufferSlice:
		return v, nil
	}
	return c.CodecV2.Marshal(v)
}

func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	if t, ok := v.(*text); ok {
		if t.s = string(data.Materialize()); t.s == "unreadable" {
			return errors.New("unreadable")
		}
		return nil
	}
	return c.CodecV2.Unmarshal(data, v)
}

// unary is a method of the test's service.
func unary(name string, f func(ctx context.Context, in string) (any, error)) grpc.MethodDesc {
	return grpc.MethodDesc{MethodName: name, Handler: func(srv any, ctx context.Context, decode func(any) error, i grpc.UnaryServerInterceptor) (any, error) {
		in := new(text)
		if err := decode(in); err != nil {
			return nil, err
		}
		handle := func(ctx context.Context, req any) (any, error) { return f(ctx, req.(*text).s) }
		if i == nil {
			return handle(ctx, in)
		}
		return i(ctx, in, &grpc.UnaryServerInfo{Server: srv, FullMethod: "/test.S/" + name}, handle)
	}}
}

// testService is a service whose calls do what tests need.
func testService() *grpc.ServiceDesc {
	return &grpc.ServiceDesc{
		ServiceName: "test.S", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{
			unary("Echo", func(_ context.Context, in string) (any, error) { return &text{in}, nil }),
			unary("Fail", func(_ context.Context, in string) (any, error) { return nil, status.Error(codes.NotFound, in) }),
			unary("Plain", func(_ context.Context, in string) (any, error) { return nil, errors.New(in) }),
			unary("Large", func(_ context.Context, in string) (any, error) {
				n, err := strconv.Atoi(in)
				return &text{strings.Repeat("x", max(0, min(n, 10<<20)))}, err
			}),
			unary("Wait", func(ctx context.Context, in string) (any, error) {
				<-ctx.Done()
				return nil, status.FromContextError(ctx.Err()).Err()
			}),
			unary("Metadata", func(ctx context.Context, in string) (any, error) {
				md, _ := metadata.FromIncomingContext(ctx)
				return &text{strings.Join(md[in], ",")}, nil
			}),
			unary("Reply", reply),
		},
		Streams: []grpc.StreamDesc{
			{StreamName: "Both", ServerStreams: true, ClientStreams: true, Handler: both},
			{StreamName: "Many", ServerStreams: true, Handler: many},
		},
	}
}

// reply sends metadata before and after the answer.
func reply(ctx context.Context, in string) (any, error) {
	if err := grpc.SetHeader(ctx, metadata.Pairs("before", in, "one-bin", "\x00\xff")); err != nil {
		return nil, err
	}
	if err := grpc.SetTrailer(ctx, metadata.Pairs("after", in)); err != nil {
		return nil, err
	}
	if in == "fail" {
		return nil, status.Error(codes.Aborted, "50% “of” it\n")
	}
	return &text{in}, nil
}

// both sends back what it receives.
func both(_ any, stream grpc.ServerStream) error {
	for {
		in := new(text)
		if err := stream.RecvMsg(in); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if in.s == "end" {
			return status.Error(codes.OutOfRange, "ended")
		}
		if err := stream.SendMsg(in); err != nil {
			return err
		}
	}
}

// many sends as many messages as it is asked to.
func many(_ any, stream grpc.ServerStream) error {
	in := new(text)
	if err := stream.RecvMsg(in); err != nil {
		return err
	}
	n, err := strconv.Atoi(in.s)
	if err != nil {
		return status.Error(codes.InvalidArgument, "no number")
	}
	for i := range n {
		if err := stream.SendMsg(&text{strconv.Itoa(i)}); err != nil {
			return err
		}
	}
	return nil
}

// reference starts grpc-go's server with the test's service.
func reference(t testing.TB, opts ...grpc.ServerOption) string {
	server := grpc.NewServer(append([]grpc.ServerOption{grpc.ForceServerCodecV2(newCodec()), grpc.MaxHeaderListSize(64 << 10)}, opts...)...)
	server.RegisterService(testService(), nil)
	return listen(t, server)
}

// serve starts a server of ours with the test's service.
func serve(t testing.TB, o Options) string {
	return listen(t, newServer(o))
}

func newServer(o Options) *Server {
	o.Codec = newCodec()
	s := New(o)
	s.RegisterService(testService(), nil)
	return s
}

type server interface {
	Serve(net.Listener) error
	Stop()
}

func listen(t testing.TB, s server) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Error("Serve does not return")
		}
	})
	return l.Addr().String()
}
