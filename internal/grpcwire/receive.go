package grpcwire

import (
	"encoding/binary"
	"io"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	prefixBytes = 5 // before each message: a flag and the length

	connWindow = 1 << 20   // what a client may have on its way to us on a connection
	heldMax    = 256 << 20 // of unfinished and unread messages on a connection; beyond that it ends
	grantsMax  = 32 << 20  // of windows beyond the first, for large messages on a connection
)

// windows is how much of the client's window for the connection is used, and how much of what came is still here.
type windows struct {
	connLeft int // that the client may still send
	held     int
}

func newWindows() windows { return windows{connLeft: connWindow} }

// incoming is what has come of a stream's messages.
type incoming struct {
	window   int // what the client may still send
	received int64
	prefix   [prefixBytes]byte
	prefixed int    // bytes of prefix
	need     int    // length of the message under way; -1: more than we take
	message  []byte // what there is of it
	count    int    // messages so far
	granted  int    // see grants
	waiting  bool   // for a grant
	deaf     bool   // what still comes is of no interest
}

// inMessage reports whether a message has begun and is not whole.
func (in *incoming) inMessage() bool { return in.prefixed > 0 }

func (c *conn) data(f *frame) error {
	n := len(f.payload)
	if f.stream == 0 || c.idle(f.stream) {
		return protocolError("data of a stream that was not opened")
	}
	if err := f.unpad(); err != nil {
		return err
	}
	if err := c.account(n); err != nil {
		return err
	}
	s := c.mu.table.get(f.stream)
	switch {
	case s == nil && c.mu.left.has(f.stream):
		return c.spend(1)
	case s == nil:
		c.mu.out = appendReset(c.mu.out, f.stream, http2.ErrCodeStreamClosed)
		return c.spend(1)
	case s.remoteDone:
		c.cut(s, http2.ErrCodeStreamClosed)
		return nil
	}
	return c.streamData(s, f, n)
}

// account takes n bytes off the connection's window, and gives them back: what bounds memory are the windows of the streams.
func (c *conn) account(n int) error {
	if c.mu.connLeft -= n; c.mu.connLeft < 0 {
		return connError{http2.ErrCodeFlowControl, "more data than the window of the connection"}
	}
	if c.mu.connLeft < connWindow/2 {
		c.mu.out = appendWindowUpdate(c.mu.out, 0, connWindow-c.mu.connLeft)
		c.mu.connLeft = connWindow
	}
	return nil
}

// streamData takes the payload of a frame, of n bytes with its padding.
func (c *conn) streamData(s *stream, f *frame, n int) error {
	end := f.flags&http2.FlagDataEndStream != 0
	s.received += int64(len(f.payload))
	if s.window -= n; s.window < 0 {
		c.cut(s, http2.ErrCodeFlowControl)
		return nil
	}
	if l := s.head.length; l >= 0 && (s.received > l || end && s.received < l) {
		c.cut(s, http2.ErrCodeProtocol)
		return nil
	}
	if padding := n - len(f.payload); padding > 0 && !end {
		s.window += padding
		c.mu.out = appendWindowUpdate(c.mu.out, s.id, padding)
	}
	if len(f.payload) == 0 && !end {
		return c.spend(1)
	}
	if c.mu.held+len(f.payload) > heldMax {
		return connError{http2.ErrCodeEnhanceYourCalm, "too much data in unfinished messages"}
	}
	c.feed(s, f.payload)
	if s.closed {
		return nil
	}
	if r := s.head.refusal; r != nil && s.window < windowStart/2 {
		c.appendRefusal(s.id, r)
		c.sentAll(s)
		return nil
	}
	if end {
		c.remoteEnd(s)
	} else {
		c.widen(s)
	}
	return nil
}

// feed takes bytes of messages.
func (c *conn) feed(s *stream, b []byte) {
	for len(b) > 0 && !s.deaf && !s.closed {
		if s.prefixed < prefixBytes {
			n := copy(s.prefix[s.prefixed:], b)
			s.prefixed += n
			b = b[n:]
			if s.prefixed < prefixBytes || !c.begin(s) {
				continue
			}
		}
		n := min(len(b), s.need-len(s.message))
		s.message = appendBounded(s.message, b[:n], s.need)
		c.mu.held += n
		b = b[n:]
		if len(s.message) == s.need {
			c.arrived(s)
		}
	}
}

// appendBounded appends to a message of which need bytes will come. It takes memory in large steps, but never much more than there is to hold.
func appendBounded(message, b []byte, need int) []byte {
	const first, factor = 64 << 10, 8
	if have := len(message) + len(b); have > cap(message) {
		grown := make([]byte, len(message), min(need, max(first, factor*have)))
		copy(grown, message)
		message = grown
	}
	return append(message, b...)
}

// begin looks at a message's prefix. false: the message is not taken.
func (c *conn) begin(s *stream) bool {
	limit := c.server.limits.ReceiveBytes
	n := binary.BigEndian.Uint32(s.prefix[1:])
	switch flag := s.prefix[0]; {
	case flag > 1:
		c.refuseMessage(s, status.Newf(codes.Internal, "grpc: received unexpected payload format %d", flag))
	case flag == 1 && s.head.encoding == "":
		c.refuseMessage(s, status.New(codes.Internal, "grpc: compressed flag set with identity or empty encoding"))
	case uint64(n) > uint64(limit):
		c.refuseMessage(s, status.Newf(codes.ResourceExhausted, "grpc: received message larger than max (%d vs. %d)", n, limit))
	default:
		s.need, s.message = int(n), nil
		return true
	}
	return false
}

