package auth

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/schema"
)

// shelf is storage in memory.
type shelf map[string][]byte

func (s shelf) Put(b schema.Bucket, key, value []byte) {
	s[b.Name()+"/"+string(key)] = bytes.Clone(value)
}
func (s shelf) Delete(b schema.Bucket, key []byte) { delete(s, b.Name()+"/"+string(key)) }
func (s shelf) restored(t *testing.T) *State {
	t.Helper()
	out := New()
	for _, b := range []schema.Bucket{schema.Auth, schema.AuthUsers, schema.AuthRoles} {
		for name, value := range s {
			if key, ok := strings.CutPrefix(name, b.Name()+"/"); ok {
				if err := out.Load(b, []byte(key), value); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	out.Complete()
	return out
}

func hash(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

func add(name string) request.Request {
	return &request.AuthUserAdd{Name: name, HashedPassword: hash("hash of " + name)}
}
func addRole(name string) request.Request { return &request.AuthRoleAdd{Name: name} }
func give(user, role string) request.Request {
	return &request.AuthUserGrantRole{User: user, Role: role}
}

func permit(role string, kind int32, key, end string) request.Request {
	return &request.AuthRoleGrantPermission{Name: role, Permission: &request.Permission{Kind: kind, Key: []byte(key), RangeEnd: []byte(end)}}
}

func forbid(role, key, end string) request.Request {
	return &request.AuthRoleRevokePermission{Role: role, Key: []byte(key), RangeEnd: []byte(end)}
}

// step is a request, what it answers, and how far it moves the revision.
type step struct {
	r    request.Request
	err  error
	more uint64
}

// TestChanges walks through every request, its errors first. After each step storage restores to the same state.
func TestChanges(t *testing.T) {
	s, st := New(), shelf{}
	for i, step := range []step{
		{&request.AuthDisable{}, nil, 0},
		{&request.AuthEnable{}, kverr.RootUserNotExist, 0},
		{add(""), kverr.UserEmpty, 0},
		{add("root"), nil, 1},
		{add("root"), kverr.UserAlreadyExist, 0},
		{&request.AuthEnable{}, kverr.RootRoleNotExist, 0},
		{give("root", "root"), nil, 1},
		{give("root", "root"), nil, 0},
		{give("nobody", "root"), kverr.UserNotFound, 0},
		{give("root", "none"), kverr.RoleNotFound, 0},
		{&request.AuthEnable{}, nil, 0},
		{&request.AuthEnable{}, nil, 0},
		{&request.AuthUserDelete{Name: "root"}, kverr.InvalidAuthMgmt, 0},
		{&request.AuthUserRevokeRole{Name: "root", Role: "root"}, kverr.InvalidAuthMgmt, 0},
		{&request.AuthRoleDelete{Role: "root"}, kverr.InvalidAuthMgmt, 0},
		{addRole(""), kverr.RoleEmpty, 0},
		{addRole("r"), nil, 1},
		{addRole("r"), kverr.RoleAlreadyExist, 0},
		{&request.AuthUserAdd{Name: "cn", Options: &request.UserAddOptions{NoPassword: true}}, nil, 1},
		{give("cn", "r"), nil, 1},
		{&request.AuthRoleGrantPermission{Name: "r"}, kverr.PermissionNotGiven, 0},
		{permit("r", request.PermissionRead, "", "b"), kverr.InvalidAuthMgmt, 0},
		{permit("r", request.PermissionRead, "b", "b"), kverr.InvalidAuthMgmt, 0},
		{permit("r", request.PermissionRead, "b", "a"), kverr.InvalidAuthMgmt, 0},
		{permit("none", request.PermissionRead, "b", "c"), kverr.RoleNotFound, 0},
		{permit("r", request.PermissionRead, "b", "\x00"), nil, 1},
		{permit("r", request.PermissionWrite, "b", "\x00"), nil, 1},
		{permit("r", request.PermissionWrite, "b", "c"), nil, 1},
		{forbid("none", "b", ""), kverr.RoleNotFound, 0},
		{forbid("r", "b", ""), kverr.PermissionNotGranted, 0},
		{forbid("r", "b", "c"), nil, 1},
		{&request.AuthUserRevokeRole{Name: "root", Role: "r"}, kverr.RoleNotGranted, 0},
		{&request.AuthUserRevokeRole{Name: "nobody", Role: "r"}, kverr.UserNotFound, 0},
		{&request.AuthUserChangePassword{Name: "nobody"}, kverr.UserNotFound, 0},
		{&request.AuthUserChangePassword{Name: "cn", HashedPassword: hash("new")}, nil, 1},
		{&request.AuthUserRevokeRole{Name: "cn", Role: "r"}, nil, 1},
		{give("cn", "r"), nil, 1},
		{&request.AuthRoleDelete{Role: "none"}, kverr.RoleNotFound, 0},
		{&request.AuthRoleDelete{Role: "r"}, nil, 1},
		{&request.AuthUserDelete{Name: "nobody"}, kverr.UserNotFound, 0},
		{&request.AuthUserDelete{Name: "cn"}, nil, 1},
		{&request.AuthUserList{}, nil, 0},
		{&request.AuthDisable{}, nil, 1},
		{&request.AuthDisable{}, nil, 0},
		{&request.AuthUserDelete{Name: "root"}, nil, 1},
	} {
		next, err := s.Apply(step.r, st)
		if !errors.Is(err, step.err) || next.Revision() != s.Revision()+step.more {
			t.Fatalf("step %d, %T %+v: %v and revision %d after %d; want %v and %d more", i, step.r, step.r, err, next.Revision(), s.Revision(), step.err, step.more)
		}
		if err != nil && next != s {
			t.Fatalf("step %d: refused, but something changed", i)
		}
		if back := st.restored(t); !reflect.DeepEqual(back.Users(), next.Users()) || permissions(back) != permissions(next) || back.Enabled() != next.Enabled() {
			t.Fatalf("step %d: restored as %+v, want %+v", i, back, next)
		}
		s = next
	}
}

// permissions is what all roles may do, as text.
func permissions(s *State) string {
	var out strings.Builder
	for _, r := range s.roles {
		fmt.Fprintf(&out, "%s %q\n", r.Name, r.Permissions)
	}
	return out.String()
}

func apply(t *testing.T, s *State, requests ...request.Request) *State {
	t.Helper()
	for _, r := range requests {
		next, err := s.Apply(r, shelf{})
		if err != nil {
			t.Fatalf("%T %+v: %v", r, r, err)
		}
		s = next
	}
	return s
}

// enabled is a state in force with some users: root, ada (reads a..m, writes f..z), nil (no role).
func enabled(t *testing.T) *State {
	t.Helper()
	return apply(t, New(),
		add("root"), give("root", "root"), addRole("reader"), addRole("writer"), add("ada"), add("nil"), give("ada", "reader"), give("ada", "writer"),
		permit("reader", request.PermissionRead, "a", "g"), permit("reader", request.PermissionRead, "g", "m"),
		permit("writer", request.PermissionWrite, "f", "z"), permit("writer", request.PermissionReadWrite, "one", ""), &request.AuthEnable{},
	)
}

func rng(key, end string) *request.Range {
	return &request.Range{Key: []byte(key), RangeEnd: []byte(end)}
}
func put(key string) *request.Put { return &request.Put{Key: []byte(key)} }
func del(key, end string) *request.DeleteRange {
	return &request.DeleteRange{Key: []byte(key), RangeEnd: []byte(end)}
}

// TestAdmit: what each request needs, as ada.
func TestAdmit(t *testing.T) {
	s := enabled(t)
	keys := func(lease int64) [][]byte {
		return map[int64][][]byte{1: {[]byte("g"), []byte("h")}, 2: {[]byte("g"), []byte("a")}, 3: {[]byte("n")}}[lease]
	}
	previous := func(r *request.Put) *request.Put { r.PrevKV = true; return r }
	erased := func(r *request.DeleteRange) *request.DeleteRange { r.PrevKV = true; return r }
	leased := func(key string, lease int64) *request.Put { r := put(key); r.Lease = lease; return r }
	nest := func(op request.Op) *request.Txn {
		return &request.Txn{Failure: []request.Op{{Txn: &request.Txn{Success: []request.Op{{Txn: &request.Txn{Failure: []request.Op{op}}}}}}}}
	}
	for i, tc := range []struct {
		r    request.Request
		want error
	}{
		{rng("a", ""), nil},
		{rng("a", "m"), nil},
		{rng("b", "l"), nil},
		{rng("a", "m\x00"), kverr.PermissionDenied},
		{rng("a", "\x00"), kverr.PermissionDenied},
		{rng("\x00", "\x00"), kverr.PermissionDenied},
		{rng("m", ""), kverr.PermissionDenied},
		{rng("one", ""), nil},
		{rng("one", "onf"), kverr.PermissionDenied},
		{rng("A", ""), kverr.PermissionDenied},
		{rng("c", "b"), nil},
		{rng("c", "A"), nil},
		{rng("n", "b"), kverr.PermissionDenied},
		{rng("n", "n"), kverr.PermissionDenied},
		{put("f"), nil},
		{put("e"), kverr.PermissionDenied},
		{previous(put("g")), nil},
		{previous(put("n")), kverr.PermissionDenied},
		{leased("g", 1), nil},
		{leased("g", 2), kverr.PermissionDenied},
		{leased("g", 4), nil},
		{del("f", "z"), nil},
		{del("f", ""), nil},
		{del("f", "\x00"), kverr.PermissionDenied},
		{erased(del("f", "m")), nil},
		{erased(del("f", "n")), kverr.PermissionDenied},
		{&request.Txn{Compare: []request.Compare{{Key: []byte("a")}}, Success: []request.Op{{Put: put("g")}}}, nil},
		{&request.Txn{Compare: []request.Compare{{Key: []byte("n")}}}, kverr.PermissionDenied},
		{&request.Txn{Compare: []request.Compare{{Key: []byte("a"), RangeEnd: []byte("n")}}}, kverr.PermissionDenied},
		{&request.Txn{Failure: []request.Op{{Put: put("a")}}}, kverr.PermissionDenied},
		{nest(request.Op{Put: put("g")}), nil},
		{nest(request.Op{Put: put("a")}), kverr.PermissionDenied},
		{nest(request.Op{Range: rng("n", "")}), kverr.PermissionDenied},
		{nest(request.Op{DeleteRange: del("a", "")}), kverr.PermissionDenied},
		{nest(request.Op{Put: leased("g", 2)}), kverr.PermissionDenied},
		{&request.LeaseGrant{}, nil},
		{&request.LeaseRevoke{ID: 1}, nil},
		{&request.LeaseRevoke{ID: 2}, kverr.PermissionDenied},
		{&request.LeaseTimeToLive{ID: 3}, nil},
		{&request.LeaseTimeToLive{ID: 3, Keys: true}, kverr.PermissionDenied},
		{&request.LeaseTimeToLive{ID: 2, Keys: true}, nil},
		{&request.Compaction{}, kverr.PermissionDenied},
		{&request.Alarm{}, kverr.PermissionDenied},
	} {
		if err := s.Admit(Identity{"ada", s.Revision()}, tc.r, keys); !errors.Is(err, tc.want) || tc.want == nil && err != nil {
			t.Errorf("%d, %T %+v: %v, want %v", i, tc.r, tc.r, err, tc.want)
		}
		if err := s.Admit(Identity{"root", s.Revision()}, tc.r, keys); err != nil {
			t.Errorf("%d: root: %v", i, err)
		}
		if err := s.Admit(Identity{"nil", s.Revision()}, tc.r, keys); tc.want != nil && !errors.Is(err, kverr.PermissionDenied) {
			t.Errorf("%d: a user without roles may do what ada may not: %v", i, err)
		}
	}
}

// TestWho: the order in which an identity is looked at.
func TestWho(t *testing.T) {
	s := enabled(t)
	now := s.Revision()
	for _, tc := range []struct {
		who          Identity
		admit, admin error
		present      error
	}{
		{Identity{}, kverr.UserEmpty, kverr.UserEmpty, kverr.UserEmpty},
		{Identity{"", now}, kverr.UserEmpty, kverr.UserEmpty, kverr.UserEmpty},
		{Identity{"root", now - 1}, kverr.AuthOldRevision, nil, nil},
		{Identity{"root", now + 1}, nil, nil, nil},
		{Identity{"gone", now - 1}, kverr.AuthOldRevision, kverr.UserNotFound, nil},
		{Identity{"gone", now}, kverr.PermissionDenied, kverr.UserNotFound, nil},
		{Identity{"ada", now}, kverr.PermissionDenied, kverr.PermissionDenied, nil},
	} {
		if err := s.Admit(tc.who, rng("x", ""), nil); !errors.Is(err, tc.admit) {
			t.Errorf("%+v: admitted with %v, want %v", tc.who, err, tc.admit)
		}
		if err := s.Admin(tc.who); !errors.Is(err, tc.admin) {
			t.Errorf("%+v: administrator with %v, want %v", tc.who, err, tc.admin)
		}
		if err := s.Present(tc.who); !errors.Is(err, tc.present) {
			t.Errorf("%+v: present with %v, want %v", tc.who, err, tc.present)
		}
	}
	off := apply(t, s, &request.AuthDisable{})
	if err := errors.Join(off.Admit(Identity{}, put("x"), nil), off.Admin(Identity{}), off.Present(Identity{})); err != nil {
		t.Errorf("while nothing is in force: %v", err)
	}
}

// TestLeasesOfOldIdentities: a lease without keys, and root, are not asked for a revision.
func TestLeasesOfOldIdentities(t *testing.T) {
	s := enabled(t)
	old := s.Revision() - 1
	keys := func(lease int64) [][]byte { return map[int64][][]byte{1: {[]byte("g")}, 2: {[]byte("0")}}[lease] }
	for _, tc := range []struct {
		user          string
		none, own, of error // for leases without keys, with one of ada's, with one of nobody's
	}{
		{"", kverr.UserEmpty, kverr.UserEmpty, kverr.UserEmpty},
		{"root", nil, nil, nil},
		{"ada", nil, kverr.AuthOldRevision, kverr.AuthOldRevision},
		{"gone", nil, kverr.AuthOldRevision, kverr.AuthOldRevision},
	} {
		for lease, want := range []error{tc.none, tc.own, tc.of} {
			for _, r := range []request.Request{&request.LeaseRevoke{ID: int64(lease)}, &request.LeaseTimeToLive{ID: int64(lease), Keys: true}} {
				if err := s.Admit(Identity{tc.user, old}, r, keys); !errors.Is(err, want) || want == nil && err != nil {
					t.Errorf("%q, lease %d, %T: %v, want %v", tc.user, lease, r, err, want)
				}
			}
			if err := s.Admit(Identity{tc.user, old}, &request.LeaseTimeToLive{ID: int64(lease)}, keys); !errors.Is(err, tc.none) {
				t.Errorf("%q, lease %d, without keys: %v, want %v", tc.user, lease, err, tc.none)
			}
		}
	}
}

// TestAdmitAuth: who may ask about users and roles.
func TestAdmitAuth(t *testing.T) {
	s := enabled(t)
	for i, tc := range []struct {
		user string
		r    request.Request
		want error
	}{
		{"ada", &request.AuthUserGet{Name: "ada"}, nil},
		{"ada", &request.AuthUserGet{Name: "root"}, kverr.PermissionDenied},
		{"ada", &request.AuthRoleGet{Role: "reader"}, nil},
		{"nil", &request.AuthRoleGet{Role: "reader"}, kverr.PermissionDenied},
		{"", &request.AuthUserGet{Name: ""}, kverr.UserEmpty},
		{"", &request.AuthStatus{}, nil},
		{"", &request.Authenticate{Name: "ada"}, nil},
		{"gone", &request.AuthRoleGet{Role: "reader"}, kverr.UserNotFound},
		{"ada", &request.AuthUserChangePassword{Name: "ada"}, kverr.PermissionDenied},
		{"ada", &request.AuthUserList{}, kverr.PermissionDenied},
		{"ada", &request.AuthDisable{}, kverr.PermissionDenied},
		{"root", &request.AuthDisable{}, nil},
		{"", &request.AuthEnable{}, kverr.UserEmpty},
	} {
		if err := s.AdmitAuth(Identity{User: tc.user}, tc.r); !errors.Is(err, tc.want) || tc.want == nil && err != nil {
			t.Errorf("%d, %s: %T: %v, want %v", i, tc.user, tc.r, err, tc.want)
		}
	}
}

// TestAnswers: what is told about users and roles.
func TestAnswers(t *testing.T) {
	s := apply(t, enabled(t), addRole("root"))
	if roles, err := s.RolesOf("ada"); err != nil || fmt.Sprint(roles) != "[reader writer]" {
		t.Errorf("roles %v, %v", roles, err)
	}
	if _, err := s.RolesOf("gone"); !errors.Is(err, kverr.UserNotFound) {
		t.Error(err)
	}
	if got := fmt.Sprint(s.Users(), s.Roles()); got != "[ada nil root] [reader root writer]" {
		t.Error(got)
	}
	if p, err := s.Permissions("root"); err != nil || len(p) != 1 || len(p[0].Key) != 0 || string(p[0].RangeEnd) != "\x00" {
		t.Errorf("permissions of root %v, %v", p, err)
	}
	if p, err := s.Permissions("reader"); err != nil || len(p) != 2 {
		t.Errorf("permissions %v, %v", p, err)
	}
	if hash, err := s.LogIn("ada"); err != nil || string(hash) != "hash of ada" {
		t.Errorf("login of ada: %q, %v", hash, err)
	}
	if _, err := s.LogIn("gone"); err != kverr.AuthFailed {
		t.Errorf("login of nobody: %v", err)
	}
}

// TestStatesDoNotChange: a state that somebody holds stays as it was.
func TestStatesDoNotChange(t *testing.T) {
	s := enabled(t)
	who := Identity{"ada", s.Revision()}
	apply(t, s, permit("reader", request.PermissionRead, "m", "\x00"), forbid("writer", "f", "z"), &request.AuthUserDelete{Name: "nil"})
	if s.Admit(who, rng("n", ""), nil) == nil || s.Admit(who, put("g"), nil) != nil || len(s.Users()) != 3 {
		t.Error("a change shows in the state before it")
	}
}

// TestAdmitAllocates: to judge what is done most costs no allocation, however long the key is.
func TestAdmitAllocates(t *testing.T) {
	s := enabled(t)
	who := Identity{"ada", s.Revision()}
	key := "g" + strings.Repeat("x", 100)
	read, write := rng(key, ""), put(key)
	if err := errors.Join(s.Admit(who, read, nil), s.Admit(who, write, nil)); err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]request.Request{"range": read, "put": write} {
		if n := testing.AllocsPerRun(100, func() { _ = s.Admit(who, r, nil) }); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkAdmit(b *testing.B) {
	s := New()
	step := func(r request.Request) {
		next, err := s.Apply(r, shelf{})
		if err != nil {
			b.Fatal(err)
		}
		s = next
	}
	for _, r := range []request.Request{add("root"), give("root", "root"), addRole("r"), add("u"), give("u", "r"), &request.AuthEnable{}} {
		step(r)
	}
	for i := range 100 {
		step(permit("r", request.PermissionReadWrite, fmt.Sprintf("/registry/%03d/", i), fmt.Sprintf("/registry/%03d0", i)))
	}
	who, r := Identity{"u", s.Revision()}, put("/registry/050/pod")
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Admit(who, r, nil); err != nil {
			b.Fatal(err)
		}
	}
}
