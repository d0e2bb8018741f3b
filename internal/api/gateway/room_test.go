package gateway

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	gw "go.etcd.io/etcd/api/v3/etcdserverpb/gw"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// answers is a KV service that answers at once.
type answers struct{ pb.KVClient }

func (answers) Range(context.Context, *pb.RangeRequest, ...grpc.CallOption) (*pb.RangeResponse, error) {
	return &pb.RangeResponse{Count: 1}, nil
}

func (answers) DeleteRange(context.Context, *pb.DeleteRangeRequest, ...grpc.CallOption) (*pb.DeleteRangeResponse, error) {
	return &pb.DeleteRangeResponse{Deleted: 1}, nil
}

func (answers) Txn(context.Context, *pb.TxnRequest, ...grpc.CallOption) (*pb.TxnResponse, error) {
	return &pb.TxnResponse{Succeeded: true}, nil
}

// TestRoom: calls that may answer much ask for room before they run and have it until the answer is written.
func TestRoom(t *testing.T) {
	var asked []string
	inUse, refuse := 0, error(nil)
	admit := func(_ context.Context, txn []byte) (func(), error) {
		var r pb.TxnRequest
		if err := proto.Unmarshal(txn, &r); err != nil {
			t.Error(err)
		}
		asked = append(asked, r.String())
		inUse++
		return func() { inUse-- }, refuse
	}
	mux := runtime.NewServeMux(runtime.WithErrorHandler(writeError))
	if err := gw.RegisterKVHandlerClient(t.Context(), mux, &kv{answers{}, admit}); err != nil {
		t.Fatal(err)
	}
	handler := giveBack(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mux.ServeHTTP(w, r)
		if inUse != 1 {
			t.Errorf("%s: room taken %d times while the answer is written", r.URL, inUse)
		}
	}))
	call := func(path, body string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, strings.NewReader(body)))
		return w
	}
	for path, body := range map[string]string{
		"/v3/kv/range": `{"key":"YQ==","range_end":"Yg=="}`, "/v3/kv/deleterange": `{"key":"YQ==","range_end":"Yg=="}`,
		"/v3/kv/txn": `{"success":[{"request_range":{"key":"YQ==","range_end":"Yg=="}}]}`,
	} {
		asked = nil
		if w := call(path, body); w.Code != http.StatusOK {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
		if len(asked) != 1 || !strings.Contains(asked[0], `range_end:"b"`) || inUse != 0 {
			t.Errorf("%s: asked for room for %q, %d left", path, asked, inUse)
		}
	}
	refuse = errors.New("etcdserver: too many requests")
	inUse = 0
	handler = giveBack(mux)
	w := call("/v3/kv/range", `{"key":"YQ==","range_end":"Yg=="}`)
	if w.Code != http.StatusTooManyRequests || !strings.Contains(w.Body.String(), `"message":"etcdserver: too many requests"`) {
		t.Errorf("without room: %d %s", w.Code, w.Body)
	}
}
