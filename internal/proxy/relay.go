package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	_ "google.golang.org/grpc/encoding/gzip" // clients may compress what they send
	"google.golang.org/grpc/keepalive"

	"github.com/quoin-kv/quoin/internal/api/port"
	"github.com/quoin-kv/quoin/internal/certs"
)

const (
	maxRelayStreams = 1 << 16 // of a connection, as a member allows; an option may ask for less
	minRelayReceive = 4 << 20 // bytes of a message that is taken from a client, to be refused with the reason if it is too large
	drainTimeout    = time.Second
	reconnectDelay  = 3 * time.Second // at most, between two tries to reach a member
	minSyncInterval = time.Second
)

// RelayOptions say what a Relay does. What has no default here must be given.
type RelayOptions struct {
	Endpoints []string // of members: host:port or URLs; at least one
	// Members is how the connections to members are secured, if TLS says that endpoints without a scheme have TLS, or an endpoint asks for it.
	Members certs.Files
	TLS     bool
	Sync    time.Duration // between two looks at the list of members, from which the endpoints are taken; 0: the endpoints stay

	Advertise      string // what clients are told when they ask for the members; empty: the members
	ResolverPrefix string // under which this proxy and others register; empty: none does
	ResolverTTL    int64  // seconds that a proxy which is gone stays registered
	Namespace      string // that the keys of clients are in; empty: that of the members
	Ordered        bool   // no read is older than one before

	MaxSendBytes, MaxReceiveBytes int // of one message to and from a member
	MaxStreams                    uint32
	KeepAliveMinTime              time.Duration              // that clients wait between two pings; 0: gRPC's own
	KeepAlive                     keepalive.ServerParameters // of which Time and Timeout count; a zero Time means no pings
	Dial                          keepalive.ClientParameters // a zero Time means no pings

	Pprof    bool // serve /debug/pprof/
	LogCalls bool
	Logger   *slog.Logger
}

// Relay is a reverse proxy for gRPC: it passes each call on to a member as the bytes it came in.
//
// Invariants:
//  1. A call holds at most one message in each direction, besides what the flow control of its two connections lets be under way.
//  2. After Serve no call, no connection and no goroutine of the relay is left.
type Relay struct {
	opts    RelayOptions
	logger  *slog.Logger
	targets *targets
	conn    *grpc.ClientConn
	dialer  *certs.Dialer
	server  *grpc.Server
	counts  *counts
	methods map[string]method              // of the API
	roll    *roll                          // nil: the members answer who they are
	edits   map[string]edit                // by method
	ordered map[string]func([]byte) []byte // by method; none if reads need not be in order
	newest  newest
	calls   sync.WaitGroup // those who pass on what clients send
}

// NewRelay returns a relay that is not connected to anybody. Serve or Close must be called.
func NewRelay(o RelayOptions) (*Relay, error) {
	dialer, err := o.Members.Dialer()
	if err != nil {
		return nil, err
	}
	list, err := newTargets(o.Endpoints, o.TLS)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, errors.New("no endpoint")
	}
	r := &Relay{opts: o, logger: o.Logger, targets: &targets{}, dialer: dialer, methods: apiMethods()}
	r.targets.mu.list = list
	if r.conn, err = r.connect(slices.ContainsFunc(list, func(t target) bool { return t.secure })); err != nil {
		return nil, err
	}
	var calls *slog.Logger
	if o.LogCalls {
		calls = o.Logger
	}
	r.counts = newCounts(r.methods, calls)
	if o.Namespace != "" {
		r.edits = namespace{[]byte(o.Namespace)}.edits()
	}
	if o.Ordered {
		r.ordered = orderedMethods()
	}
	r.roll = r.newRoll()
	r.server = r.newServer()
	return r, nil
}

