package grpcwire

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc/status"
)

// A DirectHandler serves calls of hot unary methods.
//
// Serve is given all direct calls of one read of a connection, in order of arrival, on the goroutine that reads from the connection: it must not
// block. The slice is only good until it returns. Each call is answered exactly once, now or later, from any goroutine, by one of Answer, Fail and
// Go; also a call that has ended by then. Answers given while Serve runs leave in one write.
type DirectHandler interface {
	Serve(calls []*Call)
}

// Call is one direct call. After Answer, Fail or Go it must not be used any more: it will be another call.
//
// Its methods may be called from one goroutine at a time.
type Call struct {
	stream

	// Guarded by conn.mu.
	onCancel func()
	ended    bool // before it was answered
	timed    bool // its deadline is watched, at its place in the list
	place    int
	ctx      context.Context
	cancel   context.CancelFunc
}

// callsKept bounds the calls that a connection keeps to use again.
const callsKept = 1024

// newCall takes a call out of those to be used again. c.mu is held.
func (c *conn) newCall() *Call {
	if n := len(c.mu.calls); n > 0 {
		k := c.mu.calls[n-1]
		c.mu.calls = c.mu.calls[:n-1]
		*k = Call{}
		k.direct = k
		return k
	}
	k := new(Call)
	k.direct = k
	return k
}

// recycle keeps a call that has been answered and is closed. c.mu is held.
func (c *conn) recycle(k *Call) {
	if k.timed {
		c.unwatch(k)
	}
	if k.cancel != nil || c.mu.gone || len(c.mu.calls) >= callsKept {
		return // its context has the call's metadata, and may be kept
	}
	k.first = nil // the rest is forgotten when the call becomes another one: until then it is known to be closed
	c.mu.calls = append(c.mu.calls, k)
}

// cancelled takes note that a call has ended before it was answered. c.mu is held.
func (c *Call) cancelled() func() {
	c.ended = true
	f, cancel := c.onCancel, c.cancel
	c.onCancel = nil
	switch {
	case cancel == nil:
		return f
	case f == nil:
		return cancel
	}
	return func() {
		cancel()
		f()
	}
}

// Method is the full name of the method, as in "/etcdserverpb.KV/Put".
func (c *Call) Method() string { return c.head.path }

// Request is the message. It belongs to the handler, which may keep it for ever.
func (c *Call) Request() []byte { return c.first }

// Context carries the peer, the incoming metadata, the deadline and the end of the call, as handlers of gRPC expect them. It is made on first
// use and ends with the call. It may be kept.
func (c *Call) Context() context.Context {
	k := c.conn
	k.mu.Lock()
	defer k.mu.Unlock()
	if c.ctx == nil {
		c.ctx, c.cancel = c.stream.newContext()
		if c.ended {
			c.cancel()
		}
	}
	return c.ctx
}

// Deadline is when the client stops waiting; false: never.
func (c *Call) Deadline() (time.Time, bool) { return c.deadline, !c.deadline.IsZero() }

// Metadata is the first value of a key of the incoming metadata, "" if there is none. The name is in lower case. It costs neither a map nor a context.
func (c *Call) Metadata(name string) string { return c.head.first(name) }

// OnCancel has f called once if the call ends before it is answered: the client took it back, its deadline passed, or the connection is gone;
// at once if that has happened already. f must not block. It may still be running on another goroutine when Answer, Fail or Go returns, but does
// not begin any more. A later f takes the place of an earlier one.
func (c *Call) OnCancel(f func()) {
	k := c.conn
	k.mu.Lock()
	ended := c.ended
	if !ended {
		c.onCancel = f
		if f != nil && !c.deadline.IsZero() && !c.timed {
			k.watch(c)
		}
	}
	k.mu.Unlock()
	if ended && f != nil {
		f()
	}
}

// Answer ends the call well. The message must not be changed any more. It does not block.
func (c *Call) Answer(message []byte) {
	k := c.conn
	k.mu.Lock()
	if !c.closed {
		k.respond(&c.stream, message)
	}
	c.conclude()
}

// Fail ends the call with an error: of package status, or any other, which is told as Unknown, or as the end of the call if it is one of package
// context. It does not block.
func (c *Call) Fail(err error) {
	k := c.conn
	k.mu.Lock()
	if !c.closed {
		k.respondStatus(&c.stream, statusOf(err))
	}
	c.conclude()
}

// conclude gives the call up, and conn.mu.
func (c *Call) conclude() {
	k, cancel := c.conn, c.cancel
	c.onCancel = nil
	if !c.done {
		k.answered(&c.stream)
	}
	k.unlock()
	if cancel != nil {
		cancel()
	}
}

// Go leaves the call to the ordinary handler that is registered for the method, on a goroutine of its own.
func (c *Call) Go() {
	k := c.conn
	k.mu.Lock()
	c.onCancel = nil
	if c.closed {
		c.conclude()
		return
	}
	full := k.handOver(c)
	k.mu.Unlock()
	k.server.workers.start(full)
}

// handOver makes an ordinary call of a direct one, which is not used any more. c.mu is held.
func (c *conn) handOver(k *Call) *call {
	if k.timed {
		c.unwatch(k)
	}
	full := &call{stream: k.stream, wake: make(chan struct{}, 1), ctx: k.ctx, cancel: k.cancel}
	full.full, full.direct = full, nil
	full.inbox, full.inEnd = []received{{k.first, k.compressed}}, io.EOF
	full.first = nil
	c.mu.table.remove(&k.stream)
	c.mu.table.put(&full.stream)
	return full
}

// statusOf is how an error is told to a client: itself if it is of package status; the end of a context; otherwise Unknown.
func statusOf(err error) *status.Status {
	if err == nil {
		return nil
	}
	if s, ok := status.FromError(err); ok {
		return s
	}
	var as interface{ GRPCStatus() *status.Status }
	if errors.As(err, &as) {
		return as.GRPCStatus()
	}
	return status.FromContextError(err)
}
