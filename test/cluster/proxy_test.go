package cluster

import (
	"bytes"
	"context"
	"net"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/quoin-kv/quoin/test/freeport"
)

// loopback is a network of ports on this machine. What members send to each
// other passes a proxy in front of the receiver, which learns from the first request of a
// connection whose it is, and then holds back or delays each direction as
// told. What is held back arrives after the healing, as TCP would send it again.
type loopback struct {
	mu struct {
		sync.Mutex
		ids     map[string]int // member ids in the protocol's form
		rules   map[[2]int]rule
		changed chan struct{} // closed when rules change
		proxies map[int]*proxy
	}
}

// A rule is what happens to bytes from one member to another.
type rule struct {
	cut   bool
	delay time.Duration
}

func newLoopback() *loopback {
	l := &loopback{}
	l.mu.ids, l.mu.rules, l.mu.proxies = map[string]int{}, map[[2]int]rule{}, map[int]*proxy{}
	l.mu.changed = make(chan struct{})
	return l
}

func (l *loopback) join(t *testing.T, i int) addresses {
	a := addresses{client: freeport.Address(t), peer: freeport.Address(t)}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a.advertised = listener.Addr().String()
	p := &proxy{network: l, member: i, target: a.peer, listener: listener, conns: map[net.Conn]bool{}}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	l.mu.Lock()
	l.mu.proxies[i] = p
	l.mu.Unlock()
	p.running.Go(p.serve)
	return a
}

func (l *loopback) leave(i int) {
	l.mu.Lock()
	p := l.mu.proxies[i]
	delete(l.mu.proxies, i)
	l.mu.Unlock()
	if p != nil {
		p.close()
	}
}

func (l *loopback) command(_ int, binary string, args ...string) *exec.Cmd {
	return exec.Command(binary, args...)
}

func (l *loopback) identify(i int, id uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.ids[strconv.FormatUint(id, 16)] = i
}

// set changes the rules and wakes whoever waits for them.
func (l *loopback) set(change func(map[[2]int]rule)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(l.mu.rules)
	close(l.mu.changed)
	l.mu.changed = make(chan struct{})
}

func (l *loopback) cut(_ *testing.T, from, to int) {
	l.set(func(rules map[[2]int]rule) { rules[[2]int{from, to}] = rule{cut: true} })
}

func (l *loopback) slow(_ *testing.T, from, to int, delay time.Duration) {
	l.set(func(rules map[[2]int]rule) { rules[[2]int{from, to}] = rule{delay: delay} })
}

func (l *loopback) heal(*testing.T) { l.set(func(rules map[[2]int]rule) { clear(rules) }) }

func (l *loopback) close() {
	l.mu.Lock()
	proxies := l.mu.proxies
	l.mu.proxies = nil
	l.mu.Unlock()
	for _, p := range proxies {
		p.close()
	}
}

// A direction is one way of a connection that another member has opened. The
// opener's id is known before it is known whose it is.
type direction struct {
	member int    // before whose port the connection is
	opener string // the id of the other
	back   bool   // from the member to the opener
}

// rule returns what holds for a direction now, and what tells of a change.
func (l *loopback) rule(d direction) (rule, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	from, to := l.mu.ids[d.opener], d.member
	if d.back {
		from, to = to, from
	}
	return l.mu.rules[[2]int{from, to}], l.mu.changed
}

// A proxy stands before one member's peer port.
type proxy struct {
	network  *loopback
	member   int
	target   string
	listener net.Listener
	ctx      context.Context
	cancel   context.CancelFunc
	running  sync.WaitGroup
	mu       sync.Mutex
	conns    map[net.Conn]bool
}

func (p *proxy) close() {
	p.cancel()
	_ = p.listener.Close()
	p.mu.Lock()
	for c := range p.conns {
		_ = c.Close()
	}
	p.mu.Unlock()
	p.running.Wait()
}

// keep remembers a connection, to close it with the proxy.
func (p *proxy) keep(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil {
		_ = c.Close()
	}
	p.conns[c] = true
}

func (p *proxy) forget(c net.Conn) {
	_ = c.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

func (p *proxy) serve() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.keep(c)
		p.running.Go(func() { p.carry(c) })
	}
}

// carry forwards one connection both ways.
func (p *proxy) carry(in net.Conn) {
	defer p.forget(in)
	first, opener := p.greeting(in)
	if len(first) == 0 {
		return
	}
	var dialer net.Dialer
	out, err := dialer.DialContext(p.ctx, "tcp", p.target)
	if err != nil {
		return
	}
	p.keep(out)
	defer p.forget(out)
	var back sync.WaitGroup
	back.Go(func() {
		p.forward(in, out, nil, direction{member: p.member, opener: opener, back: true})
		_ = in.Close()
	})
	p.forward(out, in, first, direction{member: p.member, opener: opener})
	_ = out.Close()
	back.Wait()
}

// greeting reads the head of the first request and finds the sender's id in it,
// if it says.
func (p *proxy) greeting(in net.Conn) ([]byte, string) {
	head := make([]byte, 0, 4096)
	for len(head) < cap(head) && !bytes.Contains(head, []byte("\r\n\r\n")) {
		n, err := in.Read(head[len(head):cap(head)])
		head = head[:len(head)+n]
		if err != nil {
			break
		}
	}
	for line := range bytes.SplitSeq(head, []byte("\r\n")) {
		name, value, ok := bytes.Cut(line, []byte(": "))
		if ok && bytes.EqualFold(name, []byte("X-Server-From")) {
			return head, string(value)
		}
	}
	return head, ""
}

// A parcel is bytes that are due at a time.
type parcel struct {
	due   time.Time
	bytes []byte
}

// forward moves bytes one way. Reading runs ahead of writing by a bounded number of parcels, so
// that a delay does not bound what passes.
func (p *proxy) forward(to, from net.Conn, first []byte, d direction) {
	parcels := make(chan parcel, 256)
	var writing sync.WaitGroup
	writing.Go(func() { p.deliver(to, parcels, d) })
	if len(first) > 0 {
		p.post(parcels, first, d)
	}
	for {
		buffer := make([]byte, 32<<10)
		n, err := from.Read(buffer)
		if n > 0 && !p.post(parcels, buffer[:n], d) || err != nil {
			break
		}
	}
	close(parcels)
	writing.Wait()
}

func (p *proxy) post(parcels chan<- parcel, b []byte, d direction) bool {
	r, _ := p.network.rule(d)
	select {
	case parcels <- parcel{due: time.Now().Add(r.delay), bytes: b}:
		return true
	case <-p.ctx.Done():
		return false
	}
}

// deliver writes parcels when they are due and nothing is cut.
func (p *proxy) deliver(to net.Conn, parcels <-chan parcel, d direction) {
	for next := range parcels {
		if !p.await(next.due, d) {
			continue // the connection is over: let the reader finish
		}
		if _, err := to.Write(next.bytes); err != nil {
			_ = to.Close()
		}
	}
}

// await waits until a parcel may pass.
func (p *proxy) await(due time.Time, d direction) bool {
	for {
		r, changed := p.network.rule(d)
		var timer <-chan time.Time
		if !r.cut {
			wait := time.Until(due)
			if wait <= 0 {
				return true
			}
			timer = time.After(wait)
		}
		select {
		case <-timer:
		case <-changed:
		case <-p.ctx.Done():
			return false
		}
	}
}
