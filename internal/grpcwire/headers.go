package grpcwire

import (
	"encoding/binary"
	"slices"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"
)

// blocks takes the header blocks of a connection.
type blocks struct {
	decoder decoder
	open    uint32 // the stream whose block is not whole yet, 0: none
	flags   http2.Flags
	part    []byte
	frames  int // CONTINUATION frames of the block
	list    []*entry
	heads   [4]*head // the last ones that were different
	oldest  int
}

// continuationsMax bounds the frames of a block beyond those that its size needs.
const continuationsMax = 16

func (c *conn) headers(f *frame) error {
	if f.stream&1 == 0 {
		return protocolError("stream of the server's side")
	}
	if err := f.unpad(); err != nil {
		return err
	}
	flags := f.flags
	if flags&http2.FlagHeadersPriority != 0 {
		if len(f.payload) < 5 {
			return connError{http2.ErrCodeFrameSize, "header without its priority"}
		}
		if binary.BigEndian.Uint32(f.payload)&streamBits != f.stream {
			flags &^= http2.FlagHeadersPriority // what is left depends on itself
		}
		f.payload = f.payload[5:]
	}
	if flags&http2.FlagHeadersEndHeaders != 0 {
		return c.block(f.stream, flags, f.payload)
	}
	c.blocks.open, c.blocks.flags, c.blocks.frames = f.stream, flags, 0
	c.blocks.part = append(c.blocks.part[:0], f.payload...)
	return nil
}

func (c *conn) continuation(f *frame) error {
	b := &c.blocks
	if b.open == 0 {
		return protocolError("continuation of nothing")
	}
	b.part = append(b.part, f.payload...)
	b.frames++
	if len(b.part) > int(c.server.limits.HeaderListBytes) || b.frames > continuationsMax+len(b.part)/1024 {
		return connError{http2.ErrCodeEnhanceYourCalm, "header block too large"}
	}
	if f.flags&http2.FlagContinuationEndHeaders == 0 {
		return nil
	}
	b.open = 0
	err := c.block(f.stream, b.flags, b.part)
	if cap(b.part) > frameBytesMax {
		b.part = nil
	}
	return err
}

// block takes a whole header block.
func (c *conn) block(id uint32, flags http2.Flags, block []byte) error {
	b := &c.blocks
	list, large, err := b.decoder.decode(block, b.list[:0], int(c.server.limits.HeaderListBytes))
	defer func() {
		clear(list)
		b.list = list[:0]
	}()
	if err != nil {
		return connError{http2.ErrCodeCompression, err.Error()}
	}
	if s := c.mu.table.get(id); s != nil {
		c.trailers(s, flags, list)
		return nil
	}
	if !c.idle(id) {
		return c.late(id)
	}
	c.opened(id)
	if code, ok := c.admit(flags); !ok {
		if code != http2.ErrCodeNo {
			c.mu.out = appendReset(c.mu.out, id, code)
		}
		c.mu.left.add(id)
		return nil
	}
	h, timeout := c.head(list)
	if large {
		h = &head{refusal: refuse(431, codes.ResourceExhausted, "grpc: metadata larger than max (%d)", c.server.limits.HeaderListBytes)}
	}
	c.open(id, flags&http2.FlagHeadersEndStream != 0, h, timeout)
	return nil
}

// opened takes note of a new stream's id.
func (c *conn) opened(id uint32) {
	c.mu.opened = c.mu.opened<<((id-c.mu.last+1)/2) | 1
	c.mu.last = id
}

// late judges a header on a stream that is not there any more.
func (c *conn) late(id uint32) error {
	if c.mu.left.has(id) {
		return nil // sent before the client knew
	}
	if back := (c.mu.last - id) / 2; back < 64 && c.mu.opened>>back&1 == 0 {
		return protocolError("stream below one that was opened before")
	}
	return connError{http2.ErrCodeStreamClosed, "header on a closed stream"}
}

// admit reports whether one more stream may be. Otherwise it is reset with a code, or passed over if that is none.
func (c *conn) admit(flags http2.Flags) (http2.ErrCode, bool) {
	switch {
	case flags&http2.FlagHeadersPriority != 0:
		return http2.ErrCodeProtocol, false
	case c.mu.drain == drainLast:
		return http2.ErrCodeNo, false
	case c.mu.running >= int(c.server.limits.Streams):
		return http2.ErrCodeRefusedStream, false
	}
	return 0, true
}

