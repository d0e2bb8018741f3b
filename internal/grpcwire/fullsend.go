package grpcwire

import (
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// sendAll sends a message, whose buffers may fill only when they are read: one after the other, each freed after its last byte has been sent.
func (t *call) sendAll(data mem.BufferSlice, encoding string, compressed bool) error {
	if b, ok := whole(data); ok {
		p := newPiece(b, len(b), compressed)
		p.lend = true // nobody changes them any more
		return t.sendPiece(p, encoding, queueMax)
	}
	t.partial = true
	p := newPiece(nil, data.Len(), compressed)
	for i, b := range data {
		p.lend = true
		err := status.Error(codes.Internal, "grpc: message shorter than it was said to be")
		if p.data = b.ReadOnlyData(); len(p.data) == b.Len() {
			err = t.sendPiece(p, encoding, 0)
		}
		b.Free()
		if err != nil {
			data[i+1:].Free()
			return err
		}
		p = piece{}
	}
	t.partial = false
	return nil
}

// whole returns a message that needs not be freed.
func whole(data mem.BufferSlice) ([]byte, bool) {
	if len(data) == 0 {
		return nil, true
	}
	b, ok := data[0].(mem.SliceBuffer)
	return b, ok && len(data) == 1
}

// sendPiece sends a piece, and waits until at most so many bytes of the call wait to be sent; with none also until nobody reads what was lent.
func (t *call) sendPiece(p piece, encoding string, mayWait int) error {
	c := t.conn
	c.mu.Lock()
	if t.closed {
		c.mu.Unlock()
		return t.over()
	}
	c.appendHeader(&t.stream, t.header, encoding)
	if p.size() > 0 {
		c.send(&t.stream, p)
	}
	for t.leaving.queued > mayWait || mayWait == 0 && t.lentBytes > 0 {
		if err := t.awaitSent(mayWait); err != nil {
			return err
		}
	}
	closed := t.closed && mayWait == 0
	c.unlock()
	if closed {
		return t.over()
	}
	return nil
}

// awaitSent waits for a moment, without c.mu. It is held again afterwards, unless there is an error.
func (t *call) awaitSent(mayWait int) error {
	c := t.conn
	if t.waiter == nil {
		t.waiter = make(chan struct{}, 1)
	}
	c.unlock()
	select {
	case <-t.waiter:
		c.mu.Lock()
		return nil
	case <-t.ctx.Done():
	}
	c.mu.Lock()
	if mayWait == 0 && len(t.queue) > 0 {
		c.discard(&t.stream) // the bytes are not ours any more
	}
	for mayWait == 0 && t.lentBytes > 0 { // they are being written: until that ends, or fails
		c.mu.Unlock()
		<-t.waiter
		c.mu.Lock()
	}
	c.mu.Unlock()
	return t.over()
}

// over is why a call that has ended sends nothing any more.
func (t *call) over() error {
	if err := t.ctx.Err(); err != nil {
		return status.FromContextError(err).Err()
	}
	return status.Error(codes.Unavailable, "transport is closing")
}

var errHeaderSent = errors.New("grpcwire: the header has been sent already")

// SetHeader adds metadata that goes before the first message.
func (t *call) SetHeader(md metadata.MD) error {
	t.conn.mu.Lock()
	defer t.conn.mu.Unlock()
	if t.headerSent {
		return status.Error(codes.Internal, errHeaderSent.Error())
	}
	t.header = metadata.Join(t.header, md)
	return nil
}

// SendHeader sends the metadata now.
func (t *call) SendHeader(md metadata.MD) error {
	if err := t.SetHeader(md); err != nil {
		return err
	}
	t.conn.mu.Lock()
	if !t.closed {
		t.conn.appendHeader(&t.stream, t.header, t.encoding())
	}
	t.conn.unlock()
	return nil
}

// SetTrailer adds metadata that goes with the status.
func (t *call) SetTrailer(md metadata.MD) {
	t.conn.mu.Lock()
	defer t.conn.mu.Unlock()
	t.trailer = metadata.Join(t.trailer, md)
}

// transportStream is a call as functions of package grpc find it in a context.
type transportStream call

// Method is the full name of the method.
func (t *transportStream) Method() string { return t.head.path }

// SetHeader adds metadata that goes before the first message.
func (t *transportStream) SetHeader(md metadata.MD) error { return (*call)(t).SetHeader(md) }

// SendHeader sends the metadata now.
func (t *transportStream) SendHeader(md metadata.MD) error { return (*call)(t).SendHeader(md) }

// SetTrailer adds metadata that goes with the status.
func (t *transportStream) SetTrailer(md metadata.MD) error {
	(*call)(t).SetTrailer(md)
	return nil
}

// A CompressorSetter is what the context of a call has as its grpc.ServerTransportStream.
type CompressorSetter interface {
	grpc.ServerTransportStream
	// SetSendCompressor has what is sent from now on compressed by the compressor of a name, or not at all by encoding.Identity.
	SetSendCompressor(name string) error
}

// SetSendCompressor sets how messages are compressed.
func (t *transportStream) SetSendCompressor(name string) error {
	t.conn.mu.Lock()
	defer t.conn.mu.Unlock()
	if t.headerSent {
		return errHeaderSent
	}
	t.compressor = name
	return nil
}
