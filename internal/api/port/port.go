// Package port shares one listening socket between gRPC and HTTP: whoever opens with the preface of HTTP/2 speaks gRPC.
package port

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// preface is what every HTTP/2 client sends first (RFC 9113, section 3.4). Its first bytes cannot begin an HTTP/1 request that we serve.
const preface = "PRI * HTTP/2.0\r\n"

// prefaceTimeout is the time that a client has to show which protocol it speaks.
const prefaceTimeout = 10 * time.Second

// maxUndecided bounds the connections that have not shown their protocol yet; further ones wait in the kernel's queue.
const maxUndecided = 1024

// Splitter accepts connections and hands each to GRPC or HTTP.
type Splitter struct {
	GRPC net.Listener
	HTTP net.Listener

	root      net.Listener
	grpc      *queue
	http      *queue
	undecided chan struct{}
	wg        sync.WaitGroup
}

// NewSplitter takes over root. Serve must be called for anything to happen.
func NewSplitter(root net.Listener) *Splitter {
	s := &Splitter{root: root, undecided: make(chan struct{}, maxUndecided), grpc: newQueue(root.Addr()), http: newQueue(root.Addr())}
	s.GRPC, s.HTTP = s.grpc, s.http
	return s
}

// Serve accepts connections until Close. It returns nil after Close, else why accepting failed.
func (s *Splitter) Serve() error {
	defer s.wg.Wait()
	for {
		conn, err := s.root.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return nil
			}
			if retryable(err) {
				time.Sleep(acceptPause)
				continue
			}
			return err
		}
		s.undecided <- struct{}{}
		s.wg.Go(func() {
			s.decide(conn)
			<-s.undecided
		})
	}
}

// acceptPause lets a process that ran out of file descriptors get some back.
const acceptPause = 50 * time.Millisecond

// retryable reports whether accepting may work again, as after running out of descriptors.
func retryable(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout() || isResourceError(err)
}

// decide reads the first bytes and passes the connection on.
func (s *Splitter) decide(conn net.Conn) {
	_ = conn.SetReadDeadline(time.Now().Add(prefaceTimeout)) // a connection that cannot have one fails at the read
	head := make([]byte, len(preface))
	n := 0
	for n < len(head) && bytes.Equal(head[:n], []byte(preface[:n])) {
		k, err := conn.Read(head[n:])
		n += k
		if err != nil && !errors.Is(err, io.EOF) {
			_ = conn.Close()
			return
		}
		if err != nil {
			break
		}
	}
	_ = conn.SetReadDeadline(time.Time{})
	to := s.http
	if string(head[:n]) == preface {
		to = s.grpc
	}
	to.push(&replayed{Conn: conn, head: head[:n]})
}

// Close stops accepting and closes both listeners.
func (s *Splitter) Close() error {
	return errors.Join(s.root.Close(), s.grpc.Close(), s.http.Close())
}

// replayed is a connection whose first bytes were read already.
type replayed struct {
	net.Conn
	head []byte
}

func (r *replayed) Read(p []byte) (int, error) {
	if len(r.head) > 0 {
		n := copy(p, r.head)
		r.head = r.head[n:]
		return n, nil
	}
	return r.Conn.Read(p)
}

// queue is a listener fed by push.
type queue struct {
	addr  net.Addr
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newQueue(addr net.Addr) *queue {
	return &queue{addr: addr, conns: make(chan net.Conn), done: make(chan struct{})}
}

// push hands over conn, or closes it if the queue is closed.
func (q *queue) push(conn net.Conn) {
	select {
	case q.conns <- conn:
	case <-q.done:
		_ = conn.Close()
	}
}

func (q *queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.done:
		return nil, net.ErrClosed
	}
}

func (q *queue) Close() error {
	q.once.Do(func() { close(q.done) })
	return nil
}

func (q *queue) Addr() net.Addr { return q.addr }

// NewPipe returns a listener inside the process and the function that dials it.
func NewPipe() (net.Listener, func() (net.Conn, error)) {
	q := newQueue(pipeAddr{})
	return q, func() (net.Conn, error) {
		client, server := net.Pipe()
		select {
		case q.conns <- server:
			return client, nil
		case <-q.done:
			return nil, net.ErrClosed
		}
	}
}

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }
