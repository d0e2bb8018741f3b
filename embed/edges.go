package embed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
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

// Bounds of a client's connection that no option sets.
const (
	maxStreams     = 1 << 16 // of gRPC; an option may ask for less
	maxHTTPStreams = 1000    // of HTTP/2 that is not gRPC; likewise
)

// edges is what clients connect to.
//
// Invariant: after close no handler runs and none will.
type edges struct {
	grpc    v3.Server
	http    *http.Server
	metrics *http.Server       // for those who may see nothing else
	cut     context.CancelFunc // ends the contexts of HTTP requests
	gate    gate
	clients []entrance
	extra   []entrance // for metrics
	limit   *port.Limit
	inner   net.Listener // the gateway's way to the gRPC server
	conn    *grpc.ClientConn
	tracing *ops.Tracing // nil if off
	wg      sync.WaitGroup
}

// entrance is a door and what sorts those who come through it.
type entrance struct {
	door
	*port.Splitter
}

// newEdges makes the servers and takes over the doors; nothing is accepted yet. close must be called.
func newEdges(cfg *config.Config, d doors, security clientTLS, svc *service.Service, n *node.Node, m *ops.Metrics, logger *slog.Logger) (*edges, error) {
	tracing, err := startTracing(cfg, logger)
	if err != nil {
		return nil, err
	}
	e := &edges{grpc: newGRPC(cfg, svc, m, logger, tracing), limit: port.NewLimit(int(cfg.MaxConnections)), tracing: tracing}
	e.enter(cfg, d, security, logger)
	inner, dial := port.NewPipe()
	e.inner = port.Count(inner, m.Received, m.Sent)
	ctx, cut := context.WithCancel(context.Background())
	e.cut = cut
	mux, few := http.NewServeMux(), http.NewServeMux()
	for _, one := range []*http.ServeMux{mux, few} {
		ops.RegisterHealth(one, svc, m.Health())
		one.Handle("/metrics", m.Handler())
	}
	ops.RegisterVersion(mux, svc)
	ops.RegisterVars(mux, func() any { return raftVars(n.Status()) })
	registerDebug(cfg, mux)
	registerV2(cfg, svc, mux, logger)
	limits := port.HTTPOptions{
		MaxStreams: int(min(cfg.MaxConcurrentStreams, maxHTTPStreams)), Endless: gateway.Endless,
		BaseContext: ctx, ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
	e.http = port.NewHTTPServer(e.gate.guard(gateway.Access(mux, access(cfg, svc, logger))), limits)
	e.metrics = port.NewHTTPServer(e.gate.guard(few), limits)
	m.Register(connectionGauges(e.limit)...)
	if !cfg.EnableGateway {
		return e, nil
	}
	g, err := e.newGateway(ctx, cfg, svc, dial)
	if err != nil {
		return nil, errors.Join(err, e.close())
	}
	mux.Handle("/v3/", g)
	return e, nil
}

// access says whom HTTP requests may come from.
func access(cfg *config.Config, svc *service.Service, logger *slog.Logger) gateway.AccessRules {
	return gateway.AccessRules{
		Origins: cfg.CORS, Hosts: cfg.HostWhitelist, Logger: logger, CertAuth: cfg.EnableGateway && cfg.ClientTLS.ClientCertAuth,
		AuthEnabled: svc.AuthEnabled,
	}
}

// enter puts a splitter behind each door.
func (e *edges) enter(cfg *config.Config, d doors, security clientTLS, logger *slog.Logger) {
	rejected := &rejections{logger: logger, what: "rejected connection on client endpoint"}
	split := func(d door, limit *port.Limit) entrance {
		opts := port.Options{
			Plain: d.plain, GRPC: d.grpc, HTTP: d.http, MaxStreams: streams(cfg), Limit: limit, Rejected: rejected.note,
		}
		if d.secure {
			opts.TLS = security.server
		}
		return entrance{d, port.NewSplitter(d.Listener, opts)}
	}
	for _, one := range d.clients {
		e.clients = append(e.clients, split(one, e.limit))
	}
	few := port.NewLimit(0)
	for _, one := range d.metrics {
		e.extra = append(e.extra, split(one, few))
	}
}

// streams is how many calls a gRPC connection may have under way.
func streams(cfg *config.Config) uint32 { return uint32(min(cfg.MaxConcurrentStreams, maxStreams)) }

// connectionGauges tell how many clients there are.
func connectionGauges(l *port.Limit) []ops.Gauge {
	return []ops.Gauge{
		{Name: "quoin_client_connections", Help: "Connections of clients.", Read: func() float64 { return float64(l.State().Open) }},
		{Name: "quoin_client_connections_waiting", Help: "Connections of clients that have made no request yet.", Read: func() float64 { return float64(l.State().Waiting) }},
		{Name: "quoin_client_connections_refused_total", Help: "Connections of clients closed because there were too many.", Counts: true, Read: func() float64 { return float64(l.State().Refused) }},
	}
}

// newGateway makes the handler of the JSON API, which calls the gRPC server through dial.
func (e *edges) newGateway(
	ctx context.Context, cfg *config.Config, svc *service.Service, dial func(context.Context) (net.Conn, error),
) (http.Handler, error) {
	conn, err := grpc.NewClient("passthrough:///member",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return dial(ctx) }),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32)),
	)
	if err != nil {
		return nil, fmt.Errorf("connecting the gateway: %w", err)
	}
	e.conn = conn
	return gateway.New(ctx, conn, grpcLimit(cfg), svc.AdmitJSON)
}

