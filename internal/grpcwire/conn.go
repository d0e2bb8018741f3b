package grpcwire

import (
	"context"
	"errors"
	"io"
	"math"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"
)

// conn is a connection of a client.
//
// One goroutine reads from it and does what the frames ask for; what a read brought is gone through with mu held, and handlers are called after that.
// Everybody else appends frames to out, and sees to it that somebody writes them (see write.go).
//
// Invariants:
//  1. A stream is in the table from its header until it is closed.
//  2. Frames enter out in the order in which they are to be sent, so that header blocks are in the order of their encoding.
//  3. At most one goroutine writes: the one that has set writing.
//  4. running counts the streams in the table and those whose handler has not returned; it is at most the limit of streams.
//  5. After gone is set the table is empty and stays so.
type conn struct {
	server *Server
	net    net.Conn
	// vectored is net if that writes many pieces at once, or nil; pieces is the list that who writes gives it.
	vectored vectored
	pieces   net.Buffers
	base     context.Context // of all calls: it has the peer, and never ends
	in       input
	blocks   blocks
	work     work

	mu struct {
		sync.Mutex
		table      table
		running    int
		last       uint32     // the greatest id of a stream that was opened
		opened     uint64     // bit i: the stream last-2i was opened
		left       abandoned  // streams that we closed before the client did
		calls      []*Call    // to be used again
		gone       bool       // no stream any more
		drain      drainState // see drain.go
		drainTimer *time.Timer

		windows
		grants
		outgoing
		keepAlive
		patience
		deadlines
	}
}

// work is what the frames of a read ask for that is not done with mu held.
type work struct {
	direct [][]*Call // by handler
	calls  []*call   // to be started
	after  []func()
}

func newConn(s *Server, socket net.Conn) *conn {
	c := &conn{server: s, net: socket, vectored: vectoredOf(socket), blocks: blocks{decoder: newDecoder(s.static)}}
	c.work.direct = make([][]*Call, len(s.handlers))
	c.mu.windows = newWindows()
	c.mu.outgoing = outgoing{sendWindow: windowStart, initial: windowStart, frameBytes: frameBytesMax}
	c.mu.patience = patience{tokens: patienceMax}
	return c
}

// serve serves the connection until it ends.
func (c *conn) serve() {
	err := c.greet()
	for err == nil {
		if err = c.in.read(c.net); err == nil {
			err = c.take()
		} else if c.mayGo() {
			err = errDone
		}
	}
	c.finish(err)
}

// mayGo reports whether the connection has been drained.
func (c *conn) mayGo() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.isDrained()
}

// take does what the frames that have come ask for, and waits if the client does not read what we write.
func (c *conn) take() error {
	c.mu.Lock()
	c.mu.corked = true
	c.mu.reads++
	err := c.frames()
	if err == nil && c.isDrained() {
		err = errDone
	}
	c.mu.Unlock()
	c.deliver()
	c.flush()
	if err == nil {
		c.awaitRoom()
	}
	return err
}

// frames goes through the frames that have come as a whole. c.mu is held, as in all that it calls.
func (c *conn) frames() error {
	for {
		f, n, err := parseFrame(c.in.unread())
		if err != nil || n == 0 {
			return err
		}
		if err := c.frame(&f); err != nil {
			return err
		}
		c.in.skip(n)
	}
}

// deliver hands over what the frames brought.
func (c *conn) deliver() {
	for i, calls := range c.work.direct {
		if len(calls) > 0 {
			c.server.handlers[i].Serve(calls)
			clear(calls)
			c.work.direct[i] = calls[:0]
		}
	}
	for i, t := range c.work.calls {
		c.server.workers.start(t)
		c.work.calls[i] = nil
	}
	c.work.calls = c.work.calls[:0]
	for i, f := range c.work.after {
		f()
		c.work.after[i] = nil
	}
	c.work.after = c.work.after[:0]
}

// later has f called when c.mu is not held any more, by whoever holds it on the reading goroutine.
func (c *conn) later(f func()) { c.work.after = append(c.work.after, f) }

