package v3

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/request"
)

func TestToStatus(t *testing.T) {
	wrap := func(err error) error { return fmt.Errorf("doing it: %w", err) }
	for _, c := range []struct {
		err  error
		code codes.Code
		text string
	}{
		{nil, codes.OK, ""},
		{kverr.Compacted, codes.OutOfRange, "etcdserver: mvcc: required revision has been compacted"},
		{wrap(kverr.TooManyRequests), codes.Unknown, "etcdserver: too many requests"},
		{wrap(context.Canceled), codes.Canceled, "context canceled"},
		{context.DeadlineExceeded, codes.DeadlineExceeded, "context deadline exceeded"},
		{kverr.Canceled, codes.Canceled, "etcdserver: request canceled"},
		{status.Error(codes.Aborted, "as it is"), codes.Aborted, "as it is"},
		{wrap(request.ErrMalformed), codes.Internal, "grpc: error unmarshalling request: doing it: malformed protobuf message"},
		{errors.New("what the disk said"), codes.Unknown, "what the disk said"},
	} {
		wantStatus(t, fmt.Sprint(c.err), toStatus(c.err), c.code, c.text)
	}
	wantStatus(t, "stream", toStreamStatus(request.ErrMalformed), codes.Internal, "grpc: failed to unmarshal the received message: malformed protobuf message")
}
