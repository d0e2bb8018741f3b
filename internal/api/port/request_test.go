package port

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/quoin-kv/quoin/internal/certs/certstest"
)

// serverTLS is a configuration with a certificate of its own.
func serverTLS(t testing.TB) *tls.Config {
	t.Helper()
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		Certificates: []tls.Certificate{certstest.New(t, "x", certstest.Hosts("x")).Pair()},
	}
}

// splitTLS is split with TLS.
func splitTLS(t *testing.T, change func(*Options)) (*Splitter, *memory) {
	t.Helper()
	opts := both()
	opts.Plain, opts.TLS, opts.MaxStreams = false, serverTLS(t), 77
	if change != nil {
		change(&opts)
	}
	return splitWith(t, opts)
}

// session is a client that speaks HTTP/2 within TLS.
type session struct {
	*http2.Framer
	conn    *tls.Conn
	writing sync.Mutex
}

// say writes beside the test: on a pipe nothing is written before it is read.
func (s *session) say(write func()) {
	go func() {
		s.writing.Lock()
		defer s.writing.Unlock()
		write()
	}()
}

func (m *memory) dialTLS(t *testing.T, protocols ...string) *tls.Conn {
	t.Helper()
	conn := tls.Client(m.dial(t), &tls.Config{InsecureSkipVerify: true, NextProtos: protocols, MinVersion: tls.VersionTLS12})
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	return conn
}

func (m *memory) dialHTTP2(t *testing.T) *session {
	t.Helper()
	conn := m.dialTLS(t, "h2")
	return &session{Framer: http2.NewFramer(conn, conn), conn: conn}
}

// next reads a frame.
func (s *session) next(t *testing.T) http2.Frame {
	t.Helper()
	f, err := s.ReadFrame()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// open sends the preface and settings, and reads the server's.
func (s *session) open(t *testing.T) {
	t.Helper()
	s.say(func() {
		_, _ = io.WriteString(s.conn, clientPreface)
		_ = s.WriteSettings()
	})
	if f, ok := s.next(t).(*http2.SettingsFrame); !ok || f.IsAck() {
		t.Fatalf("the first frame is %v", f)
	} else if v, _ := f.Value(http2.SettingMaxConcurrentStreams); v != 77 {
		t.Errorf("%d streams", v)
	}
	if f, ok := s.next(t).(*http2.SettingsFrame); !ok || !f.IsAck() {
		t.Fatalf("the second frame is %v", f)
	}
}

// header is the header of a request with that content type.
func header(contentType string) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for _, f := range [][2]string{{":method", "POST"}, {":scheme", "https"}, {":path", "/"}, {":authority", "x"}, {"content-type", contentType}} {
		_ = e.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	return b.Bytes()
}

func (s *session) request(t *testing.T, contentType string) {
	t.Helper()
	s.say(func() {
		_ = s.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, BlockFragment: header(contentType)})
	})
}

// TestByRequest: the first request decides, however long it takes.
func TestByRequest(t *testing.T) {
	for _, tc := range []struct{ contentType, want string }{
		{"application/grpc", "grpc"},
		{"application/grpc+proto", "grpc"},
		{"application/json", "http"},
		{"", "http"},
	} {
		synctest.Test(t, func(t *testing.T) {
			s, root := splitTLS(t, nil)
			client := root.dialHTTP2(t)
			client.open(t)
			client.say(func() { _ = client.WriteSettingsAck() })
			time.Sleep(time.Hour)
			for i := range byte(3) {
				client.say(func() { _ = client.WritePing(false, [8]byte{i}) })
				if f, ok := client.next(t).(*http2.PingFrame); !ok || !f.IsAck() || f.Data[0] != i {
					t.Fatalf("answer to a ping: %v", f)
				}
			}
			state(t, s.opts.Limit, LimitState{Open: 1, Waiting: 1})
			client.request(t, tc.contentType)
			server, got := accepted(t, s)
			if got != tc.want {
				t.Errorf("%q went to %s", tc.contentType, got)
			}
			state(t, s.opts.Limit, LimitState{Open: 1})
			if TLS(server) == nil {
				t.Error("the server does not know of TLS")
			}
			serves(t, server, client)
		})
	}
}

