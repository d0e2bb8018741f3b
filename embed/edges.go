package embed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
	"github.com/quoin-kv/quoin/internal/service"
)

// headerTimeout is the time that an HTTP client has to send the header of a request.
const headerTimeout = 5 * time.Minute

// edges is what clients connect to.
type edges struct {
	grpc      *grpc.Server
	http      *http.Server
	splitters []*port.Splitter
	inner     net.Listener // the gateway's way to the gRPC server
	conn      *grpc.ClientConn
	wg        sync.WaitGroup
}

// serveEdges starts to serve clients on the listeners, which it takes over. failed is told when a listener stops working.
func serveEdges(cfg *config.Config, svc *service.Service, m *ops.Metrics, listeners []net.Listener, logger *slog.Logger, failed func(error)) (*edges, error) {
	e := &edges{grpc: newGRPC(cfg, svc, m)}
	handler, err := e.handler(cfg, svc, m)
	if err != nil {
		return nil, err
	}
	e.http = &http.Server{Handler: handler, ReadHeaderTimeout: headerTimeout, ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelDebug)}
	e.wg.Go(func() { failed(ignoreClosed(e.grpc.Serve(e.inner))) })
	for _, l := range listeners {
		s := port.NewSplitter(l)
		e.splitters = append(e.splitters, s)
		e.wg.Go(func() { failed(ignoreClosed(s.Serve())) })
		e.wg.Go(func() { failed(ignoreClosed(e.grpc.Serve(s.GRPC))) })
		e.wg.Go(func() { failed(ignoreClosed(e.http.Serve(s.HTTP))) })
	}
	return e, nil
}

func newGRPC(cfg *config.Config, svc *service.Service, m *ops.Metrics) *grpc.Server {
	calls := m.GRPC()
	server := v3.NewServer(svc, v3.Options{
		Limits: v3.Limits{
			MaxRequestBytes: int(cfg.MaxRequestBytes) + config.GRPCOverheadBytes, MaxStreams: uint32(cfg.MaxConcurrentStreams),
			KeepAliveMinTime: cfg.KeepAliveMinTime, KeepAliveInterval: cfg.KeepAliveInterval, KeepAliveTimeout: cfg.KeepAliveTimeout,
		},
		Unary:   []grpc.UnaryServerInterceptor{calls.UnaryServerInterceptor()},
		Stream:  []grpc.StreamServerInterceptor{calls.StreamServerInterceptor()},
		Observe: func(kind, version string) { m.ClientRequests.WithLabelValues(kind, version).Inc() },
	})
	calls.InitializeMetrics(server)
	return server
}

// handler is what HTTP clients see.
func (e *edges) handler(cfg *config.Config, svc *service.Service, m *ops.Metrics) (http.Handler, error) {
	mux := http.NewServeMux()
	ops.RegisterHealth(mux, svc, m.Health())
	ops.RegisterVersion(mux, svc)
	mux.Handle("/metrics", m.Handler())
	if cfg.EnablePprof {
		registerPprof(mux)
	}
	inner, dial := port.NewPipe()
	e.inner = inner
	if !cfg.EnableGateway {
		return gateway.Access(mux), nil
	}
	limit := int(cfg.MaxRequestBytes) + config.GRPCOverheadBytes
	conn, err := grpc.NewClient("passthrough:///member",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return dial() }),
		grpc.WithDefaultCallOptions(grpc.MaxCallSendMsgSize(limit), grpc.MaxCallRecvMsgSize(1<<31-1)),
	)
	if err != nil {
		return nil, fmt.Errorf("connecting the gateway: %w", err)
	}
	e.conn = conn
	g, err := gateway.New(context.Background(), conn)
	if err != nil {
		return nil, err
	}
	mux.Handle("/v3/", g)
	return gateway.Access(mux), nil
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

// close stops accepting, lets calls under way finish for a moment, then cuts them off. When it returns no handler runs any more.
func (e *edges) close() error {
	err := closeAll(e.splitters)
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
	return err
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
