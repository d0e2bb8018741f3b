package tlstest

import (
	"context"
	"crypto/tls"
	"testing"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/quoin-kv/quoin/internal/certs/certstest"
)

// named is a member whose clients are known by the names in their certificates.
type named struct {
	t       *testing.T
	ours    *certstest.Authority
	address string
}

// startNamed runs a member with the users root and ada, who has no password and may read and write the key a, and turns authentication on.
func startNamed(t *testing.T, byName bool) *named {
	t.Helper()
	n := &named{t: t, ours: certstest.New(t, "ours")}
	f := newFolder(t)
	f.show(n.ours.Issue("server", certstest.Hosts("127.0.0.1")))
	f.put("ca", n.ours.Cert)
	f.put("crl", n.ours.Revoke())
	cfg := secureConfig(t, f)
	cfg.ClientTLS.ClientCertAuth, cfg.BcryptCost = byName, 4
	n.address = start(t, cfg).ClientAddrs()[0].String()
	auth := pb.NewAuthClient(n.dial("setup"))
	ctx := t.Context()
	must := func(_ any, err error) { t.Helper(); check(t, err) }
	must(auth.UserAdd(ctx, &pb.AuthUserAddRequest{Name: "root", Password: "secret"}))
	must(auth.UserGrantRole(ctx, &pb.AuthUserGrantRoleRequest{User: "root", Role: "root"}))
	must(auth.UserAdd(ctx, &pb.AuthUserAddRequest{Name: "ada", Options: &authpb.UserAddOptions{NoPassword: true}}))
	must(auth.RoleAdd(ctx, &pb.AuthRoleAddRequest{Name: "r"}))
	perm := &authpb.Permission{PermType: authpb.READWRITE, Key: []byte("a")}
	must(auth.RoleGrantPermission(ctx, &pb.AuthRoleGrantPermissionRequest{Name: "r", Perm: perm}))
	must(auth.UserGrantRole(ctx, &pb.AuthUserGrantRoleRequest{User: "ada", Role: "r"}))
	must(auth.AuthEnable(ctx, &pb.AuthEnableRequest{}))
	return n
}

// shows is how a client connects that shows a certificate with a name.
func (n *named) shows(name string) *tls.Config {
	n.t.Helper()
	return n.ours.Client(n.ours.Issue(name, certstest.Hosts("127.0.0.1")))
}

func (n *named) dial(name string) *grpc.ClientConn {
	n.t.Helper()
	conn, err := dialGRPC(n.address, n.shows(name))
	check(n.t, err)
	n.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// put writes a key.
func put(ctx context.Context, conn *grpc.ClientConn, key string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := pb.NewKVClient(conn).Put(ctx, &pb.PutRequest{Key: []byte(key)})
	return err
}

// TestNamesInCertificates: a client without a token is who its certificate says. A token counts more, a bad one too.
func TestNamesInCertificates(t *testing.T) {
	n := startNamed(t, true)
	root, ada := n.dial("root"), n.dial("ada")
	expect(t, "root", put(t.Context(), root, "b"), "")
	_, err := pb.NewAuthClient(root).UserList(t.Context(), &pb.AuthUserListRequest{})
	expect(t, "root lists users", err, "")
	expect(t, "ada", put(t.Context(), ada, "a"), "")
	expect(t, "ada, another key", put(t.Context(), ada, "b"), "permission denied")
	_, err = pb.NewAuthClient(ada).UserList(t.Context(), &pb.AuthUserListRequest{})
	expect(t, "ada lists users", err, "permission denied")
	expect(t, "a name without user", put(t.Context(), n.dial("stranger"), "a"), "permission denied")
	expect(t, "no name", put(t.Context(), n.dial(""), "a"), "user name is empty")
	expect(t, "a bad token", put(metadata.AppendToOutgoingContext(t.Context(), "token", "bad"), root, "a"), "invalid auth token")
	login, err := pb.NewAuthClient(ada).Authenticate(t.Context(), &pb.AuthenticateRequest{Name: "root", Password: "secret"})
	check(t, err)
	expect(t, "ada with the token of root", put(metadata.AppendToOutgoingContext(t.Context(), "token", login.Token), ada, "b"), "")
	forwarded := metadata.AppendToOutgoingContext(t.Context(), "grpcgateway-accept", "*/*")
	expect(t, "what a gateway passes on", put(forwarded, root, "a"), "user name is empty")
}

// TestNamesThroughTheGateway: names mean nothing there, and who shows one is told.
func TestNamesThroughTheGateway(t *testing.T) {
	n := startNamed(t, true)
	const ignored = "400 Bad Request: CommonName of client sending a request against gateway will be ignored and not used as expected"
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		expect(t, "a name", askGateway(t.Context(), n.address, n.shows("root"), proto), ignored)
		expect(t, "no name", askGateway(t.Context(), n.address, n.shows(""), proto), "user name is empty")
		expect(t, "a name, another page", func() error {
			_, err := fetch(t.Context(), n.address, n.shows("root"), proto, "GET", "/version", "")
			return err
		}(), "")
	}
	_, err := pb.NewAuthClient(n.dial("root")).AuthDisable(t.Context(), &pb.AuthDisableRequest{})
	check(t, err)
	expect(t, "a name while authentication is off", askGateway(t.Context(), n.address, n.shows("root"), "HTTP/2.0"), "")
}

// TestNamesAreNotAsked: where certificates are only verified they say nothing about users.
func TestNamesAreNotAsked(t *testing.T) {
	n := startNamed(t, false)
	expect(t, "a name", put(t.Context(), n.dial("root"), "a"), "user name is empty")
	expect(t, "a name through the gateway", askGateway(t.Context(), n.address, n.shows("root"), "HTTP/2.0"), "user name is empty")
}
