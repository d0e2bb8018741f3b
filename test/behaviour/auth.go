package behaviour

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
)

func authSuites() []suite {
	flags := []string{"--bcrypt-cost=4"}
	return []suite{
		{name: "auth/matrix", fresh: true, flags: flags, cases: authMatrixCases()},
		{name: "auth/users", fresh: true, flags: flags, cases: authUserCases()},
		{name: "auth/tokens", fresh: true, flags: flags, cases: authTokenCases()},
		{name: "auth/holes", fresh: true, flags: flags, cases: authHoleCases()},
		{name: "auth/http", fresh: true, http: true, flags: flags, cases: authHTTPCases()},
	}
}

// status is the switch and the revision of users and roles.
func (w *world) status() string {
	w.Helper()
	resp, err := w.auth.AuthStatus(w.root, &pb.AuthStatusRequest{})
	w.ok(err)
	return fmt.Sprintf("%t %d", resp.Enabled, resp.AuthRevision)
}

// authRevision is the revision of users and roles.
func (w *world) authRevision() uint64 {
	w.Helper()
	resp, err := w.auth.AuthStatus(w.root, &pb.AuthStatusRequest{})
	w.ok(err)
	return resp.AuthRevision
}

// moved ends the case unless do moves the revision of users and roles by n.
func (w *world) moved(what string, n uint64, do func()) {
	w.Helper()
	before := w.authRevision()
	do()
	w.equal("auth revisions made by "+what, w.authRevision()-before, n)
}

// authUserCases are about users, roles and permissions themselves.
func authUserCases() []testCase {
	cases := append(authManageCases(), authSelfCases()...)
	cases = append(cases, authRoleCases()...)
	return append(cases, authPermissionCases()...)
}

func authManageCases() []testCase {
	return []testCase{
		{name: "off: nobody can log in and status tells", run: authenticated(func(w *world) {
			_, err := w.auth.Authenticate(w.ctx, &pb.AuthenticateRequest{Name: "root", Password: password})
			w.refused(err, authOff())
			w.isTrue("off", strings.HasPrefix(w.status(), "false "))
			_, err = w.auth.AuthDisable(w.ctx, &pb.AuthDisableRequest{})
			w.ok(err)
		})},
		{name: "enable needs root, who holds its role", run: authenticated(func(w *world) {
			_, err := w.auth.AuthEnable(w.ctx, &pb.AuthEnableRequest{})
			w.refused(err, refusal{codes.FailedPrecondition, "etcdserver: root user does not exist"})
			w.addUser("root")
			_, err = w.auth.AuthEnable(w.ctx, &pb.AuthEnableRequest{})
			w.refused(err, refusal{codes.FailedPrecondition, "etcdserver: root user does not have root role"})
			w.giveRole("root", "root")
			w.moved("enable", 0, func() {
				_, err = w.auth.AuthEnable(w.ctx, &pb.AuthEnableRequest{})
				w.ok(err)
				w.root = w.login("root")
			})
			_, err = w.auth.AuthEnable(w.root, &pb.AuthEnableRequest{})
			w.ok(err)
		})},
		{name: "disable counts, drops tokens and lets everybody in", run: guarded(func(w *world) {
			before := w.authRevision()
			_, err := w.auth.AuthDisable(w.root, &pb.AuthDisableRequest{})
			w.ok(err)
			w.ok(w.put(w.ctx, "a"))
			w.ok(w.put(w.root, "a")) // a token that nobody looks at
			old := w.root
			w.root = w.ctx
			w.equal("auth revision", w.authRevision(), before+1)
			_, err = w.auth.AuthEnable(w.ctx, &pb.AuthEnableRequest{})
			w.ok(err)
			w.refused(w.get(old, "a"), badToken())
			w.root = w.login("root")
			w.ok(w.get(w.root, "a"))
		})},
		{name: "root cannot be lost while authentication is on", run: guarded(func(w *world) {
			w.addRole("root")
			_, err := w.auth.UserDelete(w.root, &pb.AuthUserDeleteRequest{Name: "root"})
			w.refused(err, badAuthMgmt())
			_, err = w.auth.RoleDelete(w.root, &pb.AuthRoleDeleteRequest{Role: "root"})
			w.refused(err, badAuthMgmt())
			_, err = w.auth.UserRevokeRole(w.root, &pb.AuthUserRevokeRoleRequest{Name: "root", Role: "root"})
			w.refused(err, badAuthMgmt())
		})},
		{name: "names of users", run: guarded(func(w *world) {
			add := func(name string) error {
				_, err := w.auth.UserAdd(w.root, &pb.AuthUserAddRequest{Name: name, Password: password})
				return err
			}
			w.refused(add(""), userEmpty())
			w.ok(add("b"))
			w.ok(add("a b\x00c"))
			w.refused(add("b"), refusal{codes.FailedPrecondition, "etcdserver: user name already exists"})
			resp, err := w.auth.UserList(w.root, &pb.AuthUserListRequest{})
			w.ok(err)
			w.equal("users", resp.Users, []string{"a b\x00c", "b", "root"})
		})},
	}
}

