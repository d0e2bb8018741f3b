// Package port shares one listening socket between gRPC and HTTP: whoever opens with the preface of HTTP/2 speaks gRPC.
package port

import (
	"bytes"
	"container/list"
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

// maxUndecided bounds the connections that have not shown their protocol yet. One more, and the oldest of them is closed: clients that
// connect and say nothing cannot keep out those that talk.
const maxUndecided = 1024

// Splitter accepts connections and hands each to GRPC or HTTP.
//
// Invariants:
//  1. Every accepted connection is either undecided, or with one of the two listeners, or closed.
//  2. At most maxUndecided connections are undecided.
//  3. After Close none is undecided, and Serve ends.
type Splitter struct {
	GRPC net.Listener
	HTTP net.Listener

	root      net.Listener
	grpc      *queue
	http      *queue
	undecided undecided
	wg        sync.WaitGroup
}

// NewSplitter takes over root. Serve must be called for anything to happen.
func NewSplitter(root net.Listener) *Splitter {
	s := &Splitter{root: root, grpc: newQueue(root.Addr()), http: newQueue(root.Addr())}
	s.GRPC, s.HTTP = s.grpc, s.http
	s.undecided.max = maxUndecided
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
		s.pause()
	}
}

// take decides about a connection beside the others.
func (s *Splitter) take(conn net.Conn) {
	entry, ok := s.undecided.add(conn)
	if !ok {
		_ = conn.Close()
		return
	}
	s.wg.Go(func() { s.decide(conn, entry) })
}

// acceptPause lets a process that ran out of file descriptors get some back.
const acceptPause = 50 * time.Millisecond

func (s *Splitter) pause() {
	select {
	case <-time.After(acceptPause):
	case <-s.grpc.done:
	}
}

// retryable reports whether accepting may work again, as after running out of descriptors.
func retryable(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout() || isResourceError(err)
}

// decide reads the first bytes and passes the connection on.
func (s *Splitter) decide(conn net.Conn, entry *list.Element) {
	head, err := readHead(conn)
	if !s.undecided.remove(entry) || err != nil {
		_ = conn.Close()
		return
	}
	to := s.http
	if string(head) == preface {
		to = s.grpc
	}
	to.push(&replayed{Conn: conn, head: head})
}

// readHead reads until it is clear whether the client sends the preface, and returns what it read.
func readHead(conn net.Conn) ([]byte, error) {
	if err := conn.SetReadDeadline(time.Now().Add(prefaceTimeout)); err != nil {
		return nil, err
	}
	head := make([]byte, len(preface))
	n := 0
	for n < len(head) && bytes.Equal(head[:n], []byte(preface[:n])) {
		k, err := conn.Read(head[n:])
		n += k
		if errors.Is(err, io.EOF) && n > 0 {
			break // a client that closed its side may still read an answer
		}
		if err != nil {
			return nil, err
		}
	}
	return head[:n], conn.SetReadDeadline(time.Time{})
}

// Close stops accepting, closes the connections that are undecided and both listeners.
func (s *Splitter) Close() error {
	err := errors.Join(s.root.Close(), s.grpc.Close(), s.http.Close())
	s.undecided.close()
	return err
}

// undecided is the connections that have not shown their protocol, oldest first.
type undecided struct {
	max int
	mu  struct {
		sync.Mutex
		conns  list.List // of net.Conn
		closed bool
	}
}

// add notes conn, at the price of the oldest if there are too many. It reports false after close.
func (u *undecided) add(conn net.Conn) (entry *list.Element, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.mu.closed {
		return nil, false
	}
	if u.mu.conns.Len() >= u.max {
		u.drop(u.mu.conns.Front())
	}
	return u.mu.conns.PushBack(conn), true
}

// drop closes a connection, which wakes the goroutine that reads from it. u.mu is held.
func (u *undecided) drop(entry *list.Element) {
	_ = u.mu.conns.Remove(entry).(net.Conn).Close()
	entry.Value = nil
}

// remove forgets a connection and reports whether it is still wanted: false if it was dropped meanwhile.
func (u *undecided) remove(entry *list.Element) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if entry.Value == nil {
		return false
	}
	u.mu.conns.Remove(entry)
	return true
}

func (u *undecided) close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.mu.closed = true
	for u.mu.conns.Len() > 0 {
		u.drop(u.mu.conns.Front())
	}
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
