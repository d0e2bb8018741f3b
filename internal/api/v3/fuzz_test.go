package v3

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/quoin-kv/quoin/internal/service/servicetest"
)

// FuzzMethods sends any bytes to any method, as a client that speaks gRPC but not our messages. Every call ends in bounded time and the
// member goes on.
func FuzzMethods(f *testing.F) {
	m := servicetest.Start(f, servicetest.NewDisks(f, 1))
	check(f, m.Probe(f.Context(), true))
	e := serve(f, m)
	var methods []string
	for name, info := range e.server.GetServiceInfo() {
		for _, method := range info.Methods {
			methods = append(methods, "/"+name+"/"+method.Name)
			f.Add("/"+name+"/"+method.Name, []byte{0x0a, 1, 'k', 0x12, 1, 0})
			f.Add("/"+name+"/"+method.Name, []byte{0x0a, 5, 0x0a, 1, 'k', 0x20, 1}) // a watch from the first revision
		}
	}
	if len(methods) < 25 {
		f.Fatalf("only %d methods", len(methods))
	}
	f.Add("/etcdserverpb.KV/Nothing", []byte{})
	f.Fuzz(func(t *testing.T, method string, raw []byte) {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		err := callRaw(ctx, e.conn, method, raw)
		if code := status.Code(err); code == codes.Unavailable {
			t.Errorf("%s: %v", method, err)
		}
		check(t, m.Probe(t.Context(), false))
	})
}

// callRaw sends one message and takes answers until there are no more.
func callRaw(ctx context.Context, conn *grpc.ClientConn, method string, raw []byte) error {
	desc := &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
	stream, err := conn.NewStream(ctx, desc, method, grpc.ForceCodecV2(newCodec()))
	if err != nil {
		return err
	}
	_ = stream.SendMsg(&frame{bytes: raw}) // why it failed is what RecvMsg says
	if err := stream.CloseSend(); err != nil {
		return err
	}
	for {
		if err := stream.RecvMsg(new(frame)); err != nil {
			return endOfStream(err)
		}
	}
}
