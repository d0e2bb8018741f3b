package grpcwire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// dial connects a client of grpc-go.
func dial(t testing.TB, addr string, opts ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+addr, append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(newCodec()), grpc.MaxCallRecvMsgSize(1<<30)),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// soon is a context for what takes no time.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func echo(ctx context.Context, conn *grpc.ClientConn, s string, opts ...grpc.CallOption) (string, error) {
	var out text
	err := conn.Invoke(ctx, "/test.S/Echo", &text{s}, &out, opts...)
	return out.s, err
}

func wantCode(t *testing.T, err error, code codes.Code) {
	t.Helper()
	if status.Code(err) != code {
		t.Errorf("ended with %v, want %v", err, code)
	}
}

// TestCalls: many at once, of all sizes around those at which something changes.
func TestCalls(t *testing.T) {
	conn := dial(t, serve(t, Options{}))
	sizes := []int{0, 1, 5, 100, windowStart - prefixBytes, windowStart, windowStart + 1, frameBytesMax - prefixBytes, frameBytesMax, outHigh, 1 << 20, 4 << 20}
	var wg sync.WaitGroup
	for _, n := range sizes {
		for i := range 2 {
			wg.Go(func() {
				in := strings.Repeat(string(rune('a'+i)), n)
				if out, err := echo(soon(t), conn, in); err != nil || out != in {
					t.Errorf("%d bytes: %d bytes, %v", n, len(out), err)
				}
			})
		}
	}
	wg.Wait()
	_, err := echo(soon(t), conn, strings.Repeat("x", 4<<20+1))
	wantCode(t, err, codes.ResourceExhausted)
}

// TestEndApart: a client may say that nothing more comes after its message, also when the message has used up all the room that there was.
func TestEndApart(t *testing.T) {
	conn := dial(t, serve(t, Options{}))
	for _, n := range []int{0, windowStart - prefixBytes - 1, windowStart - prefixBytes, windowStart, 1 << 20, 4 << 20} {
		stream, err := conn.NewStream(soon(t), &grpc.StreamDesc{ClientStreams: true}, "/test.S/Echo")
		if err != nil {
			t.Fatal(err)
		}
		in, out := text{strings.Repeat("x", n)}, text{}
		if err := errors.Join(stream.SendMsg(&in), stream.CloseSend(), stream.RecvMsg(&out)); err != nil || out.s != in.s {
			t.Errorf("%d bytes: %d bytes, %v", n, len(out.s), err)
		}
	}
}

func TestSendLimit(t *testing.T) {
	conn := dial(t, serve(t, Options{Limits: Limits{SendBytes: 10}}))
	_, err := echo(soon(t), conn, "more than ten bytes")
	if want := "grpc: trying to send message larger than max (19 vs. 10)"; status.Convert(err).Message() != want {
		t.Errorf("%v, want %s", err, want)
	}
	wantCode(t, err, codes.ResourceExhausted)
}

func TestStatusOfPlainErrors(t *testing.T) {
	conn := dial(t, serve(t, Options{}))
	for method, want := range map[string]codes.Code{"Fail": codes.NotFound, "Plain": codes.Unknown, "Nope": codes.Unimplemented} {
		err := conn.Invoke(soon(t), "/test.S/"+method, &text{"x"}, &text{})
		wantCode(t, err, want)
	}
}