// lingering is the time that a client has to read the last words before its connection is closed.
const lingering = time.Second

// errDone says that the connection has served its purpose.
var errDone = errors.New("connection is done")

// finish ends all calls, says why if the client can still be told, and closes the connection.
func (c *conn) finish(err error) {
	c.mu.Lock()
	c.mu.corked = true
	var broken connError
	if errors.As(err, &broken) {
		c.mu.out = appendGoAway(c.mu.out, c.mu.last, broken.code, broken.why)
	}
	ended := c.endAll()
	c.stopTimers()
	c.mu.Unlock()
	c.deliver()
	for _, f := range ended {
		f()
	}
	if broken.code != 0 || errors.Is(err, errDone) {
		c.farewell()
	}
	_ = c.net.Close()
	c.awaitWriter()
	c.mu.Lock()
	c.mu.broken = true
	c.forgive()
	c.mu.Unlock()
}

// farewell writes what is left and lets the client read it: closing at once could take it away again.
func (c *conn) farewell() {
	_ = c.net.SetDeadline(time.Now().Add(lingering))
	c.flush()
	c.awaitWriter()
	if closeWrite(c.net) {
		_, _ = io.CopyN(io.Discard, c.net, lingeringBytes)
	}
}

// closeWrite closes one half of a connection, or of the one within it, where there are halves.
func closeWrite(socket net.Conn) bool {
	for {
		switch s := socket.(type) {
		case interface{ CloseWrite() error }:
			return s.CloseWrite() == nil
		case interface{ NetConn() net.Conn }:
			socket = s.NetConn()
		default:
			return false
		}
	}
}

// lingeringBytes bounds what is read of a client that goes on sending.
const lingeringBytes = 1 << 20

// endAll ends every call, and returns what is to be called without c.mu.
func (c *conn) endAll() (ended []func()) {
	c.mu.gone = true
	c.mu.table.all(func(s *stream) {
		if f := c.end(s); f != nil {
			ended = append(ended, f)
		}
	})
	return ended
}

// greet exchanges prefaces (RFC 9113, section 3.4).
func (c *conn) greet() error {
	if err := c.net.SetReadDeadline(time.Now().Add(c.server.limits.HandshakeTime)); err != nil {
		return err
	}
	for len(c.in.unread()) < len(http2.ClientPreface) {
		if have := string(c.in.unread()); http2.ClientPreface[:len(have)] != have {
			return protocolError("no preface of HTTP/2")
		}
		if err := c.in.read(c.net); err != nil {
			return err
		}
	}
	if string(c.in.unread()[:len(http2.ClientPreface)]) != http2.ClientPreface {
		return protocolError("no preface of HTTP/2")
	}
	c.in.skip(len(http2.ClientPreface))
	c.mu.Lock()
	c.mu.out = c.appendGreeting(c.mu.out)
	c.mu.Unlock()
	c.flush()
	if err := c.awaitSettings(); err != nil {
		return err
	}
	c.startKeepAlive()
	return c.take()
}

// appendGreeting writes our settings, and widens the window of the connection, which no setting does.
func (c *conn) appendGreeting(b []byte) []byte {
	l := &c.server.limits
	settings := []http2.Setting{{ID: http2.SettingMaxHeaderListSize, Val: l.HeaderListBytes}}
	if l.Streams < math.MaxUint32 {
		settings = append(settings, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: l.Streams})
	}
	b = appendSettings(b, settings...)
	return appendWindowUpdate(b, 0, connWindow-windowStart)
}

// awaitSettings reads until the first frame is there, which must be settings.
func (c *conn) awaitSettings() error {
	for {
		b := c.in.unread()
		if len(b) >= frameHeaderBytes && (http2.FrameType(b[3]) != http2.FrameSettings || b[4]&byte(http2.FlagSettingsAck) != 0) {
			return protocolError("the first frame is no settings")
		}
		if _, n, err := parseFrame(b); n > 0 || err != nil {
			return errors.Join(err, c.net.SetReadDeadline(time.Time{}))
		}
		if err := c.in.read(c.net); err != nil {
			return err
		}
	}
}