// serve lets clients in and returns at once. failed is told when one of the listeners stops working.
func (e *edges) serve(m *ops.Metrics, failed func(error)) {
	e.wg.Go(func() { failed(ignoreClosed(e.grpc.Serve(e.inner))) })
	for _, in := range e.clients {
		e.serveHTTP(in, e.http, failed)
		e.wg.Go(func() { failed(ignoreClosed(e.grpc.Serve(port.Count(in.GRPC, m.Received, m.Sent)))) })
	}
}

// serveMetrics lets those in who come for metrics and health, also while there is no leader.
func (e *edges) serveMetrics(logger *slog.Logger, failed func(error)) {
	for _, in := range e.extra {
		e.serveHTTP(in, e.metrics, failed)
		logger.Info("serving metrics", "address", in.url)
	}
}

func (e *edges) serveHTTP(in entrance, server *http.Server, failed func(error)) {
	e.wg.Go(func() { failed(ignoreClosed(in.Serve())) })
	e.wg.Go(func() { failed(ignoreClosed(server.Serve(in.HTTP))) })
}

// announce says where clients are served, in the words that programs wait for.
func (e *edges) announce(logger *slog.Logger) {
	for _, in := range e.clients {
		where := []any{"traffic", in.traffic(), "address", in.Addr().String()}
		logger.Info("ready to serve client requests", "address", in.Addr().String())
		if in.plain {
			logger.Warn("serving client traffic insecurely; this is strongly discouraged!", where...)
		}
		if in.secure {
			logger.Info("serving client traffic securely", where...)
		}
	}
}

// grpcLimit is the largest message that the gRPC server takes, in bytes.
func grpcLimit(cfg *config.Config) int { return int(cfg.MaxRequestBytes) + config.GRPCOverheadBytes }

func newGRPC(cfg *config.Config, svc *service.Service, m *ops.Metrics, logger *slog.Logger, tracing *ops.Tracing) v3.Server {
	calls := m.GRPC(cfg.Metrics == "extensive", v3.Catalog())
	opts := v3.Options{
		StopOnDefragment: cfg.Features.Enabled(config.StopGRPCServiceOnDefrag),
		Limits: v3.Limits{
			MaxRequestBytes: grpcLimit(cfg), MaxStreams: streams(cfg),
			KeepAliveMinTime: cfg.KeepAliveMinTime, KeepAliveInterval: cfg.KeepAliveInterval, KeepAliveTimeout: cfg.KeepAliveTimeout,
			HandshakeTime: handshakeTimeout, HeaderListBytes: port.MaxHeaderBytes, RequestsPerSecond: cfg.MaxRequestsPerSecond,
		},
		Unary:         []grpc.UnaryServerInterceptor{calls.UnaryServerInterceptor()},
		Stream:        []grpc.StreamServerInterceptor{calls.StreamServerInterceptor()},
		Observe:       m.ClientRequest,
		StreamFailed:  m.StreamFailed,
		Count:         func(method string) v3.CallCounts { return calls.Unary(method) },
		CountMessages: func(method string) v3.MessageCounts { return calls.Stream(method) },
		Slow: v3.SlowCalls{
			Logger: logger, After: cfg.WarningUnary, Count: func(step string) { m.SlowRequests.WithLabelValues(step).Inc() },
		},
		Reference: cfg.GRPCServer == config.GRPCGo, Stats: tracing.Stats(), Credentials: arrived{},
	}
	if cfg.LogLevel == debugLevel {
		opts.Unary, opts.Stream = append(opts.Unary, ops.NoteUnary), append(opts.Stream, ops.NoteStream)
		opts.InterceptAll = true
	}
	if opts.Reference {
		logger.Info("gRPC is served by the server that is there to compare with", "server", config.GRPCGo)
	}
	return v3.NewServer(svc, opts)
}

// debugLevel is the log level at which the pages for debugging are there.
const debugLevel = "debug"

// registerDebug adds what is served for debugging.
func registerDebug(cfg *config.Config, mux *http.ServeMux) {
	if cfg.EnablePprof || cfg.LogLevel == debugLevel {
		ops.RegisterPprof(mux)
	}
	if cfg.LogLevel == debugLevel {
		ops.RegisterCalls(mux)
	}
}

// startTracing starts to send spans if that is asked for.
func startTracing(cfg *config.Config, logger *slog.Logger) (*ops.Tracing, error) {
	t := &cfg.Tracing
	if !t.Enabled {
		return nil, nil
	}
	return ops.StartTracing(context.Background(), ops.TracingConfig{
		Logger: logger, Address: t.Address, ServiceName: t.ServiceName, InstanceID: t.InstanceID, SamplingRate: t.SamplingRate,
	})
}

// handshakeTimeout is the time that a client has for the first bytes of HTTP/2.
const handshakeTimeout = 10 * time.Second

// drainTimeout is the time that calls under way have to end by themselves.
const drainTimeout = time.Second

// close stops accepting, lets calls under way finish for a moment, then cuts them off.
func (e *edges) close() error {
	err := errors.Join(closeEntrances(e.clients), closeEntrances(e.extra))
	drained := make(chan struct{})
	go func() {
		e.grpc.GracefulStop()
		close(drained)
	}()
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	_ = e.metrics.Close()
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
	e.tracing.Close()
	return err
}

func closeEntrances(list []entrance) error {
	var errs []error
	for _, in := range list {
		errs = append(errs, closeAll([]*port.Splitter{in.Splitter}))
	}
	return errors.Join(errs...)
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
