package port

import (
	"bytes"
	"io"
	"net"
	"testing"
)

// TestWriteBuffers: many pieces arrive as they would have one after the other, counted, over a socket and over what is none, and also while
// something is left out of what the server writes.
func TestWriteBuffers(t *testing.T) {
	sent := 0
	count := &countedListener{sent: func(n int) { sent += n }}
	near, far := tcpPair(t)
	if c := (&counted{&Conn{Conn: near}, count}); !c.Vectored() {
		t.Error("a socket is not vectored")
	}
	pipe, end := net.Pipe()
	defer pipe.Close()
	if c := (&counted{&Conn{Conn: pipe}, count}); c.Vectored() {
		t.Error("a pipe is vectored")
	}
	ack := []byte{0, 0, 0, typeSettings, flagAck, 0, 0, 0, 0}
	ping := append([]byte{0, 0, 8, 6, 0, 0, 0, 0, 0}, "12345678"...)
	for _, test := range []struct {
		conn *Conn
		end  net.Conn
		want []byte
	}{
		{&Conn{Conn: near}, far, append(ack[:len(ack):len(ack)], ping...)},
		{&Conn{Conn: pipe}, end, append(ack[:len(ack):len(ack)], ping...)},
		{&Conn{Conn: near, out: &outbound{drop: 1}}, far, ping},
	} {
		sent = 0
		got := make(chan []byte, 1)
		go func() {
			b := make([]byte, len(test.want))
			_, _ = io.ReadFull(test.end, b)
			got <- b
		}()
		pieces := net.Buffers{ack[:4], ack[4:], ping}
		n, err := (&counted{test.conn, count}).WriteBuffers(&pieces)
		if err != nil || n != int64(len(ack)+len(ping)) || sent != len(ack)+len(ping) {
			t.Errorf("%d bytes, %d counted, %v", n, sent, err)
		}
		if b := <-got; !bytes.Equal(b, test.want) {
			t.Errorf("%q came, expected %q", b, test.want)
		}
	}
}

// tcpPair is the two ends of a connection.
func tcpPair(t *testing.T) (near, far net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if far, err = net.Dial("tcp", l.Addr().String()); err == nil {
		near, err = l.Accept()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	return near, far
}
