package behaviour

import (
	"context"
	"strings"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// password is everybody's.
const password = "secret"

func userEmpty() refusal { return refusal{codes.InvalidArgument, "etcdserver: user name is empty"} }
func denied() refusal    { return refusal{codes.PermissionDenied, "etcdserver: permission denied"} }
func badToken() refusal  { return refusal{codes.Unauthenticated, "etcdserver: invalid auth token"} }
func oldRevision() refusal {
	return refusal{codes.InvalidArgument, "etcdserver: revision of auth store is old"}
}

func loginFailed() refusal {
	return refusal{codes.InvalidArgument, "etcdserver: authentication failed, invalid user ID or password"}
}

func authOff() refusal {
	return refusal{codes.FailedPrecondition, "etcdserver: authentication is not enabled"}
}

func userNotFound() refusal {
	return refusal{codes.FailedPrecondition, "etcdserver: user name not found"}
}

func roleNotFound() refusal {
	return refusal{codes.FailedPrecondition, "etcdserver: role name not found"}
}

func badAuthMgmt() refusal {
	return refusal{codes.InvalidArgument, "etcdserver: invalid auth management"}
}

// permission is one right on a range of logical names.
type permission struct {
	kind     authpb.Permission_Type
	key, end string
}

// world is a case with users. Authentication is on from guard to the end of
// the case; then all users and roles are gone again.
type world struct {
	*env
	auth pb.AuthClient
	root context.Context // the way root calls; without a token before guard
}

// authenticated turns a case with users into a case of a suite.
func authenticated(run func(w *world)) func(e *env) {
	return func(e *env) {
		w := &world{env: e, auth: pb.NewAuthClient(e.conn), root: e.ctx}
		e.Cleanup(w.tearDown)
		run(w)
	}
}

// guarded is authenticated for a case that begins with authentication on and
// nobody but root known.
func guarded(run func(w *world)) func(e *env) {
	return authenticated(func(w *world) {
		w.guard()
		run(w)
	})
}

// guard makes root and turns authentication on.
func (w *world) guard() {
	w.Helper()
	w.addUser("root", "root")
	_, err := w.auth.AuthEnable(w.ctx, &pb.AuthEnableRequest{})
	w.ok(err)
	w.root = w.login("root")
}

// tearDown turns authentication off and forgets everybody. The case may have
// failed anywhere.
func (w *world) tearDown() {
	if resp, err := w.auth.Authenticate(w.ctx, &pb.AuthenticateRequest{Name: "root", Password: password}); err == nil {
		_, _ = w.auth.AuthDisable(withToken(w.ctx, resp.Token), &pb.AuthDisableRequest{})
	}
	if users, err := w.auth.UserList(w.ctx, &pb.AuthUserListRequest{}); err == nil {
		for _, name := range users.Users {
			_, _ = w.auth.UserDelete(w.ctx, &pb.AuthUserDeleteRequest{Name: name})
		}
	}
	if roles, err := w.auth.RoleList(w.ctx, &pb.AuthRoleListRequest{}); err == nil {
		for _, name := range roles.Roles {
			_, _ = w.auth.RoleDelete(w.ctx, &pb.AuthRoleDeleteRequest{Role: name})
		}
	}
}

func withToken(ctx context.Context, token string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "token", token)
}

// withMetadata adds pairs of keys and values to what a call carries.
func withMetadata(ctx context.Context, pairs ...string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, pairs...)
}

// refusalOf is an error as a client sees it.
func refusalOf(err error) refusal {
	if err == nil {
		return refusal{}
	}
	return refusal{status.Code(err), status.Convert(err).Message()}
}

func (w *world) addUser(name string, roles ...string) {
	w.Helper()
	_, err := w.auth.UserAdd(w.root, &pb.AuthUserAddRequest{Name: name, Password: password})
	w.ok(err)
	for _, role := range roles {
		w.giveRole(name, role)
	}
}

func (w *world) giveRole(user, role string) {
	w.Helper()
	_, err := w.auth.UserGrantRole(w.root, &pb.AuthUserGrantRoleRequest{User: user, Role: role})
	w.ok(err)
}

func (w *world) addRole(name string, permissions ...permission) {
	w.Helper()
	_, err := w.auth.RoleAdd(w.root, &pb.AuthRoleAddRequest{Name: name})
	w.ok(err)
	for _, p := range permissions {
		w.permit(name, p)
	}
}

