package v3

import (
	"context"
	"errors"
	"io"
	"unicode/utf8"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/service"
)

// Keys of request metadata that change what a call does.
const (
	metaHasLeader  = "hasleader"
	metaAPIVersion = "client-api-version"
)

// How calls are counted by their kind and by what their client says of itself.
const (
	unaryCall      = "unary"
	streamCall     = "stream"
	unknownVersion = "unknown"
)

// guard is what every call passes before its handler: a learner answers few of them, the client's API version is counted, and a call that
// asks for a leader is refused without one.
type guard struct {
	svc     *service.Service
	observe func(kind, clientVersion string)
}

func (g *guard) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if g.svc.IsLearner() && !learnerAnswers(info.FullMethod, req) {
		return nil, toStatus(kverr.NotSupportedForLearner)
	}
	needsLeader, err := g.admit(ctx, unaryCall)
	if err != nil {
		return nil, toStatus(err)
	}
	if needsLeader && !g.svc.HasLeader() {
		return nil, toStatus(kverr.NoLeader)
	}
	if err := authorize(ctx, g.svc, info.FullMethod, req); err != nil {
		return nil, toStatus(err)
	}
	return handler(ctx, req)
}

func (g *guard) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if g.svc.IsLearner() && !learnerAnswers(info.FullMethod, nil) {
		return toStatus(kverr.NotSupportedForLearner)
	}
	needsLeader, err := g.admit(stream.Context(), streamCall)
	if err != nil {
		return toStatus(err)
	}
	if err := authorize(stream.Context(), g.svc, info.FullMethod, nil); err != nil {
		return toStatus(err)
	}
	if !needsLeader {
		return handler(srv, stream)
	}
	if !g.svc.HasLeader() {
		return toStatus(kverr.NoLeader)
	}
	ctx, cancel := g.svc.WithLeader(stream.Context())
	defer cancel()
	err = handler(srv, &streamWithContext{stream, ctx})
	if errors.Is(context.Cause(ctx), kverr.NoLeader) {
		return toStatus(kverr.NoLeader)
	}
	return err
}

// learnerAnswers reports whether a member without a vote answers a call: what it is asked of itself, and reads that may be stale.
func learnerAnswers(method string, req any) bool {
	switch method {
	case pb.Maintenance_Status_FullMethodName, pb.Maintenance_Snapshot_FullMethodName:
		return true
	case pb.KV_Range_FullMethodName:
		var r request.Range
		f, ok := req.(*frame)
		return ok && r.Unmarshal(f.bytes) == nil && r.Serializable
	}
	return false
}

// admit checks the metadata and reports whether the call asks for a leader.
func (g *guard) admit(ctx context.Context, kind string) (needsLeader bool, err error) {
	version := unknownVersion
	if v := metadata.ValueFromIncomingContext(ctx, metaAPIVersion); len(v) > 0 {
		if version = v[0]; !utf8.ValidString(version) {
			return false, kverr.InvalidClientAPIVersion
		}
	}
	if g.observe != nil {
		g.observe(kind, version)
	}
	v := metadata.ValueFromIncomingContext(ctx, metaHasLeader)
	return len(v) > 0 && v[0] == "true", nil
}

// streamWithContext is a stream that ends for its handler when ctx does, which may be before the call's.
type streamWithContext struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *streamWithContext) Context() context.Context { return s.ctx }

// RecvMsg also returns when ctx ends. The message then belongs to what still receives, which ends with the call.
func (s *streamWithContext) RecvMsg(m any) error {
	return unless(s.ctx, func() error { return s.ServerStream.RecvMsg(m) })
}

// unless returns what receive does, or earlier, when ctx ends.
func unless(ctx context.Context, receive func() error) error {
	received := make(chan error, 1)
	go func() { received <- receive() }()
	select {
	case err := <-received:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// endOfStream turns the end of a client's requests into the end of the call.
func endOfStream(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
