package v3

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/internal/service"
)

// clusterServer answers what a client needs to know of the members.
type clusterServer struct {
	pb.UnimplementedClusterServer
	svc *service.Service
}

// MemberList lists the members by id. The revision of its header is 0.
func (s *clusterServer) MemberList(ctx context.Context, r *pb.MemberListRequest) (*pb.MemberListResponse, error) {
	members, err := s.svc.Members(ctx, r.Linearizable)
	if err != nil {
		return nil, toStatus(err)
	}
	return &pb.MemberListResponse{Header: s.header(), Members: toMembers(members)}, nil
}

// MemberAdd adds a member that will be started later.
func (s *clusterServer) MemberAdd(ctx context.Context, r *pb.MemberAddRequest) (*pb.MemberAddResponse, error) {
	added, members, err := s.svc.MemberAdd(ctx, r.PeerURLs, r.IsLearner)
	if err != nil {
		return nil, toStatus(err)
	}
	return &pb.MemberAddResponse{Header: s.header(), Member: toMember(added), Members: toMembers(members)}, nil
}

// MemberRemove removes a member for good.
func (s *clusterServer) MemberRemove(ctx context.Context, r *pb.MemberRemoveRequest) (*pb.MemberRemoveResponse, error) {
	members, err := s.svc.MemberRemove(ctx, r.ID)
	if err != nil {
		return nil, toStatus(err)
	}
	return &pb.MemberRemoveResponse{Header: s.header(), Members: toMembers(members)}, nil
}

// MemberPromote gives a learner a vote.
func (s *clusterServer) MemberPromote(ctx context.Context, r *pb.MemberPromoteRequest) (*pb.MemberPromoteResponse, error) {
	members, err := s.svc.MemberPromote(ctx, r.ID)
	if err != nil {
		return nil, toStatus(err)
	}
	return &pb.MemberPromoteResponse{Header: s.header(), Members: toMembers(members)}, nil
}

// MemberUpdate changes a member's peer URLs.
func (s *clusterServer) MemberUpdate(ctx context.Context, r *pb.MemberUpdateRequest) (*pb.MemberUpdateResponse, error) {
	members, err := s.svc.MemberUpdate(ctx, r.ID, r.PeerURLs)
	if err != nil {
		return nil, toStatus(err)
	}
	return &pb.MemberUpdateResponse{Header: s.header(), Members: toMembers(members)}, nil
}

func (s *clusterServer) header() *pb.ResponseHeader {
	h := s.svc.Header()
	return &pb.ResponseHeader{ClusterId: h.ClusterID, MemberId: h.MemberID, RaftTerm: h.RaftTerm}
}

func toMember(m schema.Member) *pb.Member {
	return &pb.Member{ID: m.ID, Name: m.Name, PeerURLs: m.PeerURLs, ClientURLs: m.ClientURLs, IsLearner: m.IsLearner}
}

func toMembers(members []schema.Member) []*pb.Member {
	out := make([]*pb.Member, len(members))
	for i, m := range members {
		out[i] = toMember(m)
	}
	return out
}