// refuseMessage answers a call whose message cannot be taken, or leaves that to the handler that receives.
func (c *conn) refuseMessage(s *stream, why *status.Status) {
	s.deaf = true
	c.forget(s)
	if s.served {
		s.full.inEnd = why.Err()
		s.full.notify()
		return
	}
	c.respondStatus(s, why)
	c.answered(s)
}

// arrived takes a whole message.
func (c *conn) arrived(s *stream) {
	s.count++
	s.prefixed = 0
	c.release(s)
	switch {
	case !s.served && s.count == 1:
		s.first = s.message
	case !s.served:
		c.mu.held -= len(s.message)
	default:
		s.full.inbox = append(s.full.inbox, received{s.message, s.prefix[0] == 1})
		s.full.unread += len(s.message) + prefixBytes
		s.full.notify()
	}
	if s.count == 1 {
		s.compressed = s.prefix[0] == 1
	}
	s.message = nil
}

// remoteEnd takes note that the client has sent everything. That is when calls of a single message begin.
func (c *conn) remoteEnd(s *stream) {
	s.remoteDone = true
	if s.head.length >= 0 && s.received != s.head.length {
		c.cut(s, http2.ErrCodeProtocol)
		return
	}
	switch {
	case s.head.refusal != nil:
		c.appendRefusal(s.id, s.head.refusal)
		s.done = true
		c.sentAll(s)
	case s.served:
		c.inboxEnd(s)
	case s.inMessage():
		c.refuseMessage(s, status.New(codes.Internal, io.ErrUnexpectedEOF.Error()))
	case s.count == 0:
		c.refuseMessage(s, status.New(codes.Internal, "cardinality violation: received no request message from non-client-streaming RPC"))
	case s.count > 1:
		c.refuseMessage(s, status.New(codes.Internal, "cardinality violation: received multiple request messages for non-client-streaming RPC"))
	default:
		c.start(s)
	}
}

// inboxEnd tells a handler that nothing more comes.
func (c *conn) inboxEnd(s *stream) {
	switch {
	case s.deaf:
		return
	case s.inMessage():
		s.full.inEnd = status.Error(codes.Internal, io.ErrUnexpectedEOF.Error())
	default:
		s.full.inEnd = io.EOF
	}
	s.full.notify()
}

// start hands over a call whose message is there.
func (c *conn) start(s *stream) {
	s.served = true
	c.mu.held -= len(s.first)
	if s.direct != nil {
		i := s.head.method.direct
		c.work.direct[i] = append(c.work.direct[i], s.direct)
		return
	}
	s.full.inbox = append(s.full.inbox, received{s.first, s.compressed})
	s.full.inEnd = io.EOF
	s.first = nil
	c.work.calls = append(c.work.calls, s.full)
}

// widen lets the client send more on a stream: as much as the handler has taken, and what a large message needs.
func (c *conn) widen(s *stream) {
	if missing := s.need - len(s.message); s.prefixed == prefixBytes && missing >= s.window && s.granted == 0 && !s.waiting {
		c.grant(s, missing)
	}
	if !s.served || s.deaf {
		return
	}
	if more := windowStart - s.full.unread - s.window; more >= windowStart/2 {
		s.window += more
		c.mu.out = appendWindowUpdate(c.mu.out, s.id, more)
	}
}

// forget gives back what a stream holds.
func (c *conn) forget(s *stream) {
	c.mu.held -= len(s.message)
	if !s.served {
		c.mu.held -= len(s.first)
	}
	s.message, s.prefixed = nil, 0
	c.release(s)
}

// grants lets large messages come, in order of their beginning, as many at a time as fit into grantsMax.
type grants struct {
	used  int
	queue []*stream
}

// grant lets the n bytes that a message lacks come, now or later. One byte is left over then: gRPC in Go waits for room before it says, in a frame
// without bytes, that nothing more comes.
func (c *conn) grant(s *stream, n int) {
	g := &c.mu.grants
	if g.used > 0 && g.used+n > grantsMax {
		s.waiting = true
		g.queue = append(g.queue, s)
		return
	}
	g.used += n
	s.granted = n
	c.mu.out = appendWindowUpdate(c.mu.out, s.id, n+1-s.window)
	s.window = n + 1
}

// release ends the grant of a message that has come or will not.
func (c *conn) release(s *stream) {
	g := &c.mu.grants
	g.used -= s.granted
	s.granted = 0
	for len(g.queue) > 0 {
		next := g.queue[0]
		n := next.need - len(next.message)
		stale := next.closed || !next.waiting || next.deaf
		if !stale && g.used > 0 && g.used+n > grantsMax {
			return
		}
		g.queue = g.queue[1:]
		next.waiting = false
		if !stale && n >= next.window {
			c.grant(next, n)
		}
	}
}
