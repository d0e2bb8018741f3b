package workload

import (
	"context"
	"errors"
	"fmt"
	"io"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// Client sends operations to one server, one after the other.
type Client struct {
	KV    pb.KVClient
	Lease pb.LeaseClient
	Maint pb.MaintenanceClient
	Watch pb.WatchClient

	alive grpc.BidiStreamingClient[pb.LeaseKeepAliveRequest, pb.LeaseKeepAliveResponse]
}

// NewClient returns a client on the connection, which stays the caller's. The
// context bounds the client's keep-alive stream.
func NewClient(ctx context.Context, conn *grpc.ClientConn) (*Client, error) {
	c := &Client{
		KV: pb.NewKVClient(conn), Lease: pb.NewLeaseClient(conn),
		Maint: pb.NewMaintenanceClient(conn), Watch: pb.NewWatchClient(conn),
	}
	alive, err := c.Lease.LeaseKeepAlive(ctx)
	if err != nil {
		return nil, fmt.Errorf("open the keep-alive stream: %w", err)
	}
	c.alive = alive
	return c, nil
}

// Do sends one operation and returns its outcome in comparable form: ids and
// terms of the header are cleared, and what has no defined order is sorted.
func (c *Client) Do(ctx context.Context, op Op) Outcome {
	resp, err := c.send(ctx, op)
	if err != nil {
		s := status.Convert(err)
		return Outcome{Code: s.Code(), Text: s.Message()}
	}
	normalize(op, resp)
	return Outcome{Response: resp}
}

func (c *Client) send(ctx context.Context, op Op) (proto.Message, error) {
	switch r := op.Request.(type) {
	case *pb.RangeRequest:
		if op.Stream {
			return c.stream(ctx, r)
		}
		return c.KV.Range(ctx, r)
	case *pb.PutRequest:
		return c.KV.Put(ctx, r)
	case *pb.DeleteRangeRequest:
		return c.KV.DeleteRange(ctx, r)
	case *pb.TxnRequest:
		return c.KV.Txn(ctx, r)
	case *pb.CompactionRequest:
		return c.KV.Compact(ctx, r)
	case *pb.HashKVRequest:
		return c.Maint.HashKV(ctx, r)
	default:
		return c.sendLease(ctx, op)
	}
}

func (c *Client) sendLease(ctx context.Context, op Op) (proto.Message, error) {
	switch r := op.Request.(type) {
	case *pb.LeaseGrantRequest:
		return c.Lease.LeaseGrant(ctx, r)
	case *pb.LeaseRevokeRequest:
		return c.Lease.LeaseRevoke(ctx, r)
	case *pb.LeaseTimeToLiveRequest:
		return c.Lease.LeaseTimeToLive(ctx, r)
	case *pb.LeaseLeasesRequest:
		return c.Lease.LeaseLeases(ctx, r)
	case *pb.LeaseKeepAliveRequest:
		if err := c.alive.Send(r); err != nil {
			return nil, err
		}
		return c.alive.Recv()
	}
	panic(fmt.Sprintf("workload: operation: got %T, want a known request", op.Request))
}

// stream reads a RangeStream and merges its chunks, which gives a Range answer.
func (c *Client) stream(ctx context.Context, r *pb.RangeRequest) (proto.Message, error) {
	s, err := c.KV.RangeStream(ctx, r)
	if err != nil {
		return nil, err
	}
	whole := &pb.RangeResponse{}
	for {
		chunk, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return whole, nil
		}
		if err != nil {
			return nil, err
		}
		proto.Merge(whole, chunk.RangeResponse)
	}
}
