package main

import (
	"context"
	"fmt"
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

// asUser is a plain work whose calls show the token of a user who may use the
// keys, and nothing else.
func asUser(name, about string, keys, valueBytes int, n scale, u unary) work {
	u.connections = n.connections
	return work{name: name, about: about, prepare: func(ctx context.Context, c *cluster) (load, error) {
		if err := fillKeys(ctx, c.address(), keys, valueBytes); err != nil {
			return nil, err
		}
		token, err := logIn(ctx, c.address())
		u := u
		u.token = token
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
	err := call(ctx, address, pathAuthenticate, &etcdserverpb.AuthenticateRequest{Name: "user", Password: "word"}, &answer)
	return answer.Token, err
}
