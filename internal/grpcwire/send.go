package grpcwire

import (
	"encoding/binary"
	"slices"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const (
	outHigh = 128 << 10 // bytes that wait to be written; beyond that messages wait in their streams
	outMax  = 1 << 20   // beyond that we do not read either
	// queueMax is how much a stream may have waiting before its handler waits too.
	queueMax = 64 << 10
)

// leaving is what a stream has to send and may not yet.
type leaving struct {
	credit     int // what the client's window for the stream takes; less than 0 after it was made smaller
	queue      []piece
	queued     int // bytes of queue
	lentBytes  int // lent to who writes
	active     bool
	next       *stream // in the connection's list of active ones
	headerSent bool
	ends       bool // last comes after queue
	last       ending
	waiter     chan struct{}
}

// piece is a part of messages. Its bytes stay as they are until it has been sent.
type piece struct {
	prefix [prefixBytes]byte
	head   int // bytes of prefix still to be sent
	data   []byte
	// lend says that they may be written from where they are: they stay as they are until they have been written.
	lend bool
	// borrowed says that the bytes stay as they are only as long as the call of send takes.
	borrowed bool
}

func (p *piece) size() int { return p.head + len(p.data) }

// ending is how a call ends.
type ending struct {
	status  *status.Status // nil: all is well
	trailer metadata.MD
}

// newPiece is a message. Its prefix says so many bytes; the rest of them follows in other pieces.
func newPiece(data []byte, length int, compressed bool) piece {
	p := piece{head: prefixBytes, data: data}
	if compressed {
		p.prefix[0] = 1
	}
	binary.BigEndian.PutUint32(p.prefix[1:], uint32(length))
	return p
}

// send sends a piece now, as far as that may be, and keeps the rest until it may be sent. The header has been sent.
func (c *conn) send(s *stream, p piece) {
	if n := p.size(); len(s.queue) == 0 && n <= frameBytesMax && n <= s.credit && n <= c.mu.sendWindow && !c.crowded() {
		c.reserve(frameHeaderBytes + n)
		b := appendFrameHeader(c.mu.out, n, http2.FrameData, 0, s.id)
		b = append(b, p.prefix[prefixBytes-p.head:]...)
		c.mu.out = append(b, p.data...)
		c.spent(s, n)
		return
	}
	s.queue = append(s.queue, p)
	s.queued += p.size()
	for c.mu.active.head == nil && len(s.queue) > 0 && s.credit > 0 && c.mu.sendWindow > 0 && !c.crowded() {
		c.moveFrame(s)
	}
	if n := len(s.queue); n > 0 && p.borrowed {
		s.queue[n-1].data = slices.Clone(s.queue[n-1].data)
	}
	c.activate(s)
}

// spent takes n bytes of DATA off the windows.
func (c *conn) spent(s *stream, n int) {
	s.credit -= n
	c.mu.sendWindow -= n
	c.mu.free = true
}

// conclude ends a call, after what it still has to send.
func (c *conn) conclude(s *stream, e ending) {
	if len(s.queue) > 0 {
		s.last, s.ends = e, true
		return
	}
	c.appendEnding(s, &e)
	c.sentAll(s)
}

// activate puts a stream into the list of those that have something to send and may.
func (c *conn) activate(s *stream) {
	if s.active || s.closed || len(s.queue) == 0 || s.credit <= 0 {
		return
	}
	s.active = true
	c.mu.active.push(s)
}

// pump moves what streams have into out, a frame from each in turn.
func (c *conn) pump() {
	for c.mu.sendWindow > 0 && !c.crowded() {
		s := c.mu.active.pop()
		if s == nil {
			return
		}
		s.active = false
		if s.closed || len(s.queue) == 0 || s.credit <= 0 {
			continue
		}
		c.moveFrame(s)
		if len(s.queue) > 0 {
			c.activate(s)
			continue
		}
		if s.ends {
			c.appendEnding(s, &s.last)
			c.sentAll(s)
		}
	}
}

// moveFrame moves one frame of a stream's queue into out.
func (c *conn) moveFrame(s *stream) {
	n := min(c.mu.frameBytes, s.credit, c.mu.sendWindow, s.queued)
	if s.queue[0].lend && c.vectored != nil {
		c.reserve(frameHeaderBytes + prefixBytes)
	} else {
		c.reserve(frameHeaderBytes + n)
	}
	c.mu.out = appendFrameHeader(c.mu.out, n, http2.FrameData, 0, s.id)
	c.spent(s, n)
	s.queued -= n
	taken := 0
	for i := range s.queue {
		n = c.movePiece(s, &s.queue[i], n)
		if s.queue[i].size() > 0 {
			break
		}
		taken++
		s.queue[i].data = nil
	}
	if s.queue = s.queue[taken:]; len(s.queue) == 0 {
		s.queue = nil
	}
	if s.queued <= queueMax {
		s.wakeSender()
	}
}

// movePiece moves at most n bytes of a piece of a stream, and returns how many are left of n.
func (c *conn) movePiece(s *stream, p *piece, n int) int {
	k := min(n, p.head)
	c.mu.out = append(c.mu.out, p.prefix[prefixBytes-p.head:prefixBytes-p.head+k]...)
	p.head -= k
	n -= k
	k = min(n, len(p.data))
	if p.lend && k >= lendFrom && c.vectored != nil {
		c.lend(s, p.data[:k])
	} else {
		c.mu.out = append(c.mu.out, p.data[:k]...)
	}
	p.data = p.data[k:]
	return n - k
}

func (l *leaving) wakeSender() {
	if l.waiter != nil {
		select {
		case l.waiter <- struct{}{}:
		default:
		}
	}
}

// discard drops what a closed stream has not sent.
func (c *conn) discard(s *stream) {
	s.queue, s.queued, s.ends = nil, 0, false
	s.wakeSender()
}

// respond answers a call of a single message.
func (c *conn) respond(s *stream, message []byte) {
	if len(message) > c.server.limits.SendBytes {
		c.respondStatus(s, tooLargeToSend(len(message), c.server.limits.SendBytes))
		return
	}
	c.appendHeader(s, nil, "")
	c.send(s, newPiece(message, len(message), false))
	c.conclude(s, ending{})
}

// respondStatus ends a call that has sent nothing with a status alone.
func (c *conn) respondStatus(s *stream, st *status.Status) {
	c.conclude(s, ending{status: st})
}

func tooLargeToSend(n, limit int) *status.Status {
	return status.Newf(codes.ResourceExhausted, "grpc: trying to send message larger than max (%d vs. %d)", n, limit)
}

// streamQueue is a list of streams, first in, first out.
type streamQueue struct{ head, tail *stream }

func (q *streamQueue) push(s *stream) {
	if q.tail == nil {
		q.head = s
	} else {
		q.tail.next = s
	}
	q.tail = s
}

func (q *streamQueue) pop() *stream {
	s := q.head
	if s == nil {
		return nil
	}
	if q.head = s.next; q.head == nil {
		q.tail = nil
	}
	s.next = nil
	return s
}

// windowUpdate lets us send more (RFC 9113, section 6.9).
func (c *conn) windowUpdate(f *frame) error {
	if len(f.payload) != 4 {
		return connError{http2.ErrCodeFrameSize, "window update of a wrong size"}
	}
	n := int(binary.BigEndian.Uint32(f.payload) & streamBits)
	if f.stream == 0 {
		switch {
		case n == 0:
			return protocolError("window update of nothing")
		case c.mu.sendWindow+n > windowMax:
			return connError{http2.ErrCodeFlowControl, "window of the connection too large"}
		}
		c.mu.sendWindow += n
		return nil
	}
	if c.idle(f.stream) {
		return protocolError("window of a stream that was not opened")
	}
	s := c.mu.table.get(f.stream)
	switch {
	case s == nil:
	case n == 0:
		c.cut(s, http2.ErrCodeProtocol)
	case s.credit+n > windowMax:
		c.cut(s, http2.ErrCodeFlowControl)
	default:
		s.credit += n
		c.activate(s)
	}
	return nil
}

// resizeWindows applies a new initial size of windows to all streams (RFC 9113, section 6.9.2).
func (c *conn) resizeWindows(size uint32) error {
	if size > windowMax {
		return connError{http2.ErrCodeFlowControl, "initial window too large"}
	}
	by := int(size) - c.mu.initial
	c.mu.initial = int(size)
	var overflow bool
	c.mu.table.all(func(s *stream) {
		s.credit += by
		overflow = overflow || s.credit > windowMax
		c.activate(s)
	})
	if overflow {
		return connError{http2.ErrCodeFlowControl, "window of a stream too large"}
	}
	return nil
}
