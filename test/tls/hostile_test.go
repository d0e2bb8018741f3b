package tlstest

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/quoin-kv/quoin/internal/certs/certstest"
	"github.com/quoin-kv/quoin/internal/config"
)

// Bounds of what hostile clients may achieve.
const (
	floodTime   = 500 * time.Millisecond // that an attack is kept up
	memoryBound = 64 << 20               // bytes by which the process may grow meanwhile, the attacker's own included
	serveBound  = 2 * time.Second        // for one call of somebody else
)

// target is a member under attack, and a client of it that wants to be served.
type target struct {
	address string
	tls     *tls.Config // nil: without
	served  func(context.Context) error
}

// targets are a member with TLS and one without.
func targets(t *testing.T) map[string]*target {
	t.Helper()
	ours := certstest.New(t, "ours")
	f := newFolder(t)
	f.show(ours.Issue("server", certstest.Hosts("127.0.0.1")))
	all := map[string]*target{}
	for name, c := range map[string]*tls.Config{"http": nil, "https": ours.Client()} {
		cfg := newConfig(t, name+"://127.0.0.1:0")
		cfg.ClientTLS = config.TLS{CertFile: f.path("cert"), KeyFile: f.path("key")}
		address := start(t, cfg).ClientAddrs()[0].String()
		conn, err := dialGRPC(address, c)
		check(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		all[name] = &target{address, c, func(ctx context.Context) error { return get(ctx, conn) }}
	}
	return all
}

// An attack goes on until ctx ends or it is cut off.
type attack struct {
	name string
	run  func(ctx context.Context, t *testing.T, to *target)
}

// TestAttacks: while each attack goes on, memory stays bounded and somebody else is served, on old connections and on new ones.
func TestAttacks(t *testing.T) {
	attacks := []attack{
		{"settings flood, read", flood(frame(http2.FrameSettings, 0, 0, nil), true)},
		{"settings flood, not read", flood(frame(http2.FrameSettings, 0, 0, nil), false)},
		{"ping flood, read", flood(frame(http2.FramePing, 0, 0, make([]byte, 8)), true)},
		{"ping flood, not read", flood(frame(http2.FramePing, 0, 0, make([]byte, 8)), false)},
		{"window update flood", flood(frame(http2.FrameWindowUpdate, 0, 0, []byte{0, 0, 0, 1}), true)},
		{"priority flood", flood(frame(http2.FramePriority, 0, 1, []byte{0, 0, 0, 0, 1}), true)},
		{"empty data flood", flood(frame(http2.FrameData, 0, 1, nil), true)},
		{"unknown frame flood", flood(frame(0x77, 0, 0, make([]byte, 1000)), true)},
		{"rapid reset of calls", rapidReset("application/grpc", pb.KV_Range_FullMethodName)},
		{"rapid reset of watches", rapidReset("application/grpc", pb.Watch_Watch_FullMethodName)},
		{"continuation flood, empty", continuations(nil)},
		{"continuation flood, full", continuations(bytes.Repeat([]byte{0x0f, 0x01, 'a', 0x01, 'b'}, 3000))},
		{"header bomb", headerBomb},
		{"huge headers", hugeHeaders},
		{"streams without end", manyStreams},
		{"silent connections", silence},
		{"connections that come and go", comeAndGo},
		{"JSON without end", endlessJSON},
		{"nested JSON", nestedJSON},
	}
	for scheme, to := range targets(t) {
		for _, a := range attacks {
			t.Run(scheme+", "+a.name, func(t *testing.T) { underAttack(t, to, a) })
		}
	}
}

func underAttack(t *testing.T, to *target, a attack) {
	check(t, to.served(t.Context()))
	runtime.GC()
	before := heap()
	ctx, cancel := context.WithTimeout(t.Context(), floodTime)
	defer cancel()
	over := make(chan struct{})
	go func() {
		defer close(over)
		a.run(ctx, t, to)
	}()
	most, calls := before, 0
	for going := true; going; calls++ {
		select {
		case <-over:
			going = false
		default:
		}
		mustServe(t, to, calls%8 == 0)
		most = max(most, heap())
	}
	runtime.GC()
	if after := heap(); most > before+4*memoryBound || after > before+memoryBound {
		t.Errorf("%d bytes before, %d at most, %d afterwards", before, most, after)
	}
	t.Logf("%d calls of others meanwhile; heap %d KiB before, %d at most", calls, before>>10, most>>10)
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// mustServe makes a call, perhaps on a new connection.
func mustServe(t *testing.T, to *target, anew bool) {
	begun := time.Now()
	err := to.served(t.Context())
	if err == nil && anew {
		err = askGRPC(t.Context(), to.address, to.tls)
	}
	if took := time.Since(begun); err != nil || took > serveBound {
		t.Errorf("somebody else's call took %v: %v", took, err)
	}
}

// frame is a frame's bytes.
func frame(kind http2.FrameType, flags http2.Flags, stream uint32, payload []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(payload))<<8|uint32(kind))
	b = append(b, byte(flags))
	return append(binary.BigEndian.AppendUint32(b, stream), payload...)
}

