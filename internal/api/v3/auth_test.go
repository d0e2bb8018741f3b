package v3

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/service"
	"github.com/quoin-kv/quoin/internal/service/servicetest"
)

// enableAuth turns authentication on, with root and a user ada without roles, and returns how both call: they are proved by name.
func enableAuth(t *testing.T, m *servicetest.Member) (root, ada context.Context) {
	t.Helper()
	for _, one := range []struct {
		field request.Field
		r     interface{ Append([]byte) []byte }
	}{
		{request.FieldAuthUserAdd, &request.AuthUserAdd{Name: "root", Options: &request.UserAddOptions{NoPassword: true}}},
		{request.FieldAuthUserGrantRole, &request.AuthUserGrantRole{User: "root", Role: "root"}},
		{request.FieldAuthUserAdd, &request.AuthUserAdd{Name: "ada", Options: &request.UserAddOptions{NoPassword: true}}},
		{request.FieldAuthEnable, &request.AuthEnable{}},
	} {
		_, err := m.Auth(t.Context(), one.field, one.r.Append(nil))
		check(t, err)
	}
	named := func(name string) context.Context {
		return servicetest.As(t.Context(), service.Credentials{CommonName: name})
	}
	return named("root"), named("ada")
}

// TestEveryMethodHasARule: what is registered and not named here is for administrators.
func TestEveryMethodHasARule(t *testing.T) {
	m := servicetest.Start(t, servicetest.NewDisks(t, 1))
	check(t, m.Probe(t.Context(), true))
	server := NewServer(m.Service, Options{})
	defer server.Stop()
	const judged, present = "by the service itself", "for every user"
	rules := map[string]string{
		pb.Maintenance_Status_FullMethodName: present, pb.Cluster_MemberList_FullMethodName: present,
		"/grpc.health.v1.Health/Check": judged, "/grpc.health.v1.Health/Watch": judged, "/grpc.health.v1.Health/List": judged,
	}
	for service, methods := range map[string][]string{
		pb.KV_ServiceDesc.ServiceName:    {"Range", "RangeStream", "Put", "DeleteRange", "Txn"},
		pb.Watch_ServiceDesc.ServiceName: {"Watch"},
		pb.Lease_ServiceDesc.ServiceName: {"LeaseGrant", "LeaseRevoke", "LeaseKeepAlive", "LeaseTimeToLive", "LeaseLeases"},
		pb.Auth_ServiceDesc.ServiceName: {
			"AuthEnable", "AuthDisable", "AuthStatus", "Authenticate", "UserAdd", "UserGet", "UserList", "UserDelete", "UserChangePassword",
			"UserGrantRole", "UserRevokeRole", "RoleAdd", "RoleGet", "RoleList", "RoleDelete", "RoleGrantPermission", "RoleRevokePermission",
		},
		lockService:     {"Lock", "Unlock"},
		electionService: {"Campaign", "Proclaim", "Leader", "Observe", "Resign"},
	} {
		for _, method := range methods {
			rules["/"+service+"/"+method] = judged
		}
	}
	var methods []string
	for service, info := range server.GetServiceInfo() {
		for _, method := range info.Methods {
			methods = append(methods, "/"+service+"/"+method.Name)
		}
	}
	for _, method := range methods {
		check(t, authorize(t.Context(), m.Service, method, nil)) // while nothing is in force
	}
	root, ada := enableAuth(t, m)
	for _, method := range append(methods, "/etcdserverpb.Unknown/Call", "nonsense", "") {
		user, nobody := kverr.PermissionDenied, kverr.UserEmpty
		switch rules[method] {
		case judged:
			user, nobody = nil, nil
		case present:
			user = nil
		}
		expect(t, method+" of nobody", authorize(t.Context(), m.Service, method, nil), nobody)
		expect(t, method+" of a user", authorize(ada, m.Service, method, nil), user)
		expect(t, method+" of an administrator", authorize(root, m.Service, method, nil), nil)
		delete(rules, method)
	}
	if len(rules) > 0 {
		t.Errorf("not registered: %v", rules)
	}
}

