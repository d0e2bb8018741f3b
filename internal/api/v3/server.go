// Package v3 is the gRPC edge: it registers the services of the v3 API and turns calls into calls of package service.
//
// Calls that clients make often (KV, Lease, the answers of Watch) travel as bytes in both directions; the rest uses the generated messages.
package v3

import (
	"context"
	"math"
	"net"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/stats"

	"github.com/quoin-kv/quoin/internal/grpcwire"
	"github.com/quoin-kv/quoin/internal/service"
)

// Limits bounds what a client connection may do. Bytes and durations; MaxRequestBytes is the largest message received.
type Limits struct {
	MaxRequestBytes   int
	MaxStreams        uint32
	KeepAliveMinTime  time.Duration // a client that pings more often is cut off
	KeepAliveInterval time.Duration // idle time before we ping, 0 for never
	KeepAliveTimeout  time.Duration
	HandshakeTime     time.Duration // for the first bytes of HTTP/2
	HeaderListBytes   uint32        // of a call's metadata
	RequestsPerSecond uint          // of all clients together, 0 for no bound
}

// Options are the interceptors and server options that an assembly adds, for metrics and the like.
type Options struct {
	Limits Limits
	Unary  []grpc.UnaryServerInterceptor
	Stream []grpc.StreamServerInterceptor
	// Reference has grpc-go serve, to compare with.
	Reference bool
	// InterceptAll has every call pass the interceptors, also the hottest ones, which are served without a goroutine each otherwise.
	InterceptAll bool
	// Stats is told about all calls; may be nil.
	Stats stats.Handler
	// Credentials tell what a connection has come through.
	Credentials credentials.TransportCredentials
	// Observe counts a call by its kind ("unary", "stream") and the API version that its client says it speaks; may be nil.
	Observe func(kind, clientVersion string)
	// Count is what counts the calls of a unary method that is served without interceptors; may be nil.
	Count func(method string) CallCounts
	Slow  SlowCalls
	// StreamFailed counts a watch or keep-alive stream that broke while the server did something ("receive", "send"); may be nil.
	StreamFailed func(doing, api string)
	// CountMessages is what counts the messages of a watch or keep-alive stream that do not pass the interceptors one by one; may be nil.
	CountMessages func(method string) MessageCounts
	// StopOnDefragment has the health service say that the member does not serve while an operator's Defragment is under way.
	StopOnDefragment bool
}

// streamWorkers is the number of goroutines that grpc-go keeps for calls; more are started as needed. A kept one has grown its stack already,
// which costs a sixth of a small call.
const streamWorkers = 256

// Server is a server of gRPC.
type Server interface {
	grpc.ServiceRegistrar
	// GetServiceInfo describes the services by name.
	GetServiceInfo() map[string]grpc.ServiceInfo
	// Serve serves the connections of a listener until Stop or GracefulStop.
	Serve(l net.Listener) error
	// GracefulStop lets no more calls in, and returns when those under way have ended.
	GracefulStop()
	// Stop ends all calls, and returns when no handler runs any more.
	Stop()
}

// NewServer returns a gRPC server with every service of the client port registered. The caller serves listeners with it and stops it.
func NewServer(svc *service.Service, opts Options) Server {
	var limit *rate
	opts.Unary, opts.Stream, limit = opts.chains(svc)
	if opts.Reference {
		server := newReference(opts)
		register(server, svc, opts.StopOnDefragment)
		return server
	}
	server := newWire(opts)
	register(server, svc, opts.StopOnDefragment)
	if !opts.InterceptAll {
		d := newDirect(svc, &opts, limit)
		for name := range d.methods {
			server.Direct(name, d)
		}
	}
	return server
}

// newWire makes a server of our own.
func newWire(opts Options) *grpcwire.Server {
	l := &opts.Limits
	return grpcwire.New(grpcwire.Options{
		Codec: newCodec(), Unary: opts.Unary, Stream: opts.Stream, Stats: opts.Stats, Credentials: opts.Credentials,
		Limits: grpcwire.Limits{
			ReceiveBytes: l.MaxRequestBytes, Streams: l.MaxStreams, HeaderListBytes: l.HeaderListBytes, HandshakeTime: l.HandshakeTime,
			KeepAliveMinTime: l.KeepAliveMinTime, KeepAliveInterval: l.KeepAliveInterval, KeepAliveTimeout: l.KeepAliveTimeout,
		},
	})
}

