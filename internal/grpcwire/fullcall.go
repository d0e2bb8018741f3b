package grpcwire

import (
	"context"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// call is an ordinary call: a handler with a goroutine. To the handler it is a grpc.ServerStream and a grpc.ServerTransportStream.
type call struct {
	stream
	wake chan struct{} // for who receives

	// Guarded by conn.mu.
	inbox      []received
	unread     int   // bytes of inbox
	inEnd      error // what comes after the inbox
	ctx        context.Context
	cancel     context.CancelFunc
	header     metadata.MD
	trailer    metadata.MD
	compressor string // name, "" to do as the client does
	partial    bool   // a message has been begun and not ended

	stats *callStats // nil: nobody wants to know
}

// received is a message as it came.
type received struct {
	data       []byte
	compressed bool
}

// notify wakes who receives. c.mu is held.
func (t *call) notify() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// cancelled is what has to be called when the call ends before its handler does. c.mu is held.
func (t *call) cancelled() func() {
	t.inEnd = status.FromContextError(context.Canceled).Err()
	t.notify()
	if t.cancel == nil {
		return nil
	}
	return t.cancel
}

// drop gives back what was not received. c.mu is held.
func (t *call) drop() {
	if !t.head.method.starts() {
		return // its only message is the handler's
	}
	for _, m := range t.inbox {
		t.conn.mu.held -= len(m.data)
	}
	t.inbox, t.unread = nil, 0
}

// run calls the handler and answers.
func (t *call) run() {
	cancel := t.prepare()
	t.begin()
	t.finish(t.handle())
	cancel()
}

// prepare makes the context, unless the call was a direct one that had it already.
func (t *call) prepare() context.CancelFunc {
	t.conn.mu.Lock()
	defer t.conn.mu.Unlock()
	if t.ctx == nil {
		t.ctx, t.cancel = t.newContext()
	}
	if t.closed {
		t.cancel()
	}
	return t.cancel
}

// begin gives the context what handlers look for in it.
func (t *call) begin() {
	if h := t.conn.server.stats; h != nil {
		t.stats = newCallStats(h, t)
	}
	t.ctx = grpc.NewContextWithServerTransportStream(t.ctx, (*transportStream)(t))
}

// handle calls the handler through the interceptors.
func (t *call) handle() error {
	m, s := t.head.method, t.conn.server
	if m.unary == nil {
		if s.streams == nil {
			return m.stream.Handler(m.impl, t)
		}
		return s.streams(m.impl, t, m.streamInfo, m.stream.Handler)
	}
	reply, err := m.unary.Handler(m.impl, t.ctx, t.RecvMsg, s.unaries)
	if err != nil {
		return err
	}
	return t.SendMsg(reply)
}

// finish ends the call with what its handler returned.
func (t *call) finish(err error) {
	s := statusOf(err)
	if t.stats != nil {
		t.stats.end(s)
	}
	c := t.conn
	torn := t.partial && t.ctx.Err() == nil
	c.mu.Lock()
	switch {
	case t.closed, torn:
	case t.partial:
		c.mu.out = appendReset(c.mu.out, t.id, http2.ErrCodeCancel)
		if !t.remoteDone {
			c.mu.left.add(t.id)
		}
		c.close(&t.stream)
	default:
		c.conclude(&t.stream, ending{s, t.trailer})
	}
	c.answered(&t.stream)
	c.unlock()
	if torn {
		_ = c.net.Close() // a client would take anything less for the end of this call, and not ask again
	}
}

// Context is the call's.
func (t *call) Context() context.Context { return t.ctx }

// RecvMsg receives a message into m. io.EOF: the client has sent all.
func (t *call) RecvMsg(m any) error {
	if err := t.awaitMessage(); err != nil {
		return err
	}
	t.conn.mu.Lock()
	if len(t.inbox) == 0 { // the call has ended just now
		t.conn.mu.Unlock()
		return t.RecvMsg(m)
	}
	in := t.take()
	t.conn.unlock()
	data, err := t.plain(in)
	if err != nil {
		return err
	}
	if err := t.conn.server.codec.Unmarshal(mem.BufferSlice{mem.SliceBuffer(data)}, m); err != nil {
		return status.Errorf(codes.Internal, "grpc: failed to unmarshal the received message: %v", err)
	}
	if t.stats != nil {
		t.stats.received(m, len(in.data), len(data))
	}
	return nil
}

// plain is a message without its compression.
func (t *call) plain(in received) ([]byte, error) {
	if !in.compressed {
		return in.data, nil
	}
	return decompress(t.head.encoding, in.data, t.conn.server.limits.ReceiveBytes)
}

// awaitMessage waits for a message, or returns why there will be none.
func (t *call) awaitMessage() error {
	for {
		t.conn.mu.Lock()
		there, err := len(t.inbox) > 0, t.inEnd
		t.conn.mu.Unlock()
		switch {
		case there:
			return nil
		case err != nil:
			return err
		}
		select {
		case <-t.wake:
		case <-t.ctx.Done():
			return status.FromContextError(t.ctx.Err()).Err()
		}
	}
}

// take takes the first message of the inbox. c.mu is held.
func (t *call) take() received {
	m := t.inbox[0]
	t.inbox[0] = received{}
	if t.inbox = t.inbox[1:]; len(t.inbox) == 0 {
		t.inbox = nil
	}
	t.taken(len(m.data)+prefixBytes, len(m.data))
	return m
}

// takeAll takes all messages of the inbox. c.mu is held.
func (t *call) takeAll() []received {
	list, bytes := t.inbox, 0
	for _, m := range list {
		bytes += len(m.data)
	}
	t.inbox = nil
	t.taken(bytes+len(list)*prefixBytes, bytes)
	return list
}

// taken lets the client send as much as the handler has taken.
func (t *call) taken(unread, held int) {
	if !t.head.method.starts() || t.closed {
		return
	}
	t.unread -= unread
	t.conn.mu.held -= held
	if !t.remoteDone {
		t.conn.widen(&t.stream)
	}
}

// SendMsg sends m. It waits while the client does not take what was sent before.
func (t *call) SendMsg(m any) error {
	s := t.conn.server
	data, err := s.codec.Marshal(m)
	if err != nil {
		return status.Errorf(codes.Internal, "grpc: error while marshaling: %v", err)
	}
	size := data.Len()
	name := t.encoding()
	if name != "" && size > 0 {
		packed, err := compress(name, data)
		data.Free()
		if err != nil {
			return status.Errorf(codes.Internal, "grpc: error while compressing: %v", err)
		}
		data = mem.BufferSlice{mem.SliceBuffer(packed)}
	}
	n := data.Len()
	if n > s.limits.SendBytes {
		data.Free()
		return tooLargeToSend(n, s.limits.SendBytes).Err()
	}
	if t.stats != nil {
		t.stats.sent(m, n, size)
	}
	return t.sendAll(data, name, name != "" && size > 0)
}

// encoding is that of what is sent, "" for none: what was asked for, or the client's.
func (t *call) encoding() string {
	name := t.compressor
	if name == "" {
		name = t.head.encoding
	}
	if name == encoding.Identity || encoding.GetCompressor(name) == nil {
		return ""
	}
	return name
}
