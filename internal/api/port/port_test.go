package port

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is a root listener whose clients dial in memory, so that tests can run in a bubble of fake time.
type memory struct {
	*queue
	failures chan error // errors that Accept gives before it waits
}

func (m *memory) Accept() (net.Conn, error) {
	select {
	case err := <-m.failures:
		return nil, err
	default:
		return m.queue.Accept()
	}
}

// both is gRPC and HTTP without TLS.
func both() Options { return Options{Plain: true, GRPC: true, HTTP: true} }

// split runs a splitter over memory and returns the function that connects to it. At the end everything must be over.
func split(t *testing.T) (*Splitter, *memory) {
	t.Helper()
	return splitWith(t, both())
}

func splitWith(t *testing.T, opts Options) (*Splitter, *memory) {
	t.Helper()
	root := &memory{newQueue(pipeAddr{}), make(chan error, 1)}
	s := NewSplitter(root, opts)
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if n := s.opts.Limit.State().Waiting; n != 0 {
			t.Errorf("%d connections wait after Close", n)
		}
	})
	return s, root
}

func (m *memory) dial(t *testing.T) net.Conn {
	t.Helper()
	client, server := net.Pipe()
	m.conns <- server
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// accepted is the connection that one of the listeners got next, and which.
func accepted(t *testing.T, s *Splitter) (net.Conn, string) {
	t.Helper()
	select {
	case c := <-s.grpc.conns:
		t.Cleanup(func() { _ = c.Close() })
		return c, "grpc"
	case c := <-s.http.conns:
		t.Cleanup(func() { _ = c.Close() })
		return c, "http"
	case <-time.After(time.Minute):
		t.Fatal("nobody got the connection")
	}
	return nil, ""
}

func TestDecides(t *testing.T) {
	for _, tc := range []struct {
		name, bytes string
		whole       bool // in one write, else byte by byte
		want        string
	}{
		{"http/2 at once", preface + "\r\nSM\r\n\r\n", true, "grpc"},
		{"http/2 byte by byte", preface + "\r\nSM\r\n\r\n", false, "grpc"},
		{"http/1 at once", "GET /health HTTP/1.1\r\n\r\n", true, "http"},
		{"http/1 byte by byte", "GET /health HTTP/1.1\r\n\r\n", false, "http"},
		{"a method that begins like the preface", "PUT / HTTP/1.1\r\n\r\n", false, "http"},
		{"a preface that ends otherwise", "PRI * HTTP/1.0\r\n\r\n", false, "http"},
		{"tls", "\x16\x03\x01\x02\x00", true, "http"},
		{"garbage", "\x00", true, "http"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, root := split(t)
				client := root.dial(t)
				go send(client, tc.bytes, tc.whole)
				server, got := accepted(t, s)
				if got != tc.want {
					t.Errorf("went to %s, want %s", got, tc.want)
				}
				read := make([]byte, len(tc.bytes))
				if _, err := io.ReadFull(server, read); err != nil || string(read) != tc.bytes {
					t.Errorf("read %q, %v; want %q", read, err, tc.bytes)
				}
			})
		})
	}
}

func send(conn net.Conn, bytes string, whole bool) {
	if whole {
		_, _ = io.WriteString(conn, bytes)
		return
	}
	for i := range len(bytes) {
		if _, err := io.WriteString(conn, bytes[i:i+1]); err != nil {
			return
		}
	}
}

// gone waits until the other side has closed conn.
func gone(t *testing.T, conn net.Conn) {
	t.Helper()
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("read: %v, want EOF", err)
	}
}

func TestSilentClientIsClosedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, root := split(t)
		start := time.Now()
		client := root.dial(t)
		send(client, "PRI", true)
		gone(t, client)
		if took := time.Since(start); took != prefaceTimeout {
			t.Errorf("closed after %v, want %v", took, prefaceTimeout)
		}
	})
}

func TestDecidedConnectionHasNoDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, root := split(t)
		client := root.dial(t)
		go send(client, "GET ", true)
		server, _ := accepted(t, s)
		go func() {
			time.Sleep(time.Hour)
			send(client, "/", true)
		}()
		read := make([]byte, 5)
		if _, err := io.ReadFull(server, read); err != nil {
			t.Errorf("read after an hour: %v", err)
		}
	})
}

