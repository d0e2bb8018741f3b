package grpcwire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"google.golang.org/grpc"
)

// TestSendMessages: messages that are sent together arrive whole and in order, few or many, through windows of any size, although their array
// is filled with something else as soon as they are sent.
func TestSendMessages(t *testing.T) {
	sizes := []int{0, 1, 100, frameBytesMax, queueMax - prefixBytes, queueMax, 3 * queueMax, 2 << 20}
	message := func(n, size int) string { return strings.Repeat(fmt.Sprint(n%10), size) }
	const together = 3
	s := New(Options{Codec: newCodec()})
	s.RegisterService(&grpc.ServiceDesc{ServiceName: "test.P", HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{{
		StreamName: "Many", ServerStreams: true, Handler: func(_ any, stream grpc.ServerStream) error {
			many := grpc.ServerTransportStreamFromContext(stream.Context()).(MessageStream)
			for n, size := range sizes {
				var b []byte
				for i := range together {
					b = binary.BigEndian.AppendUint32(append(b, 0), uint32(size))
					b = append(b, message(n+i, size)...)
				}
				if err := many.SendMessages(b); err != nil {
					return err
				}
				clear(b)
			}
			return nil
		},
	}}}, nil)
	addr := listen(t, s)
	for name, opts := range map[string][]grpc.DialOption{
		"default windows": nil,
		"large windows":   {grpc.WithInitialWindowSize(16 << 20), grpc.WithInitialConnWindowSize(16 << 20)},
		"small windows":   {grpc.WithInitialWindowSize(64 << 10), grpc.WithInitialConnWindowSize(64 << 10)},
	} {
		t.Run(name, func(t *testing.T) {
			stream, err := dial(t, addr, opts...).NewStream(soon(t), &grpc.StreamDesc{ServerStreams: true}, "/test.P/Many")
			if err == nil {
				err = errors.Join(stream.SendMsg(&text{}), stream.CloseSend())
			}
			if err != nil {
				t.Fatal(err)
			}
			for n, size := range sizes {
				for i := range together {
					var got text
					if err := stream.RecvMsg(&got); err != nil || got.s != message(n+i, size) {
						t.Fatalf("message %d of %d bytes: %d bytes, %v", i, size, len(got.s), err)
					}
				}
			}
			if err := stream.RecvMsg(&text{}); !errors.Is(err, io.EOF) {
				t.Errorf("at the end: %v", err)
			}
		})
	}
}
