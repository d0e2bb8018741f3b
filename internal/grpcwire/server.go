package grpcwire

import (
	"net"

	"google.golang.org/grpc"
)

// A Server serves gRPC over HTTP/2 on connections that somebody else has accepted.
type Server struct{}

// New returns a server without services.
func New(o Options) *Server { return &Server{} }

// RegisterService adds a service. It must not be called after Serve.
func (s *Server) RegisterService(d *grpc.ServiceDesc, impl any) {}

// GetServiceInfo describes the services by name.
func (s *Server) GetServiceInfo() map[string]grpc.ServiceInfo { return nil }

// Direct has a unary method, by its full name, served on the direct path. The method must be registered with its service too, for Call.Go and for
// calls that cannot go the direct way: compressed ones. It must not be called after Serve.
func (s *Server) Direct(method string, h DirectHandler) {}

// Serve serves the connections of l until Stop or GracefulStop, and then returns nil; otherwise it returns why accepting failed.
func (s *Server) Serve(l net.Listener) error { return nil }

// GracefulStop lets no more calls in, and returns when those under way have ended.
func (s *Server) GracefulStop() {}

// Stop ends all calls and connections, and returns when no handler runs any more.
func (s *Server) Stop() {}