// attacker is a connection that ends with ctx. What it reads is thrown away if it reads.
func attacker(ctx context.Context, t *testing.T, to *target, reads bool) *raw {
	t.Helper()
	s := dialHTTP2(t, to.address, to.tls)
	context.AfterFunc(ctx, func() { _ = s.conn.Close() })
	if reads {
		go func() { _, _ = io.Copy(io.Discard, s.conn) }()
	}
	return s
}

// flood begins a call and then sends the same frame again and again.
func flood(one []byte, reads bool) func(context.Context, *testing.T, *target) {
	return func(ctx context.Context, t *testing.T, to *target) {
		s := attacker(ctx, t, to, reads)
		_ = s.begin(1, "application/grpc", pb.Watch_Watch_FullMethodName)
		many := bytes.Repeat(one, 1+8<<10/len(one))
		for {
			if _, err := s.conn.Write(many); err != nil {
				return
			}
		}
	}
}

// rapidReset opens streams and resets each at once.
func rapidReset(contentType, path string) func(context.Context, *testing.T, *target) {
	return func(ctx context.Context, t *testing.T, to *target) {
		s := attacker(ctx, t, to, true)
		for id := uint32(1); ; id += 2 {
			if s.begin(id, contentType, path) != nil || s.WriteRSTStream(id, http2.ErrCodeCancel) != nil {
				return
			}
		}
	}
}

// continuations begins a header that does not end.
func continuations(part []byte) func(context.Context, *testing.T, *target) {
	return func(ctx context.Context, t *testing.T, to *target) {
		s := attacker(ctx, t, to, true)
		_ = s.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: headerBlock("application/grpc", "/")})
		for {
			if s.WriteContinuation(1, false, part) != nil {
				return
			}
		}
	}
}

// headerBomb refers to one large header field again and again: few bytes that stand for many.
func headerBomb(ctx context.Context, t *testing.T, to *target) {
	s := attacker(ctx, t, to, true)
	big := headerBlock("application/grpc", pb.KV_Range_FullMethodName, "a", strings.Repeat("x", 3000))
	_ = s.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, BlockFragment: big})
	for id := uint32(3); ; id += 2 {
		bomb := append(headerBlock("application/grpc", pb.KV_Range_FullMethodName), bytes.Repeat([]byte{0x80 | 62}, 15000)...)
		if s.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndHeaders: true, BlockFragment: bomb}) != nil {
			return
		}
	}
}

// hugeHeaders sends requests whose headers are larger than may be.
func hugeHeaders(ctx context.Context, t *testing.T, to *target) {
	s := attacker(ctx, t, to, true)
	part := bytes.Repeat([]byte{0x0f, 0x01, 'a', 0x01, 'b'}, 3000)
	for id := uint32(1); ; id += 2 {
		if s.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: headerBlock("application/grpc", "/")}) != nil {
			return
		}
		for range 20 {
			if s.WriteContinuation(id, false, part) != nil {
				return
			}
		}
		if s.WriteContinuation(id, true, nil) != nil {
			return
		}
	}
}

// manyStreams opens calls and never sends what they are about.
func manyStreams(ctx context.Context, t *testing.T, to *target) {
	s := attacker(ctx, t, to, true)
	for id := uint32(1); id < 4000; id += 2 {
		if s.begin(id, "application/grpc", pb.KV_Put_FullMethodName) != nil {
			return
		}
	}
	<-ctx.Done()
}

// silence opens connections that say nothing.
func silence(ctx context.Context, t *testing.T, to *target) {
	for range 500 {
		conn, err := net.Dial("tcp", to.address)
		if err != nil {
			break
		}
		defer conn.Close()
	}
	<-ctx.Done()
}

