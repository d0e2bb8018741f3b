package grpcwire

import (
	"net"
	"runtime"
	"sync"
)

// Sizes of what is written at once.
const (
	// inlineMax is how much the reading goroutine writes itself. More is left to a goroutine of its own, as it may take long.
	inlineMax = 64 << 10
	// largeBuffer holds what is written at once while there is much to send, and largeFrom is what a buffer holds from where on it has to.
	largeBuffer = outHigh + 2*frameBytesMost
	largeFrom   = 16 << 10
	// keptMax is the largest buffer that is kept for other writes.
	keptMax = 256 << 10
	// spareMax is the largest buffer that a connection keeps for itself.
	spareMax = 4 << 10
	// lendFrom is how many bytes of a piece are better written from where they are than copied, and lentHigh how many of them wait to be
	// written; beyond that messages wait in their streams.
	lendFrom = 4 << 10
	lentHigh = 1 << 20
)

// outgoing is what is to be written to a connection.
type outgoing struct {
	out        []byte // frames, but for what of them was lent
	lent       []loan // in the order of their places
	lentBytes  int
	spare      []byte // a small buffer for the next ones; nil: none
	writing    bool   // somebody writes
	corked     bool   // the reading goroutine writes when it is done with what it read
	broken     bool   // writing has failed
	calmed     *sync.Cond
	sendWindow int // what the client's window for the connection takes
	initial    int // what a new stream's takes
	frameBytes int // of DATA in a frame, at most
	active     streamQueue
	indexed    tableState
	resized    int // one more than the size of the client's table that the next block must confirm; 0: none
}

// loan is bytes of a stream that are written from where they are. Its sender may wait until they have been.
type loan struct {
	at     int // they stand before out[at]
	data   []byte
	stream *stream
}

// vectored is a connection that writes many pieces in one system call.
type vectored interface {
	// WriteBuffers writes all pieces, and empties the list.
	WriteBuffers(pieces *net.Buffers) (int64, error)
	// Vectored reports whether that costs less than to put the pieces together first. It does not change.
	Vectored() bool
}

// vectoredOf returns the connection if it writes many pieces at once, or nil.
func vectoredOf(socket net.Conn) vectored {
	switch v := socket.(type) {
	case *net.TCPConn, *net.UnixConn:
		return plainSocket{socket}
	case vectored:
		if v.Vectored() {
			return v
		}
	}
	return nil
}

// plainSocket is a socket of the operating system.
type plainSocket struct{ net.Conn }

func (s plainSocket) WriteBuffers(pieces *net.Buffers) (int64, error) { return pieces.WriteTo(s.Conn) }
func (s plainSocket) Vectored() bool                                  { return true }

// waiting is the number of bytes that wait to be written.
func (c *conn) waiting() int { return len(c.mu.out) + c.mu.lentBytes }

// crowded reports whether so much waits to be written that messages have to wait in their streams.
func (c *conn) crowded() bool { return len(c.mu.out) >= outHigh || c.mu.lentBytes >= lentHigh }

// lend puts bytes of a stream behind what is to be written, without copying them.
func (c *conn) lend(s *stream, data []byte) {
	c.mu.lent = append(c.mu.lent, loan{len(c.mu.out), data, s})
	c.mu.lentBytes += len(data)
	s.lentBytes += len(data)
}

// giveBack tells the senders of bytes that were lent that nobody reads these any more.
func giveBack(loans []loan) {
	for i := range loans {
		s := loans[i].stream
		if s.lentBytes -= len(loans[i].data); s.lentBytes == 0 {
			s.wakeSender()
		}
		loans[i] = loan{}
	}
}

// forgive gives back what was lent and will not be written any more.
func (c *conn) forgive() {
	giveBack(c.mu.lent)
	c.mu.lent, c.mu.lentBytes = nil, 0
}

// pending reports whether there is something to write.
func (c *conn) pending() bool {
	return len(c.mu.out) > 0 || c.mu.active.head != nil && c.mu.sendWindow > 0
}

// unlock gives c.mu back and has written what has been appended.
func (c *conn) unlock() {
	start := !c.mu.corked && !c.mu.writing && !c.mu.broken && c.pending()
	if start {
		c.mu.writing = true
	}
	c.mu.Unlock()
	if start {
		go c.write()
	}
}