func authSelfCases() []testCase {
	return []testCase{
		{name: "every change counts and what changes nothing does not", run: guarded(authCounts)},
		{name: "a user sees itself and its roles, and no other", run: guarded(func(w *world) {
			ada := w.user("ada", permission{authpb.READ, "a", "b"})
			w.addRole("other")
			resp, err := w.auth.UserGet(ada, &pb.AuthUserGetRequest{Name: "ada"})
			w.ok(err)
			w.equal("roles", resp.Roles, []string{"ada"})
			role, err := w.auth.RoleGet(ada, &pb.AuthRoleGetRequest{Role: "ada"})
			w.ok(err)
			w.equal("permissions", len(role.Perm), 1)
			_, err = w.auth.RoleGet(ada, &pb.AuthRoleGetRequest{Role: "other"})
			w.refused(err, denied())
			_, err = w.auth.UserGet(ada, &pb.AuthUserGetRequest{Name: "root"})
			w.refused(err, denied())
		})},
		{name: "users cannot change their own passwords", run: guarded(func(w *world) {
			ada := w.user("ada")
			_, err := w.auth.UserChangePassword(ada, &pb.AuthUserChangePasswordRequest{Name: "ada", Password: "new"})
			w.refused(err, denied())
		})},
		{name: "a deleted user is nobody", run: guarded(func(w *world) {
			ada := w.user("ada", permission{authpb.READWRITE, "a", "z"})
			w.ok(w.get(ada, "a"))
			_, err := w.auth.UserDelete(w.root, &pb.AuthUserDeleteRequest{Name: "ada"})
			w.ok(err)
			w.refused(w.get(ada, "a"), badToken())
			w.refused(w.put(ada, "a"), badToken())
			w.addUser("ada", "ada")
			w.refused(w.get(ada, "a"), badToken())
			w.ok(w.get(w.login("ada"), "a"))
		})},
	}
}

// authCounts makes one change after the other and looks at the revision.
func authCounts(w *world) {
	must := func(_ any, err error) { w.Helper(); w.ok(err) }
	perm := &authpb.Permission{PermType: authpb.READ, Key: []byte("a")}
	for _, one := range []struct {
		what string
		n    uint64
		do   func()
	}{
		{"user add", 1, func() { must(w.auth.UserAdd(w.root, &pb.AuthUserAddRequest{Name: "u", Password: password})) }},
		{"role add", 1, func() { must(w.auth.RoleAdd(w.root, &pb.AuthRoleAddRequest{Name: "r"})) }},
		{"grant", 1, func() { w.giveRole("u", "r") }},
		{"grant again", 0, func() { w.giveRole("u", "r") }},
		{"permission", 1, func() {
			must(w.auth.RoleGrantPermission(w.root, &pb.AuthRoleGrantPermissionRequest{Name: "r", Perm: perm}))
		}},
		{"permission again", 1, func() {
			must(w.auth.RoleGrantPermission(w.root, &pb.AuthRoleGrantPermissionRequest{Name: "r", Perm: perm}))
		}},
		{"login", 0, func() { w.login("u") }},
		{"put", 0, func() { w.ok(w.put(w.root, "a")) }},
		{"permission taken", 1, func() {
			must(w.auth.RoleRevokePermission(w.root, &pb.AuthRoleRevokePermissionRequest{Role: "r", Key: []byte("a")}))
		}},
		{"password", 1, func() {
			must(w.auth.UserChangePassword(w.root, &pb.AuthUserChangePasswordRequest{Name: "u", Password: "new"}))
		}},
		{"role taken", 1, func() { must(w.auth.UserRevokeRole(w.root, &pb.AuthUserRevokeRoleRequest{Name: "u", Role: "r"})) }},
		{"role delete", 1, func() { must(w.auth.RoleDelete(w.root, &pb.AuthRoleDeleteRequest{Role: "r"})) }},
		{"user delete", 1, func() { must(w.auth.UserDelete(w.root, &pb.AuthUserDeleteRequest{Name: "u"})) }},
	} {
		w.moved(one.what, one.n, one.do)
	}
}

