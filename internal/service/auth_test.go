package service_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/service"
	"github.com/quoin-kv/quoin/internal/service/servicetest"
	"github.com/quoin-kv/quoin/internal/token"
	"github.com/quoin-kv/quoin/internal/watch"
)

// everybodysPassword is that of all users in these tests.
const everybodysPassword = "secret"

// auth carries out a request about users and roles.
func auth(t testing.TB, m *servicetest.Member, as context.Context, field request.Field, r request.Request) {
	t.Helper()
	_, err := m.Auth(as, field, r.(interface{ Append([]byte) []byte }).Append(nil))
	check(t, err)
}

// addUser makes a user with a role of its own name that may read and write from one key up to another.
func addUser(t testing.TB, m *servicetest.Member, as context.Context, name, key, end string) {
	t.Helper()
	auth(t, m, as, request.FieldAuthUserAdd, &request.AuthUserAdd{Name: name, Password: everybodysPassword})
	auth(t, m, as, request.FieldAuthRoleAdd, &request.AuthRoleAdd{Name: name})
	permit(t, m, as, name, key, end)
	auth(t, m, as, request.FieldAuthUserGrantRole, &request.AuthUserGrantRole{User: name, Role: name})
}

func permit(t testing.TB, m *servicetest.Member, as context.Context, role, key, end string) {
	t.Helper()
	p := &request.Permission{Kind: request.PermissionReadWrite, Key: []byte(key), RangeEnd: []byte(end)}
	auth(t, m, as, request.FieldAuthRoleGrantPermission, &request.AuthRoleGrantPermission{Name: role, Permission: p})
}

func forbid(t testing.TB, m *servicetest.Member, as context.Context, role, key, end string) {
	t.Helper()
	r := &request.AuthRoleRevokePermission{Role: role, Key: []byte(key), RangeEnd: []byte(end)}
	auth(t, m, as, request.FieldAuthRoleRevokePermission, r)
}

// guard makes root and turns authentication on, and returns how root calls.
func guard(t testing.TB, m *servicetest.Member) context.Context {
	t.Helper()
	ctx := t.Context()
	auth(t, m, ctx, request.FieldAuthUserAdd, &request.AuthUserAdd{Name: "root", Password: everybodysPassword})
	auth(t, m, ctx, request.FieldAuthUserGrantRole, &request.AuthUserGrantRole{User: "root", Role: "root"})
	auth(t, m, ctx, request.FieldAuthEnable, &request.AuthEnable{})
	return as(t, logIn(t, m, "root"))
}

// authenticate logs a user in and returns the token.
func authenticate(m *servicetest.Member, ctx context.Context, name, password string) (string, error) {
	out, err := call(ctx, m.Authenticate, &pb.AuthenticateRequest{Name: name, Password: password}, new(pb.AuthenticateResponse))
	return out.GetToken(), err
}

func logIn(t testing.TB, m *servicetest.Member, name string) string {
	t.Helper()
	text, err := authenticate(m, t.Context(), name, everybodysPassword)
	check(t, err)
	return text
}

// as is how a call with a token is made.
func as(t testing.TB, text string) context.Context {
	return servicetest.As(t.Context(), service.Credentials{Token: text})
}

// putAs and getAs are the outcomes of calls.
func putAs(m *servicetest.Member, ctx context.Context, key string) error {
	_, err := call(ctx, m.Put, &pb.PutRequest{Key: []byte(key)}, new(pb.PutResponse))
	return err
}

func getAs(m *servicetest.Member, ctx context.Context, key string) error {
	_, err := call(ctx, m.Range, &pb.RangeRequest{Key: []byte(key)}, new(pb.RangeResponse))
	return err
}

// TestTokensOfOtherMembers: a simple token that one member gave is good at another one as soon as that has applied the login; until then the
// call waits. No call waits for a login that cannot be.
func TestTokensOfOtherMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := settled(t, 3)
		leader, follower := c.Leader(), c.Follower()
		root := guard(t, leader)
		check(t, getAs(follower, root, "a"))
		c.Isolate(follower.ID)
		text := logIn(t, leader, "root")
		done := make(chan error, 1)
		go func() {
			stale := &pb.RangeRequest{Key: []byte("a"), Serializable: true}
			_, err := call(as(t, text), follower.Range, stale, new(pb.RangeResponse))
			done <- err
		}()
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatalf("a token was judged before its login was applied: %v", err)
		default:
		}
		c.Rejoin(follower.ID)
		check(t, <-done)
		began := time.Now()
		wantError(t, "a token of the far future", getAs(follower, as(t, "aaaaaaaaaaaaaaaa.9999999999"), "a"), kverr.InvalidAuthToken)
		if took := time.Since(began); took != 0 {
			t.Errorf("it was waited for %v", took)
		}
	})
}

