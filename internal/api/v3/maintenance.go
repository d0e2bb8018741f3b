package v3

import (
	"context"
	"crypto/sha256"
	"io"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/service"
)

// maintenanceServer answers operators: state, alarms, hashes, snapshots.
type maintenanceServer struct {
	pb.UnimplementedMaintenanceServer
	svc    *service.Service
	outage outage
}

func (s *maintenanceServer) header() *pb.ResponseHeader {
	h := s.svc.Header()
	return &pb.ResponseHeader{ClusterId: h.ClusterID, MemberId: h.MemberID, Revision: h.Revision, RaftTerm: h.RaftTerm}
}

// Status reports this member's state as it sees it, without asking anybody.
func (s *maintenanceServer) Status(context.Context, *pb.StatusRequest) (*pb.StatusResponse, error) {
	st := s.svc.Status()
	return &pb.StatusResponse{
		Header: s.header(), Version: st.Version, StorageVersion: st.StorageVersion,
		DbSize: st.DBSize, DbSizeInUse: st.DBSizeInUse, DbSizeQuota: st.DBSizeQuota,
		Leader: st.Leader, RaftIndex: st.RaftIndex, RaftTerm: st.RaftTerm, RaftAppliedIndex: st.RaftAppliedIndex,
		Errors: st.Errors, IsLearner: st.IsLearner, DowngradeInfo: &pb.DowngradeInfo{Enabled: st.Downgrade.Enabled, TargetVersion: st.Downgrade.TargetVersion},
	}, nil
}

// Alarm lists, raises and clears alarms.
func (s *maintenanceServer) Alarm(ctx context.Context, r *pb.AlarmRequest) (*pb.AlarmResponse, error) {
	raw, err := s.svc.Alarm(ctx, request.Alarm{Action: int32(r.Action), MemberID: r.MemberID, Kind: int32(r.Alarm)})
	if err != nil {
		return nil, toStatus(err)
	}
	out := new(pb.AlarmResponse)
	return out, proto.Unmarshal(raw, out)
}

// HashKV hashes the key space as of a revision.
func (s *maintenanceServer) HashKV(ctx context.Context, r *pb.HashKVRequest) (*pb.HashKVResponse, error) {
	h, err := s.svc.HashKV(ctx, r.Revision)
	if err != nil {
		return nil, toStatus(err)
	}
	return &pb.HashKVResponse{Header: s.header(), Hash: h.Hash, CompactRevision: h.CompactRev, HashRevision: h.Rev}, nil
}

// Hash hashes the whole database file.
func (s *maintenanceServer) Hash(ctx context.Context, _ *pb.HashRequest) (*pb.HashResponse, error) {
	h, err := s.svc.HashFile(ctx)
	if err != nil {
		return nil, toStatus(err)
	}
	return &pb.HashResponse{Header: s.header(), Hash: h}, nil
}

// Defragment rewrites the database file without its free pages. Reads and writes go on meanwhile.
func (s *maintenanceServer) Defragment(ctx context.Context, _ *pb.DefragmentRequest) (*pb.DefragmentResponse, error) {
	s.outage.begin()
	defer s.outage.end()
	if err := s.svc.Defragment(ctx); err != nil {
		return nil, toStatus(err)
	}
	return &pb.DefragmentResponse{}, nil
}

// MoveLeader hands leadership to another voter.
func (s *maintenanceServer) MoveLeader(ctx context.Context, r *pb.MoveLeaderRequest) (*pb.MoveLeaderResponse, error) {
	if err := s.svc.MoveLeader(ctx, r.TargetID); err != nil {
		return nil, toStatus(err)
	}
	return &pb.MoveLeaderResponse{}, nil
}

// Downgrade checks, begins or ends a downgrade of the cluster.
func (s *maintenanceServer) Downgrade(ctx context.Context, r *pb.DowngradeRequest) (*pb.DowngradeResponse, error) {
	var cluster string
	var err error
	switch r.Action {
	case pb.DowngradeRequest_VALIDATE:
		cluster, err = s.svc.ValidateDowngrade(ctx, r.Version)
	case pb.DowngradeRequest_ENABLE:
		cluster, err = s.svc.EnableDowngrade(ctx, r.Version)
	case pb.DowngradeRequest_CANCEL:
		cluster, err = s.svc.CancelDowngrade(ctx)
	default:
		return nil, status.Error(codes.Unknown, "etcdserver: unknown method")
	}
	if err != nil {
		return nil, toStatus(err)
	}
	return &pb.DowngradeResponse{Header: s.header(), Version: cluster}, nil
}

// snapshotBlobBytes is the size of every blob of a snapshot but the last.
const snapshotBlobBytes = 32 << 10

// Snapshot streams the database file as of one point in time, followed by its SHA-256.
func (s *maintenanceServer) Snapshot(_ *pb.SnapshotRequest, stream grpc.ServerStreamingServer[pb.SnapshotResponse]) error {
	w := &blobWriter{stream: stream}
	digest := sha256.New()
	err := s.svc.Snapshot(stream.Context(), func(size int64, version string) io.Writer {
		w.remaining, w.version = size, version
		return io.MultiWriter(w, digest)
	})
	if err != nil {
		return toStatus(err)
	}
	if err := w.flush(); err != nil {
		return err
	}
	if w.remaining != 0 {
		return status.Errorf(codes.Internal, "snapshot ended %d bytes early", w.remaining)
	}
	return stream.Send(&pb.SnapshotResponse{Blob: digest.Sum(nil), Version: w.version})
}