func TestStreams(t *testing.T) {
	conn := dial(t, serve(t, Options{}))
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			s, err := conn.NewStream(soon(t), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/test.S/Both")
			if err != nil {
				t.Error(err)
				return
			}
			go func() {
				for i := range 300 {
					_ = s.SendMsg(&text{strconv.Itoa(i) + strings.Repeat(".", i*17%3000)})
				}
				_ = s.CloseSend()
			}()
			var out text
			for i := range 300 {
				if err := s.RecvMsg(&out); err != nil || !strings.HasPrefix(out.s, strconv.Itoa(i)) || len(out.s) < i*17%3000 {
					t.Errorf("message %d: %.10q, %v", i, out.s, err)
					return
				}
			}
			if err := s.RecvMsg(&out); !errors.Is(err, io.EOF) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// TestManyMessages: a server that sends much to clients that read slowly, or not at all for a while.
func TestManyMessages(t *testing.T) {
	conn := dial(t, serve(t, Options{}))
	open := func() grpc.ClientStream {
		s, err := conn.NewStream(soon(t), &grpc.StreamDesc{ServerStreams: true}, "/test.S/Many")
		if err == nil {
			err = errors.Join(s.SendMsg(&text{"10000"}), s.CloseSend())
		}
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	idle, busy := open(), open()
	for _, s := range []grpc.ClientStream{busy, idle} {
		for i := range 10000 {
			var out text
			if err := s.RecvMsg(&out); err != nil || out.s != strconv.Itoa(i) {
				t.Fatalf("message %d: %q, %v", i, out.s, err)
			}
		}
		if err := s.RecvMsg(&text{}); !errors.Is(err, io.EOF) {
			t.Error(err)
		}
	}
}

func TestDeadlineAndCancellation(t *testing.T) {
	conn := dial(t, serve(t, Options{}))
	ctx, cancel := context.WithTimeout(soon(t), 50*time.Millisecond)
	defer cancel()
	wantCode(t, conn.Invoke(ctx, "/test.S/Wait", &text{}, &text{}), codes.DeadlineExceeded)
	ctx, cancel = context.WithCancel(soon(t))
	time.AfterFunc(50*time.Millisecond, cancel)
	wantCode(t, conn.Invoke(ctx, "/test.S/Wait", &text{}, &text{}), codes.Canceled)
	if _, err := echo(soon(t), conn, "x"); err != nil {
		t.Error(err)
	}
}

// TestCompression: what is too large when it is unpacked is refused in grpc-go's words.
func TestCompression(t *testing.T) {
	in := strings.Repeat("abc", 1<<15)
	const limit = 200000
	var words [2]string
	for i, addr := range []string{reference(t, grpc.MaxRecvMsgSize(limit)), serve(t, Options{Limits: Limits{ReceiveBytes: limit}})} {
		conn := dial(t, addr)
		if out, err := echo(soon(t), conn, in, grpc.UseCompressor(gzip.Name)); err != nil || out != in {
			t.Errorf("%d bytes, %v", len(out), err)
		}
		_, err := echo(soon(t), conn, in+in+in, grpc.UseCompressor(gzip.Name))
		words[i] = err.Error()
	}
	if words[0] != words[1] || !strings.Contains(words[1], "ResourceExhausted") {
		t.Errorf("%s, want\n%s", words[1], words[0])
	}
}

func TestMetadata(t *testing.T) {
	conn := dial(t, serve(t, Options{}))
	for _, in := range []string{"x", "fail"} {
		var header, trailer metadata.MD
		err := conn.Invoke(soon(t), "/test.S/Reply", &text{in}, &text{}, grpc.Header(&header), grpc.Trailer(&trailer))
		if in == "fail" && (status.Code(err) != codes.Aborted || status.Convert(err).Message() != "50% “of” it\n") || in != "fail" && err != nil {
			t.Error(err)
		}
		if fmt.Sprint(header["before"], header["one-bin"], trailer["after"]) != fmt.Sprintf("[%s] [\x00\xff] [%s]", in, in) {
			t.Errorf("header %v, trailer %v", header, trailer)
		}
	}
	large := strings.Repeat("x", 30<<10)
	var header metadata.MD
	ctx := metadata.AppendToOutgoingContext(soon(t), "k", "1", "k", "2", "b-bin", "\x01\x02", "large", large)
	for key, want := range map[string]string{"k": "1,2", "b-bin": "\x01\x02", "large": large, "none": ""} {
		var out text
		if err := conn.Invoke(ctx, "/test.S/Metadata", &text{key}, &out, grpc.Header(&header)); err != nil || out.s != want {
			t.Errorf("%s: %.20q, %v", key, out.s, err)
		}
	}
}

// TestInterceptors: they are called one within the other, see what package grpc promises, and may replace what they like.
func TestInterceptors(t *testing.T) {
	var seen []string
	note := func(name string) grpc.UnaryServerInterceptor {
		return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
			p, _ := peer.FromContext(ctx)
			method, _ := grpc.Method(ctx)
			seen = append(seen, fmt.Sprint(name, " ", req.(*text).s, " ", info.FullMethod, " ", p.Addr.Network(), " ", method))
			return handler(ctx, &text{req.(*text).s + name})
		}
	}
	streams := func(srv any, s grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		return status.Error(codes.PermissionDenied, fmt.Sprint(info.IsClientStream, info.IsServerStream))
	}
	conn := dial(t, serve(t, Options{Unary: []grpc.UnaryServerInterceptor{note("a"), note("b"), note("c")}, Stream: []grpc.StreamServerInterceptor{streams}}))
	out, err := echo(soon(t), conn, "-")
	want := "[a - /test.S/Echo tcp /test.S/Echo b -a /test.S/Echo tcp /test.S/Echo c -ab /test.S/Echo tcp /test.S/Echo]"
	if err != nil || out != "-abc" || fmt.Sprint(seen) != want {
		t.Errorf("%q, %v, %v", out, err, seen)
	}
	s, err := conn.NewStream(soon(t), &grpc.StreamDesc{ServerStreams: true}, "/test.S/Many")
	if err == nil {
		err = errors.Join(s.SendMsg(&text{"1"}), s.CloseSend())
	}
	if err == nil {
		err = s.RecvMsg(&text{})
	}
	if status.Convert(err).Message() != "false true" {
		t.Error(err)
	}
}

// TestGracefulStop: calls under way end well, later ones are not served, and the client is told in time to go elsewhere.
func TestGracefulStop(t *testing.T) {
	s := newServer(Options{})
	conn := dial(t, listen(t, s))
	stream, err := conn.NewStream(soon(t), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/test.S/Both")
	if err != nil {
		t.Fatal(err)
	}
	turn := func(in string) error {
		if err := stream.SendMsg(&text{in}); err != nil {
			return err
		}
		return stream.RecvMsg(&text{})
	}
	if err := turn("a"); err != nil {
		t.Fatal(err)
	}
	stopped := make(chan struct{})
	go func() {
		s.GracefulStop()
		close(stopped)
	}()
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		_, err := echo(ctx, conn, "x")
		cancel()
		if err != nil {
			break
		}
	}
	if err := turn("b"); err != nil {
		t.Errorf("a call under way: %v", err)
	}
	select {
	case <-stopped:
		t.Error("stopped before the last call ended")
	default:
	}
	_ = stream.CloseSend()
	if err := stream.RecvMsg(&text{}); !errors.Is(err, io.EOF) {
		t.Errorf("the end of a call under way: %v", err)
	}
	<-stopped
}

// TestStop: calls under way are ended, and their handlers have returned.
func TestStop(t *testing.T) {
	s := newServer(Options{})
	conn := dial(t, listen(t, s))
	failed := make(chan error)
	begun := make(chan struct{})
	for range 10 {
		go func() {
			stream, err := conn.NewStream(soon(t), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/test.S/Both")
			if err == nil {
				err = errors.Join(stream.SendMsg(&text{"x"}), stream.RecvMsg(&text{}))
			}
			begun <- struct{}{}
			if err == nil {
				err = stream.RecvMsg(&text{})
			}
			failed <- err
		}()
	}
	for range 10 {
		<-begun
	}
	s.Stop()
	for range 10 {
		wantCode(t, <-failed, codes.Unavailable)
	}
}

// TestKeepAlive: a client that answers our pings stays, one that does not goes.
func TestKeepAlive(t *testing.T) {
	addr := serve(t, Options{Limits: Limits{KeepAliveInterval: 50 * time.Millisecond, KeepAliveTimeout: 200 * time.Millisecond}})
	conn := dial(t, addr)
	stream, err := conn.NewStream(soon(t), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/test.S/Both")
	if err != nil {
		t.Fatal(err)
	}
	silent := dialRaw(t, addr)
	if _, err := io.Copy(io.Discard, silent.conn); err != nil { // until we close it
		t.Error(err)
	}
	if err := errors.Join(stream.SendMsg(&text{"x"}), stream.RecvMsg(&text{})); err != nil {
		t.Error(err)
	}
	_ = stream.CloseSend()
}

// TestTooManyPings: a client that pings too often is told so, as clients of gRPC know it.
func TestTooManyPings(t *testing.T) {
	addr := serve(t, Options{Limits: Limits{KeepAliveMinTime: time.Hour}})
	r := dialRaw(t, addr)
	for range strikesMax + 2 {
		r.check(r.framer.WritePing(false, [8]byte{}))
	}
	if o := r.outcome(1); o.goAway != "ENHANCE_YOUR_CALM too_many_pings" {
		t.Errorf("ended with %s", o)
	}
	addr = serve(t, Options{Limits: Limits{KeepAliveMinTime: time.Millisecond}})
	conn := dial(t, addr, grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second}))
	if _, err := echo(soon(t), conn, "x"); err != nil {
		t.Error(err)
	}
}

// TestPieces: the buffers of a message are read in order, each once, and freed when they have been sent.
func TestPieces(t *testing.T) {
	s := New(Options{Codec: newCodec()})
	var log bytes.Buffer
	s.RegisterService(&grpc.ServiceDesc{ServiceName: "test.P", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{
		unary("Pieces", func(context.Context, string) (any, error) { return lazy(&log, 20, 30000), nil }),
	}}, nil)
	conn := dial(t, listen(t, s))
	var out text
	if err := conn.Invoke(soon(t), "/test.P/Pieces", &text{}, &out); err != nil {
		t.Fatal(err)
	}
	var want, sent strings.Builder
	for i := range 20 {
		fmt.Fprintf(&want, "read %d\nfreed %d\n", i, i)
		sent.WriteString(strings.Repeat(string(rune('a'+i)), 30000))
	}
	if out.s != sent.String() {
		t.Errorf("%d bytes came, or others", len(out.s))
	}
	if log.String() != want.String() {
		t.Errorf("log:\n%s", &log)
	}
}