func TestClosedBeforeDecided(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, root := split(t)
		client := root.dial(t)
		_ = client.Close()
		synctest.Wait()
		if n := s.opts.Limit.State().Waiting; n != 0 {
			t.Errorf("%d connections undecided", n)
		}
	})
}

// TestHalfClosed: a client that said too little and closed its side still gets HTTP's answer.
func TestHalfClosed(t *testing.T) {
	root, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := NewSplitter(root, both())
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	client, err := net.Dial("tcp", root.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	send(client, "PRI * ", true)
	_ = client.(*net.TCPConn).CloseWrite()
	server, got := accepted(t, s)
	if got != "http" {
		t.Errorf("went to %s", got)
	}
	if all, err := io.ReadAll(server); string(all) != "PRI * " || err != nil {
		t.Errorf("read %q, %v", all, err)
	}
	if err := errors.Join(s.Close(), <-served); err != nil {
		t.Error(err)
	}
}

// TestOverload: when there are too many silent clients the oldest is closed, and one that talks is served at once.
func TestOverload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, root := split(t)
		s.opts.Limit.maxWaiting = 3
		start := time.Now()
		silent := []net.Conn{root.dial(t), root.dial(t), root.dial(t)}
		synctest.Wait()
		talker := root.dial(t)
		gone(t, silent[0])
		go send(talker, preface, true)
		if _, got := accepted(t, s); got != "grpc" {
			t.Errorf("went to %s", got)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("the client that talks waited %v", took)
		}
		// A place is free again: nobody else is closed.
		root.dial(t)
		synctest.Wait()
		if n := s.opts.Limit.State().Waiting; n != 3 {
			t.Errorf("%d connections undecided, want 3", n)
		}
	})
}

func TestCloseEndsUndecidedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, root := split(t)
		client := root.dial(t)
		synctest.Wait()
		start := time.Now()
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		gone(t, client)
		s.wg.Wait()
		if took := time.Since(start); took != 0 {
			t.Errorf("took %v", took)
		}
	})
}

// TestCloseWithNobodyAccepting: a connection that is decided but that no server takes is closed as well.
func TestCloseWithNobodyAccepting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, root := split(t)
		client := root.dial(t)
		send(client, "G", true)
		synctest.Wait()
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		gone(t, client)
	})
}

func TestAcceptErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, root := split(t)
		root.failures <- unix.EMFILE
		root.dial(t) // Accept waits in the queue; the next call meets the error
		client := root.dial(t)
		go send(client, "G", true)
		if _, got := accepted(t, s); got != "http" {
			t.Errorf("went to %s", got)
		}
	})
}

func TestServeReturnsFatalErrors(t *testing.T) {
	broken := errors.New("broken")
	root := &memory{newQueue(pipeAddr{}), make(chan error, 1)}
	root.failures <- broken
	s := NewSplitter(root, both())
	if err := s.Serve(); !errors.Is(err, broken) {
		t.Errorf("Serve: %v", err)
	}
	if _, err := s.GRPC.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after the failure: %v", err)
	}
}

func TestPipe(t *testing.T) {
	l, dial := NewPipe()
	go func() {
		conn, err := l.Accept()
		if err == nil {
			send(conn, "hello", true)
			_ = conn.Close()
		}
	}()
	conn, err := dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if err != nil || string(got) != "hello" {
		t.Errorf("read %q, %v", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := dial(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("dial with nobody accepting: %v", err)
	}
	_ = l.Close()
	if _, err := dial(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("dial after Close: %v", err)
	}
	if !strings.Contains(l.Addr().String(), "pipe") {
		t.Errorf("address %s", l.Addr())
	}
}

func TestCount(t *testing.T) {
	var received, sent atomic.Int64
	inner, dial := NewPipe()
	l := Count(inner, func(n int) { received.Add(int64(n)) }, func(n int) { sent.Add(int64(n)) })
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			t.Errorf("Accept: %v", err)
			return
		}
		_, _ = io.ReadFull(conn, make([]byte, 3))
		send(conn, "12345", true)
		_ = conn.Close()
	}()
	conn, err := dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	send(conn, "abc", true)
	if _, err := io.ReadAll(conn); err != nil {
		t.Error(err)
	}
	<-done
	if received.Load() != 3 || sent.Load() != 5 {
		t.Errorf("received %d, sent %d", received.Load(), sent.Load())
	}
	_ = l.Close()
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close: %v", err)
	}
}
