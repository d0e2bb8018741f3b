package v3

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/quoin-kv/quoin/internal/kverr"
)

// toStatus translates an error of the service into what goes over the wire: code and text of the table, a bare context error as it is, and
// anything else as Unknown with its text.
func toStatus(err error) error {
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
	case errors.Is(err, context.Canceled):
		return status.Error(codes.Canceled, err.Error())
	case errors.Is(err, context.DeadlineExceeded):
		return status.Error(codes.DeadlineExceeded, err.Error())
	}
	return status.Error(codes.Unknown, err.Error())
}
