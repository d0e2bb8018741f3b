package grpcwire

import (
	"context"

	"google.golang.org/grpc/metadata"
)

// newContext makes the context of a call.
func (s *stream) newContext() (context.Context, context.CancelFunc) {
	ctx := metadata.NewIncomingContext(s.conn.base, s.head.metadata())
	if s.deadline.IsZero() {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, s.deadline)
}