// flush writes what the reading goroutine has brought about.
func (c *conn) flush() {
	c.mu.Lock()
	c.mu.corked = false
	if c.mu.writing || c.mu.broken || !c.pending() {
		c.mu.Unlock()
		return
	}
	c.mu.writing = true
	if c.pump(); c.waiting() <= inlineMax {
		c.writeOnce()
	}
	again := c.pending() && !c.mu.broken
	if !again {
		c.rest()
	}
	c.mu.Unlock()
	if again {
		go c.write()
	}
}

// write writes until there is nothing more. Whoever else can run has the chance before to add to what is written.
func (c *conn) write() {
	runtime.Gosched()
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.pump(); len(c.mu.out) > 0 && !c.mu.broken; c.pump() {
		c.writeOnce()
	}
	c.rest()
}

// writeOnce writes out as it is, without c.mu.
func (c *conn) writeOnce() {
	b, loans := c.mu.out, c.mu.lent
	c.mu.lent, c.mu.lentBytes = nil, 0
	if c.mu.out, c.mu.spare = c.mu.spare, nil; c.mu.out == nil {
		c.mu.out = c.server.buffer()
	}
	c.mu.Unlock()
	err := c.writeOut(b, loans)
	if err != nil {
		_ = c.net.Close() // for the reading goroutine to see
	}
	c.mu.Lock()
	c.keep(b)
	giveBack(loans)
	if c.mu.lent == nil {
		c.mu.lent = loans[:0]
	}
	c.mu.broken = c.mu.broken || err != nil
	c.mu.calmed.Broadcast()
}

// writeOut writes b with what was lent in its places. Only who has set writing may call it.
func (c *conn) writeOut(b []byte, loans []loan) error {
	if len(loans) == 0 {
		_, err := c.net.Write(b)
		return err
	}
	pieces, from := c.pieces[:0], 0
	for _, l := range loans {
		if l.at > from {
			pieces = append(pieces, b[from:l.at])
		}
		pieces, from = append(pieces, l.data), l.at
	}
	if from < len(b) {
		pieces = append(pieces, b[from:])
	}
	c.pieces = pieces
	_, err := c.vectored.WriteBuffers(&pieces)
	clear(c.pieces)
	return err
}

// rest ends writing.
func (c *conn) rest() {
	c.mu.writing = false
	if c.mu.broken {
		c.forgive()
	}
	if len(c.mu.out) == 0 || c.mu.broken {
		c.keep(c.mu.out)
		c.mu.out = nil
	}
	if c.mu.out == nil {
		c.mu.out, c.mu.spare = c.mu.spare, nil
	}
	c.mu.calmed.Broadcast()
}

// keep puts a buffer by, here or for all connections.
func (c *conn) keep(b []byte) {
	if c.mu.spare == nil && cap(b) > 0 && cap(b) <= spareMax {
		c.mu.spare = b[:0]
	} else {
		c.server.keep(b)
	}
}

// awaitRoom waits while the client does not read: then we do not read either.
func (c *conn) awaitRoom() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.mu.out) > outMax && !c.mu.broken && c.mu.writing {
		c.mu.calmed.Wait()
	}
}

// awaitWriter waits until nobody writes.
func (c *conn) awaitWriter() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.mu.writing {
		c.mu.calmed.Wait()
	}
}

// reserve makes room for n bytes in out. What has become large goes on in a buffer that need not grow any more.
func (c *conn) reserve(n int) {
	need := len(c.mu.out) + n
	if need <= cap(c.mu.out) || need < largeFrom || need > largeBuffer {
		return
	}
	small := c.mu.out
	b, ok := c.server.largeBuffers.Get().(*[]byte)
	if !ok {
		fresh := make([]byte, 0, largeBuffer)
		b = &fresh
	}
	c.mu.out = append((*b)[:0], small...)
	c.server.keep(small)
}

// buffer is an empty buffer for frames.
func (s *Server) buffer() []byte {
	if b, ok := s.buffers.Get().(*[]byte); ok {
		return (*b)[:0]
	}
	return nil
}

// keep takes a buffer back.
func (s *Server) keep(b []byte) {
	b = b[:0]
	switch {
	case cap(b) == 0 || cap(b) > keptMax:
	case cap(b) >= largeBuffer:
		s.largeBuffers.Put(&b)
	default:
		s.buffers.Put(&b)
	}
}
