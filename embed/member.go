// Package embed runs a member inside a Go program: it opens what a configuration names, connects the rooms and closes them in order.
// The quoin binary is a thin program around it.
package embed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/version"

	"github.com/quoin-kv/quoin/internal/api/ops"
	"github.com/quoin-kv/quoin/internal/certs"
	"github.com/quoin-kv/quoin/internal/config"
	"github.com/quoin-kv/quoin/internal/node"
	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/internal/service"
)

// Config says how to run a member.
type Config = config.Config

// NewConfig returns the configuration that holds when nothing is said: a single member on localhost:2379 with its data in default.etcd.
func NewConfig() *Config { return config.Default() }

// Member is a running member.
type Member struct {
	logger  *slog.Logger
	data    *data
	dataDir string
	node    *node.Node
	svc     *service.Service
	peers   *peers
	door    *peerDoor
	edges   *edges
	access  service.Access
	addrs   []net.Addr

	metricsAddrs []net.Addr

	gone  chan struct{} // capacity 1: the member's own removal was applied
	ready chan struct{} // closed when the member serves
	done  chan struct{} // closed when the member ends by itself
	fail  sync.Once
	cause error // why; set before done is closed

	close func() error
	ctx   context.Context // ends when the member closes
	end   context.CancelFunc
	wg    sync.WaitGroup
}

// ErrRemoved is why a member ends that was removed from its cluster. Its data directory is of no more use.
var ErrRemoved = errors.New("this member was removed from the cluster; its data directory must be removed")

// errSelfRemoved says how a member learnt of it.
var errSelfRemoved = errors.New("its removal was applied")

// Start opens the data directory of cfg and serves other members, and clients once it is ready; a member without data first finds its
// cluster, which may mean to wait for others. ctx bounds the start, not the member's life. Start returns once the member accepts
// connections; clients wait until it is ready, see Ready. Errors leave nothing running and nothing locked. cfg is not changed.
func Start(ctx context.Context, cfg *Config, logger *slog.Logger) (*Member, error) {
	own := *cfg
	if err := own.Complete(); err != nil {
		return nil, err
	}
	logger.Info("starting an etcd server", append([]any{"etcd-version", version.Version}, own.Effective()...)...)
	if own.UnsafeNoFsync {
		logger.Warn("files are never synced: a crash of the machine loses data", "flag", "unsafe-no-fsync")
	}
	forClients, err := newClientTLS(&own, logger)
	if err != nil {
		return nil, err
	}
	security, err := newPeerTLS(&own, logger)
	if err != nil {
		return nil, err
	}
	access, err := newAccess(&own)
	if err != nil {
		return nil, err
	}
	m := &Member{logger: logger, access: access, gone: make(chan struct{}, 1), ready: make(chan struct{}), done: make(chan struct{})}
	listening, err := m.open(ctx, &own, &security)
	if err != nil {
		return nil, err
	}
	metrics := ops.NewMetrics()
	if m.data, err = openData(&own, m.finder(ctx, &own, security.over()), metrics, logger); err != nil {
		adviseOnDamage(logger, own.DataDir, err)
		return nil, errors.Join(err, m.door.close(), listening.close())
	}
	m.dataDir = own.DataDir
	m.close = sync.OnceValue(m.stop)
	m.ctx, m.end = context.WithCancel(context.Background())
	m.run(&own, security.over(), metrics)
	if m.edges, err = newEdges(&own, listening, forClients, m.svc, m.node, metrics, logger); err != nil {
		return nil, errors.Join(err, listening.close(), m.Close())
	}
	if own.Features.Enabled(config.InitialCorruptCheck) {
		if err := m.svc.CheckInitial(ctx); err != nil {
			return nil, errors.Join(err, listening.close(), m.Close())
		}
	}
	m.edges.serveMetrics(logger, m.failed)
	shown := newOwnCerts(forClients, security)
	shown.register(metrics)
	m.wg.Go(func() { shown.watch(m.ctx, logger) })
	m.wg.Go(m.watchNode)
	m.wg.Go(func() { m.serveWhenReady(metrics) })
	if own.ElectionTickAdvance {
		m.wg.Go(func() { m.hurry(int(own.ElectionMs / own.HeartbeatMs)) })
	}
	return m, nil
}

// open opens the listeners. Other members are answered from now on; the ones returned are for clients.
func (m *Member) open(ctx context.Context, cfg *Config, security *peerTLS) (doors, error) {
	listening, err := openDoors(ctx, cfg)
	if err != nil {
		return doors{}, err
	}
	forPeers, err := security.listen(ctx, cfg, m.logger)
	if err != nil {
		return doors{}, errors.Join(err, listening.close())
	}
	m.addrs, m.metricsAddrs = addrs(listening.clients), addrs(listening.metrics)
	m.door = newPeerDoor(forPeers, m.logger, m.failed)
	return listening, nil
}

// run starts node and service on the opened data.
func (m *Member) run(cfg *Config, overTLS func(certs.DialFunc) certs.DialFunc, metrics *ops.Metrics) {
	m.peers = newPeers(cfg, m.data, overTLS, metrics, m.logger, m.removed)
	m.svc = service.New(m.serviceConfig(cfg, metrics), m.data.applier.Machine())
	m.node = node.Start(m.nodeConfig(cfg, metrics))
	m.svc.Bind(m.node, m.data.backend)
	m.peers.link.bind(m.node)
	m.door.open(m.peers.handler(m.svc, m.data.meta.ClusterID))
	registerGauges(metrics, cfg, m.node, m.svc, m.data)
}

