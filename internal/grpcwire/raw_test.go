package grpcwire

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// raw is a client that sends exactly what it is told to.
type raw struct {
	t      *testing.T
	conn   net.Conn
	framer *http2.Framer
	enc    *hpack.Encoder
	block  bytes.Buffer
}

// dialRaw connects and exchanges prefaces.
func dialRaw(t *testing.T, addr string, settings ...http2.Setting) *raw {
	t.Helper()
	r := connectRaw(t, addr)
	if _, err := io.WriteString(r.conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	r.check(r.framer.WriteSettings(settings...))
	return r
}

func connectRaw(t *testing.T, addr string) *raw {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	r := &raw{t: t, conn: conn, framer: http2.NewFramer(conn, conn)}
	r.framer.AllowIllegalWrites = true
	r.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	r.enc = hpack.NewEncoder(&r.block)
	return r
}

func (r *raw) check(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// encode encodes pairs of names and values.
func (r *raw) encode(pairs ...string) []byte {
	r.block.Reset()
	for i := 0; i < len(pairs); i += 2 {
		r.check(r.enc.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]}))
	}
	return slices.Clone(r.block.Bytes())
}

// request is what a client sends to call a method, with pairs replaced ("name", "" leaves one out) or added.
func request(method string, pairs ...string) []string {
	out := []string{
		":method", "POST", ":scheme", "http", ":path", method, ":authority", "test",
		"content-type", "application/grpc", "te", "trailers",
	}
	for i := 0; i < len(pairs); i += 2 {
		at := slices.Index(out, pairs[i])
		switch {
		case at < 0:
			out = append(out, pairs[i], pairs[i+1])
		case pairs[i+1] == "":
			out = slices.Delete(out, at, at+2)
		default:
			out[at+1] = pairs[i+1]
		}
	}
	return out
}

// message is a message with its prefix.
func message(body string) []byte {
	b := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(body)))
	return append(b, body...)
}

func (r *raw) headers(stream uint32, end bool, pairs ...string) {
	r.t.Helper()
	block := r.encode(pairs...)
	n := min(len(block), frameBytesMax)
	r.check(r.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block[:n], EndStream: end, EndHeaders: n == len(block)}))
	for block = block[n:]; len(block) > 0; block = block[n:] {
		n = min(len(block), frameBytesMax)
		r.check(r.framer.WriteContinuation(stream, n == len(block), block[:n]))
	}
}

// call sends a whole unary call.
func (r *raw) call(stream uint32, method, body string, pairs ...string) {
	r.t.Helper()
	r.headers(stream, false, request(method, pairs...)...)
	r.check(r.framer.WriteData(stream, true, message(body)))
}

// outcome is what the server said of a stream, or of the connection: in a form that can be compared.
type outcome struct {
	header, trailer []string
	body            []byte
	reset           http2.ErrCode
	wasReset        bool
	goAway          string // code and text
	last            uint32 // of the final GOAWAY
	closed          bool
}

// String shows what matters to a client.
func (o outcome) String() string {
	var b strings.Builder
	show := func(list []string) {
		for _, f := range list {
			if !strings.HasPrefix(f, "date:") {
				fmt.Fprintf(&b, "[%s]", f)
			}
		}
	}
	show(o.header)
	if len(o.body) > 0 {
		fmt.Fprintf(&b, " body=%q ", o.body)
	}
	show(o.trailer)
	if o.wasReset && o.reset != http2.ErrCodeNo {
		fmt.Fprintf(&b, " RST %s", o.reset)
	}
	if o.goAway != "" {
		b.WriteString(" GOAWAY " + o.goAway)
	}
	if o.closed {
		b.WriteString(" closed")
	}
	return b.String()
}

// outcome reads until the stream or the connection has ended.
func (r *raw) outcome(stream uint32) (o outcome) {
	r.t.Helper()
	for {
		f, err := r.framer.ReadFrame()
		if err != nil {
			o.closed = true
			return o
		}
		if g, ok := f.(*http2.GoAwayFrame); ok {
			o.goAway, o.last = fmt.Sprintf("%s %s", g.ErrCode, g.DebugData()), g.LastStreamID
			if g.ErrCode != http2.ErrCodeNo {
				return o
			}
			continue
		}
		if f.Header().StreamID == stream && o.take(f) {
			return o
		}
	}
}

// take takes note of a frame and reports whether it ends the stream.
func (o *outcome) take(f http2.Frame) bool {
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		var list []string
		for _, field := range f.Fields {
			list = append(list, field.Name+": "+field.Value)
		}
		slices.Sort(list)
		if o.header == nil {
			o.header = list
		} else {
			o.trailer = list
		}
		return f.StreamEnded()
	case *http2.DataFrame:
		o.body = append(o.body, f.Data()...)
		return f.StreamEnded()
	case *http2.RSTStreamFrame:
		o.wasReset, o.reset = true, f.ErrCode
		return true
	}
	return false
}