// newReference makes a server of grpc-go.
func newReference(opts Options) *grpc.Server {
	l := &opts.Limits
	options := []grpc.ServerOption{
		grpc.ForceServerCodecV2(newCodec()),
		grpc.WaitForHandlers(true),
		grpc.NumStreamWorkers(streamWorkers),
		grpc.MaxRecvMsgSize(l.MaxRequestBytes),
		grpc.MaxSendMsgSize(math.MaxInt32),
		grpc.MaxConcurrentStreams(l.MaxStreams),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: l.KeepAliveMinTime}),
		grpc.KeepaliveParams(l.params()),
		grpc.ChainUnaryInterceptor(opts.Unary...),
		grpc.ChainStreamInterceptor(opts.Stream...),
	}
	if l.HandshakeTime > 0 {
		options = append(options, grpc.ConnectionTimeout(l.HandshakeTime))
	}
	if l.HeaderListBytes > 0 {
		options = append(options, grpc.MaxHeaderListSize(l.HeaderListBytes))
	}
	if opts.Credentials != nil {
		options = append(options, grpc.Creds(opts.Credentials))
	}
	if opts.Stats != nil {
		options = append(options, grpc.StatsHandler(opts.Stats))
	}
	return grpc.NewServer(options...)
}

// chains is the interceptors that a call passes, in order, and the bound on the rate of calls among them, nil if there is none.
func (o *Options) chains(svc *service.Service) (unary []grpc.UnaryServerInterceptor, stream []grpc.StreamServerInterceptor, limit *rate) {
	guard := &guard{svc: svc, observe: o.Observe}
	unary = append([]grpc.UnaryServerInterceptor{o.Slow.intercept}, o.Unary...)
	stream = append(stream, append(o.Stream, o.countStreams)...)
	if o.Limits.RequestsPerSecond > 0 {
		limit = newRate(o.Limits.RequestsPerSecond)
		unary, stream = append(unary, limit.unary), append(stream, limit.stream)
	}
	return append(unary, guard.unary), append(stream, guard.stream), limit
}

// params is the server side of keep-alive; an interval or timeout of zero means the library's default, so never is said as infinity.
func (l Limits) params() keepalive.ServerParameters {
	p := keepalive.ServerParameters{Time: l.KeepAliveInterval, Timeout: l.KeepAliveTimeout}
	if p.Time == 0 {
		p.Time = time.Duration(math.MaxInt64)
	}
	return p
}

// kindService is what the health service knows besides the server as a whole: who has to tell members of one kind from those of another, as
// `quoin migrate`, asks for it, and any other program knows no such service.
const kindService = "quoin"

func register(server grpc.ServiceRegistrar, svc *service.Service, stopOnDefragment bool) {
	serving := health.NewServer()
	server.RegisterService(bytesDesc(&pb.KV_ServiceDesc, kvUnary(svc), kvStreams(svc)), svc)
	server.RegisterService(bytesDesc(&pb.Lease_ServiceDesc, leaseUnary(svc), leaseStreams(svc)), svc)
	server.RegisterService(bytesDesc(&pb.Watch_ServiceDesc, nil, watchStreams(svc)), svc)
	server.RegisterService(bytesDesc(&pb.Auth_ServiceDesc, authUnary(svc), nil), svc)
	pb.RegisterMaintenanceServer(server, &maintenanceServer{svc: svc, outage: outage{health: serving, wanted: stopOnDefragment}})
	pb.RegisterClusterServer(server, &clusterServer{svc: svc})
	serving.SetServingStatus(kindService, healthpb.HealthCheckResponse_SERVING)
	healthpb.RegisterHealthServer(server, serving)
	registerQueues(server, svc)
}

// bytesCall is a unary call on wire bytes. The answer belongs to the caller.
type bytesCall func(ctx context.Context, request []byte) (service.Answer, error)

