package embed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.etcd.io/etcd/api/v3/version"

	"github.com/quoin-kv/quoin/internal/api/ops"
	"github.com/quoin-kv/quoin/internal/api/peer"
	"github.com/quoin-kv/quoin/internal/api/port"
	"github.com/quoin-kv/quoin/internal/config"
	"github.com/quoin-kv/quoin/internal/membership"
	"github.com/quoin-kv/quoin/internal/node"
	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/internal/service"
	"github.com/quoin-kv/quoin/internal/transport"
	"github.com/quoin-kv/quoin/raft/wire"
)

// peerDoor is what other members connect to. It is there before the member is: until it is opened every request is refused as one to a member
// that starts, so that members which start at the same time do not wait for each other.
//
// Invariant: after close no handler runs and none will.
type peerDoor struct {
	splitters []*port.Splitter

	server *http.Server
	inside atomic.Pointer[http.Handler]
	gate   gate
	cut    context.CancelFunc // ends the contexts of requests
	wg     sync.WaitGroup
}

// newPeerDoor takes over the splitters. failed is told when one of them stops working.
func newPeerDoor(splitters []*port.Splitter, logger *slog.Logger, failed func(error)) *peerDoor {
	ctx, cut := context.WithCancel(context.Background())
	d := &peerDoor{cut: cut, splitters: splitters}
	d.server = port.NewHTTPServer(d.gate.guard(d), port.HTTPOptions{
		BaseContext: ctx, Endless: func(*http.Request) bool { return true }, ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	})
	for _, s := range splitters {
		d.wg.Go(func() { failed(ignoreClosed(s.Serve())) })
		d.wg.Go(func() { failed(ignoreClosed(d.server.Serve(s.HTTP))) })
	}
	return d
}

// ServeHTTP passes a request on, or refuses it.
func (d *peerDoor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h := d.inside.Load(); h != nil {
		(*h).ServeHTTP(w, r)
		return
	}
	http.Error(w, "the member is starting", http.StatusServiceUnavailable)
}

// open lets requests in.
func (d *peerDoor) open(h http.Handler) { d.inside.Store(&h) }

// close cuts every connection and waits for the requests under way.
func (d *peerDoor) close() error {
	d.cut()
	err := errors.Join(closeAll(d.splitters), d.server.Close())
	d.wg.Wait()
	d.gate.close()
	return err
}

// peers is a member's side towards the others: its sessions with them and what it asks them for.
type peers struct {
	transport *transport.Transport
	client    *peer.Client
	link      *link
}

// newPeers makes the sessions of a member; there are none until the service says who the others are.
func newPeers(cfg *config.Config, d *data, overTLS func(transport.DialFunc) transport.DialFunc, metrics *ops.Metrics, logger *slog.Logger, removed func(error)) *peers {
	p := &peers{link: &link{data: d, removed: removed}}
	p.transport = transport.New(transport.Config{
		Logger: logger, ID: d.meta.NodeID, ClusterID: d.meta.ClusterID, Version: version.Version,
		PeerURLs: cfg.AdvertisePeerURLs.Strings(), OverTLS: overTLS, Local: p.link, Metrics: peerMetrics(&metrics.Peers, d.meta.NodeID),
		Short:       p.link.short,
		DialTimeout: dialTimeout(cfg), Dial: dialFromHere(cfg, logger),
		Timing: transport.Timing{Read: cfg.RaftReadTimeout, Write: cfg.RaftWriteTimeout},
	})
	p.client = peer.NewClient(p.transport.Client(), d.meta.ClusterID, d.meta.NodeID, p.transport.Connected)
	return p
}

// dialTimeout bounds the opening of a connection to another member.
func dialTimeout(cfg *config.Config) time.Duration { return time.Second + millis(cfg.ElectionMs) }

// setMembers tells the sessions who the members are. A member that joins knows them from hearsay until its log tells it.
func (p *peers) setMembers(members []schema.Member, removed []uint64) {
	if len(members) == 0 {
		members = p.link.data.known
	}
	var all []transport.Peer
	learners := map[uint64]bool{}
	for _, m := range members {
		all = append(all, transport.Peer{ID: m.ID, URLs: m.PeerURLs})
		learners[m.ID] = m.IsLearner
	}
	p.link.learners.Store(&learners)
	p.link.setRemoved(removed)
	p.transport.SetPeers(all)
}

