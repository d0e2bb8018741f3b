package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/quoin-kv/quoin/raft/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const cluster = 0xc1

// network connects members in memory. A connection has no buffer: what is not read is not written.
type network struct {
	mu struct {
		sync.Mutex
		listeners map[string]*listener
		wrap      func(address string, c net.Conn) net.Conn // around the dialer's end
		cut       map[string]bool
		conns     []net.Conn
	}
}

func newNetwork() *network {
	n := &network{}
	n.mu.listeners, n.mu.cut = map[string]*listener{}, map[string]bool{}
	return n
}

type listener struct {
	address string
	conns   chan net.Conn
	done    chan struct{}
	once    sync.Once
}

func (n *network) listen(address string) *listener {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := &listener{address: address, conns: make(chan net.Conn), done: make(chan struct{})}
	n.mu.listeners[address] = l
	return l
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error   { l.once.Do(func() { close(l.done) }); return nil }
func (l *listener) Addr() net.Addr { return &net.UnixAddr{Name: l.address} }

// errRefused is what dialling an address gives where nobody listens.
var errRefused = fmt.Errorf("in the memory of the test: %w", syscall.ECONNREFUSED)

func (n *network) dial(ctx context.Context, _, address string) (net.Conn, error) {
	n.mu.Lock()
	l, wrap, cut := n.mu.listeners[address], n.mu.wrap, n.mu.cut[address]
	n.mu.Unlock()
	if l == nil || cut {
		return nil, errRefused
	}
	ours, theirs := net.Pipe()
	select {
	case l.conns <- theirs:
	case <-l.done:
		return nil, errRefused
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	n.mu.Lock()
	n.mu.conns = append(n.mu.conns, ours)
	n.mu.Unlock()
	if wrap != nil {
		return wrap(address, ours), nil
	}
	return ours, nil
}

// sever closes all connections; new ones to address are refused until join.
func (n *network) sever(address string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.cut[address] = true
	for _, c := range n.mu.conns {
		c.Close()
	}
	n.mu.conns = nil
}

func (n *network) join(address string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.mu.cut, address)
}

// local is a member that notes what its transport tells it.
type local struct {
	steps    chan wire.Message
	lost     chan uint64
	gone     chan uint64
	stopped  chan error
	snapshot func(ctx context.Context, m wire.Message, body io.Reader) error
	mu       sync.Mutex
	removed  map[uint64]bool
}

func newLocal() *local {
	return &local{
		steps: make(chan wire.Message, 1<<14), lost: make(chan uint64, 1<<14), gone: make(chan uint64, 1<<14), stopped: make(chan error, 4),
		removed: map[uint64]bool{},
	}
}

func (l *local) Step(m wire.Message)   { l.steps <- m }
func (l *local) Unreachable(id uint64) { l.lost <- id }
func (l *local) Gone(id uint64)        { l.gone <- id }

func (l *local) Removed(_ uint64, err error) { l.stopped <- err }

func (l *local) IsRemoved(id uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.removed[id]
}

func (l *local) remove(id uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.removed[id] = true
}

func (l *local) ReceiveSnapshot(ctx context.Context, m wire.Message, body io.Reader) error {
	if l.snapshot == nil {
		return errors.New("no snapshot expected")
	}
	return l.snapshot(ctx, m, body)
}

// member is a transport behind a server on a network.
type member struct {
	*Transport
	id     uint64
	local  *local
	server *http.Server
	done   chan struct{}
}

func address(id uint64) string { return "m" + hexID(id) + ":2380" }

func peerOf(id uint64) Peer { return Peer{ID: id, URLs: []string{"http://" + address(id)}} }

func peersOf(ids ...uint64) (list []Peer) {
	for _, id := range ids {
		list = append(list, peerOf(id))
	}
	return list
}

// start starts a member; the test's end stops it.
func (n *network) start(t *testing.T, id uint64, change func(*Config)) *member {
	t.Helper()
	m := &member{id: id, local: newLocal(), done: make(chan struct{})}
	cfg := Config{
		ID: id, ClusterID: cluster, Version: "3.7.3", PeerURLs: peerOf(id).URLs, Local: m.local, Dial: n.dial,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)).With("self", hexID(id)),
	}
	if change != nil {
		change(&cfg)
	}
	m.Transport = New(cfg)
	m.server = &http.Server{Handler: m.Handler(), ErrorLog: log.New(io.Discard, "", 0)}
	l := n.listen(address(id))
	go func() { defer close(m.done); _ = m.server.Serve(l) }()
	t.Cleanup(m.stop)
	return m
}

func (m *member) stop() {
	m.Close()
	m.server.Close()
	<-m.done
}

// cluster starts members 1 to n that know each other.
func (n *network) cluster(t *testing.T, size int) []*member {
	t.Helper()
	var list []*member
	var peers []Peer
	for i := range size {
		list = append(list, n.start(t, uint64(i+1), nil))
		peers = append(peers, peerOf(uint64(i+1)))
	}
	for _, m := range list {
		m.SetPeers(peers)
	}
	return list
}