// connect returns the connection to all members, each of which gets its turn of the calls for as long as it can be reached.
func (r *Relay) connect(secure bool) (*grpc.ClientConn, error) {
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(security{r.dialer, secure}),
		grpc.WithContextDialer(dialURL),
		grpc.WithResolvers(r.targets),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"round_robin": {}}]}`),
		grpc.WithDisableServiceConfig(),
		grpc.WithIdleTimeout(0),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: reconnectDelay / 10, Multiplier: 1.5, Jitter: 0.2, MaxDelay: reconnectDelay},
			MinConnectTimeout: dialTimeout,
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallSendMsgSize(r.opts.MaxSendBytes), grpc.MaxCallRecvMsgSize(r.opts.MaxReceiveBytes)),
	}
	if r.opts.Dial.Time > 0 {
		options = append(options, grpc.WithKeepaliveParams(r.opts.Dial))
	}
	return grpc.NewClient(r.targets.Scheme()+":///members", options...)
}

func (r *Relay) newServer() *grpc.Server {
	if r.opts.KeepAlive.Time == 0 {
		r.opts.KeepAlive.Time = math.MaxInt64 // what gRPC takes for never; 0 would be its default
	}
	options := []grpc.ServerOption{
		grpc.UnknownServiceHandler(r.serve),
		grpc.ForceServerCodecV2(frameCodec{}),
		grpc.MaxRecvMsgSize(max(r.opts.MaxSendBytes, minRelayReceive)),
		grpc.MaxSendMsgSize(math.MaxInt32),
		grpc.MaxConcurrentStreams(min(r.opts.MaxStreams, maxRelayStreams)),
		grpc.MaxHeaderListSize(port.MaxHeaderBytes),
		grpc.KeepaliveParams(r.opts.KeepAlive),
		grpc.WaitForHandlers(true),
	}
	if r.opts.KeepAliveMinTime > 0 {
		options = append(options, grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: r.opts.KeepAliveMinTime}))
	}
	return grpc.NewServer(options...)
}

func (r *Relay) newRoll() *roll {
	if r.opts.Advertise == "" {
		return nil
	}
	l := &roll{
		kv: pb.NewKVClient(r.conn), lease: pb.NewLeaseClient(r.conn), logger: r.logger, ttl: r.opts.ResolverTTL, address: r.opts.Advertise, host: hostName(),
	}
	if r.opts.ResolverPrefix != "" {
		l.prefix = r.opts.Namespace + r.opts.ResolverPrefix
	}
	return l
}

// Close is for a relay that will not serve.
func (r *Relay) Close() error { return r.conn.Close() }

// A Door is where clients come in.
type Door struct {
	Listener net.Listener
	TLS      *tls.Config // nil: none; it offers h2 and http/1.1
}

// Serve takes calls and requests for pages at clients, and requests for pages at monitors, until ctx ends or one of them fails. It closes all.
func (r *Relay) Serve(ctx context.Context, clients Door, monitors ...Door) error {
	outer := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	run := func(what func() error) {
		wg.Go(func() {
			if err := what(); err != nil {
				cancel(err)
			}
		})
	}
	sites := []*site{r.newSite(ctx, clients, port.Options{GRPC: true, HTTP: true, MaxStreams: maxRelayStreams}, r.opts.Pprof)}
	for _, m := range monitors {
		sites = append(sites, r.newSite(ctx, m, port.Options{HTTP: true}, false))
	}
	for _, s := range sites {
		run(s.splitter.Serve)
		run(s.serveHTTP)
	}
	run(func() error { return r.server.Serve(sites[0].splitter.GRPC) })
	r.conn.Connect()
	run(func() error { r.follow(ctx); return nil })
	if r.roll != nil && r.roll.prefix != "" {
		run(func() error { r.roll.keep(ctx); return nil })
	}
	<-ctx.Done()
	err := r.stop(sites)
	wg.Wait()
	r.calls.Wait()
	if outer.Err() == nil {
		err = errors.Join(context.Cause(ctx), err)
	}
	return errors.Join(err, r.conn.Close())
}

// stop closes the doors, lets calls under way end for a moment, then cuts them off.
func (r *Relay) stop(sites []*site) (err error) {
	for _, s := range sites {
		err = errors.Join(err, s.splitter.Close())
	}
	cut := time.AfterFunc(drainTimeout, r.server.Stop)
	defer cut.Stop()
	r.server.GracefulStop()
	for _, s := range sites {
		err = errors.Join(err, s.http.Close())
	}
	return err
}

// site is a door with what stands behind it.
type site struct {
	splitter *port.Splitter
	http     *http.Server
}

func (r *Relay) newSite(ctx context.Context, d Door, o port.Options, pprof bool) *site {
	o.TLS, o.Plain, o.Limit = d.TLS, d.TLS == nil, port.NewLimit(maxConnections)
	o.Rejected = func(remote net.Addr, err error) {
		r.logger.Debug("refused a connection", "remote", remote.String(), "error", err)
	}
	return &site{port.NewSplitter(d.Listener, o), port.NewHTTPServer(r.pages(pprof), port.HTTPOptions{
		BaseContext: context.WithoutCancel(ctx), ErrorLog: slog.NewLogLogger(r.logger.Handler(), slog.LevelDebug),
	})}
}

func (s *site) serveHTTP() error {
	if err := s.http.Serve(s.splitter.HTTP); err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// follow takes the endpoints from the list of members every now and then, until ctx ends.
func (r *Relay) follow(ctx context.Context) {
	if r.opts.Sync <= 0 {
		return
	}
	every := max(r.opts.Sync, minSyncInterval)
	for wait(ctx, every); ctx.Err() == nil; wait(ctx, every) {
		if err := r.sync(ctx); err != nil && ctx.Err() == nil {
			r.logger.Warn("the endpoints stay as they are: the list of members cannot be read", "error", err)
		}
	}
}

// sync takes the endpoints from the list of members.
func (r *Relay) sync(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	resp, err := pb.NewClusterClient(r.conn).MemberList(ctx, &pb.MemberListRequest{Linearizable: true})
	if err != nil {
		return err
	}
	var urls []string
	for _, m := range resp.Members {
		if m.Name != "" && !m.IsLearner { // one without a name has not started yet
			urls = append(urls, m.ClientURLs...)
		}
	}
	list, err := newTargets(urls, r.opts.TLS)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return errors.New("no member says where it serves clients")
	}
	slices.SortFunc(list, func(a, b target) int { return strings.Compare(a.String(), b.String()) })
	changed, err := r.targets.set(list)
	if changed {
		r.logger.Info("the endpoints are those of the members now", "endpoints", fmt.Sprint(list))
	}
	return err
}
