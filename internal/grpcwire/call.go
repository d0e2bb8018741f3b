package grpcwire

import (
	"context"
	"time"
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
type Call struct{}

// Method is the full name of the method, as in "/etcdserverpb.KV/Put".
func (c *Call) Method() string { return "" }

// Request is the message. It belongs to the handler, which may keep it for ever.
func (c *Call) Request() []byte { return nil }

// Context carries the peer, the incoming metadata, the deadline and the end of the call, as handlers of gRPC expect them. It is made on first
// use and ends with the call. It may be kept.
func (c *Call) Context() context.Context { return nil }

// Deadline is when the client stops waiting; false: never.
func (c *Call) Deadline() (time.Time, bool) { return time.Time{}, false }

// Metadata is the first value of a key of the incoming metadata, "" if there is none. The name is in lower case. It costs neither a map nor a context.
func (c *Call) Metadata(name string) string { return "" }

// OnCancel has f called once if the call ends before it is answered: the client took it back, its deadline passed, or the connection is gone;
// at once if that has happened already. f must not block. It may still be running on another goroutine when Answer, Fail or Go returns, but does
// not begin any more. A later f takes the place of an earlier one.
func (c *Call) OnCancel(f func()) {}

// Answer ends the call well. The message must not be changed any more. It does not block.
func (c *Call) Answer(message []byte) {}

// Fail ends the call with an error: of package status, or any other, which is told as Unknown. It does not block.
func (c *Call) Fail(err error) {}

// Go leaves the call to the ordinary handler that is registered for the method, on a goroutine of its own.
func (c *Call) Go() {}