// comeAndGo opens connections, says a little of something, and goes.
func comeAndGo(ctx context.Context, t *testing.T, to *target) {
	beginnings := []string{"", "P", "PRI * HTTP/2.0\r\n", "\x16\x03\x01\x02\x00\x01", "GET / HTTP/1.1\r\n", http2.ClientPreface, "\x00\xff"}
	for i := 0; ctx.Err() == nil; i++ {
		conn, err := net.Dial("tcp", to.address)
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, beginnings[i%len(beginnings)])
		_ = conn.Close()
	}
}

// endless yields text until ctx ends.
type endless struct {
	ctx  context.Context
	text string
}

func (e *endless) Read(p []byte) (int, error) {
	if e.ctx.Err() != nil {
		return 0, io.ErrUnexpectedEOF
	}
	return copy(p, e.text), nil
}

// postJSON sends a body to the gateway until it is refused.
func postJSON(ctx context.Context, to *target, path string, body io.Reader) {
	scheme := "http://"
	if to.tls != nil {
		scheme = "https://"
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, scheme+to.address+path, body)
	if err != nil {
		return
	}
	transport := &http.Transport{TLSClientConfig: to.tls}
	defer transport.CloseIdleConnections()
	if resp, err := (&http.Client{Transport: transport}).Do(r); err == nil {
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
}

func endlessJSON(ctx context.Context, _ *testing.T, to *target) {
	for _, path := range []string{"/v3/kv/put", "/v3/watch", "/v3/lease/keepalive"} {
		postJSON(ctx, to, path, io.MultiReader(strings.NewReader(`{"key":"`), &endless{ctx, strings.Repeat("A", 4096)}))
	}
}

func nestedJSON(ctx context.Context, _ *testing.T, to *target) {
	for _, opening := range []string{"[", `{"a":`, `{"success":[{"request_txn":`} {
		postJSON(ctx, to, "/v3/kv/txn", &endless{ctx, strings.Repeat(opening, 100)})
	}
}

// TestMalformed: each is answered with an error or cut off, in time.
func TestMalformed(t *testing.T) {
	long := strings.Repeat("x", 100000)
	message := func(flag byte, length uint32, body string) []byte {
		return append(binary.BigEndian.AppendUint32([]byte{flag}, length), body...)
	}
	call := func(path string, body []byte) func(*raw) error {
		return func(s *raw) error {
			return errors.Join(s.begin(1, "application/grpc", path), s.WriteData(1, true, body))
		}
	}
	send := func(b []byte) func(*raw) error {
		return func(s *raw) error {
			_, err := s.conn.Write(b)
			return err
		}
	}
	attacks := []struct {
		name string
		do   func(*raw) error
		want string // the answer's gRPC status, an error code of HTTP/2, or "cut"
	}{
		{"message that does not decode", call(pb.KV_Range_FullMethodName, message(0, 3, "\xff\xff\xff")), "13"},
		{"message shorter than it says", call(pb.KV_Range_FullMethodName, message(0, 100, "abc")), "13"},
		{"message of four gigabytes", call(pb.KV_Range_FullMethodName, message(0, 1<<32-1, "abc")), "8"},
		{"compressed with nothing known", call(pb.KV_Range_FullMethodName, message(1, 3, "abc")), "13"},
		{"no message", call(pb.KV_Range_FullMethodName, nil), "13"},
		{"unknown method", call("/etcdserverpb.KV/Nothing", message(0, 0, "")), "12"},
		{"unknown service", call("/nothing/Nothing", message(0, 0, "")), "12"},
		{"path without a method", call("nothing", message(0, 0, "")), "12"},
		{"path that is endless", call("/"+strings.Repeat("x", 10000), message(0, 0, "")), "12"},
		{"timeout that is none", func(s *raw) error {
			return s.begin(1, "application/grpc", pb.KV_Range_FullMethodName, "grpc-timeout", "forever")
		}, "13"},
		{"metadata that is not base64", func(s *raw) error {
			return s.begin(1, "application/grpc", pb.KV_Range_FullMethodName, "x-bin", "!!!")
		}, "13"},
		{"stream of even number", func(s *raw) error { return s.begin(2, "application/grpc", "/x") }, "cut"},
		{"settings of odd size", send(frame(http2.FrameSettings, 0, 0, []byte{1, 2, 3})), "cut"},
		{"ping of odd size", send(frame(http2.FramePing, 0, 0, []byte{1})), "cut"},
		{"window of no size", send(frame(http2.FrameWindowUpdate, 0, 0, []byte{0, 0, 0, 0})), "cut"},
		{"frame larger than may be", send(frame(http2.FrameData, 0, 0, []byte(long))), "cut"},
		{"continuation of nothing", send(frame(http2.FrameContinuation, http2.FlagContinuationEndHeaders, 1, nil)), "cut"},
		{"header that does not decode", send(frame(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 1, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff})), "cut"},
	}
	for scheme, to := range targets(t) {
		for _, a := range attacks {
			t.Run(scheme+", "+a.name, func(t *testing.T) {
				s := dialHTTP2(t, to.address, to.tls)
				_ = a.do(s) // it may be cut off already
				check(t, s.conn.SetReadDeadline(time.Now().Add(5*time.Second)))
				if got := answer(t, s); got != a.want && (a.want != "cut" || !strings.HasPrefix(got, "error of HTTP/2")) {
					t.Errorf("%s, want %s", got, a.want)
				}
				mustServe(t, to, false)
			})
		}
	}
}

