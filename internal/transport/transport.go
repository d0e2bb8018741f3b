package transport

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quoin-kv/quoin/raft/wire"
)

// maxRemotes bounds the senders that are remembered although no SetPeers has named them.
const maxRemotes = 64

// Transport holds the sessions of one member with its peers.
//
// Invariants:
//  1. The map behind peers never changes; it is replaced under mu.
//  2. No method of Local and no I/O happens under mu or under a peer's lock.
//  3. After Close no goroutine of the transport runs, no handler either, and none starts.
type Transport struct {
	cfg     Config
	log     *slog.Logger
	clients clients
	headers http.Header // of every request; never changed

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup
	peers  atomic.Pointer[map[uint64]*peer]

	sending   atomic.Int32 // snapshots
	receiving atomic.Int32 // snapshots
	refusals  seldom

	mu struct {
		sync.Mutex
		closed bool
	}
}

// New returns a transport without peers.
func New(cfg Config) *Transport {
	cfg = cfg.withDefaults()
	t := &Transport{cfg: cfg, log: cfg.Logger, clients: newClients(cfg), headers: requestHeaders(cfg)}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.peers.Store(&map[uint64]*peer{})
	return t
}

// hexID is an id as headers, paths and labels have it.
func hexID(id uint64) string { return strconv.FormatUint(id, 16) }

// SetPeers says who the members are; this member itself is ignored. Sessions with new ones begin, those with members that are
// no longer named end when they have taken what is queued, or after a second.
func (t *Transport) SetPeers(peers []Peer) {
	added, gone := t.replacePeers(peers)
	for _, p := range gone {
		t.log.Info("stopped peer", "peer", hexID(p.id))
		report(t.cfg.Metrics.Known, p.id, false)
	}
	for _, p := range added {
		t.log.Info("started peer", "peer", hexID(p.id), "urls", p.urls.all())
		report(t.cfg.Metrics.Known, p.id, true)
	}
}

func (t *Transport) replacePeers(peers []Peer) (added, gone []*peer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mu.closed {
		return nil, nil
	}
	old, next := *t.peers.Load(), map[uint64]*peer{}
	for _, m := range peers {
		if m.ID == t.cfg.ID || next[m.ID] != nil {
			continue
		}
		p := old[m.ID]
		if p == nil || p.remote {
			p = newPeer(t, m, false)
			added = append(added, p)
		} else {
			p.urls.set(m.URLs)
		}
		next[m.ID] = p
	}
	for id, p := range old {
		switch {
		case next[id] == p:
		case next[id] == nil && p.remote:
			next[id] = p
		default:
			p.retire()
			if !p.remote {
				gone = append(gone, p)
			}
		}
	}
	t.peers.Store(&next)
	for _, p := range added {
		p.start()
	}
	return added, gone
}

// remember makes a sender whom no SetPeers has named reachable, by pipeline and snapshot only.
func (t *Transport) remember(id uint64, urls []string) {
	if id == 0 || id == t.cfg.ID || t.peer(id) != nil || t.cfg.Local.IsRemoved(id) {
		return
	}
	urls = slices.DeleteFunc(urls, func(u string) bool { _, err := parseURL(u); return err != nil })
	if len(urls) == 0 || len(urls) > maxURLs {
		return
	}
	if t.addRemote(Peer{id, urls}) {
		t.log.Info("remembered a sender that is not known as a member", "remote", hexID(id), "urls", urls)
	}
}

func (t *Transport) addRemote(m Peer) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := *t.peers.Load()
	remotes := 0
	for _, p := range old {
		if p.remote {
			remotes++
		}
	}
	if t.mu.closed || old[m.ID] != nil || remotes >= maxRemotes {
		return false
	}
	next := maps.Clone(old)
	next[m.ID] = newPeer(t, m, true)
	t.peers.Store(&next)
	return true
}

// peer returns the peer or remote of that id, or nil.
func (t *Transport) peer(id uint64) *peer { return (*t.peers.Load())[id] }

// Send queues messages, each for its To. It never blocks. A message whose queue is full, or whose receiver is not known, is dropped; the
// former is reported with Local.Unreachable before Send returns. A MsgSnap belongs to SendSnapshot and is a panic here. The memory of
// the messages must not change any more; ms itself is the caller's.
func (t *Transport) Send(ms []wire.Message) {
	peers := *t.peers.Load()
	for i := range ms {
		if ms[i].Type == wire.MsgSnap {
			panic("transport: a snapshot message in Send, want it in SendSnapshot")
		}
		if p := peers[ms[i].To]; p != nil {
			p.send(&ms[i])
		}
	}
}

// Connected reports for how long streams with a peer have stood. ok is false while none stands, and after a failure to open or
// to read one until the next success.
func (t *Transport) Connected(id uint64) (since time.Duration, ok bool) {
	p := t.peer(id)
	if p == nil {
		return 0, false
	}
	return p.status.standing()
}

// Short reports whether a peer has said that room on its disk is short, when it was last probed.
func (t *Transport) Short(id uint64) bool {
	p := t.peer(id)
	return p != nil && p.short.Load()
}

// Client returns a client for other requests to peers: HTTP/1.1 with the peers' TLS; redirects are not followed.
func (t *Transport) Client() *http.Client { return t.clients.api }

// Close ends all sessions and waits for their goroutines and for the handlers of requests that are under way.
func (t *Transport) Close() {
	t.mu.Lock()
	t.mu.closed = true
	t.mu.Unlock()
	t.cancel()
	t.wg.Wait()
	t.clients.close()
}

// enter registers a handler, or says that the transport is closed. The handler calls t.wg.Done at its end.
func (t *Transport) enter() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mu.closed {
		return false
	}
	t.wg.Add(1)
	return true
}

// errRemoved is what Local.Removed gets.
var errRemoved = errors.New("the member has been permanently removed from the cluster")

// sayRemoved passes on that the peer knows this member to be removed.
func (p *peer) sayRemoved() error {
	if p.knowsRemoval.CompareAndSwap(false, true) {
		p.log.Error("this member was removed from the cluster; the data-dir used by this member must be removed")
		p.t.cfg.Local.Removed(p.id, errRemoved)
	}
	return errRemoved
}

// receivable reports whether a message of that type may come from outside a member.
func receivable(k wire.MessageType) bool {
	return k >= wire.MsgProp && k <= wire.MsgHeartbeatResp || k >= wire.MsgTransferLeader && k <= wire.MsgPreVoteResp
}

// passedOn reports whether members hand messages of that type on to the leader in the name of others.
func passedOn(k wire.MessageType) bool {
	return k == wire.MsgProp || k == wire.MsgReadIndex || k == wire.MsgTransferLeader
}
