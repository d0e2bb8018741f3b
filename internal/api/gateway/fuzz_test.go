package gateway

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	gw "go.etcd.io/etcd/api/v3/etcdserverpb/gw"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// nobody is a server that answers every call with an empty message, and ends every stream.
type nobody struct{}

func (nobody) Invoke(context.Context, string, any, any, ...grpc.CallOption) error { return nil }

func (nobody) NewStream(ctx context.Context, _ *grpc.StreamDesc, _ string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	return ended{ctx}, nil
}

type ended struct{ ctx context.Context }

func (ended) Header() (metadata.MD, error) { return nil, nil }
func (ended) Trailer() metadata.MD         { return nil }
func (ended) CloseSend() error             { return nil }
func (s ended) Context() context.Context   { return s.ctx }
func (ended) SendMsg(any) error            { return nil }
func (ended) RecvMsg(any) error            { return io.EOF }

// FuzzJSON sends any body to any path: it is answered, with JSON if there is a body at all.
func FuzzJSON(f *testing.F) {
	const maxBytes = 1 << 16
	mux := runtime.NewServeMux(
		runtime.WithErrorHandler(writeError),
		runtime.WithMarshalerOption(runtime.MIMEWildcard, &runtime.HTTPBodyMarshaler{Marshaler: newBoundedJSON(maxBytes)}),
	)
	ctx, server := f.Context(), nobody{}
	admit := func(context.Context, []byte) (func(), error) { return func() {}, nil }
	for _, err := range []error{
		gw.RegisterKVHandlerClient(ctx, mux, &kv{pb.NewKVClient(server), admit}), gw.RegisterWatchHandlerClient(ctx, mux, pb.NewWatchClient(server)),
		gw.RegisterLeaseHandlerClient(ctx, mux, pb.NewLeaseClient(server)), gw.RegisterClusterHandlerClient(ctx, mux, pb.NewClusterClient(server)),
		gw.RegisterMaintenanceHandlerClient(ctx, mux, pb.NewMaintenanceClient(server)),
	} {
		if err != nil {
			f.Fatal(err)
		}
	}
	handler := giveBack(mux)
	for path, body := range map[string]string{
		"/v3/kv/range":           `{"key":"YQ==","range_end":"Yg==","limit":"7","sort_order":"DESCEND","keysOnly":true}`,
		"/v3/kv/put":             `{"key":"YQ==","value":"_-8=","lease":5}`,
		"/v3/kv/txn":             `{"compare":[{"key":"YQ==","target":"VALUE","value":"YQ=="}],"success":[{"request_put":{"key":"YQ=="}}]}`,
		"/v3/watch":              `{"create_request":{"key":"YQ==","filters":["NOPUT",1]}}` + "\n" + `{"progress_request":{}}`,
		"/v3/lease/keepalive":    `{"ID":1}{"ID":"2"}`,
		"/v3/cluster/member/add": `{"peerURLs":["http://a:1"],"isLearner":true}`,
		"/v3/maintenance/alarm":  `{"action":"ACTIVATE","alarm":"NOSPACE","memberID":"18446744073709551615"}`,
		"/v3/kv/nothing":         ``,
	} {
		f.Add("POST", path, body)
	}
	f.Fuzz(func(t *testing.T, method, path, body string) {
		r, err := http.NewRequestWithContext(t.Context(), method, "http://member/", strings.NewReader(body))
		if err != nil {
			return
		}
		r.URL.Path = path
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code < 200 || w.Code > 599 || w.Code == http.StatusInternalServerError && !strings.Contains(w.Body.String(), `"code"`) {
			t.Errorf("%s %s: status %d, %q", method, path, w.Code, w.Body)
		}
		if w.Header().Get("Content-Type") == "application/json" && w.Body.Len() > 0 && !jsonLines(w.Body.String()) {
			t.Errorf("%s %s answers %q", method, path, w.Body)
		}
	})
}

// jsonLines reports whether a text is JSON values one after the other.
func jsonLines(text string) bool {
	d := json.NewDecoder(strings.NewReader(text))
	for {
		var v any
		if err := d.Decode(&v); err != nil {
			return err == io.EOF
		}
	}
}
