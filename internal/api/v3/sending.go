package v3

import (
	"context"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/peer"

	"github.com/quoin-kv/quoin/internal/service"
)

// stallTimeout is how long a client may leave the next piece of a large response untaken. After that the response is given up: what it
// held is free again, and the connection breaks when the client goes on. It also ends responses whose connection is gone, of which the gRPC
// library says nothing.
const stallTimeout = 30 * time.Second

// FromGateway reports whether a call comes from the gateway of this process, by the pipe between them. The gateway has made room for the answer
// then, as JSON.
func FromGateway(ctx context.Context) bool {
	p, ok := peer.FromContext(ctx)
	return ok && p.Addr.Network() == "pipe"
}

// sending is a large response on its way to the client. The gRPC library sees it as a list of buffers, each of which is filled when it is
// to be written and emptied when it has been.
type sending struct {
	large *service.Large
	left  atomic.Int32 // buffers not freed yet
	stall *time.Timer
	sent  func() // told when the last piece has gone out; may be nil, and is set before the first
}

func newSending(l *service.Large) *sending {
	s := &sending{large: l}
	s.stall = time.AfterFunc(stallTimeout, l.Close)
	return s
}

// buffers returns the response as the library wants it.
func (s *sending) buffers() mem.BufferSlice {
	n := s.large.Pieces()
	s.left.Store(int32(n))
	list := make([]buffer, n)
	out := make(mem.BufferSlice, n)
	for i := range list {
		list[i].sending, list[i].size = s, s.large.PieceSize(i)
		list[i].refs.Store(1)
		out[i] = &list[i]
	}
	return out
}

// giveUp ends the response.
func (s *sending) giveUp() {
	s.stall.Stop()
	s.large.Close()
}

// freed notes that a buffer is not needed any more.
func (s *sending) freed() {
	if s.left.Add(-1) > 0 {
		return
	}
	s.giveUp()
	if s.sent != nil {
		s.sent()
	}
}

// buffer is one piece of a large response. The library reads the buffers of a response in order and frees each after its last byte; it
// neither splits them nor reads them in any other way, for which the embedded type stands in.
//
// Invariant: bytes that were handed out stay as they are until the last reference is freed.
type buffer struct {
	mem.SliceBuffer // empty: what only buffers of the library can have
	sending         *sending
	size            int
	refs            atomic.Int32
	data            []byte // nil until it is asked for
}

// ReadOnlyData returns the piece. It is shorter than Len says, and the library breaks off the connection, if the response was given up.
func (b *buffer) ReadOnlyData() []byte {
	if b.data != nil {
		return b.data
	}
	data, ok := b.sending.large.Next()
	if ok {
		b.data = data
		b.sending.stall.Reset(stallTimeout)
	}
	return b.data
}

// Len is the size that the piece has or will have.
func (b *buffer) Len() int { return b.size }

// Ref takes a reference.
func (b *buffer) Ref() { b.refs.Add(1) }

// Free gives up a reference.
func (b *buffer) Free() {
	if b.refs.Add(-1) > 0 {
		return
	}
	if b.data != nil {
		b.sending.large.Recycle(b.data)
		b.data = nil
	}
	b.sending.freed()
}
