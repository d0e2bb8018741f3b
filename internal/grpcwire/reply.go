package grpcwire

import (
	"strconv"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// tableState is what we have put into the client's table of header fields: two fields that every answer has, and nothing else, so that
// their places never change.
type tableState uint8

const (
	tableUnused   tableState = iota
	tableType                // the content type is at 62
	tableComplete            // the content type is at 63, the status at 62
	tableOff                 // the client's table is too small
)

const (
	contentTypeName = 31   // index of the name in the static table
	statusOK        = 0x88 // ":status: 200" as it is indexed there
	statusName      = 8    // index of the name ":status"
	newest          = 62   // index of what entered the table last
	tableNeeds      = 256  // bytes
	grpcType        = "application/grpc"
)

// resizeTable takes note of how large the client's table may be. What we use of it never grows again.
func (c *conn) resizeTable(size uint32) {
	switch {
	case c.mu.indexed == tableOff:
	case size < tableNeeds:
		c.mu.indexed, c.mu.resized = tableOff, 1
	case size < tableBytesMax && (c.mu.resized == 0 || int(size) < c.mu.resized-1):
		c.mu.resized = int(size) + 1
	}
}

// beginBlock starts a header frame, whose length endBlock fills in.
func (c *conn) beginBlock(stream uint32, flags http2.Flags) (start int) {
	start = len(c.mu.out)
	c.mu.free = true
	c.mu.out = appendFrameHeader(c.mu.out, 0, http2.FrameHeaders, flags, stream)
	if c.mu.resized > 0 { // RFC 7541, section 4.2
		c.mu.out = appendInteger(c.mu.out, 0x20, 5, c.mu.resized-1)
		c.mu.resized = 0
	}
	return start
}

// endBlock ends the header frame at start. What does not fit into it goes into others.
func (c *conn) endBlock(start int) {
	b := c.mu.out
	n := len(b) - start - frameHeaderBytes
	if n <= frameBytesMax {
		b[start], b[start+1], b[start+2] = byte(n>>16), byte(n>>8), byte(n)
		b[start+4] |= byte(http2.FlagHeadersEndHeaders)
		return
	}
	id := uint32(b[start+5])<<24 | uint32(b[start+6])<<16 | uint32(b[start+7])<<8 | uint32(b[start+8])
	rest := append([]byte(nil), b[start+frameHeaderBytes+frameBytesMax:]...)
	b = b[:start+frameHeaderBytes+frameBytesMax]
	b[start], b[start+1], b[start+2] = byte(frameBytesMax>>16), byte(frameBytesMax>>8&0xff), byte(frameBytesMax&0xff)
	for len(rest) > 0 {
		k, flags := min(len(rest), frameBytesMax), http2.Flags(0)
		if k == len(rest) {
			flags = http2.FlagContinuationEndHeaders
		}
		b = append(appendFrameHeader(b, k, http2.FrameContinuation, flags, id), rest[:k]...)
		rest = rest[k:]
	}
	c.mu.out = b
}

// appendHeader sends the header of an answer, once.
func (c *conn) appendHeader(s *stream, md metadata.MD, encoding string) {
	if s.headerSent {
		return
	}
	s.headerSent = true
	start := c.beginBlock(s.id, 0)
	c.mu.out = append(c.mu.out, statusOK)
	c.appendContentType(s.head.subtype)
	if encoding != "" {
		c.mu.out = appendField(c.mu.out, "grpc-encoding", encoding)
	}
	if len(md) > 0 {
		c.mu.out = appendMetadata(c.mu.out, md)
	}
	c.endBlock(start)
}

func (c *conn) appendContentType(subtype string) {
	switch {
	case subtype != "":
		c.mu.out = appendField(c.mu.out, "content-type", grpcType+"+"+subtype)
	case c.mu.indexed == tableOff:
		c.mu.out = appendField(c.mu.out, "content-type", grpcType)
	case c.mu.indexed == tableUnused:
		c.mu.out = appendString(appendInteger(c.mu.out, 0x40, 6, contentTypeName), grpcType)
		c.mu.indexed = tableType
	default:
		c.mu.out = append(c.mu.out, 0x80|byte(newest+int(c.mu.indexed-tableType)))
	}
}

// appendStatusOK writes that a call has ended well.
func (c *conn) appendStatusOK() {
	switch c.mu.indexed {
	case tableComplete:
		c.mu.out = append(c.mu.out, 0x80|newest)
	case tableType:
		c.mu.out = appendString(appendString(append(c.mu.out, 0x40), "grpc-status"), "0")
		c.mu.indexed = tableComplete
	default:
		c.mu.out = appendField(c.mu.out, "grpc-status", "0")
	}
}

// appendEnding sends the trailers of a call, which are its header too if there was none.
func (c *conn) appendEnding(s *stream, e *ending) {
	if s.full != nil && len(s.full.header) > 0 {
		c.appendHeader(s, s.full.header, "")
	}
	start := c.beginBlock(s.id, http2.FlagHeadersEndStream)
	if !s.headerSent {
		s.headerSent = true
		c.mu.out = append(c.mu.out, statusOK)
		c.appendContentType(s.head.subtype)
	}
	if e.status == nil {
		c.appendStatusOK()
	} else {
		c.mu.out = appendStatus(c.mu.out, e.status)
	}
	if len(e.trailer) > 0 {
		c.mu.out = appendMetadata(c.mu.out, e.trailer)
	}
	c.endBlock(start)
}

// appendRefusal answers a call that was not opened. To what is none of gRPC the answer has content, although none to speak of: without any it
// would look like the end of a call.
func (c *conn) appendRefusal(id uint32, r *refusal) {
	end := http2.FlagHeadersEndStream
	if r.foreign() {
		end = 0
	}
	start := c.beginBlock(id, end)
	if r.http == 200 {
		c.mu.out = append(c.mu.out, statusOK)
	} else {
		c.mu.out = appendString(appendInteger(c.mu.out, 0, 4, statusName), strconv.Itoa(r.http))
	}
	c.appendContentType("")
	c.mu.out = appendStatus(c.mu.out, status.New(r.code, r.text))
	c.endBlock(start)
	if r.foreign() {
		c.mu.out = appendFrameHeader(c.mu.out, 0, http2.FrameData, http2.FlagDataEndStream, id)
	}
}
