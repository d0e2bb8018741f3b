package grpcwire

import (
	"context"
	"errors"
	"math"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/stats"
)

// A Server serves gRPC over HTTP/2 on connections that somebody else has accepted.
//
// Invariants:
//  1. Every connection is in conns from its acceptance until it is closed, and none is added after Stop or GracefulStop has begun.
//  2. No handler starts after the connections' goroutines have ended.
type Server struct {
	limits      Limits
	codec       encoding.CodecV2
	stats       stats.Handler
	credentials credentials.TransportCredentials
	unaries     grpc.UnaryServerInterceptor
	streams     grpc.StreamServerInterceptor
	services    map[string]grpc.ServiceInfo
	methods     map[string]*method
	handlers    []DirectHandler
	static      *staticTable
	workers     *workers
	buffers     sync.Pool
	// largeBuffers are those with room for largeBuffer.
	largeBuffers sync.Pool
	readers      sync.WaitGroup // goroutines of connections
	mu           struct {
		sync.Mutex
		listeners map[net.Listener]bool
		conns     map[net.Conn]*conn // nil: still in its handshake
		draining  bool
		stopped   bool
	}
}

// New returns a server without services.
func New(o Options) *Server {
	s := &Server{
		limits: o.Limits.withDefaults(), codec: o.Codec, stats: o.Stats, credentials: o.Credentials,
		unaries: chainUnary(o.Unary), streams: chainStream(o.Stream),
		services: map[string]grpc.ServiceInfo{}, methods: map[string]*method{}, static: newStaticTable(), workers: newWorkers(),
	}
	s.mu.listeners, s.mu.conns = map[net.Listener]bool{}, map[net.Conn]*conn{}
	return s
}

func (l Limits) withDefaults() Limits {
	set(&l.ReceiveBytes, 4<<20)
	set(&l.SendBytes, math.MaxInt32)
	set(&l.Streams, 1<<16)
	set(&l.HeaderListBytes, 64<<10)
	set(&l.HandshakeTime, 10*time.Second)
	set(&l.KeepAliveMinTime, 5*time.Minute)
	set(&l.KeepAliveTimeout, 20*time.Second)
	return l
}

func set[T comparable](field *T, otherwise T) {
	var zero T
	if *field == zero {
		*field = otherwise
	}
}

// Serve serves the connections of l until Stop or GracefulStop, and then returns nil; otherwise it returns why accepting failed. l is closed in
// the end.
func (s *Server) Serve(l net.Listener) error {
	if !s.listen(l) {
		return l.Close()
	}
	defer s.unlisten(l)
	for {
		socket, err := l.Accept()
		if err != nil {
			if s.ending() {
				return nil
			}
			return errors.Join(err, ignoreClosed(l.Close()))
		}
		if !s.enter(socket) {
			_ = socket.Close()
			continue
		}
		s.readers.Go(func() { s.connection(socket) })
	}
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (s *Server) listen(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.draining {
		return false
	}
	s.mu.listeners[l] = true
	s.readers.Add(1)
	return true
}

func (s *Server) unlisten(l net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.mu.listeners, l)
	s.readers.Done()
}

func (s *Server) ending() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.draining
}

// enter takes note of a connection, unless it comes too late.
func (s *Server) enter(socket net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.draining {
		return false
	}
	s.mu.conns[socket] = nil
	return true
}

// connection serves a connection from beginning to end.
func (s *Server) connection(socket net.Conn) {
	defer s.leave(socket)
	secured, info, err := s.handshake(socket)
	if err != nil {
		_ = socket.Close()
		return
	}
	c := newConn(s, secured)
	c.mu.calmed = sync.NewCond(&c.mu)
	c.base = s.baseContext(secured, info)
	s.mu.Lock()
	s.mu.conns[socket] = c
	draining := s.mu.draining
	s.mu.Unlock()
	if draining {
		c.beginDrain()
	}
	c.serve()
	if s.stats != nil {
		s.stats.HandleConn(c.base, &stats.ConnEnd{})
	}
}

func (s *Server) handshake(socket net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if s.credentials == nil {
		return socket, nil, nil
	}
	if err := socket.SetDeadline(time.Now().Add(s.limits.HandshakeTime)); err != nil {
		return nil, nil, err
	}
	secured, info, err := s.credentials.ServerHandshake(socket)
	if err != nil {
		return nil, nil, err
	}
	return secured, info, secured.SetDeadline(time.Time{})
}

// baseContext is what the contexts of a connection's calls have in common.
func (s *Server) baseContext(socket net.Conn, info credentials.AuthInfo) context.Context {
	ctx := peer.NewContext(context.Background(), &peer.Peer{Addr: socket.RemoteAddr(), LocalAddr: socket.LocalAddr(), AuthInfo: info})
	if s.stats != nil {
		ctx = s.stats.TagConn(ctx, &stats.ConnTagInfo{RemoteAddr: socket.RemoteAddr(), LocalAddr: socket.LocalAddr()})
		s.stats.HandleConn(ctx, &stats.ConnBegin{})
	}
	return ctx
}

func (s *Server) leave(socket net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.mu.conns, socket)
}

// beginStop lets nobody in any more, and returns the connections that there are.
func (s *Server) beginStop() (conns []*conn, sockets []net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.draining = true
	for l := range s.mu.listeners {
		_ = l.Close() // Serve sees it
	}
	for socket, c := range s.mu.conns {
		sockets = append(sockets, socket)
		if c != nil {
			conns = append(conns, c)
		}
	}
	return conns, sockets
}

// GracefulStop lets no more calls in, and returns when those under way have ended and no handler runs any more.
func (s *Server) GracefulStop() {
	conns, _ := s.beginStop()
	for _, c := range conns {
		c.beginDrain()
	}
	s.awaitEnd()
}

// Stop ends all calls and connections, and returns when no handler runs any more.
func (s *Server) Stop() {
	_, sockets := s.beginStop()
	for _, socket := range sockets {
		_ = socket.Close()
	}
	s.awaitEnd()
}

// awaitEnd waits for connections and handlers, and sends the idle workers home.
func (s *Server) awaitEnd() {
	s.readers.Wait()
	s.workers.running.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.mu.stopped {
		s.mu.stopped = true
		close(s.workers.quit)
	}
}