// answer is how the server answers the first call: the status of gRPC, an error of HTTP/2, or "cut".
func answer(t *testing.T, s *raw) (what string) {
	t.Helper()
	s.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_, err := s.until(func(f http2.Frame) bool {
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			for _, h := range f.Fields {
				if h.Name == "grpc-status" {
					what = h.Value
				}
			}
		case *http2.GoAwayFrame:
			what = "error of HTTP/2: " + f.ErrCode.String()
		case *http2.RSTStreamFrame:
			if what == "" {
				what = "error of HTTP/2: " + f.ErrCode.String()
			}
		}
		return what != ""
	})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return "no answer"
	}
	if err != nil {
		return "cut"
	}
	return what
}

// TestUnfinished: clients that begin something and do not go on are cut off in the bound of that phase, and the others are served meanwhile. The longer
// bounds, of HTTP/1.1, are tested in package port with a clock of their own.
func TestUnfinished(t *testing.T) {
	const bound = 10 * time.Second
	all := targets(t)
	unfinished := []struct {
		name   string
		scheme string
		begin  func(*testing.T, *target) net.Conn
	}{
		{"TLS handshake", "https", func(t *testing.T, to *target) net.Conn {
			conn := connect(t, to.address, nil)
			_, err := io.WriteString(conn, "\x16\x03\x01\x02\x00\x01\x00")
			check(t, err)
			return conn
		}},
		{"preface", "http", func(t *testing.T, to *target) net.Conn {
			conn := connect(t, to.address, nil)
			_, err := io.WriteString(conn, http2.ClientPreface[:20])
			check(t, err)
			return conn
		}},
		{"preface", "https", func(t *testing.T, to *target) net.Conn {
			conn := connect(t, to.address, to.tls, "h2")
			_, err := io.WriteString(conn, http2.ClientPreface[:20])
			check(t, err)
			return conn
		}},
		{"header", "http", beginHeader},
		{"header", "https", beginHeader},
		{"second header", "http", beginSecondHeader},
		{"second header", "https", beginSecondHeader},
		{"nothing", "http", func(t *testing.T, to *target) net.Conn { return connect(t, to.address, nil) }},
		{"nothing within TLS", "https", func(t *testing.T, to *target) net.Conn { return connect(t, to.address, to.tls, "http/1.1") }},
	}
	var waiting sync.WaitGroup
	for _, u := range unfinished {
		to := all[u.scheme]
		conn := u.begin(t, to)
		begun := time.Now()
		waiting.Go(func() {
			_, err := io.Copy(io.Discard, conn)
			if took := time.Since(begun); errors.Is(err, os.ErrDeadlineExceeded) || took < bound-time.Second || took > bound+5*time.Second {
				t.Errorf("%s, %s: cut off after %v: %v", u.scheme, u.name, took, err)
			}
			mustServe(t, to, true)
		})
	}
	waiting.Wait()
}

func beginHeader(t *testing.T, to *target) net.Conn {
	t.Helper()
	s := dialHTTP2(t, to.address, to.tls)
	check(t, s.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: headerBlock("application/grpc", "/")}))
	return s.conn
}

func beginSecondHeader(t *testing.T, to *target) net.Conn {
	t.Helper()
	s := dialHTTP2(t, to.address, to.tls)
	s.open(t, 1, "application/grpc", pb.Watch_Watch_FullMethodName)
	check(t, s.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: headerBlock("application/grpc", "/")}))
	return s.conn
}