func (w *world) permit(role string, p permission) {
	w.Helper()
	_, err := w.auth.RoleGrantPermission(w.root, &pb.AuthRoleGrantPermissionRequest{
		Name: role, Perm: &authpb.Permission{PermType: p.kind, Key: w.key(p.key), RangeEnd: w.end(p.end)},
	})
	w.ok(err)
}

func (w *world) forbid(role string, key, end string) {
	w.Helper()
	_, err := w.auth.RoleRevokePermission(w.root, &pb.AuthRoleRevokePermissionRequest{Role: role, Key: w.key(key), RangeEnd: w.end(end)})
	w.ok(err)
}

// user makes a user with one role of its own name that has the permissions,
// and logs it in.
func (w *world) user(name string, permissions ...permission) context.Context {
	w.Helper()
	w.addRole(name, permissions...)
	w.addUser(name, name)
	return w.login(name)
}

func (w *world) login(name string) context.Context {
	w.Helper()
	return w.loginWith(name, password)
}

func (w *world) loginWith(name, password string) context.Context {
	w.Helper()
	resp, err := w.auth.Authenticate(w.ctx, &pb.AuthenticateRequest{Name: name, Password: password})
	w.ok(err)
	w.isTrue("there is a token", resp.Token != "")
	return withToken(w.ctx, resp.Token)
}

// get is the outcome of a read of one key, as somebody.
func (w *world) get(as context.Context, key string) error {
	_, err := w.kv.Range(as, w.realRange(get(key, "")))
	return err
}

// put is the outcome of a write of one key, as somebody.
func (w *world) put(as context.Context, key string) error {
	_, err := w.kv.Put(as, w.realPut(put(key, "1")))
	return err
}

// lend grants a lease with keys on it. It is root's doing.
func (w *world) lend(keys ...string) int64 {
	w.Helper()
	resp, err := w.lease.LeaseGrant(w.root, &pb.LeaseGrantRequest{TTL: 600})
	w.ok(err)
	w.Cleanup(func() { _, _ = w.lease.LeaseRevoke(w.root, &pb.LeaseRevokeRequest{ID: resp.ID}) })
	for _, key := range keys {
		_, err := w.kv.Put(w.root, w.realPut(&pb.PutRequest{Key: []byte(key), Lease: resp.ID}))
		w.ok(err)
	}
	return resp.ID
}

// watchAs is the outcome of the creation of a watcher, as somebody. A refusal,
// which comes as text in a message, is returned as the error it describes.
func (w *world) watchAs(as context.Context, key, end string) error {
	ctx, cancel := context.WithCancel(as)
	defer cancel()
	stream, err := w.watch.Watch(ctx)
	if err != nil {
		return err
	}
	r := &pb.WatchCreateRequest{Key: w.key(key), RangeEnd: w.end(end)}
	if err := stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: r}}); err != nil {
		return err
	}
	resp, err := stream.Recv()
	if err != nil {
		return err
	}
	w.isTrue("created", resp.Created)
	if !resp.Canceled {
		return nil
	}
	w.equal("id of a refused watcher", resp.WatchId, int64(-1))
	return described(resp.CancelReason)
}

// described is the error that a text describes.
func described(text string) error {
	rest, ok := strings.CutPrefix(text, "rpc error: code = ")
	name, desc, found := strings.Cut(rest, " desc = ")
	for code := codes.OK; ok && found && code <= codes.Unauthenticated; code++ {
		if code.String() == name {
			return status.Error(code, desc)
		}
	}
	return status.Error(codes.Unknown, text)
}

// received is the outcome of a stream that is read to its end.
func received[M any](stream interface{ Recv() (M, error) }, err error) error {
	for err == nil {
		if _, err = stream.Recv(); err != nil && err.Error() == "EOF" {
			return nil
		}
	}
	return err
}

// keepAlive is the outcome of one keep-alive, as somebody.
func (w *world) keepAlive(as context.Context, id int64) error {
	ctx, cancel := context.WithCancel(as)
	defer cancel()
	stream, err := w.lease.LeaseKeepAlive(ctx)
	if err != nil {
		return err
	}
	if err := stream.Send(&pb.LeaseKeepAliveRequest{ID: id}); err != nil {
		return err
	}
	_, err = stream.Recv()
	return err
}
