package flags

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

func fmtInt(n int) string { return strconv.Itoa(n) }

// limitScenarios are of what clients may do.
func limitScenarios() []scenario {
	return []scenario{
		{name: "sizes", flags: "max-txn-ops max-request-bytes quota-backend-bytes max-concurrent-streams", options: fixed(options{
			"max-txn-ops": 2, "max-request-bytes": 1000, "quota-backend-bytes": 12345678, "max-concurrent-streams": 7,
		}), see: seeSizes},
		{name: "no gateway", flags: "enable-grpc-gateway", options: fixed(options{"enable-grpc-gateway": false}), see: func(t *testing.T, m *member) {
			if status, body, _ := m.get(t, "/v3/kv/range"); status != http.StatusNotFound {
				t.Errorf("status %d: %s", status, body)
			}
		}},
		{name: "pings of clients", flags: "grpc-keepalive-min-time", options: fixed(options{"grpc-keepalive-min-time": "1us"}), see: func(t *testing.T, m *member) {
			c := dialHTTP2(t, m.url)
			c.openWatch(t)
			for range 10 {
				c.ping(t)
			}
		}},
		{name: "pings of the member", flags: "grpc-keepalive-interval grpc-keepalive-timeout", options: fixed(options{"grpc-keepalive-interval": "1s", "grpc-keepalive-timeout": "100ms"}), see: func(t *testing.T, m *member) {
			c := dialHTTP2(t, m.url)
			for pinged := false; ; {
				f, err := c.framer.ReadFrame()
				if err != nil {
					if !pinged || isTimeout(err) {
						t.Errorf("pinged %t, then %v", pinged, err)
					}
					return // the ping was not answered
				}
				if p, ok := f.(*http2.PingFrame); ok && !p.IsAck() {
					pinged = true
				}
			}
		}},
		{name: "progress of watches", flags: "watch-progress-notify-interval", options: fixed(options{"watch-progress-notify-interval": "100ms"}), see: func(t *testing.T, m *member) {
			for w := range m.client(t).Watch(soon(t), "k", clientv3.WithProgressNotify()) {
				if w.IsProgressNotify() {
					return
				}
			}
			t.Error("no progress")
		}},
		{name: "memory for answers", flags: "range-budget-bytes", options: fixed(options{"range-budget-bytes": 1 << 20}), see: seeBudget},
		{name: "slow", flags: "warning-apply-duration warning-unary-request-duration", options: fixed(options{"warning-apply-duration": "1ns", "warning-unary-request-duration": "1ns"}), see: func(t *testing.T, m *member) {
			put(t, m.client(t), 1, "x")
			m.waitLog(t, "apply request took too long")
			m.waitLog(t, slowUnary)
		}},
	}
}

// slowUnary is what the log says of a slow call.
const slowUnary = "request stats"

// seeBudget: while somebody does not take a large answer, the next one has to wait.
func seeBudget(t *testing.T, m *member) {
	c := m.client(t)
	put(t, c, 10, strings.Repeat("x", 300<<10))
	everything := func() error {
		ctx, cancel := context.WithTimeout(soon(t), time.Second)
		defer cancel()
		_, err := c.Get(ctx, "k", clientv3.WithPrefix())
		return err
	}
	if err := everything(); err != nil {
		t.Errorf("alone: %v", err)
	}
	dialHTTP2(t, m.url).ask(t, "/etcdserverpb.KV/Range", []byte("\x0a\x01k\x12\x01l"))
	m.eventually(t, "another one waits", func() bool { return errors.Is(everything(), context.DeadlineExceeded) })
}

func seeSizes(t *testing.T, m *member) {
	c := m.client(t)
	_, err := c.Txn(soon(t)).Then(clientv3.OpPut("a", ""), clientv3.OpPut("b", ""), clientv3.OpPut("c", "")).Commit()
	if err == nil || !strings.Contains(err.Error(), "too many operations in txn request") {
		t.Errorf("three operations: %v", err)
	}
	if _, err = c.Put(soon(t), "a", strings.Repeat("x", 1000)); err == nil || !strings.Contains(err.Error(), "request is too large") {
		t.Errorf("a large request: %v", err)
	}
	status, err := c.Status(soon(t), m.url)
	if err != nil || status.DbSizeQuota != 12345678 {
		t.Errorf("status %v, %v", status, err)
	}
	if got := dialHTTP2(t, m.url).settings[http2.SettingMaxConcurrentStreams]; got != 7 {
		t.Errorf("%d streams", got)
	}
}

// http2Conn speaks HTTP/2 in frames.
type http2Conn struct {
	net.Conn
	framer   *http2.Framer
	settings map[http2.SettingID]uint32 // of the server
}

func dialHTTP2(t *testing.T, address string) *http2Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	c := &http2Conn{Conn: conn, framer: http2.NewFramer(conn, conn), settings: map[http2.SettingID]uint32{}}
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := c.framer.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	for {
		f, err := c.framer.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if s, ok := f.(*http2.SettingsFrame); ok && !s.IsAck() {
			_ = s.ForeachSetting(func(one http2.Setting) error {
				c.settings[one.ID] = one.Val
				return nil
			})
			return c
		}
	}
}

// openWatch opens a call that goes on, without saying anything in it.
func (c *http2Conn) openWatch(t *testing.T) {
	t.Helper()
	c.open(t, "/etcdserverpb.Watch/Watch")
}

// ask asks for something and reads no answer.
func (c *http2Conn) ask(t *testing.T, path string, message []byte) {
	t.Helper()
	c.open(t, path)
	frame := append([]byte{0, 0, 0, 0, byte(len(message))}, message...)
	if err := c.framer.WriteData(1, true, frame); err != nil {
		t.Fatal(err)
	}
}

// open begins a call.
func (c *http2Conn) open(t *testing.T, path string) {
	t.Helper()
	var block strings.Builder
	e := hpack.NewEncoder(&block)
	for _, h := range [][2]string{
		{":method", "POST"}, {":scheme", "http"}, {":path", path}, {":authority", "a"}, {"content-type", "application/grpc"}, {"te", "trailers"},
	} {
		if err := e.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte(block.String()), EndHeaders: true}); err != nil {
		t.Fatal(err)
	}
}

// ping sends a ping and waits for the answer.
func (c *http2Conn) ping(t *testing.T) {
	t.Helper()
	if err := c.framer.WritePing(false, [8]byte{1}); err != nil {
		t.Fatal(err)
	}
	for {
		f, err := c.framer.ReadFrame()
		if err != nil {
			t.Fatalf("no answer to a ping: %v", err)
		}
		switch f := f.(type) {
		case *http2.GoAwayFrame:
			t.Fatalf("told to go away: %s", f.DebugData())
		case *http2.PingFrame:
			if f.IsAck() {
				return
			}
		}
	}
}

func isTimeout(err error) bool {
	timeout, ok := err.(net.Error)
	return ok && timeout.Timeout()
}