func authRoleCases() []testCase {
	return []testCase{
		{name: "the role root can be held without existing", run: guarded(func(w *world) {
			_, err := w.auth.RoleGet(w.root, &pb.AuthRoleGetRequest{Role: "root"})
			w.refused(err, roleNotFound())
			w.addRole("root")
			resp, err := w.auth.RoleGet(w.root, &pb.AuthRoleGetRequest{Role: "root"})
			w.ok(err)
			w.equal("permissions", len(resp.Perm), 1)
			w.equal("permission", fmt.Sprintf("%s %q %q", resp.Perm[0].PermType, resp.Perm[0].Key, resp.Perm[0].RangeEnd), `READWRITE "" "\x00"`)
		})},
		{name: "roles that are not there", run: guarded(func(w *world) {
			w.addUser("u")
			_, err := w.auth.UserGrantRole(w.root, &pb.AuthUserGrantRoleRequest{User: "u", Role: "none"})
			w.refused(err, roleNotFound())
			_, err = w.auth.UserGrantRole(w.root, &pb.AuthUserGrantRoleRequest{User: "none", Role: "none"})
			w.refused(err, userNotFound())
			_, err = w.auth.UserRevokeRole(w.root, &pb.AuthUserRevokeRoleRequest{Name: "u", Role: "none"})
			w.refused(err, refusal{codes.FailedPrecondition, "etcdserver: role is not granted to the user"})
			_, err = w.auth.RoleAdd(w.root, &pb.AuthRoleAddRequest{})
			w.refused(err, refusal{codes.InvalidArgument, "etcdserver: role name is empty"})
			w.addRole("r")
			_, err = w.auth.RoleAdd(w.root, &pb.AuthRoleAddRequest{Name: "r"})
			w.refused(err, refusal{codes.FailedPrecondition, "etcdserver: role name already exists"})
		})},
		{name: "a deleted role is taken from all", run: guarded(func(w *world) {
			ada := w.user("ada", permission{authpb.READ, "a", "b"})
			w.ok(w.get(ada, "a"))
			_, err := w.auth.RoleDelete(w.root, &pb.AuthRoleDeleteRequest{Role: "ada"})
			w.ok(err)
			w.refused(w.get(ada, "a"), denied())
			resp, err := w.auth.UserGet(w.root, &pb.AuthUserGetRequest{Name: "ada"})
			w.ok(err)
			w.equal("roles", len(resp.Roles), 0)
		})},
	}
}

// held is the permissions of a role with logical names.
func (w *world) held(role string) string {
	w.Helper()
	resp, err := w.auth.RoleGet(w.root, &pb.AuthRoleGetRequest{Role: role})
	w.ok(err)
	list := make([]string, len(resp.Perm))
	for i, p := range resp.Perm {
		list[i] = fmt.Sprintf("%s %s..%s", p.PermType, w.name(p.Key), w.name(p.RangeEnd))
	}
	return strings.Join(list, "; ")
}

