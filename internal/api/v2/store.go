package v2

import (
	"context"
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"

	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/internal/service"
)

// Store is what the view stands on: a *service.Service, which documents the methods.
type Store interface {
	Range(ctx context.Context, raw []byte) ([]byte, error)
	Txn(ctx context.Context, raw []byte) ([]byte, error)
	LeaseGrant(ctx context.Context, raw []byte) ([]byte, error)
	LeaseRevoke(ctx context.Context, raw []byte) ([]byte, error)
	LeaseTimeToLive(ctx context.Context, raw []byte) ([]byte, error)
	Watch() *service.WatchStream
	KeySpace() service.KeySpace
	Status() service.Status

	Authenticate(ctx context.Context, raw []byte) ([]byte, error)
	AuthEnabled() bool
	Admin(ctx context.Context) error
	Present(ctx context.Context) error

	Members(ctx context.Context, linearizable bool) ([]schema.Member, error)
	MemberAdd(ctx context.Context, peerURLs []string, learner bool) (schema.Member, []schema.Member, error)
	MemberUpdate(ctx context.Context, id uint64, peerURLs []string) ([]schema.Member, error)
	MemberRemove(ctx context.Context, id uint64) ([]schema.Member, error)
}

// invoke makes one call: in and out are its messages.
func invoke(ctx context.Context, call func(context.Context, []byte) ([]byte, error), in, out proto.Message) error {
	raw, err := proto.Marshal(in)
	if err != nil {
		return fmt.Errorf("encoding a request: %w", err)
	}
	if raw, err = call(ctx, raw); err != nil {
		return err
	}
	if err := proto.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("decoding a response: %w", err)
	}
	return nil
}

// txn runs a transaction.
func (h *Handler) txn(ctx context.Context, in *pb.TxnRequest) (*pb.TxnResponse, error) {
	out := new(pb.TxnResponse)
	return out, invoke(ctx, h.store.Txn, in, out)
}

// query reads a range.
func (h *Handler) query(ctx context.Context, in *pb.RangeRequest) (*pb.RangeResponse, error) {
	out := new(pb.RangeResponse)
	return out, invoke(ctx, h.store.Range, in, out)
}

func rangeOp(r *pb.RangeRequest) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: r}}
}

func putOp(key, value string, lease leaseID) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: []byte(key), Value: []byte(value), Lease: int64(lease)}}}
}

// moveOp attaches a key to another lease.
func moveOp(key []byte, lease leaseID) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: key, Lease: int64(lease), IgnoreValue: true}}}
}

// deleteOp deletes a key, or a range if last is not empty.
func deleteOp(key, last string) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: &pb.DeleteRangeRequest{Key: []byte(key), RangeEnd: []byte(last)}}}
}

// unchanged holds while a key has the revision of its last change, 0 if there is no such key.
func unchanged(key string, modified int64) *pb.Compare {
	return &pb.Compare{Target: pb.Compare_MOD, Key: []byte(key), TargetUnion: &pb.Compare_ModRevision{ModRevision: modified}}
}

// nothingIn holds while a range has no keys.
func nothingIn(key, last string) *pb.Compare {
	return &pb.Compare{Target: pb.Compare_VERSION, Key: []byte(key), RangeEnd: []byte(last), TargetUnion: &pb.Compare_Version{}}
}

// nothingNewIn holds while no key of a range was written after a revision.
func nothingNewIn(key, last string, revision int64) *pb.Compare {
	return &pb.Compare{
		Target: pb.Compare_MOD, Result: pb.Compare_LESS, Key: []byte(key), RangeEnd: []byte(last),
		TargetUnion: &pb.Compare_ModRevision{ModRevision: revision + 1},
	}
}
