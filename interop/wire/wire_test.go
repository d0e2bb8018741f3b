package wire

import (
	"context"
	"math"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/summerwind/h2spec"
	"github.com/summerwind/h2spec/config"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/interop"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/quoin-kv/quoin/internal/grpcwire"
)

// serve starts a server with the services of the interoperability tests, until the end of the test.
func serve(t *testing.T, limits grpcwire.Limits) *net.TCPAddr {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpcwire.New(grpcwire.Options{Codec: encoding.GetCodecV2(proto.Name), Limits: limits})
	testpb.RegisterTestServiceServer(s, interop.NewTestServer())
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().(*net.TCPAddr)
}

// TestHTTP2Conformance runs h2spec, strict. Without a bound on streams, as it expects a server not to have answered by the time when it exceeds
// one; grpcwire's own tests see to that.
func TestHTTP2Conformance(t *testing.T) {
	at := serve(t, grpcwire.Limits{Streams: math.MaxUint32})
	ok, err := h2spec.Run(&config.Config{
		Host: at.IP.String(), Port: at.Port, Path: "/grpc.testing.TestService/EmptyCall", Timeout: 2 * time.Second, MaxHeaderLen: 4000, Strict: true,
	})
	if err != nil || !ok {
		t.Fatalf("h2spec: passed %v, %v", ok, err)
	}
}

// clientCases are gRPC's interoperability tests that a server without accounts can take.
func clientCases() map[string]func(ctx context.Context, conn *grpc.ClientConn) {
	type call = func(context.Context, testpb.TestServiceClient, ...grpc.CallOption)
	cases := map[string]func(ctx context.Context, conn *grpc.ClientConn){
		"unimplemented_method": func(ctx context.Context, conn *grpc.ClientConn) { interop.DoUnimplementedMethod(ctx, conn) },
		"unimplemented_service": func(ctx context.Context, conn *grpc.ClientConn) {
			interop.DoUnimplementedService(ctx, testpb.NewUnimplementedServiceClient(conn))
		},
	}
	for name, one := range map[string]call{
		"empty_unary": interop.DoEmptyUnaryCall, "large_unary": interop.DoLargeUnaryCall, "client_streaming": interop.DoClientStreaming,
		"server_streaming": interop.DoServerStreaming, "ping_pong": interop.DoPingPong, "empty_stream": interop.DoEmptyStream,
		"timeout_on_sleeping_server": interop.DoTimeoutOnSleepingServer, "cancel_after_begin": interop.DoCancelAfterBegin,
		"cancel_after_first_response": interop.DoCancelAfterFirstResponse, "custom_metadata": interop.DoCustomMetadata,
		"status_code_and_message": interop.DoStatusCodeAndMessage, "special_status_message": interop.DoSpecialStatusMessage,
	} {
		cases[name] = func(ctx context.Context, conn *grpc.ClientConn) { one(ctx, testpb.NewTestServiceClient(conn)) }
		cases[name+"_compressed"] = func(ctx context.Context, conn *grpc.ClientConn) {
			one(ctx, testpb.NewTestServiceClient(conn), grpc.UseCompressor(gzip.Name))
		}
	}
	return cases
}

// clientVariable holds what a process of the test is to do as a client, and where: the tests end their process when they fail.
const clientVariable = "QUOIN_WIRE_CLIENT"

func TestMain(m *testing.M) {
	name, at, ok := strings.Cut(os.Getenv(clientVariable), "@")
	if !ok {
		os.Exit(m.Run())
	}
	conn, err := grpc.NewClient("passthrough:///"+at, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		panic(err)
	}
	clientCases()[name](context.Background(), conn)
}

// TestClients runs gRPC's interoperability tests, each in a process of its own.
func TestClients(t *testing.T) {
	at := serve(t, grpcwire.Limits{})
	for name := range clientCases() {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			client := exec.CommandContext(ctx, os.Args[0])
			client.Env = append(os.Environ(), clientVariable+"="+name+"@"+at.String())
			if out, err := client.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
