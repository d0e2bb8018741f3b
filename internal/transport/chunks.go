package transport

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"time"
)

// sink is where a stream's bytes go. Every write reaches the peer by itself.
type sink interface {
	// Write writes b as a whole.
	Write(b []byte) (int, error)
	SetWriteDeadline(at time.Time) error
	// Flush makes what was written go.
	Flush() error
}

// response is a sink over net/http, which needs several writes for what is large.
type response struct {
	http.ResponseWriter
	*http.ResponseController
}

func (r response) Flush() error { return r.ResponseController.Flush() }

// chunks continues a response of HTTP/1.1, whose head was sent, on its connection: each write is a chunk and one call of the system.
type chunks struct {
	net.Conn
	buf []byte
}

func (c *chunks) Write(b []byte) (int, error) {
	if len(b) == 0 { // would end the body
		return 0, nil
	}
	c.buf = append(strconv.AppendInt(c.buf[:0], int64(len(b)), 16), "\r\n"...)
	c.buf = append(append(c.buf, b...), "\r\n"...)
	_, err := c.Conn.Write(c.buf)
	return len(b), err
}

func (c *chunks) Flush() error { return nil }

// takeOver takes the connection of a stream from net/http, if it is one of HTTP/1.1, and calls hungUp when the peer closes it. The caller calls
// end when nothing is written any more.
func (s *streamWriter) takeOver(r *http.Request, hungUp context.CancelCauseFunc) (end func()) {
	old, ok := s.out.(response)
	if !ok || r.ProtoMajor != 1 || r.ProtoMinor < 1 {
		return func() {}
	}
	conn, in, err := old.Hijack()
	if err != nil {
		return func() {}
	}
	s.out = &chunks{Conn: conn}
	done := make(chan struct{})
	go func() {
		defer close(done)
		hungUp(listen(in.Reader))
	}()
	return func() {
		_ = conn.Close()
		<-done
	}
}

// listen returns when a peer, which has nothing to say, has closed its connection.
func listen(in *bufio.Reader) error {
	for {
		if _, err := in.Discard(1); err != nil {
			return errors.Join(errHungUp, err)
		}
	}
}
