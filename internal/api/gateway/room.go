package gateway

import (
	"context"
	"errors"
	"net/http"
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// Admit makes room in memory for the answer to a TxnRequest in wire form, which as JSON exists as a whole and several times over. It waits for
// it, or refuses; release gives the room back.
type Admit func(ctx context.Context, txn []byte) (release func(), err error)

// kv is a client of KV whose calls have room for what they answer until the HTTP request ends.
type kv struct {
	pb.KVClient
	admit Admit
}

func (c *kv) Range(ctx context.Context, r *pb.RangeRequest, opts ...grpc.CallOption) (*pb.RangeResponse, error) {
	op := &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: r}}
	if err := c.makeRoom(ctx, &pb.TxnRequest{Success: []*pb.RequestOp{op}}); err != nil {
		return nil, err
	}
	return c.KVClient.Range(ctx, r, opts...)
}

func (c *kv) DeleteRange(ctx context.Context, r *pb.DeleteRangeRequest, opts ...grpc.CallOption) (*pb.DeleteRangeResponse, error) {
	op := &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: r}}
	if err := c.makeRoom(ctx, &pb.TxnRequest{Success: []*pb.RequestOp{op}}); err != nil {
		return nil, err
	}
	return c.KVClient.DeleteRange(ctx, r, opts...)
}

func (c *kv) Txn(ctx context.Context, r *pb.TxnRequest, opts ...grpc.CallOption) (*pb.TxnResponse, error) {
	if err := c.makeRoom(ctx, r); err != nil {
		return nil, err
	}
	return c.KVClient.Txn(ctx, r, opts...)
}

// makeRoom admits what will be answered. What is no request is refused by the call itself.
func (c *kv) makeRoom(ctx context.Context, r *pb.TxnRequest) error {
	raw, err := proto.Marshal(r)
	if err != nil {
		return nil
	}
	release, err := c.admit(ctx, raw)
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return status.FromContextError(err).Err()
	case err != nil:
		return status.Error(codes.ResourceExhausted, err.Error())
	}
	if held, ok := ctx.Value(heldKey{}).(*held); ok {
		held.add(release)
	} else {
		release()
	}
	return nil
}

// held is the room that the calls of one HTTP request have.
type held struct {
	mu       sync.Mutex
	releases []func()
}

type heldKey struct{}

func (h *held) add(release func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.releases = append(h.releases, release)
}

// giveBack lets each HTTP request keep its room until its answer is written.
func giveBack(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := new(held)
		defer func() {
			for _, release := range h.releases {
				release()
			}
		}()
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), heldKey{}, h)))
	})
}
