// Package gateway is the JSON edge: the v3 API as HTTP POSTs with JSON bodies, through the generated reverse proxy.
package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	gw "go.etcd.io/etcd/api/v3/etcdserverpb/gw"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
)

// New returns the handler of everything under /v3/. Calls go through conn, which leads to this member's own gRPC server; ctx bounds their
// life. maxBytes is the largest message that the server takes: a message whose JSON form is four times that is refused unread. Lists are
// read when admit has made room for them.
func New(ctx context.Context, conn *grpc.ClientConn, maxBytes int, admit Admit) (http.Handler, error) {
	limit := 4 * maxBytes
	plain := newBoundedJSON(int64(limit))
	usual, err := newMux(ctx, conn, admit, plain)
	if err != nil {
		return nil, err
	}
	readable, err := newMux(ctx, conn, admit, &readableJSON{plain})
	if err != nil {
		return nil, err
	}
	description, err := describe()
	if err != nil {
		return nil, err
	}
	return upgrade(giveBack(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == descriptionPath && r.Method == http.MethodGet:
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(description)
		case wantsReadable(r):
			readable.ServeHTTP(w, r)
		default:
			usual.ServeHTTP(w, r)
		}
	})), limit), nil
}

// newMux returns the routes of all services, for messages in one form.
func newMux(ctx context.Context, conn *grpc.ClientConn, admit Admit, form runtime.Marshaler) (*runtime.ServeMux, error) {
	mux := runtime.NewServeMux(
		runtime.WithErrorHandler(writeError),
		runtime.WithMarshalerOption(runtime.MIMEWildcard, &runtime.HTTPBodyMarshaler{Marshaler: form}),
	)
	if err := gw.RegisterKVHandlerClient(ctx, mux, &kv{pb.NewKVClient(conn), admit}); err != nil {
		return nil, fmt.Errorf("registering gateway routes: %w", err)
	}
	for _, register := range []func(context.Context, *runtime.ServeMux, *grpc.ClientConn) error{
		gw.RegisterWatchHandler, gw.RegisterLeaseHandler, gw.RegisterAuthHandler, gw.RegisterClusterHandler, gw.RegisterMaintenanceHandler,
	} {
		if err := register(ctx, mux, conn); err != nil {
			return nil, fmt.Errorf("registering gateway routes: %w", err)
		}
	}
	return mux, registerQueues(mux, conn)
}

// boundedJSON is the JSON form of messages, of which no single one may have more than max bytes.
type boundedJSON struct {
	runtime.JSONPb
	max int64
}

func newBoundedJSON(max int64) *boundedJSON {
	return &boundedJSON{runtime.JSONPb{
		MarshalOptions:   protojson.MarshalOptions{UseProtoNames: true},
		UnmarshalOptions: protojson.UnmarshalOptions{DiscardUnknown: true},
	}, max}
}

// errTooLarge is what a client is told whose message is too large to be read. Only its text gets through the generated code.
var errTooLarge = errors.New("message larger than max")

// NewDecoder decodes a body that has one message (all of it then, as long as it fits) or, for streams, several.
func (b *boundedJSON) NewDecoder(r io.Reader) runtime.Decoder { return b.decoder(r, b.Unmarshal) }

func (b *boundedJSON) decoder(r io.Reader, unmarshal func(data []byte, v any) error) runtime.Decoder {
	limited := &limitedReader{r: r}
	d := json.NewDecoder(limited)
	return runtime.DecoderFunc(func(v any) error {
		limited.left = b.max
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return err
		}
		return unmarshal(raw, v)
	})
}

// limitedReader reads at most left bytes.
type limitedReader struct {
	r    io.Reader
	left int64
}

func (l *limitedReader) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, errTooLarge
	}
	n, err := l.r.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	return n, err
}

// writeError answers a call that failed.
func writeError(ctx context.Context, mux *runtime.ServeMux, m runtime.Marshaler, w http.ResponseWriter, r *http.Request, err error) {
	if s := status.Convert(err); s.Code() == codes.InvalidArgument && s.Message() == errTooLarge.Error() {
		err = status.Error(codes.ResourceExhausted, "grpc: received "+errTooLarge.Error())
	}
	runtime.DefaultHTTPErrorHandler(ctx, mux, m, w, r, err)
}