// expect fails the test unless err is want, which may be none.
func expect(t *testing.T, what string, err error, want *kverr.Error) {
	t.Helper()
	if want == nil && err != nil || want != nil && !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

// TestAlarmsMayBeSeen: every user may look at alarms, and only administrators change them, in whatever form the request comes.
func TestAlarmsMayBeSeen(t *testing.T) {
	m := servicetest.Start(t, servicetest.NewDisks(t, 1))
	check(t, m.Probe(t.Context(), true))
	root, ada := enableAuth(t, m)
	for action := range pb.AlarmRequest_AlarmAction(5) {
		want := kverr.PermissionDenied
		if action == pb.AlarmRequest_GET {
			want = nil
		}
		r := &pb.AlarmRequest{Action: action}
		expect(t, action.String(), authorize(ada, m.Service, pb.Maintenance_Alarm_FullMethodName, r), want)
		expect(t, action.String(), authorize(root, m.Service, pb.Maintenance_Alarm_FullMethodName, r), nil)
	}
	for _, r := range []any{nil, (*pb.StatusRequest)(nil), &frame{}} {
		expect(t, "another type", authorize(ada, m.Service, pb.Maintenance_Alarm_FullMethodName, r), kverr.PermissionDenied)
	}
}

// connection is a context of a call on a TLS connection, whose client has shown certificates with some names, and proved or not that they
// are its own.
func connection(names []string, verified bool) context.Context {
	var state tls.ConnectionState
	for _, name := range names {
		state.PeerCertificates = append(state.PeerCertificates, &x509.Certificate{Subject: pkix.Name{CommonName: name}})
	}
	if verified {
		state.VerifiedChains = [][]*x509.Certificate{state.PeerCertificates}
	}
	return peer.NewContext(context.Background(), &peer.Peer{AuthInfo: credentials.TLSInfo{State: state}})
}

func TestCredentials(t *testing.T) {
	verified := connection([]string{"ada", "authority"}, true)
	for what, tc := range map[string]struct {
		ctx      context.Context
		metadata []string
		want     service.Credentials
	}{
		"nothing":                        {context.Background(), nil, service.Credentials{}},
		"a token":                        {context.Background(), []string{"token", "t"}, service.Credentials{Token: "t"}},
		"authorization":                  {context.Background(), []string{"authorization", "t"}, service.Credentials{Token: "t"}},
		"a bearer":                       {context.Background(), []string{"authorization", "Bearer t"}, service.Credentials{Token: "t"}},
		"a bearer in small letters":      {context.Background(), []string{"authorization", "bearer t"}, service.Credentials{Token: "t"}},
		"another kind":                   {context.Background(), []string{"authorization", "Basic t"}, service.Credentials{Token: "Basic t"}},
		"both":                           {context.Background(), []string{"authorization", "a", "token", "t"}, service.Credentials{Token: "t"}},
		"two tokens":                     {context.Background(), []string{"token", "t", "token", "u"}, service.Credentials{Token: "t"}},
		"an empty token":                 {verified, []string{"token", ""}, service.Credentials{CommonName: "ada"}},
		"a certificate":                  {verified, nil, service.Credentials{CommonName: "ada"}},
		"a certificate and a token":      {verified, []string{"token", "t"}, service.Credentials{Token: "t", CommonName: "ada"}},
		"a certificate not verified":     {connection([]string{"ada"}, false), nil, service.Credentials{}},
		"no certificate":                 {connection(nil, true), nil, service.Credentials{}},
		"a certificate without name":     {connection([]string{""}, true), nil, service.Credentials{}},
		"the certificate of the gateway": {verified, []string{"grpcgateway-accept", "*/*"}, service.Credentials{}},
		"through the gateway, a token":   {verified, []string{"grpcgateway-accept", "*/*", "token", "t"}, service.Credentials{Token: "t"}},
		"a connection without TLS":       {peer.NewContext(context.Background(), &peer.Peer{}), nil, service.Credentials{}},
	} {
		ctx := metadata.NewIncomingContext(tc.ctx, metadata.Pairs(tc.metadata...))
		if got := Credentials(ctx); got != tc.want {
			t.Errorf("%s: %+v, want %+v", what, got, tc.want)
		}
	}
	if got := Credentials(context.Background()); got != (service.Credentials{}) {
		t.Errorf("without metadata: %+v", got)
	}
}
