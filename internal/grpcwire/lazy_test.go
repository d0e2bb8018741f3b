package grpcwire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"

	"google.golang.org/grpc/mem"
)

// lazyBuffer fills when it is read.
type lazyBuffer struct {
	mem.SliceBuffer
	log    io.Writer
	number int
	size   int
	data   []byte
}

// lazy is a message of buffers that fill when they are read.
func lazy(log io.Writer, buffers, size int) mem.BufferSlice {
	var list mem.BufferSlice
	for i := range buffers {
		list = append(list, &lazyBuffer{log: log, number: i, size: size})
	}
	return list
}

func (b *lazyBuffer) ReadOnlyData() []byte {
	fmt.Fprintf(b.log, "read %d\n", b.number)
	b.data = []byte(strings.Repeat(string(rune('a'+b.number)), b.size))
	return b.data
}

func (b *lazyBuffer) Len() int { return b.size }

func (b *lazyBuffer) Ref() {}

func (b *lazyBuffer) Free() {
	fmt.Fprintf(b.log, "freed %d\n", b.number)
	clear(b.data)
}

// TestLentBytes: bytes that are written from where they are stay as they are until nobody reads them any more, also if their call or its
// connection ends before they are written; and the handler hears of that.
func TestLentBytes(t *testing.T) {
	for name, end := range map[string]func(cancel func(), socket *stallable){
		"the call is taken back": func(cancel func(), socket *stallable) {
			cancel()
			socket.resume()
		},
		"the connection ends": func(_ func(), socket *stallable) { _ = socket.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			s := New(Options{Codec: newCodec()})
			done, log := make(chan error, 1), &bytes.Buffer{}
			s.RegisterService(&grpc.ServiceDesc{ServiceName: "test.P", HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{{
				StreamName: "Lend", ServerStreams: true, Handler: func(_ any, stream grpc.ServerStream) error {
					var err error
					for err == nil {
						err = stream.SendMsg(lazy(log, 2, 1<<20))
					}
					done <- err
					return err
				},
			}}}, nil)
			addr := listen(t, s)
			var socket *stallable
			conn := dial(t, addr, grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) {
				c, err := net.Dial("tcp", addr)
				socket = &stallable{Conn: c, gate: make(chan struct{})}
				return socket, err
			}), grpc.WithInitialWindowSize(1<<30), grpc.WithInitialConnWindowSize(1<<30))
			ctx, cancel := context.WithCancel(soon(t))
			defer cancel()
			stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, "/test.P/Lend")
			if err == nil {
				err = errors.Join(stream.SendMsg(&text{}), stream.CloseSend())
			}
			if err != nil {
				t.Fatal(err)
			}
			var first text
			if err := stream.RecvMsg(&first); err != nil || first.s != strings.Repeat("a", 1<<20)+strings.Repeat("b", 1<<20) {
				t.Fatalf("%d bytes, %v", len(first.s), err)
			}
			socket.stalled.Store(true)
			end(cancel, socket)
			if err := <-done; err == nil {
				t.Error("the handler was told nothing")
			}
			if read, freed := strings.Count(log.String(), "read"), strings.Count(log.String(), "freed"); read > freed {
				t.Errorf("%d buffers were read, %d freed", read, freed)
			}
		})
	}
}

// stallable is a connection whose client can stop reading.
type stallable struct {
	net.Conn
	stalled atomic.Bool
	gate    chan struct{}
	once    sync.Once
}

func (s *stallable) resume() { s.once.Do(func() { close(s.gate) }) }

func (s *stallable) Read(p []byte) (int, error) {
	if s.stalled.Load() {
		<-s.gate
	}
	return s.Conn.Read(p)
}

func (s *stallable) Close() error {
	s.resume()
	return s.Conn.Close()
}
