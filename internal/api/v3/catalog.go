package v3

import (
	"errors"
	"io"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// Catalog lists what a client may call on a member of this version, whether it is served or not: metrics name all of it from the start. Lock
// and Election are not among it: metrics name their methods when they are first called.
func Catalog() map[string]grpc.ServiceInfo {
	all := map[string]grpc.ServiceInfo{}
	for _, desc := range []*grpc.ServiceDesc{
		&pb.KV_ServiceDesc, &pb.Watch_ServiceDesc, &pb.Lease_ServiceDesc, &pb.Cluster_ServiceDesc, &pb.Maintenance_ServiceDesc, &pb.Auth_ServiceDesc,
		&healthpb.Health_ServiceDesc,
	} {
		all[desc.ServiceName] = serviceInfo(desc)
	}
	return all
}

func serviceInfo(desc *grpc.ServiceDesc) grpc.ServiceInfo {
	info := grpc.ServiceInfo{Metadata: desc.Metadata}
	for _, m := range desc.Methods {
		info.Methods = append(info.Methods, grpc.MethodInfo{Name: m.MethodName})
	}
	for _, s := range desc.Streams {
		info.Methods = append(info.Methods, grpc.MethodInfo{Name: s.StreamName, IsClientStream: s.ClientStreams, IsServerStream: s.ServerStreams})
	}
	return info
}

// MessageCounts counts the messages of a stream's method that the interceptors do not see.
type MessageCounts interface {
	Received(n int)
	Sent(n int)
}

// countStreams tells StreamFailed of streams that break although their client is still there, by what the server was doing and the name of the
// API, and has the messages of these streams counted that are received or sent together.
func (o *Options) countStreams(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	api := failureName(info.FullMethod)
	if api == "" {
		return handler(srv, stream)
	}
	s := &countedStream{ServerStream: stream, api: api, failed: o.StreamFailed, apart: o.InterceptAll || o.Stats != nil}
	if o.CountMessages != nil {
		s.counts = o.CountMessages(info.FullMethod)
	}
	return handler(srv, s)
}

func failureName(method string) string {
	switch method {
	case pb.Watch_Watch_FullMethodName:
		return "watch"
	case pb.Lease_LeaseKeepAlive_FullMethodName:
		return "lease-keepalive"
	}
	return ""
}

type countedStream struct {
	grpc.ServerStream
	api    string
	failed func(doing, api string) // may be nil
	counts MessageCounts           // may be nil
	apart  bool                    // every message passes the interceptors
}

// countedOf is the countedStream that a stream is or wraps, nil if there is none.
func countedOf(stream grpc.ServerStream) *countedStream {
	if s, ok := stream.(*streamWithContext); ok {
		stream = s.ServerStream
	}
	s, _ := stream.(*countedStream)
	return s
}

func (s *countedStream) RecvMsg(m any) error {
	err := s.ServerStream.RecvMsg(m)
	s.note("receive", err)
	return err
}

func (s *countedStream) SendMsg(m any) error {
	err := s.ServerStream.SendMsg(m)
	s.note("send", err)
	return err
}

// received counts messages that were received together. The receiver may be nil, as that of sent.
func (s *countedStream) received(n int, err error) {
	if s == nil {
		return
	}
	if s.note("receive", err); err == nil && s.counts != nil {
		s.counts.Received(n)
	}
}

func (s *countedStream) sent(n int, err error) {
	if s == nil {
		return
	}
	if s.note("send", err); err == nil && s.counts != nil {
		s.counts.Sent(n)
	}
}

func (s *countedStream) note(doing string, err error) {
	if err != nil && s.failed != nil && !errors.Is(err, io.EOF) && s.Context().Err() == nil {
		s.failed(doing, s.api)
	}
}