// serves checks that both ends see a whole conversation in which nothing comes twice.
func serves(t *testing.T, server net.Conn, client *session) {
	t.Helper()
	read := make([]byte, len(clientPreface))
	if _, err := io.ReadFull(server, read); err != nil || string(read) != clientPreface {
		t.Fatalf("the server reads %q, %v", read, err)
	}
	behind := http2.NewFramer(server, server)
	if f, err := behind.ReadFrame(); err != nil || f.Header().Type != http2.FrameSettings || f.Header().Flags.Has(http2.FlagSettingsAck) {
		t.Fatalf("the server's first frame is %v, %v", f, err)
	}
	go func() {
		_ = behind.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1 << 20})
		_ = behind.WriteSettingsAck()
		_ = behind.WritePing(false, [8]byte{9})
	}()
	if f, err := behind.ReadFrame(); err != nil || f.Header().Type != http2.FrameHeaders {
		t.Fatalf("the server's second frame is %v, %v", f, err)
	}
	if f, ok := client.next(t).(*http2.SettingsFrame); !ok || f.IsAck() {
		t.Fatalf("the client reads %v", f)
	}
	if f, ok := client.next(t).(*http2.PingFrame); !ok || f.Data[0] != 9 {
		t.Fatalf("the client reads %v", f)
	}
	client.say(func() { _ = client.WriteSettingsAck() })
	if f, err := behind.ReadFrame(); err != nil || f.Header().Type != http2.FrameSettings || !f.Header().Flags.Has(http2.FlagSettingsAck) {
		t.Fatalf("the server's third frame is %v, %v", f, err)
	}
}

// TestConfirmationAfterRequest: a client that does not wait for the server's settings confirms them behind its first request.
func TestConfirmationAfterRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, root := splitTLS(t, nil)
		client := root.dialHTTP2(t)
		client.open(t)
		client.request(t, "text/plain")
		server, _ := accepted(t, s)
		client.say(func() { _ = client.WriteSettingsAck() })
		serves(t, server, client)
	})
}

// TestSecure: who is served where, by what TLS has settled.
func TestSecure(t *testing.T) {
	for _, tc := range []struct {
		name      string
		protocols []string
		says      string
		change    func(*Options)
		want      string
	}{
		{"http/1.1", []string{"h2x", "http/1.1"}, "GET / HTTP/1.1\r\n", nil, "http"},
		{"nothing agreed", nil, "GET / HTTP/1.1\r\n", nil, "http"},
		{"http/2, gRPC only", []string{"h2"}, "", func(o *Options) { o.HTTP = false }, "grpc"},
		{"http/2, HTTP only", []string{"h2"}, "", func(o *Options) { o.GRPC = false }, "http"},
		{"http/1.1, gRPC only", nil, "GET / HTTP/1.1\r\n", func(o *Options) { o.HTTP = false }, ""},
		{"with and without TLS", nil, "GET / HTTP/1.1\r\n", func(o *Options) { o.Plain = true }, "http"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, root := splitTLS(t, tc.change)
				client := root.dialTLS(t, tc.protocols...)
				go func() { _, _ = io.WriteString(client, tc.says) }()
				if tc.want == "" {
					gone(t, client)
					return
				}
				server, got := accepted(t, s)
				if got != tc.want || TLS(server) == nil {
					t.Errorf("went to %s", got)
				}
			})
		})
	}
}