// trailers takes the second header of a stream, which ends it.
func (c *conn) trailers(s *stream, flags http2.Flags, list []*entry) {
	switch {
	case s.remoteDone:
		c.cut(s, http2.ErrCodeStreamClosed)
	case flags&http2.FlagHeadersEndStream == 0 || slices.ContainsFunc(list, notInTrailers):
		c.cut(s, http2.ErrCodeProtocol)
	default:
		c.remoteEnd(s)
	}
}

func notInTrailers(e *entry) bool {
	return e.kind == kindMalformed || e.name[0] == ':' || !validValue(e.value)
}

// timeout is what a call says of its deadline.
type timeout struct {
	set   bool
	left  time.Duration
	wrong error
}

// head finds or makes the head of a call with these fields. The timeout, which is another one each time, is apart.
func (c *conn) head(list []*entry) (*head, timeout) {
	b := &c.blocks
	var t timeout
	kept := list[:0]
	for _, e := range list {
		if e.kind == kindTimeout {
			t.set = true
			t.left, t.wrong = parseTimeout(e.value)
			continue
		}
		kept = append(kept, e)
	}
	for _, h := range b.heads {
		if h != nil && slices.Equal(h.fields, kept) {
			return h, t
		}
	}
	h := c.server.newHead(slices.Clone(kept))
	b.heads[b.oldest] = h
	b.oldest = (b.oldest + 1) % len(b.heads)
	return h, t
}

// open begins a call.
func (c *conn) open(id uint32, end bool, h *head, t timeout) {
	if h.malformed {
		c.mu.left.add(id)
		c.mu.out = appendReset(c.mu.out, id, http2.ErrCodeProtocol)
		return
	}
	r := h.refusal
	switch {
	case r != nil:
	case t.wrong != nil:
		r = refuse(400, codes.Internal, "malformed grpc-timeout: %v", t.wrong)
	case t.set && t.left <= 0:
		r = refuse(200, codes.DeadlineExceeded, "context deadline exceeded")
	}
	switch {
	case r != nil && (end || !r.foreign()):
		c.refuseCall(id, end, r)
		return
	case r != nil:
		c.openForeign(id, h)
		return
	}
	s := c.newStream(h, t)
	s.id, s.remoteDone = id, false
	c.mu.table.put(s)
	c.mu.running++
	if end {
		c.remoteEnd(s)
	}
}

// refuseCall answers a call without opening it.
func (c *conn) refuseCall(id uint32, end bool, r *refusal) {
	c.appendRefusal(id, r)
	if !end {
		c.mu.left.add(id)
		c.mu.out = appendReset(c.mu.out, id, http2.ErrCodeNo)
	}
}

// openForeign keeps a request that is none of gRPC until it is whole: whoever makes one may not look for an answer before.
func (c *conn) openForeign(id uint32, h *head) {
	t := &call{}
	t.full = t
	t.conn, t.head, t.id, t.window, t.credit, t.deaf = c, h, id, windowStart, c.mu.initial, true
	c.mu.table.put(&t.stream)
	c.mu.running++
}

// newStream makes the stream of a call, on the direct path if that is possible.
func (c *conn) newStream(h *head, t timeout) *stream {
	var s *stream
	m := h.method
	if m.direct >= 0 && h.encoding == "" {
		s = &c.newCall().stream
	} else {
		full := &call{wake: make(chan struct{}, 1)}
		full.full = full
		s = &full.stream
	}
	s.conn, s.head, s.window, s.credit = c, h, windowStart, c.mu.initial
	if t.set {
		s.deadline = time.Now().Add(t.left)
	}
	if s.full != nil && m.starts() {
		s.served = true
		c.work.calls = append(c.work.calls, s.full)
	}
	return s
}

// abandoned remembers the last streams that we ended before the client did: it may still send on them.
type abandoned struct {
	ids  [64]uint32
	next int
}

func (a *abandoned) add(id uint32) {
	a.ids[a.next] = id
	a.next = (a.next + 1) % len(a.ids)
}

func (a *abandoned) has(id uint32) bool { return slices.Contains(a.ids[:], id) }
