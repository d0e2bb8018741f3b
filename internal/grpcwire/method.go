package grpcwire

import (
	"context"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
)

// method is a method of a service.
//
// Invariant: exactly one of unary and stream is set.
type method struct {
	impl       any
	unary      *grpc.MethodDesc
	stream     *grpc.StreamDesc
	streamInfo *grpc.StreamServerInfo
	direct     int // index of the handler for the direct path, -1: none
}

// starts reports whether the handler begins before the client's first message is there, since more of them may come.
func (m *method) starts() bool { return m.stream != nil && m.stream.ClientStreams }

// desc says which sides stream.
func (m *method) desc() grpc.StreamDesc {
	if m.stream == nil {
		return grpc.StreamDesc{}
	}
	return *m.stream
}

// RegisterService adds a service. It must not be called after Serve.
func (s *Server) RegisterService(d *grpc.ServiceDesc, impl any) {
	if _, twice := s.services[d.ServiceName]; twice {
		panic("grpcwire: service " + d.ServiceName + " is registered twice")
	}
	info := grpc.ServiceInfo{Metadata: d.Metadata}
	for i := range d.Methods {
		m := &d.Methods[i]
		s.methods[fullName(d, m.MethodName)] = &method{impl: impl, unary: m, direct: -1}
		info.Methods = append(info.Methods, grpc.MethodInfo{Name: m.MethodName})
	}
	for i := range d.Streams {
		m := &d.Streams[i]
		name := fullName(d, m.StreamName)
		s.methods[name] = &method{impl: impl, stream: m, direct: -1, streamInfo: &grpc.StreamServerInfo{
			FullMethod: name, IsClientStream: m.ClientStreams, IsServerStream: m.ServerStreams,
		}}
		info.Methods = append(info.Methods, grpc.MethodInfo{Name: m.StreamName, IsClientStream: m.ClientStreams, IsServerStream: m.ServerStreams})
	}
	s.services[d.ServiceName] = info
}

func fullName(d *grpc.ServiceDesc, name string) string { return "/" + d.ServiceName + "/" + name }

// GetServiceInfo describes the services by name.
func (s *Server) GetServiceInfo() map[string]grpc.ServiceInfo { return s.services }

// Direct has a unary method, by its full name, served on the direct path. The method must be registered with its service before, for Call.Go and
// for calls that cannot go the direct way: compressed ones, and all of them if somebody wants statistics. It must not be called after Serve.
func (s *Server) Direct(method string, h DirectHandler) {
	m := s.methods[method]
	if m == nil || m.unary == nil {
		panic("grpcwire: no unary method " + method)
	}
	if s.stats != nil {
		return
	}
	for i, known := range s.handlers {
		if known == h {
			m.direct = i
			return
		}
	}
	m.direct = len(s.handlers)
	s.handlers = append(s.handlers, h)
}

// find finds a method by its path, or says why there is none.
func (s *Server) find(path string) (*method, *refusal) {
	if m := s.methods[path]; m != nil {
		return m, nil
	}
	service, name, ok := cutLast(strings.TrimPrefix(path, "/"))
	if !strings.HasPrefix(path, "/") || !ok {
		return nil, refuse(200, codes.Unimplemented, "malformed method name: %q", path)
	}
	if _, known := s.services[service]; known {
		return nil, refuse(200, codes.Unimplemented, "unknown method %s for service %s", name, service)
	}
	return nil, refuse(200, codes.Unimplemented, "unknown service %s", service)
}

// cutLast cuts a path at its last slash.
func cutLast(path string) (before, after string, ok bool) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return "", "", false
	}
	return path[:i], path[i+1:], true
}

// chainUnary makes one interceptor of several. nil: there is none.
func chainUnary(list []grpc.UnaryServerInterceptor) grpc.UnaryServerInterceptor {
	switch len(list) {
	case 0:
		return nil
	case 1:
		return list[0]
	}
	outer, inner := list[0], chainUnary(list[1:])
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		return outer(ctx, req, info, func(ctx context.Context, req any) (any, error) { return inner(ctx, req, info, handler) })
	}
}

// chainStream makes one interceptor of several. nil: there is none.
func chainStream(list []grpc.StreamServerInterceptor) grpc.StreamServerInterceptor {
	switch len(list) {
	case 0:
		return nil
	case 1:
		return list[0]
	}
	outer, inner := list[0], chainStream(list[1:])
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		return outer(srv, stream, info, func(srv any, stream grpc.ServerStream) error { return inner(srv, stream, info, handler) })
	}
}