// TestTokensEnd: a token lasts as long as it is used, and ends with the password, the user, and authentication.
func TestTokensEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t)
		root := guard(t, m)
		addUser(t, m, root, "ada", "a", "b")
		used, unused := logIn(t, m, "ada"), logIn(t, m, "ada")
		for range 5 {
			after(servicetest.TokenTTL - time.Second)
			check(t, getAs(m, as(t, used), "a"))
			check(t, getAs(m, root, "a"))
		}
		wantError(t, "a token that was not used", getAs(m, as(t, unused), "a"), kverr.InvalidAuthToken)
		for what, change := range map[string]func(){
			"password": func() {
				auth(t, m, root, request.FieldAuthUserChangePassword, &request.AuthUserChangePassword{Name: "ada", Password: everybodysPassword})
			},
			"user": func() {
				auth(t, m, root, request.FieldAuthUserDelete, &request.AuthUserDelete{Name: "ada"})
				auth(t, m, root, request.FieldAuthUserAdd, &request.AuthUserAdd{Name: "ada", Password: everybodysPassword})
				auth(t, m, root, request.FieldAuthUserGrantRole, &request.AuthUserGrantRole{User: "ada", Role: "ada"})
			},
			"authentication": func() {
				auth(t, m, root, request.FieldAuthDisable, &request.AuthDisable{})
				auth(t, m, root, request.FieldAuthEnable, &request.AuthEnable{})
				root = as(t, logIn(t, m, "root"))
			},
		} {
			text := logIn(t, m, "ada")
			check(t, getAs(m, as(t, text), "a"))
			permit(t, m, root, "ada", "c", "d") // no reason to end
			check(t, getAs(m, as(t, text), "c"))
			change()
			wantError(t, "after a change of the "+what, getAs(m, as(t, text), "a"), kverr.InvalidAuthToken)
		}
	})
}

// TestTokensAreForgotten: a member that was down, or was brought up to date by a snapshot, knows no logins.
func TestTokensAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		counts := map[uint64]int{}
		c := settled(t, 3, forgetful, installs(counts))
		defer func() {
			if len(counts) == 0 {
				t.Error("no snapshot was installed")
			}
		}()
		leader, follower := c.Leader(), c.Follower()
		root := guard(t, leader)
		addUser(t, leader, root, "ada", "a", "b")
		text := logIn(t, follower, "ada")
		check(t, getAs(follower, as(t, text), "a"))
		c.Isolate(follower.ID)
		auth(t, leader, root, request.FieldAuthUserDelete, &request.AuthUserDelete{Name: "ada"})
		auth(t, leader, root, request.FieldAuthUserAdd, &request.AuthUserAdd{Name: "ada", Password: "other"})
		auth(t, leader, root, request.FieldAuthUserGrantRole, &request.AuthUserGrantRole{User: "ada", Role: "ada"})
		for i := range 500 {
			check(t, putAs(leader, root, fmt.Sprint(i)))
		}
		after(time.Minute)
		c.Rejoin(follower.ID)
		after(time.Minute)
		wantError(t, "the token of a former ada", getAs(follower, as(t, text), "a"), kverr.InvalidAuthToken)
	})
}

// signed gives members signed tokens.
func signed(t testing.TB) func(o *servicetest.Options) {
	t.Helper()
	change, _ := signedBy(t)
	return change
}

// signedTTL is how long signed tokens are valid in these tests.
const signedTTL = 5 * time.Minute

// signedBy is signed; it returns the file with the key, too.
func signedBy(t testing.TB) (change func(o *servicetest.Options), key string) {
	t.Helper()
	key = filepath.Join(t.TempDir(), "key")
	check(t, os.WriteFile(key, []byte("a key of sixteen or more bytes"), 0o600))
	kind, err := token.Parse("jwt,sign-method=HS256,priv-key="+key+",ttl="+signedTTL.String(), time.Now)
	check(t, err)
	return func(o *servicetest.Options) { o.Service.Access.Tokens = kind }, key
}