func authPermissionCases() []testCase {
	return []testCase{
		{name: "permissions that cannot be", run: guarded(func(w *world) {
			w.addRole("r")
			grant := func(role string, p *authpb.Permission) error {
				_, err := w.auth.RoleGrantPermission(w.root, &pb.AuthRoleGrantPermissionRequest{Name: role, Perm: p})
				return err
			}
			w.refused(grant("r", nil), refusal{codes.InvalidArgument, "etcdserver: permission not given"})
			w.refused(grant("r", &authpb.Permission{}), badAuthMgmt())
			w.refused(grant("r", &authpb.Permission{RangeEnd: []byte{0}}), badAuthMgmt())
			w.refused(grant("r", &authpb.Permission{Key: []byte("b"), RangeEnd: []byte("b")}), badAuthMgmt())
			w.refused(grant("r", &authpb.Permission{Key: []byte("b"), RangeEnd: []byte("a")}), badAuthMgmt())
			w.refused(grant("none", &authpb.Permission{Key: []byte("b")}), roleNotFound())
			w.ok(grant("r", &authpb.Permission{Key: []byte("b"), RangeEnd: []byte{0}}))
			_, err := w.auth.RoleRevokePermission(w.root, &pb.AuthRoleRevokePermissionRequest{Role: "r", Key: []byte("b")})
			w.refused(err, refusal{codes.FailedPrecondition, "etcdserver: permission is not granted to the role"})
		})},
		{name: "the same range again takes the place of the first", run: guarded(func(w *world) {
			w.addRole("r", permission{authpb.READ, "a", "b"}, permission{authpb.WRITE, "a", "b"})
			w.equal("held", w.held("r"), "WRITE a..b")
		})},
		{name: "the same range again is a second one behind another with its key", run: guarded(func(w *world) {
			w.addRole("r", permission{authpb.READ, "a", "b"}, permission{authpb.READ, "a", "c"}, permission{authpb.WRITE, "a", "c"})
			w.equal("how many", strings.Count(w.held("r"), ";"), 2)
			w.addUser("ada", "r")
			ada := w.login("ada")
			w.ok(w.get(ada, "bb"))
			w.ok(w.put(ada, "bb"))
			w.forbid("r", "a", "c")
			w.equal("held", w.held("r"), "READ a..b")
		})},
		{name: "a permission is taken only by its exact range", run: guarded(func(w *world) {
			w.addRole("r", permission{authpb.READ, "a", "c"})
			_, err := w.auth.RoleRevokePermission(w.root, &pb.AuthRoleRevokePermissionRequest{Role: "r", Key: w.key("a"), RangeEnd: w.key("b")})
			w.refused(err, refusal{codes.FailedPrecondition, "etcdserver: permission is not granted to the role"})
			w.forbid("r", "a", "c")
			w.equal("held", w.held("r"), "")
		})},
		{name: "permissions of several roles add up", run: guarded(func(w *world) {
			w.addRole("left", permission{authpb.READ, "a", "c"})
			w.addRole("right", permission{authpb.READWRITE, "c", "e"})
			w.addUser("ada", "left", "right")
			_, err := w.kv.Range(w.login("ada"), w.realRange(get("a", "e")))
			w.ok(err)
		})},
		{name: "a range that ends before it begins needs the right to its first key", run: guarded(func(w *world) {
			ada := w.user("ada", permission{authpb.READ, "b", "m"})
			for _, r := range []*pb.RangeRequest{get("c", "b"), get("c", "a"), get("c", "c"), get("b", "a")} {
				_, err := w.kv.Range(ada, w.realRange(r))
				w.ok(err)
			}
			for _, r := range []*pb.RangeRequest{get("x", "c"), get("x", "n"), get("x", "x"), get("m", "c"), get("a", "0")} {
				_, err := w.kv.Range(ada, w.realRange(r))
				w.refused(err, denied())
			}
			_, err := w.kv.Range(w.root, &pb.RangeRequest{Key: w.key("c"), RangeEnd: w.key("b")})
			w.ok(err)
		})},
		{name: "a value that is kept needs no right to read", run: guarded(func(w *world) {
			w.ok(w.put(w.root, "a"))
			ada := w.user("ada", permission{authpb.WRITE, "a", ""})
			_, err := w.kv.Put(ada, w.realPut(&pb.PutRequest{Key: []byte("a"), IgnoreValue: true}))
			w.ok(err)
		})},
	}
}

// authTokenCases are about logins and what they give.
func authTokenCases() []testCase {
	cases := append(authPasswordCases(), authSimpleCases()...)
	return append(cases, authSignedCases()...)
}

