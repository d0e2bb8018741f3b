package port

import (
	"container/list"
	"errors"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// maxWaiting bounds the connections that have made no request yet. One more, and the oldest of them is closed.
const maxWaiting = 2048

// patience is how long a connection may wait before a new one takes its place when there is no other.
const patience = time.Second

// Limit bounds the connections of one or more listeners. It is safe for concurrent use.
//
// A connection too many is closed at once, which its client sees and may go to another member; it is not left in the queue of the
// operating system. But one that has waited for a while without making a request is closed first.
//
// Invariants:
//  1. At most max connections are open, if max is not 0.
//  2. At most maxWaiting of them have made no request, and fewer if the process may not have many files open.
type Limit struct {
	max, maxWaiting int
	mu              struct {
		sync.Mutex
		open    int
		waiting list.List // of *guest, oldest first
		refused uint64
		closed  map[any]bool // owners whose connections are not let in any more
	}
}

// NewLimit returns a limit of so many connections, 0 for none.
func NewLimit(connections int) *Limit {
	l := &Limit{max: connections, maxWaiting: maxWaiting}
	var files unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &files) == nil {
		l.maxWaiting = int(min(maxWaiting, max(1, files.Cur/4)))
	}
	l.mu.closed = map[any]bool{}
	return l
}

// LimitState is how many connections there are.
type LimitState struct {
	Open, Waiting int
	Refused       uint64 // so far, because there were too many
}

// State returns what the limit counts.
func (l *Limit) State() LimitState {
	l.mu.Lock()
	defer l.mu.Unlock()
	return LimitState{Open: l.mu.open, Waiting: l.mu.waiting.Len(), Refused: l.mu.refused}
}

// admit lets a connection in, perhaps in the place of one that waits. It reports false if there is no place or owner has been dropped.
func (l *Limit) admit(conn net.Conn, owner any) (*guest, bool) {
	g := &guest{Conn: conn, limit: l, owner: owner, since: time.Now()}
	out, ok := l.enter(g)
	if out != nil {
		_ = out.Conn.Close()
	}
	return g, ok
}

// enter notes g. The connection that must leave for it is still to be closed.
func (l *Limit) enter(g *guest) (out *guest, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.closed[g.owner] {
		return nil, false
	}
	full := l.max > 0 && l.mu.open >= l.max
	if full && !l.someoneWaits(g.since.Add(-patience)) {
		l.mu.refused++
		return nil, false
	}
	if full || l.mu.waiting.Len() >= l.maxWaiting {
		out = l.oldest()
		l.forget(out)
	}
	l.mu.open++
	g.entry = l.mu.waiting.PushBack(g)
	return out, true
}

// someoneWaits reports whether a connection has waited since a time. l.mu is held, as in the methods below.
func (l *Limit) someoneWaits(since time.Time) bool {
	g := l.oldest()
	return g != nil && !g.since.After(since)
}

func (l *Limit) oldest() *guest {
	if front := l.mu.waiting.Front(); front != nil {
		return front.Value.(*guest)
	}
	return nil
}

// forget counts g no more.
func (l *Limit) forget(g *guest) {
	if g.gone {
		return
	}
	g.gone = true
	l.mu.open--
	l.settled(g)
}

func (l *Limit) settled(g *guest) {
	if g.entry != nil {
		l.mu.waiting.Remove(g.entry)
		g.entry = nil
	}
}

// relieve closes the connection that has waited longest: the process is out of files.
func (l *Limit) relieve() {
	l.mu.Lock()
	g := l.oldest()
	if g != nil {
		l.forget(g)
	}
	l.mu.Unlock()
	if g != nil {
		_ = g.Conn.Close()
	}
}

// drop closes the waiting connections of an owner and lets no more of its in.
func (l *Limit) drop(owner any) {
	l.mu.Lock()
	l.mu.closed[owner] = true
	var out []*guest
	for e := l.mu.waiting.Front(); e != nil; e = e.Next() {
		if g := e.Value.(*guest); g.owner == owner {
			out = append(out, g)
		}
	}
	for _, g := range out {
		l.forget(g)
	}
	l.mu.Unlock()
	for _, g := range out {
		_ = g.Conn.Close()
	}
}

// guest is an accepted connection that counts in a limit until it is closed.
type guest struct {
	net.Conn
	limit *Limit
	owner any
	since time.Time

	// Guarded by limit.mu.
	entry *list.Element // among those that wait; nil: it does not
	gone  bool
}

// settle says that the connection has made a request.
func (g *guest) settle() {
	g.limit.mu.Lock()
	defer g.limit.mu.Unlock()
	g.limit.settled(g)
}

func (g *guest) Close() error {
	g.limit.mu.Lock()
	g.limit.forget(g)
	g.limit.mu.Unlock()
	return g.Conn.Close()
}

// WriteBuffers writes many pieces.
func (g *guest) WriteBuffers(pieces *net.Buffers) (int64, error) { return writeBuffers(g.Conn, pieces) }

// Vectored reports whether WriteBuffers is one system call.
func (g *guest) Vectored() bool { return isVectored(g.Conn) }

// CloseWrite closes one half, where there are halves.
func (g *guest) CloseWrite() error {
	half, ok := g.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}