// TestSignedTokens: a signed token is as old as the users and roles when it was made.
func TestSignedTokens(t *testing.T) {
	change := signed(t)
	synctest.Test(t, func(t *testing.T) {
		m := start(t, change)
		root := guard(t, m)
		addUser(t, m, root, "ada", "a", "b")
		ada := as(t, logIn(t, m, "ada"))
		check(t, putAs(m, ada, "a"))
		check(t, getAs(m, ada, "a"))
		wantError(t, "another key", getAs(m, ada, "b"), kverr.PermissionDenied)
		auth(t, m, root, request.FieldAuthRoleAdd, &request.AuthRoleAdd{Name: "more"}) // root's is of an old revision since addUser
		wantError(t, "put", putAs(m, ada, "a"), kverr.AuthOldRevision)
		wantError(t, "get", getAs(m, ada, "a"), kverr.AuthOldRevision)
		wantError(t, "put as root", putAs(m, root, "a"), kverr.AuthOldRevision)
		w := m.Watch()
		defer w.Close()
		check(t, w.Create(ada, watch.CreateRequest{Key: []byte("a")}))
		if r := next(t, w); r.CancelReason != "rpc error: code = InvalidArgument desc = etcdserver: revision of auth store is old" {
			t.Errorf("watcher: %v", r)
		}
		check(t, getAs(m, as(t, logIn(t, m, "ada")), "a"))
		after(6 * time.Minute)
		wantError(t, "a token that is over", m.Admin(root), kverr.InvalidAuthToken)
	})
}

func TestAuthenticate(t *testing.T) {
	m := start(t)
	_, err := authenticate(m, t.Context(), "root", everybodysPassword)
	wantError(t, "authentication is off", err, kverr.AuthNotEnabled)
	root := guard(t, m)
	cn := &request.AuthUserAdd{Name: "cn", Options: &request.UserAddOptions{NoPassword: true}}
	auth(t, m, root, request.FieldAuthUserAdd, cn)
	auth(t, m, root, request.FieldAuthUserAdd, &request.AuthUserAdd{Name: "blank"})
	addUser(t, m, root, "locked", "a", "b")
	auth(t, m, root, request.FieldAuthUserChangePassword, &request.AuthUserChangePassword{Name: "locked"})
	for _, one := range []struct {
		name, password string
		want           error
	}{
		{"root", "wrong", kverr.AuthFailed},
		{"root", "", kverr.AuthFailed},
		{"nobody", everybodysPassword, kverr.AuthFailed},
		{"", "", kverr.AuthFailed},
		{"blank", "", nil},
		{"blank", "x", kverr.AuthFailed},
		{"locked", "", kverr.AuthFailed},
		{"locked", everybodysPassword, kverr.AuthFailed},
		{"root", strings.Repeat("x", 1000), kverr.AuthFailed},
	} {
		_, err := authenticate(m, t.Context(), one.name, one.password)
		wantError(t, fmt.Sprintf("%q with %q", one.name, one.password), err, one.want)
	}
	if _, err := authenticate(m, t.Context(), "cn", ""); err == nil || !strings.Contains(err.Error(), "no password user") {
		t.Errorf("a user without password: %v", err)
	}
	_, err = m.Auth(root, request.FieldAuthUserAdd, (&request.AuthUserAdd{Name: "long", Password: strings.Repeat("x", 73)}).Append(nil))
	if err == nil || err.Error() != "bcrypt: password length exceeds 72 bytes" {
		t.Errorf("too long a password: %v", err)
	}
	_, err = call(as(t, "nonsense"), m.Authenticate, &pb.AuthenticateRequest{Name: "root", Password: everybodysPassword}, new(pb.AuthenticateResponse))
	check(t, err) // a bad token is no obstacle to a login
}

// TestNoTokens: nobody gets a token where there are none.
func TestNoTokens(t *testing.T) {
	m := start(t, func(o *servicetest.Options) { o.Service.Access.Tokens = token.Kind{} })
	ctx := t.Context()
	auth(t, m, ctx, request.FieldAuthUserAdd, &request.AuthUserAdd{Name: "root", Password: everybodysPassword})
	auth(t, m, ctx, request.FieldAuthUserGrantRole, &request.AuthUserGrantRole{User: "root", Role: "root"})
	auth(t, m, ctx, request.FieldAuthEnable, &request.AuthEnable{})
	_, err := authenticate(m, ctx, "root", everybodysPassword)
	wantError(t, "login", err, kverr.InvalidAuthToken)
	byName := servicetest.As(ctx, service.Credentials{CommonName: "root"})
	check(t, putAs(m, byName, "a"))
	check(t, m.Admin(byName))
	both := servicetest.As(ctx, service.Credentials{CommonName: "root", Token: "aaaaaaaaaaaaaaaa.1"})
	wantError(t, "a bad token and a good name", putAs(m, both, "a"), kverr.InvalidAuthToken)
}

