package embed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/http/pprof"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/quoin-kv/quoin/internal/api/gateway"
	"github.com/quoin-kv/quoin/internal/api/ops"
	"github.com/quoin-kv/quoin/internal/api/port"
	v3 "github.com/quoin-kv/quoin/internal/api/v3"
	"github.com/quoin-kv/quoin/internal/config"
	"github.com/quoin-kv/quoin/internal/node"
	"github.com/quoin-kv/quoin/internal/service"
)

// headerTimeout is the time that an HTTP client has to send the header of a request.
const headerTimeout = 5 * time.Minute

// edges is what clients connect to.
//
// Invariant: after close no handler runs and none will.
type edges struct {
	grpc      *grpc.Server
	http      *http.Server
	cut       context.CancelFunc // ends the contexts of HTTP requests
	gate      gate
	listeners []net.Listener // for clients
	splitters []*port.Splitter
	inner     net.Listener // the gateway's way to the gRPC server
	conn      *grpc.ClientConn
	wg        sync.WaitGroup
}

// newEdges makes the servers and takes over the listeners; nothing is accepted yet. close must be called.
func newEdges(cfg *config.Config, listeners []net.Listener, svc *service.Service, n *node.Node, m *ops.Metrics, logger *slog.Logger) (*edges, error) {
	e := &edges{grpc: newGRPC(cfg, svc, m), listeners: listeners}
	inner, dial := port.NewPipe()
	e.inner = port.Count(inner, m.Received, m.Sent)
	ctx, cut := context.WithCancel(context.Background())
	e.cut = cut
	mux := http.NewServeMux()
	ops.RegisterHealth(mux, svc, m.Health())
	ops.RegisterVersion(mux, svc)
	ops.RegisterVars(mux, func() any { return raftVars(n.Status()) })
	mux.Handle("/metrics", m.Handler())
	if cfg.EnablePprof || cfg.LogLevel == "debug" {
		registerPprof(mux)
	}
	e.http = &http.Server{
		Handler: e.gate.guard(gateway.Access(mux)), ReadHeaderTimeout: headerTimeout,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
	if !cfg.EnableGateway {
		return e, nil
	}
	g, err := e.newGateway(ctx, cfg, dial)
	if err != nil {
		return nil, errors.Join(err, e.close())
	}
	mux.Handle("/v3/", g)
	return e, nil
}

// newGateway makes the handler of the JSON API, which calls the gRPC server through dial.
func (e *edges) newGateway(ctx context.Context, cfg *config.Config, dial func(context.Context) (net.Conn, error)) (http.Handler, error) {
	conn, err := grpc.NewClient("passthrough:///member",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return dial(ctx) }),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32)),
	)
	if err != nil {
		return nil, fmt.Errorf("connecting the gateway: %w", err)
	}
	e.conn = conn
	return gateway.New(ctx, conn, grpcLimit(cfg))
}

// serve lets clients in and returns at once. failed is told when one of the listeners stops working.
func (e *edges) serve(m *ops.Metrics, failed func(error)) {
	e.wg.Go(func() { failed(ignoreClosed(e.grpc.Serve(e.inner))) })
	for _, l := range e.listeners {
		s := port.NewSplitter(l)
		e.splitters = append(e.splitters, s)
		e.wg.Go(func() { failed(ignoreClosed(s.Serve())) })
		e.wg.Go(func() { failed(ignoreClosed(e.grpc.Serve(port.Count(s.GRPC, m.Received, m.Sent)))) })
		e.wg.Go(func() { failed(ignoreClosed(e.http.Serve(s.HTTP))) })
	}
}

// grpcLimit is the largest message that the gRPC server takes, in bytes.
func grpcLimit(cfg *config.Config) int { return int(cfg.MaxRequestBytes) + config.GRPCOverheadBytes }

func newGRPC(cfg *config.Config, svc *service.Service, m *ops.Metrics) *grpc.Server {
	calls := m.GRPC(cfg.Metrics == "extensive", v3.Catalog())
	server := v3.NewServer(svc, v3.Options{
		Limits: v3.Limits{
			MaxRequestBytes: grpcLimit(cfg), MaxStreams: uint32(cfg.MaxConcurrentStreams),
			KeepAliveMinTime: cfg.KeepAliveMinTime, KeepAliveInterval: cfg.KeepAliveInterval, KeepAliveTimeout: cfg.KeepAliveTimeout,
		},
		Unary:        []grpc.UnaryServerInterceptor{calls.UnaryServerInterceptor()},
		Stream:       []grpc.StreamServerInterceptor{calls.StreamServerInterceptor()},
		Observe:      func(kind, version string) { m.ClientRequests.WithLabelValues(kind, version).Inc() },
		StreamFailed: m.StreamFailed,
	})
	return server
}

func registerPprof(mux *http.ServeMux) {
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
}

// drainTimeout is the time that calls under way have to end by themselves.
const drainTimeout = time.Second

// close stops accepting, lets calls under way finish for a moment, then cuts them off.
func (e *edges) close() error {
	err := errors.Join(closeAll(e.splitters), closeAll(e.listeners))
	drained := make(chan struct{})
	go func() {
		e.grpc.GracefulStop()
		close(drained)
	}()
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	shutdown := e.http.Shutdown(ctx)
	select {
	case <-drained:
	case <-ctx.Done():
	}
	e.cut()
	if shutdown != nil {
		shutdown = e.http.Close()
	}
	e.grpc.Stop()
	<-drained
	if e.conn != nil {
		err = errors.Join(err, e.conn.Close())
	}
	err = errors.Join(err, e.inner.Close(), shutdown)
	e.wg.Wait()
	e.gate.close()
	return err
}

// gate lets HTTP requests through until it is closed. The zero gate is open.
type gate struct {
	mu     sync.RWMutex // held for reading by each request
	closed bool
}

// guard refuses requests that come after close.
func (g *gate) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.RLock()
		defer g.mu.RUnlock()
		if g.closed {
			http.Error(w, "stopped", http.StatusServiceUnavailable)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// close waits for the requests under way; their contexts must have ended, or it takes as long as they do.
func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
}

// ignoreClosed drops the errors that closing a listener on purpose gives.
func ignoreClosed(err error) error {
	for _, expected := range []error{net.ErrClosed, http.ErrServerClosed, grpc.ErrServerStopped} {
		if errors.Is(err, expected) {
			return nil
		}
	}
	return err
}
