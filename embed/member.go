// Package embed runs a member inside a Go program: it opens what a configuration names, connects the rooms and closes them in order.
// The quoin binary is a thin program around it.
package embed

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/quoin-kv/quoin/internal/api/ops"
	"github.com/quoin-kv/quoin/internal/config"
	"github.com/quoin-kv/quoin/internal/node"
	"github.com/quoin-kv/quoin/internal/service"
)

// Member is a running member.
type Member struct {
	logger *slog.Logger
	data   *data
	node   *node.Node
	svc    *service.Service
	edges  *edges
	addrs  []net.Addr

	done  chan struct{} // closed when the member ends by itself
	fail  sync.Once
	cause error // why; set before done is closed
	close func() error
}

// Start opens the data directory of cfg, which must have been validated, and serves clients. It returns once the member accepts
// connections; it may not have elected a leader yet. Errors leave nothing running.
func Start(cfg *config.Config, logger *slog.Logger) (*Member, error) {
	listeners, err := listen(cfg.ListenClientURLs)
	if err != nil {
		return nil, err
	}
	m := &Member{logger: logger, done: make(chan struct{})}
	m.close = sync.OnceValue(m.stop)
	for _, l := range listeners {
		m.addrs = append(m.addrs, l.Addr())
	}
	metrics := ops.NewMetrics()
	if m.data, err = openData(cfg, metrics, logger); err != nil {
		return nil, errors.Join(err, closeAll(listeners))
	}
	m.run(cfg, metrics)
	if m.edges, err = serveEdges(cfg, m.svc, metrics, listeners, logger, m.failed); err != nil {
		return nil, errors.Join(err, closeAll(listeners), m.Close())
	}
	go m.watchNode()
	for _, addr := range m.addrs {
		logger.Info("ready to serve client requests", "address", addr.String())
		logger.Warn("serving client traffic insecurely; this is strongly discouraged!", "address", addr.String())
	}
	return m, nil
}

// run starts node and service on the opened data.
func (m *Member) run(cfg *config.Config, metrics *ops.Metrics) {
	m.svc = service.New(serviceConfig(cfg, m.data, metrics, m.logger), m.data.applier.Machine())
	m.node = node.Start(nodeConfig(cfg, m.data, m.svc, metrics, m.logger))
	m.svc.Bind(m.node, m.data.backend)
	registerGauges(metrics, m.node, m.svc, m.data)
}

// watchNode ends the member when its node fails.
func (m *Member) watchNode() {
	<-m.node.Done()
	if err := m.node.Err(); err != nil {
		m.failed(err)
	}
}

// failed notes that a part of the member stopped working. nil is no failure.
func (m *Member) failed(err error) {
	if err == nil {
		return
	}
	m.fail.Do(func() {
		m.cause = err
		close(m.done)
	})
}

// Done is closed when the member ends by itself, because something failed. Close must still be called.
func (m *Member) Done() <-chan struct{} { return m.done }

// ClientAddrs are the addresses that the member listens on for clients.
func (m *Member) ClientAddrs() []net.Addr { return m.addrs }

// Close stops the member: calls under way get a moment to end, what is applied is written to the database file, everything is closed. It
// returns why the member had failed, if it had, and what closing met. Closing again returns the same.
func (m *Member) Close() error { return m.close() }

func (m *Member) stop() error {
	start := time.Now()
	var errs []error
	select {
	case <-m.done:
		errs = append(errs, m.cause)
	default:
	}
	m.svc.Close()
	if m.edges != nil {
		errs = append(errs, m.edges.close())
	}
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
