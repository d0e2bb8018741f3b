package v3

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/quoin-kv/quoin/internal/service"
	"github.com/quoin-kv/quoin/internal/steps"
)

func wireOf(t *testing.T, m proto.Message) *frame {
	t.Helper()
	b, err := proto.Marshal(m)
	check(t, err)
	return &frame{bytes: b}
}

// TestSlowCalls: what took too long is warned of with where its time went and which keys it was about, without values and secrets.
func TestSlowCalls(t *testing.T) {
	const secret = "s3cret"
	refused := status.Error(codes.NotFound, "etcdserver: requested lease not found")
	op := &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: []byte("k"), Value: []byte(secret)}}}
	for _, tc := range []struct {
		method    string
		req, resp any
		err       error
		want      map[string]any
	}{
		{
			pb.KV_Put_FullMethodName, wireOf(t, &pb.PutRequest{Key: []byte("k"), Value: []byte(secret)}), wireOf(t, &pb.PutResponse{}), nil,
			map[string]any{"key": "k", "value_bytes": 6.0, "request_bytes": 11.0, "response_bytes": 0.0},
		},
		{
			pb.KV_Put_FullMethodName, wireOf(t, &pb.PutRequest{Key: bytes.Repeat([]byte("k"), 1000)}), (*frame)(nil), refused,
			map[string]any{"key": strings.Repeat("k", 128) + "…", "code": "NotFound"},
		},
		{
			pb.KV_Range_FullMethodName, wireOf(t, &pb.RangeRequest{Key: []byte("a"), RangeEnd: []byte("b"), Limit: 1, Serializable: true}),
			wireOf(t, &pb.RangeResponse{Kvs: []*mvccpb.KeyValue{{Key: []byte("a"), Value: []byte(secret)}}, Count: 5, More: true}), nil,
			map[string]any{"key": "a", "range_end": "b", "limit": 1.0, "serializable": true, "keys": 1.0, "count": 5.0},
		},
		{
			pb.KV_DeleteRange_FullMethodName, wireOf(t, &pb.DeleteRangeRequest{Key: []byte("a"), RangeEnd: []byte("b")}),
			wireOf(t, &pb.DeleteRangeResponse{Deleted: 3}), nil,
			map[string]any{"key": "a", "range_end": "b", "keys": 3.0},
		},
		{
			pb.KV_Txn_FullMethodName, wireOf(t, &pb.TxnRequest{Success: []*pb.RequestOp{op, op}}), wireOf(t, &pb.TxnResponse{}), nil,
			map[string]any{"compares": 0.0, "success_ops": 2.0, "failure_ops": 0.0},
		},
		{
			pb.Auth_UserAdd_FullMethodName, &pb.AuthUserAddRequest{Name: "u", Password: secret}, &pb.AuthUserAddResponse{}, nil,
			map[string]any{"request_bytes": 11.0, "response_bytes": 0.0},
		},
	} {
		var out bytes.Buffer
		counted := ""
		slow := SlowCalls{Logger: slog.New(slog.NewJSONHandler(&out, nil)), After: time.Nanosecond, Count: func(step string) { counted = step }}
		_, err := slow.intercept(t.Context(), tc.req, &grpc.UnaryServerInfo{FullMethod: tc.method}, func(ctx context.Context, _ any) (any, error) {
			steps.From(ctx).Add(steps.Log, time.Hour)
			return tc.resp, tc.err
		})
		if !errors.Is(err, tc.err) {
			t.Errorf("%s: error %v", tc.method, err)
		}
		var line map[string]any
		check(t, json.Unmarshal(out.Bytes(), &line))
		tc.want["method"], tc.want["mostly"], tc.want["level"] = tc.method, "log", "WARN"
		for name, want := range tc.want {
			if line[name] != want {
				t.Errorf("%s: %s is %v, want %v", tc.method, name, line[name], want)
			}
		}
		if spent, _ := line["spent"].(map[string]any); spent["log"] != float64(time.Hour) || counted != "log" {
			t.Errorf("%s: spent %v, counted %q", tc.method, line["spent"], counted)
		}
		if strings.Contains(out.String(), secret) {
			t.Errorf("%s: a secret is logged: %s", tc.method, &out)
		}
	}
}

// TestFastCalls: nothing is said of calls that are fast, nor of any if there is no limit.
func TestFastCalls(t *testing.T) {
	for _, after := range []time.Duration{0, time.Hour} {
		var out bytes.Buffer
		slow := SlowCalls{Logger: slog.New(slog.NewJSONHandler(&out, nil)), After: after}
		_, err := slow.intercept(t.Context(), &frame{}, &grpc.UnaryServerInfo{}, func(context.Context, any) (any, error) { return &frame{}, nil })
		check(t, err)
		if out.Len() > 0 {
			t.Errorf("after %v: %s", after, &out)
		}
	}
}

// TestSlowClient: an answer that was ready in time and that its client takes slowly is warned of when it has gone out.
func TestSlowClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		slow := SlowCalls{Logger: slog.New(slog.NewJSONHandler(&out, nil)), After: time.Second}
		answer := newSending(&service.Large{})
		answer.left.Store(2)
		info := &grpc.UnaryServerInfo{FullMethod: pb.KV_Range_FullMethodName}
		_, err := slow.intercept(t.Context(), &frame{}, info, func(context.Context, any) (any, error) { return &frame{sending: answer}, nil })
		check(t, err)
		answer.freed()
		<-time.After(3 * time.Second)
		if out.Len() > 0 {
			t.Errorf("warned of before the end: %s", &out)
		}
		answer.freed()
		var line map[string]any
		check(t, json.Unmarshal(out.Bytes(), &line))
		if line["mostly"] != "sending" || line["took"] != float64(3*time.Second) {
			t.Errorf("warned of with %s", &out)
		}
	})
}

// BenchmarkFastCall is what a call that is fast pays for being watched.
func BenchmarkFastCall(b *testing.B) {
	call := func(context.Context, any) (any, error) { return nil, nil }
	for name, after := range map[string]time.Duration{"off": 0, "on": time.Hour} {
		b.Run(name, func(b *testing.B) {
			slow := SlowCalls{After: after}
			b.ReportAllocs()
			for b.Loop() {
				_, _ = slow.intercept(b.Context(), nil, nil, call)
			}
		})
	}
}