func authPasswordCases() []testCase {
	return []testCase{
		{name: "logins that fail", run: guarded(func(w *world) {
			for _, one := range []struct{ name, password string }{{"root", "wrong"}, {"root", ""}, {"nobody", password}, {"", ""}, {"root", strings.Repeat("x", 100)}} {
				_, err := w.auth.Authenticate(w.ctx, &pb.AuthenticateRequest{Name: one.name, Password: one.password})
				w.refused(err, loginFailed())
			}
		})},
		{name: "an empty password is one", run: guarded(func(w *world) {
			_, err := w.auth.UserAdd(w.root, &pb.AuthUserAddRequest{Name: "u"})
			w.ok(err)
			w.loginWith("u", "")
			_, err = w.auth.Authenticate(w.ctx, &pb.AuthenticateRequest{Name: "u", Password: "x"})
			w.refused(err, loginFailed())
		})},
		{name: "a password that was emptied lets nobody in", run: guarded(func(w *world) {
			w.addUser("u")
			_, err := w.auth.UserChangePassword(w.root, &pb.AuthUserChangePasswordRequest{Name: "u"})
			w.ok(err)
			for _, password := range []string{"", password} {
				_, err = w.auth.Authenticate(w.ctx, &pb.AuthenticateRequest{Name: "u", Password: password})
				w.refused(err, loginFailed())
			}
		})},
		{name: "a password of 72 bytes is the longest", run: guarded(func(w *world) {
			add := func(name string, bytes int) error {
				_, err := w.auth.UserAdd(w.root, &pb.AuthUserAddRequest{Name: name, Password: strings.Repeat("x", bytes)})
				return err
			}
			w.ok(add("u", 72))
			w.refused(add("v", 73), refusal{codes.Unknown, "bcrypt: password length exceeds 72 bytes"})
			w.loginWith("u", strings.Repeat("x", 72))
		})},
		{name: "a user without a password cannot log in with one", run: guarded(func(w *world) {
			_, err := w.auth.UserAdd(w.root, &pb.AuthUserAddRequest{Name: "cn", Options: &authpb.UserAddOptions{NoPassword: true}})
			w.ok(err)
			for _, password := range []string{"", password} {
				_, err = w.auth.Authenticate(w.ctx, &pb.AuthenticateRequest{Name: "cn", Password: password})
				w.refused(err, refusal{codes.Unknown, "auth: authentication failed, password was given for no password user"})
			}
		})},
	}
}

func authSimpleCases() []testCase {
	return []testCase{
		{name: "a new password ends all logins", run: guarded(func(w *world) {
			ada := w.user("ada", permission{authpb.READ, "a", "b"})
			w.ok(w.get(ada, "a"))
			_, err := w.auth.UserChangePassword(w.root, &pb.AuthUserChangePasswordRequest{Name: "ada", Password: "new"})
			w.ok(err)
			w.refused(w.get(ada, "a"), badToken())
			_, err = w.auth.Authenticate(w.ctx, &pb.AuthenticateRequest{Name: "ada", Password: password})
			w.refused(err, loginFailed())
			w.ok(w.get(w.loginWith("ada", "new"), "a"))
		})},
		{name: "a simple token outlives changes of permissions", run: guarded(func(w *world) {
			ada := w.user("ada", permission{authpb.READ, "a", "b"})
			w.permit("ada", permission{authpb.WRITE, "c", "d"})
			w.ok(w.put(ada, "c"))
			w.forbid("ada", "c", "d")
			w.refused(w.put(ada, "c"), denied())
			w.ok(w.get(ada, "a"))
		})},
		{name: "a simple token has its form and is another each time", run: guarded(func(w *world) {
			var tokens []string
			for range 2 {
				resp, err := w.auth.Authenticate(w.ctx, &pb.AuthenticateRequest{Name: "root", Password: password})
				w.ok(err)
				prefix, index, ok := strings.Cut(resp.Token, ".")
				w.isTrue("form of "+resp.Token, ok && len(prefix) == 16 && index != "")
				tokens = append(tokens, resp.Token)
			}
			w.isTrue("two tokens", tokens[0] != tokens[1])
		})},
		{name: "where a token may stand", run: guarded(authPlaces)},
	}
}

func authPlaces(w *world) {
	resp, err := w.auth.Authenticate(w.ctx, &pb.AuthenticateRequest{Name: "root", Password: password})
	w.ok(err)
	for key, ok := range map[string]bool{"token": true, "authorization": true, "x-token": false} {
		as := withMetadata(w.ctx, key, resp.Token)
		if err := w.get(as, "a"); ok {
			w.ok(err)
		} else {
			w.refused(err, userEmpty())
		}
	}
	w.refused(w.get(withMetadata(w.ctx, "token", "bad", "authorization", resp.Token), "a"), badToken())
}

