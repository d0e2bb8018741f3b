package grpcwire

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/net/http2"
)

// What RFC 9113 says of frames (section 4.1) and their bounds (section 6.5.2).
const (
	frameHeaderBytes = 9
	frameBytesMax    = 16384 // of a payload, that we take and that every peer takes
	windowStart      = 65535
	windowMax        = 1<<31 - 1
	streamBits       = 1<<31 - 1
)

// frame is a frame as it lies in the buffer of what was read.
type frame struct {
	kind    http2.FrameType
	flags   http2.Flags
	stream  uint32
	payload []byte
}

// parseFrame returns the first frame of b and its whole length. 0: there is not a whole one yet.
func parseFrame(b []byte) (f frame, n int, err error) {
	if len(b) < frameHeaderBytes {
		return f, 0, nil
	}
	length := int(binary.BigEndian.Uint32(b) >> 8)
	if length > frameBytesMax {
		return f, 0, connError{http2.ErrCodeFrameSize, "frame too large"}
	}
	n = frameHeaderBytes + length
	if len(b) < n {
		return f, 0, nil
	}
	f.kind, f.flags = http2.FrameType(b[3]), http2.Flags(b[4])
	f.stream = binary.BigEndian.Uint32(b[5:]) & streamBits
	f.payload = b[frameHeaderBytes:n:n]
	return f, n, nil
}

// unpad takes the padding off (section 6.1).
func (f *frame) unpad() error {
	if f.flags&http2.FlagDataPadded == 0 {
		return nil
	}
	if len(f.payload) == 0 || int(f.payload[0]) >= len(f.payload) {
		return connError{http2.ErrCodeProtocol, "padding longer than the frame"}
	}
	f.payload = f.payload[1 : len(f.payload)-int(f.payload[0])]
	return nil
}

// connError ends a connection (section 5.4.1).
type connError struct {
	code http2.ErrCode
	why  string
}

// Error says what the client did.
func (e connError) Error() string { return fmt.Sprintf("%s: %s", e.code, e.why) }

func protocolError(why string) error { return connError{http2.ErrCodeProtocol, why} }

func appendFrameHeader(b []byte, length int, kind http2.FrameType, flags http2.Flags, stream uint32) []byte {
	return append(b, byte(length>>16), byte(length>>8), byte(length), byte(kind), byte(flags),
		byte(stream>>24), byte(stream>>16), byte(stream>>8), byte(stream))
}

func appendUint32(b []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(b, v) }

func appendReset(b []byte, stream uint32, code http2.ErrCode) []byte {
	return appendUint32(appendFrameHeader(b, 4, http2.FrameRSTStream, 0, stream), uint32(code))
}

func appendWindowUpdate(b []byte, stream uint32, n int) []byte {
	return appendUint32(appendFrameHeader(b, 4, http2.FrameWindowUpdate, 0, stream), uint32(n))
}

func appendPing(b []byte, flags http2.Flags, data []byte) []byte {
	return append(appendFrameHeader(b, 8, http2.FramePing, flags, 0), data...)
}

func appendGoAway(b []byte, last uint32, code http2.ErrCode, why string) []byte {
	b = appendFrameHeader(b, 8+len(why), http2.FrameGoAway, 0, 0)
	return append(appendUint32(appendUint32(b, last), uint32(code)), why...)
}

func appendSettings(b []byte, settings ...http2.Setting) []byte {
	b = appendFrameHeader(b, 6*len(settings), http2.FrameSettings, 0, 0)
	for _, s := range settings {
		b = appendUint32(append(b, byte(s.ID>>8), byte(s.ID)), s.Val)
	}
	return b
}
