// Package proxy passes on what clients want of the members of a cluster: a Gateway whole connections, without looking into them, a Relay each
// gRPC call by itself.
package proxy

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"
)

const (
	dialTimeout    = 5 * time.Second
	maxConnections = 8192 // further clients wait to be accepted
)

// Endpoint is where a member serves clients.
type Endpoint struct {
	Address  string // host:port
	Priority uint16 // those of the lowest that can be reached are used, in turn
}

// Gateway listens for clients and connects each to one endpoint.
//
// Invariants:
//  1. An endpoint that could not be reached is not tried for a client again before it was reached by a probe, unless all are like that:
//     then the client's connection is closed at once.
//  2. At most maxConnections clients are connected.
type Gateway struct {
	endpoints []Endpoint
	retry     time.Duration // between two probes of what could not be reached
	logger    *slog.Logger
	dial      func(ctx context.Context, network, address string) (net.Conn, error)
	slots     chan struct{}
	wg        sync.WaitGroup

	mu struct {
		sync.Mutex
		failed []bool // by endpoint
		turn   int
	}
}

// NewGateway returns a gateway to endpoints, of which there is at least one. What cannot be reached is looked at every retry.
func NewGateway(endpoints []Endpoint, retry time.Duration, logger *slog.Logger) *Gateway {
	g := &Gateway{
		endpoints: endpoints, retry: retry, logger: logger,
		dial: (&net.Dialer{Timeout: dialTimeout}).DialContext, slots: make(chan struct{}, maxConnections),
	}
	g.mu.failed = make([]bool, len(endpoints))
	return g
}

// Serve takes clients of l until ctx ends, which cuts all connections, or l fails. It closes l.
func (g *Gateway) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer g.wg.Wait()
	defer cancel()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	g.wg.Go(func() { g.probe(ctx) })
	for {
		select {
		case g.slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		client, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return errors.Join(err, l.Close())
		}
		g.wg.Go(func() {
			defer func() { <-g.slots }()
			g.pass(ctx, client)
		})
	}
}

// pass connects a client to an endpoint until one of them, or ctx, ends it.
func (g *Gateway) pass(ctx context.Context, client net.Conn) {
	defer client.Close()
	server := g.connect(ctx)
	if server == nil {
		return
	}
	defer server.Close()
	defer context.AfterFunc(ctx, func() { client.Close(); server.Close() })()
	var wg sync.WaitGroup
	for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
		wg.Go(func() {
			// How a connection ends is the business of those at its ends.
			_, _ = io.Copy(way[1], way[0])
			client.Close()
			server.Close()
		})
	}
	wg.Wait()
}

// connect returns a connection to the endpoint whose turn it is, nil if none can be reached.
func (g *Gateway) connect(ctx context.Context) net.Conn {
	for {
		i, ok := g.next()
		if !ok {
			return nil
		}
		conn, err := g.dial(ctx, "tcp", g.endpoints[i].Address)
		if err == nil {
			return conn
		}
		if ctx.Err() != nil {
			return nil
		}
		g.logger.Warn("deactivated endpoint", "address", g.endpoints[i].Address, "interval", g.retry, "error", err)
		g.note(i, true)
	}
}

// next says whose turn it is.
func (g *Gateway) next() (index int, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := len(g.endpoints)
	best := -1
	for k := range n {
		i := (g.mu.turn + k) % n
		if !g.mu.failed[i] && (best < 0 || g.endpoints[i].Priority < g.endpoints[best].Priority) {
			best = i
		}
	}
	if best >= 0 {
		g.mu.turn = best + 1
	}
	return best, best >= 0
}

func (g *Gateway) note(index int, failed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mu.failed[index] = failed
}

func (g *Gateway) hasFailed(index int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mu.failed[index]
}

// probe looks now and then whether endpoints that could not be reached can be.
func (g *Gateway) probe(ctx context.Context) {
	ticker := time.NewTicker(g.retry)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		for i := range g.endpoints {
			if !g.hasFailed(i) {
				continue
			}
			if conn, err := g.dial(ctx, "tcp", g.endpoints[i].Address); err == nil {
				conn.Close()
				g.note(i, false)
				g.logger.Info("activated endpoint", "address", g.endpoints[i].Address)
			}
		}
	}
}
