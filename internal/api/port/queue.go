package port

import (
	"context"
	"net"
	"sync"
)

// queue is a listener fed by push. It holds nothing: push waits for Accept.
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

// NewPipe returns a listener inside the process and the function that dials it, which waits for somebody to accept.
func NewPipe() (net.Listener, func(context.Context) (net.Conn, error)) {
	q := newQueue(pipeAddr{})
	return q, func(ctx context.Context) (net.Conn, error) {
		client, server := net.Pipe()
		select {
		case q.conns <- server:
			return client, nil
		case <-q.done:
			return nil, net.ErrClosed
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }
