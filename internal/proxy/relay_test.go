package proxy

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const patience = 20 * time.Second // for what must happen

// scene is a fake member: what calls meet there.
type scene func(stream grpc.ServerStream) error

// listen returns a listener on a free port.
func listen(t *testing.T) net.Listener {
	t.Helper()
	var how net.ListenConfig
	l, err := how.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// play starts a member that does for each call what the scene says, and returns its address and what stops it before the end of the test.
func play(t *testing.T, s scene, options ...grpc.ServerOption) (address string, stop func()) {
	t.Helper()
	server := grpc.NewServer(append(options, grpc.ForceServerCodecV2(frameCodec{}),
		grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error { return s(stream) }))...)
	l := listen(t)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := server.Serve(l); err != nil {
			t.Error(err)
		}
	})
	stop = func() { server.Stop(); wg.Wait() }
	t.Cleanup(stop)
	return l.Addr().String(), stop
}

// options are those of the command's defaults, for members at the endpoints.
func options(endpoints ...string) RelayOptions {
	return RelayOptions{
		Endpoints: endpoints, MaxSendBytes: 3 << 19, MaxReceiveBytes: math.MaxInt32, MaxStreams: math.MaxUint32,
		Logger: slog.New(slog.DiscardHandler),
	}
}

// running is a relay that serves until the end of the test.
type running struct {
	*Relay
	address string
	stop    func()
}

