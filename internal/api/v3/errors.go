package v3

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/request"
)

// toStatus translates an error of the service into what goes over the wire: code and text of the table, a context error without what it
// was wrapped in, a request that is no protobuf message as gRPC says it, and anything else as Unknown with its text.
func toStatus(err error) error { return translate(err, "grpc: error unmarshalling request") }

// toStreamStatus is toStatus for the requests of a stream, of which gRPC speaks differently.
func toStreamStatus(err error) error {
	return translate(err, "grpc: failed to unmarshal the received message")
}

func translate(err error, malformed string) error {
	if err == nil {
		return nil
	}
	if known, ok := kverr.From(err); ok {
		return status.Error(codes.Code(known.Code), known.Text)
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	switch {
	case errors.Is(err, request.ErrMalformed):
		return status.Errorf(codes.Internal, "%s: %v", malformed, err)
	case errors.Is(err, context.Canceled):
		return status.FromContextError(context.Canceled).Err()
	case errors.Is(err, context.DeadlineExceeded):
		return status.FromContextError(context.DeadlineExceeded).Err()
	}
	return status.Error(codes.Unknown, err.Error())
}
