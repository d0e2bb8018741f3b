package tlstest

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// raw is a client that speaks HTTP/2 frame by frame.
type raw struct {
	*http2.Framer
	conn net.Conn
}

// connect opens a connection, with TLS unless c is nil, that ends with the test.
func connect(t *testing.T, address string, c *tls.Config, protocols ...string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	check(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	check(t, conn.SetDeadline(time.Now().Add(30*time.Second)))
	if c == nil {
		return conn
	}
	c = c.Clone()
	c.ServerName, c.NextProtos = "127.0.0.1", protocols
	session := tls.Client(conn, c)
	check(t, session.Handshake())
	return session
}

// dialHTTP2 opens a connection and sends preface and settings.
func dialHTTP2(t *testing.T, address string, c *tls.Config) *raw {
	t.Helper()
	conn := connect(t, address, c, "h2")
	_, err := io.WriteString(conn, http2.ClientPreface)
	check(t, err)
	s := &raw{http2.NewFramer(conn, conn), conn}
	check(t, s.WriteSettings())
	return s
}

// open begins a request.
func (s *raw) open(t *testing.T, stream uint32, contentType, path string, more ...string) {
	t.Helper()
	check(t, s.begin(stream, contentType, path, more...))
}

func (s *raw) begin(stream uint32, contentType, path string, more ...string) error {
	return s.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, EndHeaders: true, BlockFragment: headerBlock(contentType, path, more...)})
}

// headerBlock is the header of a request.
func headerBlock(contentType, path string, more ...string) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	fields := append([]string{
		":method", "POST", ":scheme", "http", ":path", path, ":authority", "127.0.0.1", "content-type", contentType, "te", "trailers",
	}, more...)
	for i := 0; i < len(fields); i += 2 {
		_ = e.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return b.Bytes()
}

// until reads frames until one is wanted. Settings are confirmed.
func (s *raw) until(wanted func(http2.Frame) bool) (http2.Frame, error) {
	for {
		f, err := s.ReadFrame()
		if err != nil {
			return nil, err
		}
		if set, ok := f.(*http2.SettingsFrame); ok && !set.IsAck() {
			if err := s.WriteSettingsAck(); err != nil {
				return nil, err
			}
		}
		if wanted(f) {
			return f, nil
		}
	}
}