// TestPlainKinds: without TLS the preface says it, and a kind that is not served is refused.
func TestPlainKinds(t *testing.T) {
	for _, tc := range []struct {
		says       string
		grpc, http bool
		want       string
	}{
		{preface, true, false, "grpc"},
		{preface, false, true, ""},
		{"GET / ", false, true, "http"},
		{"GET / ", true, false, ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			s, root := splitWith(t, Options{Plain: true, GRPC: tc.grpc, HTTP: tc.http})
			client := root.dial(t)
			go send(client, tc.says, true)
			if tc.want == "" {
				gone(t, client)
			} else if _, got := accepted(t, s); got != tc.want {
				t.Errorf("%q went to %s", tc.says, got)
			}
		})
	}
}

// TestPlainBesideTLS: on an address for both, the first byte says which.
func TestPlainBesideTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, root := splitTLS(t, func(o *Options) { o.Plain = true })
		client := root.dial(t)
		go send(client, preface, false)
		if server, got := accepted(t, s); got != "grpc" || TLS(server) != nil {
			t.Errorf("went to %s", got)
		}
	})
}

// TestCut: clients that leave something unfinished, or say too much, are cut off in time.
func TestCut(t *testing.T) {
	flood := func(frame []byte, n int) func(*session) {
		return func(s *session) {
			for range n {
				if _, err := s.conn.Write(frame); err != nil {
					return
				}
			}
		}
	}
	for _, tc := range []struct {
		name  string
		do    func(*session) // after both have sent their settings
		after time.Duration
	}{
		{"header without its end", func(s *session) {
			_ = s.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x82}})
		}, headerTimeout},
		{"half a frame", func(s *session) { _, _ = s.conn.Write([]byte{0, 0}) }, headerTimeout},
		{"endless header", func(s *session) {
			_ = s.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x82}})
			flood(appendFrame(nil, typeContinuation, 0, 1), 1<<20)(s)
		}, 0},
		{"flood of settings", flood(appendFrame(nil, typeSettings, 0, 0), 1<<20), 0},
		{"flood of pings", flood(appendFrame(nil, 6, 0, 0, make([]byte, 8)...), 1<<20), 0},
		{"flood of window updates", flood(appendFrame(nil, 8, 0, 0, 0, 0, 0, 1), 1<<20), 0},
		{"data without a request", func(s *session) { _ = s.WriteData(1, false, []byte("x")) }, -1},
		{"frame that is too large", flood(appendFrame(nil, 0x20, 0, 0, make([]byte, 16<<10+1)...), 1), 0},
		{"malformed header", func(s *session) {
			_ = s.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, BlockFragment: []byte{0xff, 0xff, 0xff, 0xff, 0xff}})
		}, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, root := splitTLS(t, nil)
				client := root.dialHTTP2(t)
				client.open(t)
				begun := time.Now()
				client.say(func() { tc.do(client) })
				if tc.after < 0 {
					return // it is the server behind that says what is wrong
				}
				if _, err := io.Copy(io.Discard, client.conn); err != nil && !errors.Is(err, io.ErrClosedPipe) && !strings.Contains(err.Error(), "EOF") {
					t.Errorf("read: %v", err)
				}
				if took := time.Since(begun); took != tc.after {
					t.Errorf("cut after %v, want %v", took, tc.after)
				}
			})
		})
	}
}

// TestHandshakeIsCut: neither TLS nor HTTP/2's beginning may take for ever.
func TestHandshakeIsCut(t *testing.T) {
	hello := []byte{tlsRecord, 3, 1, 0, 200, 1}
	for _, tc := range []struct {
		name  string
		plain bool
		says  []byte
		tls   bool
	}{
		{"nothing", false, nil, false},
		{"nothing, with and without TLS", true, nil, false},
		{"half a hello", false, hello, false},
		{"half a hello, with and without TLS", true, hello, false},
		{"nothing within TLS", false, nil, true},
		{"half a preface within TLS", false, []byte("PRI * HTTP/2.0\r\n\r\nS"), true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var rejected []error
				_, root := splitTLS(t, func(o *Options) {
					o.Plain = tc.plain
					o.Rejected = func(_ net.Addr, err error) { rejected = append(rejected, err) }
				})
				var client net.Conn
				if tc.tls {
					client = root.dialTLS(t, "h2")
				} else {
					client = root.dial(t)
				}
				begun := time.Now()
				go func() { _, _ = client.Write(tc.says) }()
				if _, err := io.Copy(io.Discard, client); err != nil {
					t.Errorf("read: %v", err)
				}
				if took := time.Since(begun); took < prefaceTimeout || took > handshakeTimeout+prefaceTimeout {
					t.Errorf("cut after %v", took)
				}
			})
		})
	}
}

