package transport

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quoin-kv/quoin/raft/wire"
)

const (
	// maxStreamQueue and maxPipelineQueue bound the messages that wait in each queue.
	maxStreamQueue   = 4096
	maxPipelineQueue = 64
	// maxQueuedBytes bounds the memory of all messages that wait for one peer or are being written to it. One that is alone may be larger.
	maxQueuedBytes = 64 << 20
)

// peer is the session with one member, or, if remote, with a sender of whom only URLs are known.
type peer struct {
	t      *Transport
	log    *slog.Logger
	id     uint64
	remote bool
	urls   urlList
	status status

	queued   atomic.Int64 // bytes, see budget
	dropping atomic.Bool  // the last message was dropped
	message  outgoing
	msgApp   outgoing
	pipe     pipeline

	ctx          context.Context // ends with the session
	cancel       context.CancelFunc
	knowsRemoval atomic.Bool // it said that this member was removed
	short        atomic.Bool // it said, when it was last asked, that room on its disk is short
}

func newPeer(t *Transport, m Peer, remote bool) *peer {
	p := &peer{t: t, id: m.ID, remote: remote, log: t.log.With("peer", hexID(m.ID))}
	p.urls.set(m.URLs)
	p.message.init(messageStream)
	p.msgApp.init(msgAppStream)
	p.status.log = p.log
	p.status.changed = func(active bool) { report(t.cfg.Metrics.Active, m.ID, active) }
	p.ctx, p.cancel = context.WithCancel(t.ctx)
	return p
}

// start starts what a peer that is not remote has. The transport's lock is held.
func (p *peer) start() {
	p.t.wg.Go(func() { p.read(messageStream) })
	p.t.wg.Go(func() { p.read(msgAppStream) })
	p.t.wg.Go(p.probe)
}

// retire ends the session after a while in which what is queued still goes. The transport's lock is held.
func (p *peer) retire() {
	p.t.wg.Go(func() {
		wait(p.ctx, p.t.cfg.Timing.Linger)
		p.cancel()
		p.status.set(time.Time{})
	})
}

// outgoing returns the stream that a message of that type prefers.
func (p *peer) outgoing(k streamKind) *outgoing {
	if k == msgAppStream {
		return &p.msgApp
	}
	return &p.message
}

// send queues m where it goes fastest, or drops it.
func (p *peer) send(m *wire.Message) {
	cost := cost(m)
	if !p.reserve(cost) || !p.route(m) {
		p.release(cost)
		p.drop()
		return
	}
	if p.dropping.Load() {
		p.dropping.Store(false)
	}
}

// route reports false if the queue that m belongs into is full.
func (p *peer) route(m *wire.Message) bool {
	if m.Type == wire.MsgApp {
		if attached, ok := p.msgApp.push(m); attached {
			return ok
		}
	}
	if attached, ok := p.message.push(m); attached {
		return ok
	}
	return p.post(m)
}

// drop counts a message that found no place.
func (p *peer) drop() {
	if p.dropping.CompareAndSwap(false, true) {
		p.log.Warn("dropping messages: the peer takes them too slowly")
	}
	p.failed()
}

// failed reports something that did not reach the peer.
func (p *peer) failed() {
	reportOne(p.t.cfg.Metrics.SendFailed, p.id)
	p.t.cfg.Local.Unreachable(p.id)
}

// reserve takes cost from the peer's budget. Whatever it returns, release gives it back.
func (p *peer) reserve(cost int64) bool {
	sum := p.queued.Add(cost)
	return sum <= maxQueuedBytes || sum == cost
}

func (p *peer) release(cost int64) { p.queued.Add(-cost) }

// cost is the memory that a queued message keeps, in bytes.
func cost(m *wire.Message) int64 {
	n := 256 + len(m.Context) + len(m.Entries)*int(entrySize)
	for i := range m.Entries {
		n += len(m.Entries[i].Data)
	}
	return int64(n)
}

func costs(ms []wire.Message) (sum int64) {
	for i := range ms {
		sum += cost(&ms[i])
	}
	return sum
}

// deliver hands over a message that came from the peer, unless it cannot be meant.
func (p *peer) deliver(m wire.Message) {
	t := p.t
	known := m.From == p.id || passedOn(m.Type) && t.peer(m.From) != nil
	if !known || m.To != t.cfg.ID || m.Type == wire.MsgSnap || !receivable(m.Type) {
		p.log.Warn("ignored a message in a stream", "type", int(m.Type), "from", hexID(m.From), "to", hexID(m.To))
		return
	}
	t.cfg.Local.Step(m)
}

// seldomEvery is the least time between two log lines about the same trouble.
const seldomEvery = 10 * time.Second

// seldom says when something that may happen all the time is to be logged.
type seldom struct {
	mu sync.Mutex
	at time.Time
}

func (s *seldom) now() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if !s.at.IsZero() && now.Sub(s.at) < seldomEvery {
		return false
	}
	s.at = now
	return true
}

// status is whether streams with a peer stand.
type status struct {
	log     *slog.Logger
	changed func(active bool) // only counts; called under the lock, so that the last call tells how it is
	mu      struct {
		sync.Mutex
		since time.Time // zero: not connected
	}
	failures seldom
}

// up notes that a stream stands.
func (s *status) up() {
	if s.set(time.Now()) {
		s.log.Info("peer became active")
	}
}

// down notes that a stream has broken or could not be opened.
func (s *status) down(err error) {
	if s.set(time.Time{}) {
		s.failures.now() // what follows at once is no news
		s.log.Warn("peer became inactive", "error", err)
	} else if s.failures.now() {
		s.log.Warn("no connection to peer", "error", err)
	}
}

// set reports whether since changes the status.
func (s *status) set(since time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	active := !since.IsZero()
	if s.mu.since.IsZero() != active {
		return false
	}
	s.mu.since = since
	s.changed(active)
	return true
}

func (s *status) standing() (time.Duration, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.since.IsZero() {
		return 0, false
	}
	return time.Since(s.mu.since), true
}

// wait waits for d or for the end of ctx, and reports whether ctx goes on.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
