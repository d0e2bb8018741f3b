package grpcwire

import (
	"time"

	"golang.org/x/net/http2"
)

// stream is a call as the connection sees it. All but what is set at its beginning is guarded by conn.mu.
//
// Invariant: exactly one of direct and full is set.
type stream struct {
	conn     *conn
	id       uint32
	head     *head
	deadline time.Time // zero: none
	direct   *Call
	full     *call

	incoming
	first      []byte // the only message of calls that have one
	compressed bool   // it is

	remoteDone bool // the client has sent everything
	served     bool // a handler knows of it
	done       bool // no handler will say anything more
	closed     bool // it is not in the table any more

	leaving
}

// end closes a stream that the client, or the end of the connection, has taken back. What it returns is to be called without c.mu.
func (c *conn) end(s *stream) func() {
	if s.closed {
		return nil
	}
	var after func()
	if !s.done && s.served {
		if s.full != nil {
			after = s.full.cancelled()
		} else {
			after = s.direct.cancelled()
		}
	}
	s.done = s.done || !s.served
	c.close(s)
	return after
}

// cut resets a stream because of what the client did.
func (c *conn) cut(s *stream, code http2.ErrCode) {
	c.mu.out = appendReset(c.mu.out, s.id, code)
	if !s.remoteDone {
		c.mu.left.add(s.id)
	}
	if after := c.end(s); after != nil {
		c.later(after)
	}
}

// answered takes note that a call's handler has had its say.
func (c *conn) answered(s *stream) {
	s.done = true
	if s.closed {
		c.settle(s)
	}
}

// sentAll closes a stream whose last frame has entered out.
func (c *conn) sentAll(s *stream) {
	if !s.remoteDone {
		c.mu.left.add(s.id)
		c.mu.out = appendReset(c.mu.out, s.id, http2.ErrCodeNo)
	}
	c.reward()
	c.close(s)
}

// close takes a stream out of the table.
func (c *conn) close(s *stream) {
	s.closed = true
	c.forget(s)
	c.discard(s)
	c.mu.table.remove(s)
	if s.full != nil && s.served {
		s.full.drop()
	}
	if s.done {
		c.settle(s)
	}
}

// settle makes room for another call: this one is closed, and no handler has anything to do with it.
func (c *conn) settle(s *stream) {
	c.mu.running--
	if s.direct != nil {
		c.recycle(s.direct)
	}
	c.checkDrained()
}