// TestHurry: a gRPC client without TLS that begins a header and does not go on is cut off; one that is silent between requests is not.
func TestHurry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, root := split(t)
		client := root.dial(t)
		whole := appendFrame([]byte(clientPreface), typeHeaders, flagEndHeaders, 1, 1)
		go send(client, string(append(whole, appendFrame(nil, typeHeaders, 0, 3, 1)...)), true)
		server, _ := accepted(t, s)
		state(t, s.opts.Limit, LimitState{Open: 1, Waiting: 1})
		begun := time.Now()
		if _, err := io.Copy(io.Discard, server); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begun) != headerTimeout {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		state(t, s.opts.Limit, LimitState{Open: 1})

		client = root.dial(t)
		go send(client, string(whole), true)
		server, _ = accepted(t, s)
		go func() {
			time.Sleep(time.Hour)
			send(client, "x", true)
			_ = client.Close()
		}()
		if n, err := io.Copy(io.Discard, server); err != nil || n != int64(len(whole))+1 {
			t.Errorf("%d bytes, %v", n, err)
		}
	})
}

// TestWriteTimeout: a client that does not read is given up, one that reads now and then is not, and a server's own deadline holds.
func TestWriteTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, root := split(t)
		client := root.dial(t)
		go send(client, "GET ", true)
		server, _ := accepted(t, s)
		for range 10 {
			go func() {
				time.Sleep(writeTimeout - rearm)
				_, _ = client.Read(make([]byte, 1))
			}()
			if _, err := server.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		begun := time.Now()
		if err := server.SetWriteDeadline(begun.Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := server.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begun) != time.Second {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		if err := server.SetWriteDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		begun = time.Now()
		if _, err := server.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begun) != writeTimeout {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
	})
}

// fixed is a connection that yields some bytes and takes what is written.
type fixed struct {
	net.Conn
	in bytes.Reader
}

func (f *fixed) Read(p []byte) (int, error)       { return f.in.Read(p) }
func (f *fixed) Write(p []byte) (int, error)      { return len(p), nil }
func (f *fixed) Close() error                     { return nil }
func (f *fixed) SetReadDeadline(time.Time) error  { return nil }
func (f *fixed) SetWriteDeadline(time.Time) error { return nil }

// FuzzAwaitRequest: whatever a client sends before its first request, the server behind reads no more than that, and in that order.
func FuzzAwaitRequest(f *testing.F) {
	hello := appendFrame([]byte(clientPreface), typeSettings, 0, 0)
	f.Add(append(hello, appendFrame(ackFrame, typeHeaders, flagEndHeaders, 1, header("application/grpc")...)...))
	f.Add(append(hello, appendFrame(nil, 6, 0, 0, make([]byte, 8)...)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := &Splitter{}
		client := &fixed{}
		client.in.Reset(b)
		l := NewLimit(0)
		g, _ := l.admit(client, nil)
		c := &Conn{Conn: g, guest: g}
		if _, err := s.awaitRequest(c); err != nil {
			return
		}
		got, _ := io.ReadAll(c)
		if len(got) > len(b) || !bytes.HasPrefix(got, []byte(clientPreface)) {
			t.Fatalf("the server reads %q of %q", got, b)
		}
	})
}