// small is a call whose answers are never large.
func small(call func(ctx context.Context, request []byte) ([]byte, error)) bytesCall {
	return func(ctx context.Context, request []byte) (service.Answer, error) {
		reply, err := call(ctx, request)
		return service.Answer{Bytes: reply}, err
	}
}

// answerFrame is the frame of an answer. A large one is not compressed: that would take it as a whole.
func answerFrame(ctx context.Context, a service.Answer) (any, error) {
	if a.Large == nil {
		return &frame{bytes: a.Bytes}, nil
	}
	f := &frame{sending: newSending(a.Large)}
	if err := leaveUncompressed(ctx); err != nil {
		f.sending.giveUp()
		return nil, err
	}
	return f, nil
}

// leaveUncompressed has the answer of a call sent as it is.
func leaveUncompressed(ctx context.Context) error {
	if t, ok := grpc.ServerTransportStreamFromContext(ctx).(grpcwire.CompressorSetter); ok {
		return t.SetSendCompressor(encoding.Identity)
	}
	return grpc.SetSendCompressor(ctx, encoding.Identity)
}

// bytesDesc is a generated service description with handlers that work on frames. Every method of the service must have its handler.
func bytesDesc(generated *grpc.ServiceDesc, unary map[string]bytesCall, streams map[string]grpc.StreamHandler) *grpc.ServiceDesc {
	desc := &grpc.ServiceDesc{ServiceName: generated.ServiceName, HandlerType: (*any)(nil), Metadata: generated.Metadata}
	for _, m := range generated.Methods {
		call, ok := unary[m.MethodName]
		if !ok {
			panic("v3: no handler for " + generated.ServiceName + "/" + m.MethodName)
		}
		name := "/" + generated.ServiceName + "/" + m.MethodName
		desc.Methods = append(desc.Methods, grpc.MethodDesc{MethodName: m.MethodName, Handler: bytesHandler(name, call)})
	}
	for _, s := range generated.Streams {
		handler, ok := streams[s.StreamName]
		if !ok {
			panic("v3: no handler for " + generated.ServiceName + "/" + s.StreamName)
		}
		s.Handler = handler
		desc.Streams = append(desc.Streams, s)
	}
	return desc
}

// bytesHandler is what the generated code of a unary method would be, on frames.
func bytesHandler(method string, call bytesCall) grpc.MethodHandler {
	handle := func(ctx context.Context, request any) (any, error) {
		answer, err := call(ctx, request.(*frame).bytes)
		if err != nil {
			return nil, toStatus(err)
		}
		return answerFrame(ctx, answer)
	}
	return func(srv any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
		in := new(frame)
		if err := decode(in); err != nil {
			return nil, err
		}
		if intercept == nil {
			return handle(ctx, in)
		}
		return intercept(ctx, in, &grpc.UnaryServerInfo{Server: srv, FullMethod: method}, handle)
	}
}

func kvUnary(svc *service.Service) map[string]bytesCall {
	return map[string]bytesCall{
		"Range": svc.AnswerRange, "Put": small(svc.Put), "DeleteRange": svc.AnswerDeleteRange, "Txn": svc.AnswerTxn,
		"Compact": small(svc.Compact),
	}
}

func kvStreams(svc *service.Service) map[string]grpc.StreamHandler {
	return map[string]grpc.StreamHandler{"RangeStream": func(_ any, stream grpc.ServerStream) error {
		in := new(frame)
		if err := stream.RecvMsg(in); err != nil {
			return err
		}
		return toStreamStatus(svc.AnswerRangeStream(stream.Context(), in.bytes, func(chunk service.Answer) error {
			return sendChunk(stream, chunk)
		}))
	}}
}

// sendChunk sends one of several answers.
func sendChunk(stream grpc.ServerStream, chunk service.Answer) error {
	f := &frame{bytes: chunk.Bytes}
	if chunk.Large != nil {
		f.sending = newSending(chunk.Large)
	}
	return stream.SendMsg(f)
}

func leaseUnary(svc *service.Service) map[string]bytesCall {
	return map[string]bytesCall{
		"LeaseGrant": small(svc.LeaseGrant), "LeaseRevoke": small(svc.LeaseRevoke), "LeaseTimeToLive": small(svc.LeaseTimeToLive),
		"LeaseLeases": small(svc.LeaseLeases),
	}
}
