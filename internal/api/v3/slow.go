package v3

import (
	"context"
	"log/slog"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/quoin-kv/quoin/internal/steps"
)

// SlowCalls warns of unary calls that take long, and says what they waited for.
type SlowCalls struct {
	Logger *slog.Logger
	After  time.Duration     // 0 or less: nothing is slow
	Count  func(step string) // counts a slow call by the step that took most of its time; may be nil
}

// intercept keeps the record of a call and looks at it in the end.
func (s SlowCalls) intercept(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if s.After <= 0 || waitsForOthers(info.FullMethod) {
		return handler(ctx, req)
	}
	start := time.Now()
	ctx, spent := steps.With(ctx)
	resp, err := handler(ctx, req)
	call, answered := slowCall{info.FullMethod, req, resp, err}, time.Since(start)
	if answered > s.After {
		s.warn(ctx, &call, spent, answered, answered)
	} else if f, ok := resp.(*frame); ok && f != nil && f.sending != nil {
		f.sending.sent = func() {
			if took := time.Since(start); took > s.After {
				s.warn(ctx, &call, spent, answered, took)
			}
		}
	}
	return resp, err
}

// slowCall is what there is to say of a call.
type slowCall struct {
	method    string
	req, resp any
	err       error
}

func (s SlowCalls) warn(ctx context.Context, c *slowCall, spent *steps.Spent, answered, took time.Duration) {
	longest := spent.Close(answered, took)
	if s.Count != nil {
		s.Count(longest.String())
	}
	attrs := []slog.Attr{
		slog.String("method", c.method), slog.Duration("took", took), slog.String("mostly", longest.String()), slog.Any("spent", spent),
		slog.Int("request_bytes", sizeOf(c.req)),
	}
	attrs = append(attrs, describe(c)...)
	if p, ok := peer.FromContext(ctx); ok {
		attrs = append(attrs, slog.String("remote", p.Addr.String()))
	}
	if c.err != nil {
		attrs = append(attrs, slog.String("code", status.Code(c.err).String()))
	} else {
		attrs = append(attrs, slog.Int("response_bytes", sizeOf(c.resp)))
	}
	s.Logger.LogAttrs(ctx, slog.LevelWarn, "request stats", attrs...)
}

// sizeOf is the size of a message in bytes.
func sizeOf(message any) int {
	switch m := message.(type) {
	case *frame:
		switch {
		case m == nil:
			return 0
		case m.sending != nil:
			return m.sending.large.Size()
		}
		return len(m.bytes)
	case proto.Message:
		return proto.Size(m)
	}
	return 0
}

// describe says which keys a call is about and how many it met: never values, and nothing at all of calls that carry secrets.
func describe(c *slowCall) []slog.Attr {
	in, ok := c.req.(*frame)
	if !ok {
		return nil
	}
	out, _ := c.resp.(*frame)
	switch c.method {
	case pb.KV_Range_FullMethodName:
		return describeRange(in, out)
	case pb.KV_Put_FullMethodName:
		var r pb.PutRequest
		if proto.Unmarshal(in.bytes, &r) == nil {
			return []slog.Attr{shorten("key", r.Key), slog.Int("value_bytes", len(r.Value))}
		}
	case pb.KV_DeleteRange_FullMethodName:
		return describeDelete(in, out)
	case pb.KV_Txn_FullMethodName:
		var r pb.TxnRequest
		if proto.Unmarshal(in.bytes, &r) == nil {
			return []slog.Attr{slog.Int("compares", len(r.Compare)), slog.Int("success_ops", len(r.Success)), slog.Int("failure_ops", len(r.Failure))}
		}
	}
	return nil
}

func describeRange(in, out *frame) []slog.Attr {
	var r pb.RangeRequest
	if proto.Unmarshal(in.bytes, &r) != nil {
		return nil
	}
	attrs := []slog.Attr{
		shorten("key", r.Key), shorten("range_end", r.RangeEnd), slog.Int64("limit", r.Limit), slog.Int64("revision", r.Revision),
		slog.Bool("serializable", r.Serializable),
	}
	var answer pb.RangeResponse
	if out != nil && len(out.bytes) > 0 && proto.Unmarshal(out.bytes, &answer) == nil {
		attrs = append(attrs, slog.Int("keys", len(answer.Kvs)), slog.Int64("count", answer.Count))
	}
	return attrs
}

func describeDelete(in, out *frame) []slog.Attr {
	var r pb.DeleteRangeRequest
	if proto.Unmarshal(in.bytes, &r) != nil {
		return nil
	}
	attrs := []slog.Attr{shorten("key", r.Key), shorten("range_end", r.RangeEnd)}
	var answer pb.DeleteRangeResponse
	if out != nil && len(out.bytes) > 0 && proto.Unmarshal(out.bytes, &answer) == nil {
		attrs = append(attrs, slog.Int64("keys", answer.Deleted))
	}
	return attrs
}

// keyBytesMax is how much of a key is shown.
const keyBytesMax = 128

func shorten(name string, key []byte) slog.Attr {
	if len(key) > keyBytesMax {
		return slog.String(name, string(key[:keyBytesMax])+"…")
	}
	return slog.String(name, string(key))
}
