package port

import (
	"encoding/binary"
	"io"
)

// What is needed of HTTP/2's frames (RFC 9113, section 4.1) to follow them without taking part.
const (
	clientPreface = preface + "\r\nSM\r\n\r\n"
	frameHeader   = 9

	typeHeaders      = 0x1
	typeSettings     = 0x4
	typeContinuation = 0x9

	flagAck        = 0x1
	flagEndHeaders = 0x4
)

// frame is the header of a frame.
type frame struct {
	length int
	kind   byte
	flags  byte
}

// parseFrame reads the header of a frame from frameHeader bytes.
func parseFrame(b []byte) frame {
	return frame{length: int(binary.BigEndian.Uint32(b) >> 8), kind: b[3], flags: b[4]}
}

// settingsAck reports whether the frame confirms settings.
func (f frame) settingsAck() bool {
	return f.kind == typeSettings && f.flags&flagAck != 0 && f.length == 0
}

// inbound follows what a client sends: whether it has made a request, and whether it is in the middle of the header of one. It leaves out
// confirmations of settings that the server behind has not sent.
type inbound struct {
	preface int // bytes of the preface still to come
	drop    int // confirmations still to be left out

	requests   bool // a request's header has come
	unfinished bool // a request's header has begun
	hurried    bool // the reader has a deadline because of it

	head    [frameHeader]byte
	have    int // bytes of head
	left    int // bytes of the frame still to come
	ends    bool
	pending []byte // to be read first: the header of a frame
}

// read reads with raw what the server is to see.
func (in *inbound) read(raw func([]byte) (int, error), p []byte) (n int, err error) {
	switch {
	case in.drop == 0 && len(in.pending) == 0:
		n, err = raw(p)
	case len(in.pending) > 0:
		n = copy(p, in.pending)
		in.pending = in.pending[n:]
	case in.preface+in.left > 0:
		n, err = raw(p[:min(len(p), in.preface+in.left)])
	default:
		if err := in.next(raw); err != nil {
			return 0, err
		}
		return in.read(raw, p)
	}
	in.scan(p[:n])
	return n, err
}

// next reads the header of the next frame that is not left out.
func (in *inbound) next(raw func([]byte) (int, error)) error {
	for {
		head := make([]byte, frameHeader)
		for have := 0; have < len(head); {
			n, err := raw(head[have:])
			if have += n; err != nil {
				return err
			}
		}
		if in.drop == 0 || !parseFrame(head).settingsAck() {
			in.pending = head
			return nil
		}
		if in.drop--; in.drop == 0 {
			return nil
		}
	}
}

// scan takes note of bytes that pass.
func (in *inbound) scan(p []byte) {
	skip := min(len(p), in.preface)
	in.preface -= skip
	for p = p[skip:]; len(p) > 0; {
		if in.left > 0 {
			k := min(in.left, len(p))
			in.left -= k
			p = p[k:]
		} else {
			k := copy(in.head[in.have:], p)
			in.have += k
			p = p[k:]
			if in.have < frameHeader {
				return
			}
			in.begin(parseFrame(in.head[:]))
		}
		if in.left == 0 && in.ends {
			in.requests, in.unfinished, in.ends = true, false, false
		}
	}
}

// begin takes note of a frame that begins.
func (in *inbound) begin(f frame) {
	in.have, in.left = 0, f.length
	if f.kind == typeHeaders || f.kind == typeContinuation {
		in.unfinished = true
		in.ends = f.flags&flagEndHeaders != 0
	}
}

// outbound leaves out confirmations of settings that the client has had already.
type outbound struct {
	drop int
	part []byte // a frame whose end has not been written yet
}

func (o *outbound) done() bool { return o.drop == 0 }

// write writes to w what the client is to see of p.
func (o *outbound) write(w io.Writer, p []byte) (int, error) {
	rest := append(o.part, p...)
	var pass []byte
	for o.drop > 0 && len(rest) >= frameHeader {
		f := parseFrame(rest)
		end := frameHeader + f.length
		if len(rest) < end {
			break
		}
		if f.settingsAck() {
			o.drop--
		} else {
			pass = append(pass, rest[:end]...)
		}
		rest = rest[end:]
	}
	if o.drop == 0 {
		pass, rest = append(pass, rest...), nil
	}
	o.part = rest
	if len(pass) == 0 {
		return len(p), nil
	}
	if _, err := w.Write(pass); err != nil {
		return 0, err
	}
	return len(p), nil
}
