// Package port is what stands behind a listening socket: it bounds the connections of clients, takes them through TLS, finds out whether they speak
// gRPC or HTTP, and hands each to the server that understands it.
//
// Without TLS, whoever opens with the preface of HTTP/2 speaks gRPC. With TLS, both kinds of clients may speak HTTP/2: then the first
// request says what its connection is for. A connection belongs to the Limit from its acceptance to its end; until it has made a
// request it is waiting, and there is a bound on those that wait: clients that connect and say nothing cannot keep out those that talk.
package port

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// preface is what every HTTP/2 client sends first (RFC 9113, section 3.4). Its first bytes cannot begin an HTTP/1 request that we serve.
const preface = "PRI * HTTP/2.0\r\n"

// prefaceTimeout is the time that a client has to show which protocol it speaks, and handshakeTimeout that of its TLS handshake.
const (
	prefaceTimeout   = 10 * time.Second
	handshakeTimeout = 10 * time.Second
)

// Options say what a listener serves.
type Options struct {
	TLS        *tls.Config // nil: no TLS
	Plain      bool        // clients without TLS are served
	GRPC, HTTP bool        // the kinds that are served; others are refused
	MaxStreams uint32      // that the gRPC server allows on a connection
	Limit      *Limit      // which listeners may share; nil: one without a bound on connections
	// Rejected is told about handshakes that failed, from many goroutines; may be nil.
	Rejected func(remote net.Addr, err error)
}

// Splitter accepts connections and hands each to GRPC or HTTP.
//
// Invariants:
//  1. Every accepted connection is with decide, or with one of the two listeners, or closed.
//  2. Every connection that is not closed counts in the Limit.
//  3. After Close no connection is with decide, and Serve ends.
type Splitter struct {
	GRPC net.Listener
	HTTP net.Listener

	opts Options
	root net.Listener
	grpc *queue
	http *queue
	ctx  context.Context // ends with Close
	end  context.CancelFunc
	wg   sync.WaitGroup
}

// NewSplitter takes over root. Serve must be called for anything to happen.
func NewSplitter(root net.Listener, opts Options) *Splitter {
	s := &Splitter{opts: opts, root: root, grpc: newQueue(root.Addr()), http: newQueue(root.Addr())}
	if s.opts.Limit == nil {
		s.opts.Limit = NewLimit(0)
	}
	s.GRPC, s.HTTP = s.grpc, s.http
	s.ctx, s.end = context.WithCancel(context.Background())
	return s
}

// Serve accepts connections until Close. It returns nil after Close, else why accepting failed.
func (s *Splitter) Serve() error {
	defer s.wg.Wait()
	for {
		conn, err := s.root.Accept()
		if err == nil {
			s.take(conn)
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if !retryable(err) {
			return errors.Join(err, s.Close())
		}
		s.opts.Limit.relieve()
		s.pause()
	}
}

// take decides about a connection beside the others.
func (s *Splitter) take(conn net.Conn) {
	g, ok := s.opts.Limit.admit(conn, s)
	if !ok {
		_ = conn.Close()
		return
	}
	s.wg.Go(func() { s.decide(g) })
}

// acceptPause lets a process that ran out of file descriptors get some back.
const acceptPause = 50 * time.Millisecond

func (s *Splitter) pause() {
	select {
	case <-time.After(acceptPause):
	case <-s.ctx.Done():
	}
}

// retryable reports whether accepting may work again, as after running out of descriptors.
func retryable(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout() || isResourceError(err)
}

// decide takes the connection through its first steps and passes it on.
func (s *Splitter) decide(g *guest) {
	c := &Conn{Conn: g, guest: g}
	to, err := s.find(c)
	if err != nil {
		_ = c.Close()
		return
	}
	to.push(c)
}

// errRefused says that nobody here speaks what the client speaks.
var errRefused = errors.New("protocol is not served here")

// find finds out what the client speaks and who serves it.
func (s *Splitter) find(c *Conn) (*queue, error) {
	if err := s.secure(c); err != nil {
		return nil, err
	}
	if c.state != nil && c.state.NegotiatedProtocol == "h2" {
		return s.findByRequest(c)
	}
	head, err := readHead(c)
	c.head = append(head, c.head...)
	switch {
	case err != nil:
		return nil, err
	case string(head) != preface:
		return s.served(c, false)
	case c.state != nil:
		return s.findByRequest(c)
	}
	return s.served(c, true)
}

// served returns the server of a kind, if there is one here.
func (s *Splitter) served(c *Conn, grpc bool) (*queue, error) {
	switch {
	case grpc && s.opts.GRPC:
		c.follow()
		return s.grpc, nil
	case !grpc && s.opts.HTTP:
		return s.http, nil
	}
	return nil, errRefused
}

// findByRequest chooses by the first request of a client that speaks HTTP/2 within TLS.
func (s *Splitter) findByRequest(c *Conn) (*queue, error) {
	grpc := s.opts.GRPC
	if grpc && s.opts.HTTP {
		var err error
		if grpc, err = s.awaitRequest(c); err != nil {
			return nil, err
		}
		c.guest.settle()
	}
	c.follow()
	if grpc {
		return s.grpc, nil
	}
	return s.http, nil
}

// tlsRecord is the first byte of every TLS handshake. No request begins with it.
const tlsRecord = 0x16

// secure takes the connection through TLS, if the client or the listener wants that.
func (s *Splitter) secure(c *Conn) error {
	if s.opts.TLS == nil {
		return nil
	}
	if s.opts.Plain {
		first, err := readUpTo(c, func(b []byte) bool { return len(b) > 0 }, 1)
		c.head = first
		if err != nil || len(first) == 0 || first[0] != tlsRecord {
			return err
		}
	}
	inner := &Conn{Conn: c.guest, guest: c.guest, head: c.head}
	session := tls.Server(inner, s.opts.TLS)
	ctx, cancel := context.WithTimeout(s.ctx, handshakeTimeout)
	defer cancel()
	if err := session.HandshakeContext(ctx); err != nil {
		if s.opts.Rejected != nil && s.ctx.Err() == nil && !errors.Is(err, io.EOF) {
			s.opts.Rejected(c.RemoteAddr(), err)
		}
		return err
	}
	state := session.ConnectionState()
	c.Conn, c.head, c.state = session, nil, &state
	return nil
}

// readHead reads until it is clear whether the client sends the preface, and returns what it read.
func readHead(conn net.Conn) ([]byte, error) {
	return readUpTo(conn, func(b []byte) bool { return !bytes.HasPrefix([]byte(preface), b) }, len(preface))
}

// readUpTo reads at most n bytes, and no more once they are enough.
func readUpTo(conn net.Conn, enough func([]byte) bool, n int) ([]byte, error) {
	if err := conn.SetReadDeadline(time.Now().Add(prefaceTimeout)); err != nil {
		return nil, err
	}
	head, have := make([]byte, n), 0
	for have < n && !enough(head[:have]) {
		k, err := conn.Read(head[have:])
		have += k
		if errors.Is(err, io.EOF) && have > 0 {
			break // a client that closed its side may still read an answer
		}
		if err != nil {
			return nil, err
		}
	}
	return head[:have], conn.SetReadDeadline(time.Time{})
}

// Close stops accepting, closes both listeners and the connections that have not made a request.
func (s *Splitter) Close() error {
	s.end()
	err := errors.Join(s.root.Close(), s.grpc.Close(), s.http.Close())
	s.opts.Limit.drop(s)
	return err
}