// authSignedCases are about signed tokens, each on a server of its own.
func authSignedCases() []testCase {
	signed := func(run func(w *world)) func(e *env) {
		return func(e *env) {
			key := filepath.Join(e.TempDir(), "key")
			e.ok(os.WriteFile(key, []byte("a key of sixteen or more bytes"), 0o600))
			target := e.target.Fresh(e.T, "--bcrypt-cost=4", "--auth-token=jwt,sign-method=HS256,priv-key="+key+",ttl=5m")
			target.Fresh = e.target.Fresh
			guarded(run)(newEnv(e.T, target, e.prefix))
		}
	}
	return []testCase{
		{name: "a signed token holds while nothing changes", run: signed(func(w *world) {
			w.addRole("ada", permission{authpb.READWRITE, "a", "b"})
			w.addUser("ada", "ada")
			ada := w.login("ada")
			w.ok(w.put(ada, "a"))
			w.refused(w.put(ada, "b"), denied())
			w.refused(w.get(withToken(w.ctx, "aaaaaaaaaaaaaaaa.1"), "a"), badToken())
		})},
		{name: "a signed token of an older revision: root", run: signed(func(w *world) { w.authOldToken(actor{name: "root", root: true}) })},
		{name: "a signed token of an older revision: owner", run: signed(func(w *world) {
			w.authOldToken(actor{name: "owner", permissions: []permission{{authpb.READWRITE, "a", "m"}}})
		})},
	}
}

// authOldToken calls everything with a token whose revision has passed.
func (w *world) authOldToken(a actor) {
	if !a.root {
		w.addRole(a.name, a.permissions...)
		w.addUser(a.name, a.name)
	}
	w.addUser("more")
	old := w.login(a.name)
	w.giveRole("more", "root")
	w.root = w.login("root")
	w.populate()
	for _, d := range demands(w) {
		err := d.call(w, old)
		if d.level == forUsers && len(d.needs) > 0 && !(d.lease && a.root) {
			w.check(d.name, err, oldRevision())
		} else {
			w.judge(a, d, err)
		}
	}
}

// check is refused for one of many calls of a case, which goes on.
func (w *world) check(what string, err error, want refusal) {
	w.Helper()
	if got := refusalOf(err); got != want {
		w.Errorf("%s: got %s %q, want %s %q", what, got.code, got.text, want.code, want.text)
	}
}

// authHoleCases are the ways around permissions that there once were.
func authHoleCases() []testCase {
	own := []permission{{authpb.READWRITE, "a", "c"}}
	return append(authLeaseHoles(own), append(authKeyHoles(own), authAdminHoles(own)...)...)
}

// hole is a case with a user ada, who has the permissions.
func hole(name string, permissions []permission, run func(w *world, ada context.Context)) testCase {
	return testCase{name: name, run: guarded(func(w *world) {
		w.populate()
		run(w, w.user("ada", permissions...))
	})}
}

func authLeaseHoles(own []permission) []testCase {
	return []testCase{
		hole("a lease with somebody else's key cannot be taken over", own, func(w *world, ada context.Context) {
			id := w.lend("x")
			_, err := w.kv.Put(ada, w.realPut(&pb.PutRequest{Key: []byte("a"), Lease: id}))
			w.refused(err, denied())
			_, err = w.lease.LeaseRevoke(ada, &pb.LeaseRevokeRequest{ID: id})
			w.refused(err, denied())
			w.refused(w.keepAlive(ada, id), denied())
			w.ok(w.get(w.root, "x"))
		}),
		hole("a lease does not tell of somebody else's keys", own, func(w *world, ada context.Context) {
			id := w.lend("a", "x")
			w.refused(w.lives(ada, id, true), denied())
			w.ok(w.lives(ada, id, false))
			_, err := w.lease.LeaseLeases(ada, &pb.LeaseLeasesRequest{})
			w.refused(err, denied())
		}),
		hole("leases with nobody else's keys can be listed", own, func(w *world, ada context.Context) {
			id := w.lend("a", "b")
			resp, err := w.lease.LeaseLeases(ada, &pb.LeaseLeasesRequest{})
			w.ok(err)
			w.isTrue("listed", len(resp.Leases) == 1 && resp.Leases[0].ID == id)
		}),
	}
}

