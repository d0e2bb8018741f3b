package request_test

import (
	"testing"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/quoin-kv/quoin/internal/request"
)

// TestAuthReplies compares the answers with those of the generated code.
func TestAuthReplies(t *testing.T) {
	ours := request.ResponseHeader{ClusterID: 1 << 63, MemberID: 2, Revision: 3, RaftTerm: 4}
	theirs := &pb.ResponseHeader{ClusterId: 1 << 63, MemberId: 2, Revision: 3, RaftTerm: 4}
	for _, names := range [][]string{nil, {"a"}, {"", "b", "c"}} {
		app := func(b []byte) []byte { return request.AppendAuthNamesResponse(b, ours, names) }
		answer{"user get", app, &pb.AuthUserGetResponse{Header: theirs, Roles: names}}.check(t)
		answer{"user list", app, &pb.AuthUserListResponse{Header: theirs, Users: names}}.check(t)
		answer{"role list", app, &pb.AuthRoleListResponse{Header: theirs, Roles: names}}.check(t)
	}
	answer{"status", func(b []byte) []byte {
		return request.AppendAuthStatusResponse(b, ours, request.AuthStatusResult{Enabled: true, Revision: 9})
	}, &pb.AuthStatusResponse{Header: theirs, Enabled: true, AuthRevision: 9}}.check(t)
	answer{"login", func(b []byte) []byte { return request.AppendAuthenticateResponse(b, ours, "token") }, &pb.AuthenticateResponse{Header: theirs, Token: "token"}}.check(t)
	permissions := []request.Permission{{Key: []byte("a")}, {Kind: request.PermissionReadWrite, RangeEnd: []byte{0}}}
	answer{"role get", func(b []byte) []byte {
		return request.AppendAuthRoleGetResponse(b, ours, permissions)
	}, &pb.AuthRoleGetResponse{Header: theirs, Perm: []*authpb.Permission{{Key: []byte("a")}, {PermType: authpb.READWRITE, RangeEnd: []byte{0}}}}}.check(t)
}