// TestHashesAreBounded: password hashes wait for each other, and who is gone does not wait.
func TestHashesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t)
		guard(t, m)
		free := m.TakeHashTurns()
		login := make(chan error, 1)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			_, err := authenticate(m, ctx, "root", everybodysPassword)
			login <- err
		}()
		go func() {
			_, err := authenticate(m, t.Context(), "root", everybodysPassword)
			login <- err
		}()
		synctest.Wait()
		cancel()
		wantError(t, "a login that nobody waits for", <-login, context.Canceled)
		wantError(t, "another call meanwhile", getAs(m, t.Context(), "a"), kverr.UserEmpty)
		free()
		check(t, <-login)
	})
}

// TestExpiryUnderAuthentication: leases end while authentication is on.
func TestExpiryUnderAuthentication(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t)
		root := guard(t, m)
		_, err := call(root, m.LeaseGrant, &pb.LeaseGrantRequest{ID: 7, TTL: 5}, new(pb.LeaseGrantResponse))
		check(t, err)
		_, err = call(root, m.Put, &pb.PutRequest{Key: []byte("k"), Lease: 7}, new(pb.PutResponse))
		check(t, err)
		after(7 * time.Second)
		out, err := call(root, m.Range, &pb.RangeRequest{Key: []byte("k")}, new(pb.RangeResponse))
		if err != nil || out.Count != 0 {
			t.Errorf("after the end of its lease the key is %v, %v", out, err)
		}
	})
}

// TestLeaseRules: who may do what with leases that have keys of others.
func TestLeaseRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t)
		root := guard(t, m)
		addUser(t, m, root, "ada", "a", "m")
		ada := as(t, logIn(t, m, "ada"))
		lend := func(id int64, keys ...string) {
			_, err := call(root, m.LeaseGrant, &pb.LeaseGrantRequest{ID: id, TTL: 600}, new(pb.LeaseGrantResponse))
			check(t, err)
			for _, key := range keys {
				_, err := call(root, m.Put, &pb.PutRequest{Key: []byte(key), Lease: id}, new(pb.PutResponse))
				check(t, err)
			}
		}
		lend(1)
		lend(2, "a")
		keepAlive := func(ctx context.Context, id int64) error {
			_, err := call(ctx, m.LeaseKeepAlive, &pb.LeaseKeepAliveRequest{ID: id}, new(pb.LeaseKeepAliveResponse))
			return err
		}
		show := func(ctx context.Context, id int64, keys bool) error {
			_, err := call(ctx, m.LeaseTimeToLive, &pb.LeaseTimeToLiveRequest{ID: id, Keys: keys}, new(pb.LeaseTimeToLiveResponse))
			return err
		}
		revoke := func(ctx context.Context, id int64) error {
			_, err := call(ctx, m.LeaseRevoke, &pb.LeaseRevokeRequest{ID: id}, new(pb.LeaseRevokeResponse))
			return err
		}
		list := func(ctx context.Context) error {
			_, err := call(ctx, m.LeaseLeases, &pb.LeaseLeasesRequest{}, new(pb.LeaseLeasesResponse))
			return err
		}
		check(t, list(ada))
		lend(3, "b", "x")
		for id := int64(1); id <= 2; id++ {
			check(t, errors.Join(keepAlive(ada, id), show(ada, id, true), show(ada, id, false), revoke(ada, id)))
		}
		wantError(t, "keep-alive", keepAlive(ada, 3), kverr.PermissionDenied)
		wantError(t, "keys", show(ada, 3, true), kverr.PermissionDenied)
		check(t, show(ada, 3, false))
		wantError(t, "revocation", revoke(ada, 3), kverr.PermissionDenied)
		wantError(t, "list", list(ada), kverr.PermissionDenied)
		wantError(t, "list of nobody", list(t.Context()), kverr.UserEmpty)
		wantError(t, "keep-alive of nobody", keepAlive(t.Context(), 3), kverr.UserEmpty)
		wantError(t, "grant of nobody", func() error {
			_, err := call(t.Context(), m.LeaseGrant, &pb.LeaseGrantRequest{TTL: 5}, new(pb.LeaseGrantResponse))
			return err
		}(), kverr.UserEmpty)
		check(t, errors.Join(list(root), keepAlive(root, 3), revoke(root, 3)))
	})
}
