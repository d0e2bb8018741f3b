package v3

import (
	"context"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/credentials"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/service"
)

// Keys of request metadata that say who makes a call.
const (
	metaToken         = "token"
	metaAuthorization = "authorization"
	// metaGateway comes with every call that the JSON gateway passes on: the certificate is then the gateway's, not the client's.
	metaGateway = "grpcgateway-accept"
)

// authUnary is the Auth service. Each call but a login is one request in the log.
func authUnary(svc *service.Service) map[string]bytesCall {
	calls := map[string]bytesCall{"Authenticate": small(svc.Authenticate)}
	for method, field := range map[string]request.Field{
		"AuthEnable": request.FieldAuthEnable, "AuthDisable": request.FieldAuthDisable, "AuthStatus": request.FieldAuthStatus,
		"UserAdd": request.FieldAuthUserAdd, "UserGet": request.FieldAuthUserGet, "UserList": request.FieldAuthUserList,
		"UserDelete": request.FieldAuthUserDelete, "UserChangePassword": request.FieldAuthUserChangePassword,
		"UserGrantRole": request.FieldAuthUserGrantRole, "UserRevokeRole": request.FieldAuthUserRevokeRole,
		"RoleAdd": request.FieldAuthRoleAdd, "RoleGet": request.FieldAuthRoleGet, "RoleList": request.FieldAuthRoleList,
		"RoleDelete": request.FieldAuthRoleDelete, "RoleGrantPermission": request.FieldAuthRoleGrantPermission,
		"RoleRevokePermission": request.FieldAuthRoleRevokePermission,
	} {
		calls[method] = small(func(ctx context.Context, raw []byte) ([]byte, error) { return svc.Auth(ctx, field, raw) })
	}
	return calls
}

// Credentials reads what a call shows of who makes it: the token among its metadata and, on a connection whose client proved itself with a
// certificate, its common name.
func Credentials(ctx context.Context) service.Credentials {
	md, _ := metadata.FromIncomingContext(ctx)
	out := service.Credentials{Token: shownToken(func(name string) string { return first(md, name) })}
	if len(md[metaGateway]) == 0 {
		out.CommonName = commonName(ctx)
	}
	return out
}

// shownToken is the token among metadata.
func shownToken(first func(name string) string) string {
	if token := first(metaToken); token != "" {
		return token
	}
	token := first(metaAuthorization)
	// Some clients name the kind of token before it.
	if kind, rest, ok := strings.Cut(token, " "); ok && strings.EqualFold(kind, "bearer") {
		return rest
	}
	return token
}

func first(md metadata.MD, key string) string {
	if list := md[key]; len(list) > 0 {
		return list[0]
	}
	return ""
}

// commonName is that of the certificate by which the client was verified, empty if there is none.
func commonName(ctx context.Context) string {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return ""
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.VerifiedChains) == 0 || len(info.State.VerifiedChains[0]) == 0 {
		return ""
	}
	return info.State.VerifiedChains[0][0].Subject.CommonName
}

// authorize decides on calls whose service does not decide itself, while authentication is on. What is not named here is for administrators.
func authorize(ctx context.Context, svc *service.Service, method string, req any) error {
	if !svc.AuthEnabled() || decidesItself(method) {
		return nil
	}
	switch method {
	case pb.Maintenance_Status_FullMethodName, pb.Cluster_MemberList_FullMethodName:
		return svc.Present(ctx)
	case pb.Maintenance_Alarm_FullMethodName:
		if r, ok := req.(*pb.AlarmRequest); ok && r.Action == pb.AlarmRequest_GET {
			return svc.Present(ctx)
		}
	}
	return svc.Admin(ctx)
}

// decidesItself reports whether package service looks at the permissions of a call, or there is nothing to look at.
func decidesItself(method string) bool {
	name, call, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	switch name {
	case pb.KV_ServiceDesc.ServiceName:
		return call != "Compact"
	case pb.Lease_ServiceDesc.ServiceName, pb.Watch_ServiceDesc.ServiceName, pb.Auth_ServiceDesc.ServiceName, healthpb.Health_ServiceDesc.ServiceName,
		lockService, electionService:
		return true
	}
	return false
}