func run(t *testing.T, o RelayOptions, clients Door, monitors ...Door) *running {
	t.Helper()
	r, err := NewRelay(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := r.Serve(ctx, clients, monitors...); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	stop := func() { cancel(errors.New("a signal")); wg.Wait() }
	t.Cleanup(stop)
	return &running{r, clients.Listener.Addr().String(), stop}
}

func runPlain(t *testing.T, o RelayOptions) *running {
	t.Helper()
	return run(t, o, Door{Listener: listen(t)})
}

// dialPlain returns a connection as a client has.
func dialPlain(t *testing.T, address string, more ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+address, append(more, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// call opens a stream for frames.
func call(ctx context.Context, t *testing.T, conn *grpc.ClientConn, more ...grpc.CallOption) grpc.ClientStream {
	t.Helper()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/some.Service/Method",
		append(more, grpc.ForceCodecV2(frameCodec{}))...)
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func text(s string) *frame { return &frame{mem.BufferSlice{mem.SliceBuffer(s)}} }

func receive(t *testing.T, stream grpc.ClientStream) string {
	t.Helper()
	var f frame
	if err := stream.RecvMsg(&f); err != nil {
		t.Fatal(err)
	}
	defer f.free()
	return string(f.data.Materialize())
}

// echo says what it is told, in between metadata, and ends with an error that has details.
func echo(stream grpc.ServerStream) error {
	md, _ := metadata.FromIncomingContext(stream.Context())
	if err := stream.SendHeader(metadata.Pairs("heard", strings.Join(md.Get("token"), "+"), "raw-bin", "\x00\xff")); err != nil {
		return err
	}
	stream.SetTrailer(metadata.Pairs("last", "words"))
	for {
		var f frame
		if err := stream.RecvMsg(&f); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		if err := stream.SendMsg(&f); err != nil {
			return err
		}
	}
	s, err := status.New(codes.FailedPrecondition, "no: 100 % ö").WithDetails(wrapperspb.String("why"))
	if err != nil {
		return err
	}
	return s.Err()
}

// TestRelayPassesAll: metadata, messages of both directions one by one, trailers, status and details arrive as they were sent.
func TestRelayPassesAll(t *testing.T) {
	member, _ := play(t, echo)
	r := runPlain(t, options(member))
	ctx := metadata.AppendToOutgoingContext(soon(t), "token", "a", "token", "b")
	for name, how := range map[string][]grpc.CallOption{"as is": nil, "compressed": {grpc.UseCompressor(gzip.Name)}} {
		t.Run(name, func(t *testing.T) {
			stream := call(ctx, t, dialPlain(t, r.address), how...)
			for _, message := range []string{"one", "", strings.Repeat("x", 1<<20), "\xff\x00"} {
				if err := stream.SendMsg(text(message)); err != nil {
					t.Fatal(err)
				}
				if got := receive(t, stream); got != message {
					t.Errorf("got %d bytes, want %d", len(got), len(message))
				}
			}
			if err := stream.CloseSend(); err != nil {
				t.Fatal(err)
			}
			s := status.Convert(stream.RecvMsg(&frame{}))
			if s.Code() != codes.FailedPrecondition || s.Message() != "no: 100 % ö" || len(s.Details()) != 1 {
				t.Errorf("status %v %q %v", s.Code(), s.Message(), s.Details())
			}
			if header, err := stream.Header(); err != nil || strings.Join(header.Get("heard"), "") != "a+b" || header.Get("raw-bin")[0] != "\x00\xff" {
				t.Errorf("header %v, %v", header, err)
			}
			if last := stream.Trailer().Get("last"); len(last) != 1 || last[0] != "words" {
				t.Errorf("trailer %v", stream.Trailer())
			}
		})
	}
}

// TestRelayEndsWithTheClient: a client that gives up, and one whose time is over, end their calls at the member too.
func TestRelayEndsWithTheClient(t *testing.T) {
	type seen struct {
		deadline bool
		cause    error
	}
	ended := make(chan seen, 1)
	begun := make(chan struct{}, 1)
	member, _ := play(t, func(stream grpc.ServerStream) error {
		begun <- struct{}{}
		<-stream.Context().Done()
		_, has := stream.Context().Deadline()
		ended <- seen{has, stream.Context().Err()}
		return nil
	})
	conn := dialPlain(t, runPlain(t, options(member)).address)

	ctx, cancel := context.WithCancel(t.Context())
	stream := call(ctx, t, conn)
	<-begun
	cancel()
	if got := <-ended; got.deadline || !errors.Is(got.cause, context.Canceled) {
		t.Errorf("given up: %+v", got)
	}
	if err := stream.RecvMsg(&frame{}); status.Code(err) != codes.Canceled {
		t.Error(err)
	}

	ctx, cancel = context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	stream = call(ctx, t, conn)
	<-begun
	if got := <-ended; !got.deadline {
		t.Errorf("time is over: %+v", got)
	}
	if err := stream.RecvMsg(&frame{}); status.Code(err) != codes.DeadlineExceeded {
		t.Error(err)
	}
}

// TestRelayEndsWithTheMember: a member that ends a call while the client is still talking has the last word.
func TestRelayEndsWithTheMember(t *testing.T) {
	member, _ := play(t, func(stream grpc.ServerStream) error {
		if err := stream.RecvMsg(&frame{}); err != nil {
			return err
		}
		return status.Error(codes.Aborted, "enough")
	})
	stream := call(soon(t), t, dialPlain(t, runPlain(t, options(member)).address))
	for said := error(nil); said == nil; {
		said = stream.SendMsg(text("more"))
	}
	if err := stream.RecvMsg(&frame{}); status.Code(err) != codes.Aborted || status.Convert(err).Message() != "enough" {
		t.Error(err)
	}
}

// TestRelayRefuses: what is too large for a member is told so by the proxy, in the words of a client's own limit.
func TestRelayRefuses(t *testing.T) {
	member, _ := play(t, echo)
	o := options(member)
	o.MaxSendBytes = 1000
	conn := dialPlain(t, runPlain(t, o).address)
	for size, want := range map[int]string{
		1001: "trying to send message larger than max (1001 vs. 1000)", minRelayReceive + 1: "received message larger than max",
	} {
		stream := call(soon(t), t, conn)
		if err := stream.SendMsg(text(strings.Repeat("x", size))); err != nil {
			t.Fatal(err)
		}
		if err := stream.RecvMsg(&frame{}); status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), want) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

// TestRelayHoldsLittle: a member that says more than the client takes has to wait.
func TestRelayHoldsLittle(t *testing.T) {
	const most = 64 << 20
	said := make(chan int, 1)
	member, _ := play(t, func(stream grpc.ServerStream) error {
		piece, n := strings.Repeat("x", 64<<10), 0
		for n < most && stream.SendMsg(text(piece)) == nil {
			n += len(piece)
		}
		said <- n
		return nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	call(ctx, t, dialPlain(t, runPlain(t, options(member)).address)) // and nobody reads
	if n := <-said; n == 0 || n >= most/2 {
		t.Errorf("the member got rid of %d bytes", n)
	}
}

// TestRelayAvoidsTheDead: calls go to the members in turn, and not to one that cannot be reached.
func TestRelayAvoidsTheDead(t *testing.T) {
	var mu sync.Mutex
	got := map[string]int{}
	named := func(name string) scene {
		return func(grpc.ServerStream) error {
			mu.Lock()
			defer mu.Unlock()
			got[name]++
			return status.Error(codes.AlreadyExists, name)
		}
	}
	first, stop := play(t, named("first"))
	second, _ := play(t, named("second"))
	r := runPlain(t, options(first, "http://"+second, "127.0.0.1:1"))
	conn := dialPlain(t, r.address)
	who := func() string {
		err := call(soon(t), t, conn).RecvMsg(&frame{})
		if status.Code(err) != codes.AlreadyExists {
			return ""
		}
		return status.Convert(err).Message()
	}
	until(t, "both are asked", func() bool {
		who()
		mu.Lock()
		defer mu.Unlock()
		return got["first"] > 0 && got["second"] > 0
	})
	stop()
	until(t, "the second is asked alone", func() bool {
		for range 3 {
			if who() != "second" {
				return false
			}
		}
		return true
	})
}

// until waits for something to become true.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx := soon(t)
	for ticker := time.NewTicker(10 * time.Millisecond); !ok(); {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("not in time: %s", what)
		}
	}
}

// TestNobodyThere: without a member calls fail at once, with the code that clients try again for.
func TestNobodyThere(t *testing.T) {
	conn := dialPlain(t, runPlain(t, options("127.0.0.1:1")).address)
	if _, err := pb.NewKVClient(conn).Range(soon(t), &pb.RangeRequest{Key: []byte("a")}); status.Code(err) != codes.Unavailable {
		t.Error(err)
	}
}

// TestDoorFails: a door that cannot be used any more ends the relay, which says why.
func TestDoorFails(t *testing.T) {
	for name, which := range map[string]int{"clients": 0, "monitors": 1} {
		t.Run(name, func(t *testing.T) {
			r, err := NewRelay(options("127.0.0.1:1"))
			if err != nil {
				t.Fatal(err)
			}
			doors := []Door{{Listener: listen(t)}, {Listener: listen(t)}}
			doors[which].Listener = broken{doors[which].Listener}
			if err := r.Serve(t.Context(), doors[0], doors[1]); err == nil || !strings.Contains(err.Error(), "no more files") {
				t.Error(err)
			}
		})
	}
}

// broken is a listener that accepts nobody.
type broken struct{ net.Listener }

func (broken) Accept() (net.Conn, error) { return nil, errors.New("no more files") }

// TestSingleRequests: calls with one request are passed on with it, and refused without.
func TestSingleRequests(t *testing.T) {
	member, _ := play(t, func(stream grpc.ServerStream) error {
		if err := stream.RecvMsg(&frame{}); err != nil {
			return err
		}
		return status.Error(codes.FailedPrecondition, "no")
	})
	for name, ordered := range map[string]bool{"as it comes": false, "in order": true} {
		t.Run(name, func(t *testing.T) {
			o := options(member)
			o.Ordered, o.Namespace = ordered, "p/"
			conn := dialPlain(t, runPlain(t, o).address)
			talk := func(send ...string) error {
				how := &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
				stream, err := conn.NewStream(soon(t), how, pb.KV_Range_FullMethodName, grpc.ForceCodecV2(frameCodec{}))
				if err != nil {
					t.Fatal(err)
				}
				for _, s := range send {
					if err := stream.SendMsg(text(s)); err != nil {
						t.Fatal(err)
					}
				}
				if err := stream.CloseSend(); err != nil {
					t.Fatal(err)
				}
				for {
					if err := stream.RecvMsg(&frame{}); err != nil {
						return err
					}
				}
			}
			for want, send := range map[codes.Code][]string{
				codes.Internal: nil, codes.InvalidArgument: {""}, codes.FailedPrecondition: {string(encoded(&pb.RangeRequest{Key: []byte("a")}))},
			} {
				if err := talk(send...); status.Code(err) != want {
					t.Errorf("%q: %v", send, err)
				}
			}
		})
	}
}

// revisions is a member whose answers have one revision, and a newer one to those who want what is newest.
func revisions(now, latest int64) scene {
	return func(stream grpc.ServerStream) error {
		var f frame
		if err := stream.RecvMsg(&f); err != nil {
			return err
		}
		revision := now
		if method, _ := grpc.MethodFromServerStream(stream); method == pb.KV_Range_FullMethodName && rangeFromNewest(f.data.Materialize()) == nil {
			revision = latest
		}
		answer := encoded(&pb.RangeResponse{Header: &pb.ResponseHeader{Revision: revision, MemberId: 7}})
		return errors.Join(stream.SendHeader(metadata.Pairs("h", "1")), stream.SendMsg(text(string(answer))))
	}
}

// TestOrdered: a serializable read that would be older than an answer before it is asked again.
func TestOrdered(t *testing.T) {
	old, _ := play(t, revisions(5, 9))
	fresh, stop := play(t, revisions(9, 9))
	o := options(fresh)
	o.Ordered = true
	r := runPlain(t, o)
	kv := pb.NewKVClient(dialPlain(t, r.address))
	read := func() int64 {
		t.Helper()
		var header metadata.MD
		resp, err := kv.Range(soon(t), &pb.RangeRequest{Key: []byte("a"), Serializable: true}, grpc.Header(&header))
		if err != nil || len(header.Get("h")) == 0 {
			t.Fatal(err, header)
		}
		return resp.Header.Revision
	}
	if got := read(); got != 9 {
		t.Errorf("revision %d", got)
	}
	list, err := newTargets([]string{old}, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.targets.set(list); err != nil {
		t.Fatal(err)
	}
	stop()
	until(t, "the old member answers", func() bool {
		_, err := kv.Put(soon(t), &pb.PutRequest{Key: []byte("a")})
		return err == nil
	})
	if got := read(); got != 9 {
		t.Errorf("revision %d after 9", got)
	}
}

func TestRevisionOf(t *testing.T) {
	for want, b := range map[int64][]byte{
		7: encoded(&pb.PutResponse{Header: &pb.ResponseHeader{ClusterId: 1, Revision: 7}}),
		0: encoded(&pb.PutResponse{}),
	} {
		if got := revisionOf(b); got != want {
			t.Errorf("%d, want %d", got, want)
		}
	}
	for _, b := range []string{"", "\x0a", "\x0a\x05\x18", "\x0a\x02\x18\xff", "\xff", "\x0a\xff\xff\xff\xff\x0f"} {
		if got := revisionOf([]byte(b)); got != 0 {
			t.Errorf("%x: %d", b, got)
		}
	}
}

// TestTxnFromNewest: only a transaction that writes nothing is asked twice.
func TestTxnFromNewest(t *testing.T) {
	read := func(op *pb.RangeRequest) *pb.RequestOp {
		return &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: op}}
	}
	write := &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{}}}
	nested := func(list ...*pb.RequestOp) *pb.RequestOp {
		return &pb.RequestOp{Request: &pb.RequestOp_RequestTxn{RequestTxn: &pb.TxnRequest{Failure: list}}}
	}
	for name, tc := range map[string]struct {
		m    *pb.TxnRequest
		want bool
	}{
		"reads":               {&pb.TxnRequest{Success: []*pb.RequestOp{read(&pb.RangeRequest{Serializable: true})}}, true},
		"a write":             {&pb.TxnRequest{Failure: []*pb.RequestOp{write}}, false},
		"a write in a branch": {&pb.TxnRequest{Success: []*pb.RequestOp{nested(write)}}, false},
		"a read in a branch":  {&pb.TxnRequest{Success: []*pb.RequestOp{nested(read(&pb.RangeRequest{Serializable: true}))}}, true},
	} {
		got := txnFromNewest(encoded(tc.m))
		if (got != nil) != tc.want || strings.Contains(string(got), "\x38\x01") {
			t.Errorf("%s: %x", name, got)
		}
	}
}
