package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/etcd/api/v3/authpb"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"
)

// The calls that put users and permissions in force.
const (
	pathUserAdd      = "/etcdserverpb.Auth/UserAdd"
	pathGrantRole    = "/etcdserverpb.Auth/UserGrantRole"
	pathRoleAdd      = "/etcdserverpb.Auth/RoleAdd"
	pathPermission   = "/etcdserverpb.Auth/RoleGrantPermission"
	pathAuthEnable   = "/etcdserverpb.Auth/AuthEnable"
	pathAuthenticate = "/etcdserverpb.Auth/Authenticate"
)

// authWorks are puts and gets of a user, and logins.
func authWorks(n scale) []work {
	puts := unary{path: pathPut, inFlight: n.inFlight, body: randomPuts(n.keys, smallValue)}
	gets := unary{path: pathRange, inFlight: n.inFlight, body: randomGets(n.keys, false)}
	simple := []work{
		asUser("put-token", "put with the token of a user with one permission", 0, 0, n, puts),
		asUser("get-token", "linearizable get, likewise", n.keys, smallValue, n, gets),
	}
	signed := []work{
		asUser("put-jwt", "put with a signed token (RS256) of such a user", 0, 0, n, puts),
		asUser("get-jwt", "linearizable get, likewise", n.keys, smallValue, n, gets),
	}
	for i := range signed {
		signed[i].flags = signedTokens
	}
	return append(append(simple, signed...), loginWorks(n)...)
}

// signedTokens has a server sign its tokens with a new key.
func signedTokens(dir string) ([]string, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	file := filepath.Join(dir, "key.pem")
	return []string{"--auth-token=jwt,sign-method=RS256,ttl=1h,priv-key=" + file}, os.WriteFile(file, text, 0o600)
}

// asUser is a plain work whose calls show the token of a user who may use the
// keys, and nothing else. Keys that are read are in the database file, so that
// it makes no difference whether something was written after them.
func asUser(name, about string, keys, valueBytes int, n scale, u unary) work {
	u.connections = n.connections
	return work{name: name, about: about, prepare: func(ctx context.Context, c *cluster) (load, error) {
		if err := fillKeys(ctx, c.address(), keys, valueBytes); err != nil {
			return nil, err
		}
		if err := settle(ctx, c.address()); err != nil {
			return nil, err
		}
		u := u
		var err error
		if !c.open {
			u.token, err = logIn(ctx, c.address())
		}
		return func(ctx context.Context, c *cluster, seed uint64, length time.Duration) (tally, error) {
			return u.run(ctx, c.addresses()[:1], seed, length)
		}, err
	}}
}

// logIn puts permissions in force and returns the token of a user who may read
// and write the keys.
func logIn(ctx context.Context, address string) (string, error) {
	keys := &authpb.Permission{PermType: authpb.READWRITE, Key: []byte(keyPrefix), RangeEnd: []byte(keyEnd)}
	for _, step := range []struct {
		path    string
		request proto.Message
	}{
		{pathUserAdd, &etcdserverpb.AuthUserAddRequest{Name: "root", Password: "root"}},
		{pathGrantRole, &etcdserverpb.AuthUserGrantRoleRequest{User: "root", Role: "root"}},
		{pathRoleAdd, &etcdserverpb.AuthRoleAddRequest{Name: "keys"}},
		{pathPermission, &etcdserverpb.AuthRoleGrantPermissionRequest{Name: "keys", Perm: keys}},
		{pathUserAdd, &etcdserverpb.AuthUserAddRequest{Name: "user", Password: "word"}},
		{pathGrantRole, &etcdserverpb.AuthUserGrantRoleRequest{User: "user", Role: "keys"}},
		{pathAuthEnable, &etcdserverpb.AuthEnableRequest{}},
	} {
		// All answers are a header first, which is all there is in these.
		if err := call(ctx, address, step.path, step.request, new(etcdserverpb.AuthEnableResponse)); err != nil {
			return "", fmt.Errorf("%s: %w", step.path, err)
		}
	}
	var answer etcdserverpb.AuthenticateResponse
	err := call(ctx, address, pathAuthenticate, theUser(), &answer)
	return answer.Token, err
}