// removed ends the member because it does not belong to the cluster any more.
func (m *Member) removed(how error) {
	m.logger.Warn("this member was removed from the cluster; the data-dir used by this member must be removed", "reason", how)
	m.failed(ErrRemoved)
}

// lingerAfterRemoval bounds the time that a removed member goes on answering the others. It ends when one of them says that it knows of the
// removal; until then the message that told them may have got lost, and of two members the other one cannot do without this one.
const lingerAfterRemoval = time.Minute

// watchNode ends the member when its node fails, or some time after the member's removal was applied.
func (m *Member) watchNode() {
	linger := time.NewTimer(0)
	<-linger.C
	defer linger.Stop()
	for {
		select {
		case <-m.node.Done():
			m.failed(m.node.Err())
			return
		case <-m.gone:
			linger.Reset(lingerAfterRemoval)
		case <-linger.C:
			m.removed(errSelfRemoved)
			return
		case <-m.ctx.Done():
			return
		}
	}
}

// selfRemoved notes that the member's own removal was applied. The service says so once.
func (m *Member) selfRemoved() { m.gone <- struct{}{} }

// readyPause is the time between two tries to read through the leader. A try waits for a leader itself.
const readyPause = 50 * time.Millisecond

// serveWhenReady lets clients in once a read through the leader has succeeded: before that the member may be behind what it has shown to them
// before its restart. They may connect earlier, and wait. Programs that start a member wait for these words in its log.
func (m *Member) serveWhenReady(metrics *ops.Metrics) {
	for m.svc.Probe(m.ctx, true) != nil {
		select {
		case <-time.After(readyPause):
		case <-m.ctx.Done():
			return
		}
	}
	m.edges.serve(metrics, m.failed)
	close(m.ready)
	m.edges.announce(m.logger)
}

// How long, and how often, a member that has just started looks for another one before it hurries no more.
const (
	hurryWindow = 5 * time.Second
	hurryPause  = 50 * time.Millisecond
)

// hurry shortens the wait for the first leader: once another member is reached, an election needs no more patience.
func (m *Member) hurry(electionTicks int) {
	ctx, cancel := context.WithTimeout(m.ctx, hurryWindow)
	defer cancel()
	again := time.NewTicker(hurryPause)
	defer again.Stop()
	for !m.connected(ctx) {
		select {
		case <-again.C:
		case <-ctx.Done():
			return
		}
	}
	m.logger.Info("another member is reached: an election need not wait any longer")
	m.node.Hurry(electionTicks - 2)
}

// connected reports whether there is a connection to any other member.
func (m *Member) connected(ctx context.Context) bool {
	members, _ := m.svc.Members(ctx, false) // only a linearizable list can fail
	return slices.ContainsFunc(members, func(one schema.Member) bool {
		_, ok := m.peers.transport.Connected(one.ID)
		return ok
	})
}

// Ready is closed once the member has a leader and answers linearizable reads.
func (m *Member) Ready() <-chan struct{} { return m.ready }

// failed notes that a part of the member stopped working. nil is no failure.
func (m *Member) failed(err error) {
	if err == nil {
		return
	}
	m.fail.Do(func() {
		m.cause = err
		adviseOnDamage(m.logger, m.dataDir, err)
		close(m.done)
	})
}

// Done is closed when the member ends by itself, because something failed. Close must still be called.
func (m *Member) Done() <-chan struct{} { return m.done }

// ClientAddrs are the addresses that the member listens on for clients: those of ListenClientURLs, then those of ListenClientHTTPURLs. URLs
// that differ in nothing but TLS have one address.
func (m *Member) ClientAddrs() []net.Addr { return m.addrs }

// MetricsAddrs are the addresses for metrics and health alone.
func (m *Member) MetricsAddrs() []net.Addr { return m.metricsAddrs }

// Close stops the member: calls under way get a moment to end, what is applied is written to the database file, everything is closed. It
// returns why the member had failed, if it had, and what closing met. Closing again returns the same.
func (m *Member) Close() error { return m.close() }

// handOverTimeout bounds the time that a leader takes to find a successor before it stops.
const handOverTimeout = 2 * time.Second

// handOver spares the others the wait for an election.
func (m *Member) handOver() {
	ctx, cancel := context.WithTimeout(context.Background(), handOverTimeout)
	defer cancel()
	if err := m.svc.HandOver(ctx); err != nil {
		m.logger.Info("leadership not handed over", "error", err)
	}
}

func (m *Member) stop() error {
	start := time.Now()
	var errs []error
	select {
	case <-m.done:
		errs = append(errs, m.cause)
	default:
	}
	m.end()
	m.wg.Wait()
	m.handOver()
	m.svc.Close()
	if m.edges != nil {
		errs = append(errs, m.edges.close())
	}
	m.svc.DropAnswers()
	errs = append(errs, m.door.close())
	m.peers.transport.Close()
	if err := m.node.Stop(); err != nil && !errors.Is(err, m.cause) {
		errs = append(errs, err)
	}
	errs = append(errs, m.data.unlock())
	m.logger.Info("stopped", "took", time.Since(start))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("member: %w", err)
	}
	return nil
}
