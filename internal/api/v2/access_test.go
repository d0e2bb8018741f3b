package v2_test

import (
	"context"
	"log/slog"
	"net/http"
	"testing"
	"time"

	v2 "github.com/quoin-kv/quoin/internal/api/v2"
	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/service"
	"github.com/quoin-kv/quoin/internal/service/servicetest"
)

// auth carries out a request about users and roles.
func (w *world) auth(field request.Field, r request.Request) {
	w.Helper()
	_, err := w.member.Auth(w.Context(), field, r.Append(nil))
	w.check(err)
}

// addUser makes a user, whose password is the name, with permission on a range of keys.
func (w *world) addUser(name, first, last string) {
	w.Helper()
	w.auth(request.FieldAuthUserAdd, &request.AuthUserAdd{Name: name, Password: name})
	if name != "root" {
		w.auth(request.FieldAuthRoleAdd, &request.AuthRoleAdd{Name: name})
		w.auth(request.FieldAuthRoleGrantPermission, &request.AuthRoleGrantPermission{
			Name: name, Permission: &request.Permission{Kind: request.PermissionReadWrite, Key: []byte(first), RangeEnd: []byte(last)},
		})
	}
	w.auth(request.FieldAuthUserGrantRole, &request.AuthUserGrantRole{User: name, Role: name})
}

// TestAuth: with authentication on, users do by HTTP Basic what their permissions on the keys allow, and nobody else does anything.
func TestAuth(t *testing.T) {
	run(t, func(w *world) {
		w.do("PUT /v2/keys/team/a value=1")
		w.do("PUT /v2/keys/other value=1")
		w.addUser("root", "", "")
		w.addUser("all", "/v2/", "/v20")
		w.addUser("team", "/v2/team/", "/v2/team0")
		w.addUser("one", "/v2/team/a", "")
		w.auth(request.FieldAuthEnable, &request.AuthEnable{})
		for _, c := range []struct {
			user, password, line string
			status               int
		}{
			{"", "", "GET /v2/keys/team/a", 401},
			{"", "", "PUT /v2/keys/team/a value=2", 401},
			{"", "", "GET /v2/keys/team/a?wait=true", 401},
			{"", "", "GET /v2/members", 401},
			{"", "", "GET /v2/machines", 401},
			{"", "", "GET /v2/stats/self", 401},
			{"", "", "GET /v2/auth/enable", 200},
			{"root", "root", "GET /v2/keys?recursive=true", 200},
			{"root", "wrong", "GET /v2/keys/team/a", 401},
			{"nobody", "x", "GET /v2/keys/team/a", 401},
			{"all", "all", "PUT /v2/keys/team/b/c value=2", 201},
			{"all", "all", "POST /v2/keys/team/q value=2", 201},
			{"all", "all", "GET /v2/keys?recursive=true", 200},
			{"all", "all", "DELETE /v2/members/1", 401},
			{"all", "all", "GET /v2/members", 200},
			{"all", "all", "GET /v2/machines", 200},
			{"team", "team", "GET /v2/keys/team/a", 200},
			{"team", "team", "PUT /v2/keys/team/a?prevValue=1 value=2", 200},
			{"team", "team", "PUT /v2/keys/team/new/x?ttl=100 value=2", 201},
			{"team", "team", "DELETE /v2/keys/team/new/x", 200},
			{"team", "team", "GET /v2/keys/team/new", 404}, // its marker was not made
			{"team", "team", "GET /v2/keys/other", 401},
			{"team", "team", "PUT /v2/keys/other value=2", 401},
			{"team", "team", "GET /v2/keys?recursive=true", 401},
			{"team", "team", "GET /v2/keys?wait=true&recursive=true", 401},
			{"team", "team", "POST /v2/keys/ value=2", 401},
			{"team", "team", "GET /v2/keys/team?recursive=true", 200},
			{"team", "team", "POST /v2/keys/team value=2", 201},
			{"team", "team", "PUT /v2/keys/team?prevExist=true&dir=true&ttl=1000", 200},
			{"team", "team", "PUT /v2/keys/team value=2", 403},
			{"team", "team", "GET /v2/keys/team?wait=true&recursive=true&waitIndex=2", 200},
			{"one", "one", "GET /v2/keys/team/a", 200},
			{"one", "one", "PUT /v2/keys/team/a value=3", 200},
			{"one", "one", "DELETE /v2/keys/team/a", 200},
			{"one", "one", "PUT /v2/keys/team/a value=4", 201},
			{"one", "one", "PUT /v2/keys/team/a dir=true", 401},
			{"one", "one", "DELETE /v2/keys/team?recursive=true", 401},
			{"one", "one", "GET /v2/keys/team/a?wait=true&waitIndex=4", 200},
			{"one", "one", "GET /v2/keys/team?wait=true&recursive=true", 401},
		} {
			if got := w.doAs(w.Context(), c.line, c.user, c.password); got.status != c.status {
				t.Errorf("%s as %q: %d %s, want %d", c.line, c.user, got.status, got.body, c.status)
			}
		}
	})
}

// TestPasswordChange: a login that is remembered ends with the password.
func TestPasswordChange(t *testing.T) {
	run(t, func(w *world) {
		w.addUser("root", "", "")
		w.auth(request.FieldAuthEnable, &request.AuthEnable{})
		get := func(password string) int { return w.doAs(w.Context(), "GET /v2/keys", "root", password).status }
		if first, second := get("root"), get("root"); first != 200 || second != 200 {
			t.Fatal("root cannot read")
		}
		raw := (&request.Authenticate{Name: "root", Password: "root"}).Append(nil)
		reply, err := w.member.Authenticate(w.Context(), raw)
		w.check(err)
		ctx := servicetest.As(w.Context(), service.Credentials{Token: tokenOf(t, reply)})
		_, err = w.member.Auth(ctx, request.FieldAuthUserChangePassword, (&request.AuthUserChangePassword{Name: "root", Password: "new"}).Append(nil))
		w.check(err)
		if old, now := get("root"), get("new"); old != 401 || now != 200 {
			t.Errorf("with the old password %d, with the new one %d", old, now)
		}
	})
}

// TestLoginEnds: a remembered login whose token has ended is renewed, also for a watch.
func TestLoginEnds(t *testing.T) {
	run(t, func(w *world) {
		w.do("PUT /v2/keys/a value=1")
		w.addUser("root", "", "")
		w.auth(request.FieldAuthEnable, &request.AuthEnable{})
		for _, line := range []string{"GET /v2/keys/a", "GET /v2/keys/a?wait=true&waitIndex=2", "PUT /v2/keys/a value=2", "GET /v2/members"} {
			if got := w.doAs(w.Context(), line, "root", "root"); got.status != 200 {
				t.Errorf("%s: %d %s", line, got.status, got.body)
			}
			w.until(10 * time.Minute)
		}
	})
}

// handler is the view on a service.
func handler(s v2.Store) http.Handler {
	return v2.New(v2.Options{
		Store: s, Prefix: "/v2/", Logger: slog.New(slog.DiscardHandler), ClusterID: servicetest.ClusterID, MemberID: servicetest.MemberID,
		Name: servicetest.Name, MaxBodyBytes: 1 << 20, MinTTL: servicetest.MinLeaseTTL,
		As: func(ctx context.Context, _ *http.Request, token string) context.Context {
			return servicetest.As(ctx, service.Credentials{Token: token})
		},
	})
}
