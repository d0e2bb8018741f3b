package port

import (
	"crypto/tls"
	"errors"
	"io"
	"math"
	"net"
	"sync/atomic"
	"time"
)

// writeTimeout is the time in which a write must make progress. It is armed anew at most once in rearm, so that writing costs no system of
// timers each time.
const (
	writeTimeout = 5 * time.Minute
	rearm        = time.Minute
)

// headerTimeout is the time in which a client of HTTP/2 has to send the whole header of a request once it has begun.
const headerTimeout = 10 * time.Second

// Conn is a connection that was handed to a server: what was read already is read again, and its end is noted.
//
// One goroutine at a time may read, and one may write, as servers do.
type Conn struct {
	net.Conn // the socket, or the TLS session on it
	guest    *guest
	state    *tls.ConnectionState // nil without TLS
	head     []byte               // read already

	in      *inbound     // nil: not HTTP/2, or not yet known to be
	out     *outbound    // nil: nothing to leave out
	armed   atomic.Int64 // when the write deadline was set, in Unix nanoseconds
	settled atomic.Bool
}

// Read reads what was read before, then from the connection.
func (c *Conn) Read(p []byte) (int, error) {
	if c.in != nil {
		return c.readFrames(p)
	}
	return c.readRaw(p)
}

func (c *Conn) readRaw(p []byte) (int, error) {
	if len(c.head) > 0 {
		n := copy(p, c.head)
		if c.head = c.head[n:]; len(c.head) == 0 {
			c.head = nil
		}
		return n, nil
	}
	return c.Conn.Read(p)
}

// readFrames keeps an eye on the frames that pass.
func (c *Conn) readFrames(p []byte) (int, error) {
	if err := c.hurry(); err != nil {
		return 0, err
	}
	n, err := c.in.read(c.readRaw, p)
	if c.in.requests && !c.settled.Load() {
		c.settle()
	}
	return n, err
}

// hurry bounds the time of reading while a header is unfinished.
func (c *Conn) hurry() error {
	switch {
	case c.in.unfinished == c.in.hurried:
		return nil
	case c.in.unfinished:
		c.in.hurried = true
		return c.SetReadDeadline(time.Now().Add(headerTimeout))
	}
	c.in.hurried = false
	return c.SetReadDeadline(time.Time{})
}

// Write writes, for as long as the client reads.
func (c *Conn) Write(p []byte) (int, error) {
	if err := c.armWrite(); err != nil {
		return 0, err
	}
	if c.out == nil {
		return c.Conn.Write(p)
	}
	n, err := c.out.write(c.Conn, p)
	if c.out.done() {
		c.out = nil
	}
	return n, err
}

// armWrite sees to it that the next write has a deadline.
func (c *Conn) armWrite() error {
	now := time.Now()
	if now.UnixNano()-c.armed.Load() <= int64(rearm) {
		return nil
	}
	if err := c.Conn.SetWriteDeadline(now.Add(writeTimeout)); err != nil {
		return err
	}
	c.armed.Store(now.UnixNano())
	return nil
}

// WriteBuffers is Write of many pieces.
func (c *Conn) WriteBuffers(pieces *net.Buffers) (int64, error) {
	if c.out != nil {
		return pieces.WriteTo(struct{ io.Writer }{c})
	}
	if err := c.armWrite(); err != nil {
		return 0, err
	}
	return writeBuffers(c.Conn, pieces)
}

// Vectored reports whether WriteBuffers is one system call.
func (c *Conn) Vectored() bool { return isVectored(c.Conn) }

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	c.arm(t)
	return c.Conn.SetDeadline(t)
}

// SetWriteDeadline sets the deadline of writing.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.arm(t)
	return c.Conn.SetWriteDeadline(t)
}

// arm leaves the deadline of writing to the server, until it has none: then the next write arms its own.
func (c *Conn) arm(deadline time.Time) {
	if deadline.IsZero() {
		c.armed.Store(0)
	} else {
		c.armed.Store(math.MaxInt64)
	}
}

// CloseWrite says that nothing more will be written, so that a client which still sends can read what was written before the connection ends.
func (c *Conn) CloseWrite() error {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}

// follow looks at the frames from now on: the client speaks HTTP/2.
func (c *Conn) follow() {
	if c.in == nil {
		c.in = &inbound{preface: len(clientPreface)}
	}
}

// settle says that the client has made a request.
func (c *Conn) settle() {
	if c.settled.CompareAndSwap(false, true) {
		c.guest.settle()
	}
}

// wrapped is a connection around another one.
type wrapped interface{ NetConn() net.Conn }

// find returns the Conn within conn, or nil.
func find(conn net.Conn) *Conn {
	for {
		switch c := conn.(type) {
		case *Conn:
			return c
		case wrapped:
			conn = c.NetConn()
		default:
			return nil
		}
	}
}

// TLS returns the state of the TLS session that conn, accepted from one of a Splitter's listeners, came through. nil: there is none.
func TLS(conn net.Conn) *tls.ConnectionState {
	if c := find(conn); c != nil {
		return c.state
	}
	return nil
}