// handler is what other members may ask for.
func (p *peers) handler(svc *service.Service, clusterID uint64) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/raft", p.transport.Handler())
	mux.Handle("/raft/", p.transport.Handler())
	mux.Handle("/", peer.Handler(svc, clusterID))
	return mux
}

// link is what sessions with other members reach of this one.
type link struct {
	data     *data
	removed  func(error)
	node     atomic.Pointer[node.Node] // nil until the node runs: what comes before is lost, as on a bad network
	gone     atomic.Pointer[map[uint64]bool]
	learners atomic.Pointer[map[uint64]bool]
}

func (l *link) bind(n *node.Node) { l.node.Store(n) }

func (l *link) setRemoved(ids []uint64) {
	gone := make(map[uint64]bool, len(ids))
	for _, id := range ids {
		gone[id] = true
	}
	l.gone.Store(&gone)
}

// Step hands a message to the node.
func (l *link) Step(m wire.Message) {
	if n := l.node.Load(); n != nil {
		n.Step(m)
	}
}

// short reports whether room on this member's disk is short.
func (l *link) short() bool {
	n := l.node.Load()
	return n != nil && n.Room().Short
}

// Unreachable tells the node that something for a member got lost.
func (l *link) Unreachable(id uint64) {
	if n := l.node.Load(); n != nil {
		n.Unreachable(id)
	}
}

// Gone tells the node that a member's process seems to have ended.
func (l *link) Gone(id uint64) {
	if n := l.node.Load(); n != nil {
		n.Gone(id)
	}
}

// IsRemoved reports whether a member was removed from the cluster.
func (l *link) IsRemoved(id uint64) bool {
	gone := l.gone.Load()
	return gone != nil && (*gone)[id]
}

// Removed ends the member: another one says that it was removed. A member that knows already stays for the sake of voters that do not, so the
// word of one without a vote is not enough for it.
func (l *link) Removed(by uint64, err error) {
	if learners := l.learners.Load(); l.IsRemoved(l.data.meta.NodeID) && learners != nil && (*learners)[by] {
		return
	}
	l.removed(err)
}

// ReceiveSnapshot stores a database file that another member sends.
func (l *link) ReceiveSnapshot(ctx context.Context, m wire.Message, body io.Reader) error {
	if err := l.data.receive(ctx, m, body); err != nil {
		return fmt.Errorf("snapshot from %x: %w", m.From, err)
	}
	return nil
}

// peerMetrics connects the sessions' measurements.
func peerMetrics(m *ops.PeerMetrics, self uint64) transport.Metrics {
	local := membership.FormatID(self)
	id := membership.FormatID
	return transport.Metrics{
		Known: func(peer uint64, yes bool) { setPeer(m.Known, local, id(peer), yes) },
		Active: func(peer uint64, yes bool) {
			setPeer(m.Active, local, id(peer), yes)
			if !yes {
				m.Disconnected.WithLabelValues(local, id(peer)).Inc()
			}
		},
		Sent:            func(to uint64, bytes int) { m.Sent.WithLabelValues(id(to)).Add(float64(bytes)) },
		Received:        func(from uint64, bytes int) { m.Received.WithLabelValues(id(from)).Add(float64(bytes)) },
		SendFailed:      func(to uint64) { m.SendFailed.WithLabelValues(id(to)).Inc() },
		ReceiveFailed:   func(from uint64) { m.ReceiveFailed.WithLabelValues(id(from)).Inc() },
		RoundTrip:       func(to uint64, took time.Duration) { m.RoundTrip.WithLabelValues(id(to)).Observe(took.Seconds()) },
		SnapshotSend:    transferMetrics(&m.SnapshotSend),
		SnapshotReceive: transferMetrics(&m.SnapshotGotten),
	}
}

func setPeer(g *prometheus.GaugeVec, local, remote string, yes bool) {
	value := 0.0
	if yes {
		value = 1
	}
	g.WithLabelValues(local, remote).Set(value)
}

func transferMetrics(m *ops.TransferMetrics) transport.TransferMetrics {
	id := membership.FormatID
	return transport.TransferMetrics{
		Started: func(peer uint64) { m.InFlight.WithLabelValues(id(peer)).Inc() },
		Ended: func(peer uint64, took time.Duration, err error) {
			m.InFlight.WithLabelValues(id(peer)).Dec()
			m.Duration.WithLabelValues(id(peer)).Observe(took.Seconds())
			if err != nil {
				m.Failures.WithLabelValues(id(peer)).Inc()
			} else {
				m.Success.WithLabelValues(id(peer)).Inc()
			}
		},
	}
}