func authKeyHoles(own []permission) []testCase {
	return []testCase{
		hole("a comparison does not tell of a value", own, func(w *world, ada context.Context) {
			guess := &pb.Compare{Target: pb.Compare_VALUE, Key: []byte("x"), TargetUnion: &pb.Compare_Value{Value: []byte("1")}}
			_, err := w.kv.Txn(ada, w.realTxn(&pb.TxnRequest{Compare: []*pb.Compare{guess}, Success: []*pb.RequestOp{p("a")}}))
			w.refused(err, denied())
			w.ok(w.get(w.root, "a"))
		}),
		hole("a comparison of a range does not tell of what is in it", own, func(w *world, ada context.Context) {
			guess := &pb.Compare{Target: pb.Compare_VALUE, Key: []byte("a"), RangeEnd: []byte("y"), TargetUnion: &pb.Compare_Value{Value: []byte("1")}}
			_, err := w.kv.Txn(ada, w.realTxn(&pb.TxnRequest{Compare: []*pb.Compare{guess}}))
			w.refused(err, denied())
		}),
		hole("a branch that is not taken counts", own, func(w *world, ada context.Context) {
			_, err := w.kv.Txn(ada, w.realTxn(&pb.TxnRequest{Success: []*pb.RequestOp{p("a")}, Failure: []*pb.RequestOp{t(t(d("x", "")))}}))
			w.refused(err, denied())
		}),
		hole("what is deleted is shown only to who may read it", []permission{{authpb.WRITE, "a", "c"}}, func(w *world, ada context.Context) {
			r := del("a", "c")
			r.PrevKv = true
			_, err := w.kv.DeleteRange(ada, w.realDelete(r))
			w.refused(err, denied())
			_, err = w.kv.Txn(ada, w.realTxn(&pb.TxnRequest{Success: []*pb.RequestOp{deleteOp(&pb.DeleteRangeRequest{Key: []byte("a"), PrevKv: true})}}))
			w.refused(err, denied())
		}),
		hole("an open end is not the end of what is granted", own, func(w *world, ada context.Context) {
			_, err := w.kv.Range(ada, &pb.RangeRequest{Key: w.key("a"), RangeEnd: []byte{0}})
			w.refused(err, denied())
			w.refused(w.watchAs(ada, "a", fromKey), denied())
			_, err = w.kv.Range(ada, &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}})
			w.refused(err, denied())
			_, err = w.kv.DeleteRange(ada, &pb.DeleteRangeRequest{Key: []byte{0}, RangeEnd: []byte{0}})
			w.refused(err, denied())
		}),
		hole("a watcher with an empty key is one of everything from the first", own, func(w *world, ada context.Context) {
			stream, err := w.watch.Watch(ada)
			w.ok(err)
			w.ok(stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{RangeEnd: []byte{0}}}}))
			resp, err := stream.Recv()
			w.ok(err)
			w.equal("reason", resp.CancelReason, "rpc error: code = PermissionDenied desc = etcdserver: permission denied")
		}),
	}
}

func authAdminHoles(own []permission) []testCase {
	return []testCase{
		hole("alarms and maintenance are for administrators", own, func(w *world, ada context.Context) {
			for _, action := range []pb.AlarmRequest_AlarmAction{pb.AlarmRequest_ACTIVATE, pb.AlarmRequest_DEACTIVATE} {
				_, err := w.maint.Alarm(ada, &pb.AlarmRequest{Action: action, Alarm: pb.AlarmType_NOSPACE})
				w.refused(err, denied())
			}
			_, err := w.maint.Alarm(ada, &pb.AlarmRequest{})
			w.ok(err)
			w.refused(received(w.maint.Snapshot(ada, &pb.SnapshotRequest{})), denied())
			w.refused(received(w.maint.Snapshot(w.ctx, &pb.SnapshotRequest{})), userEmpty())
		}),
		hole("whoever is not somebody learns nothing of the cluster", own, func(w *world, _ context.Context) {
			_, err := w.cluster.MemberList(w.ctx, &pb.MemberListRequest{})
			w.refused(err, userEmpty())
			_, err = w.maint.Status(w.ctx, &pb.StatusRequest{})
			w.refused(err, userEmpty())
		}),
		hole("disabling is for administrators", own, func(w *world, ada context.Context) {
			_, err := w.auth.AuthDisable(ada, &pb.AuthDisableRequest{})
			w.refused(err, denied())
			_, err = w.auth.AuthDisable(w.ctx, &pb.AuthDisableRequest{})
			w.refused(err, userEmpty())
			_, err = w.auth.UserGrantRole(ada, &pb.AuthUserGrantRoleRequest{User: "ada", Role: "root"})
			w.refused(err, denied())
		}),
	}
}
