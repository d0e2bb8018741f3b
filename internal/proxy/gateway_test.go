package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/quoin-kv/quoin/internal/discover"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// town is a network of servers that say their name and repeat what they are told.
type town struct {
	mu struct {
		sync.Mutex
		away  map[string]bool
		calls map[string]int
	}
}

func newTown() *town {
	w := &town{}
	w.mu.away, w.mu.calls = map[string]bool{}, map[string]int{}
	return w
}

func (w *town) set(name string, away bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.away[name] = away
}

func (w *town) calls(name string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mu.calls[name]
}

func (w *town) dial(_ context.Context, _, address string) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.calls[address]++
	if w.mu.away[address] {
		return nil, errors.New("nobody there")
	}
	near, far := net.Pipe()
	go func() {
		defer far.Close()
		if _, err := far.Write([]byte(address)); err == nil {
			_, _ = io.Copy(far, far)
		}
	}()
	return near, nil
}

// street is a listener whose clients are put into a channel.
type street struct {
	clients chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

func newStreet() *street { return &street{clients: make(chan net.Conn), closed: make(chan struct{})} }

func (s *street) Accept() (net.Conn, error) {
	select {
	case c := <-s.clients:
		return c, nil
	case <-s.closed:
		return nil, net.ErrClosed
	}
}
func (s *street) Close() error   { s.once.Do(func() { close(s.closed) }); return nil }
func (s *street) Addr() net.Addr { return &net.TCPAddr{} }

// visit connects, and returns who answered, empty if nobody did.
func (s *street) visit(t *testing.T) (string, net.Conn) {
	t.Helper()
	near, far := net.Pipe()
	s.clients <- far
	name := make([]byte, 1)
	if _, err := io.ReadFull(near, name); err != nil {
		near.Close()
		return "", nil
	}
	return string(name), near
}

func TestGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s := newTown(), newStreet()
		g := NewGateway([]Endpoint{{"a", 0}, {"b", 0}, {"c", 1}}, time.Minute, slog.New(slog.DiscardHandler))
		g.dial = w.dial
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- g.Serve(ctx, s) }()
		who := func() string {
			name, conn := s.visit(t)
			if conn != nil {
				conn.Close()
			}
			return name
		}
		expect := func(what, want string) {
			t.Helper()
			var got strings.Builder
			for range len(want) {
				got.WriteString(who())
			}
			if got.String() != want {
				t.Errorf("%s: %s, want %s", what, got.String(), want)
			}
		}
		expect("in turn, the best only", "abab")
		w.set("a", true)
		expect("one is away", "bbb")
		if n := w.calls("a"); n != 3 {
			t.Errorf("tried %d times, want two of before and one in vain", n)
		}
		w.set("b", true)
		expect("the best are away", "cc")
		w.set("a", false)
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		expect("one is back", "aaa")
		w.set("a", true)
		w.set("c", true)
		if got := who(); got != "" {
			t.Errorf("%s answers, and all are away", got)
		}
		w.set("a", false)
		time.Sleep(time.Minute)
		synctest.Wait()
		name, conn := s.visit(t)
		if _, err := conn.Write([]byte("x")); err != nil || name != "a" {
			t.Fatal(name, err)
		}
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		cancel()
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			t.Error("the connection outlives the gateway")
		}
		conn.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// records answers for a domain.
type records map[string][]*net.SRV

func (r records) LookupSRV(_ context.Context, service, _, name string) (string, []*net.SRV, error) {
	if list := r[service+" "+name]; list != nil {
		return "", list, nil
	}
	return "", nil, errors.New("no such host")
}

func TestDiscovery(t *testing.T) {
	dns := records{
		"etcd-client-ssl d": {{Target: "s.", Port: 1, Priority: 2}}, "etcd-client d": {{Target: "p.", Port: 2}},
	}
	for _, tc := range []struct {
		d    discovery
		want string
	}{
		{discovery{Clients: discover.Clients{Domain: "d"}}, "s:1"},
		{discovery{Clients: discover.Clients{Domain: "d", Insecure: true}}, "s:1 p:2"},
		{discovery{Clients: discover.Clients{Domain: "d", Name: "x"}}, "error"},
		{discovery{Clients: discover.Clients{Domain: "d"}, trustedCA: "/nowhere"}, "error"},
	} {
		tc.d.Resolver, tc.d.logger = dns, slog.New(slog.DiscardHandler)
		var got []string
		list, err := tc.d.find(t.Context())
		for _, e := range list {
			got = append(got, e.Address)
		}
		if err != nil {
			got = []string{"error"}
		}
		if strings.Join(got, " ") != tc.want {
			t.Errorf("%+v: %v, %v", tc.d, got, err)
		}
	}
}

// TestCommand: what is said on the command line holds, flags before the subcommand too.
func TestCommand(t *testing.T) {
	for _, tc := range []struct{ args, want string }{
		{"gateway --endpoints=a:1,b start", `endpoint "b": expected host:port`},
		{"gateway start --retry-delay=0s", "--retry-delay must be positive, not 0s"},
		{"gateway start x", `unknown command "x"`},
		{"gateway start --listen-addr=nowhere", "missing port"},
	} {
		root := Command(func() *slog.Logger { return slog.New(slog.DiscardHandler) })
		root.SetArgs(strings.Fields(tc.args)[1:])
		root.SetErr(io.Discard)
		root.SetOut(io.Discard)
		if err := root.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %s", tc.args, err, tc.want)
		}
	}
	var out bytes.Buffer
	ctx, cancel := context.WithCancel(t.Context())
	root := Command(func() *slog.Logger {
		return slog.New(slog.NewTextHandler(&stopAt{&out, "ready to proxy client requests", cancel}, nil))
	})
	root.SetArgs(strings.Fields("--endpoints=http://a:1,b:2 start --listen-addr=127.0.0.1:0"))
	if err := root.ExecuteContext(ctx); err != nil || !strings.Contains(out.String(), `endpoints="[a:1 b:2]"`) {
		t.Errorf("%v: %s", err, out.String())
	}
}

// stopAt ends the command when it says something.
type stopAt struct {
	out    io.Writer
	words  string
	cancel func()
}

func (s *stopAt) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte(s.words)) {
		s.cancel()
	}
	return s.out.Write(b)
}
