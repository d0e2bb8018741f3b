package schema

import (
	"bytes"
	"reflect"
	"testing"

	"go.etcd.io/etcd/api/v3/authpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
)

// TestUserRecord: what etcd's own codec writes is read, and what is written it reads; the bytes are the same.
func TestUserRecord(t *testing.T) {
	for _, u := range []UserRecord{
		{Name: "root", Password: []byte("$2a$hash"), Roles: []string{"a", "root"}},
		{Name: "cn", NoPassword: true},
		{Name: "blank", Roles: []string{""}},
	} {
		theirs := &authpb.User{Name: []byte(u.Name), Password: u.Password, Roles: u.Roles, Options: &authpb.UserAddOptions{NoPassword: u.NoPassword}}
		sameMessage(t, u.Append(nil), theirs)
		var back UserRecord
		if err := back.Unmarshal(u.Append(nil)); err != nil || !reflect.DeepEqual(back, u) {
			t.Errorf("%+v reads back as %+v, %v", u, back, err)
		}
	}
}

func TestRoleRecord(t *testing.T) {
	for _, r := range []RoleRecord{
		{Name: "empty"},
		{Name: "r", Permissions: []Permission{{0, []byte("a"), []byte("b")}, {2, []byte("c"), nil}, {1, []byte("x"), []byte{0}}}},
	} {
		theirs := &authpb.Role{Name: []byte(r.Name)}
		for _, p := range r.Permissions {
			theirs.KeyPermission = append(theirs.KeyPermission, &authpb.Permission{PermType: authpb.Permission_Type(p.Kind), Key: p.Key, RangeEnd: p.RangeEnd})
		}
		sameMessage(t, r.Append(nil), theirs)
		var back RoleRecord
		if err := back.Unmarshal(r.Append(nil)); err != nil || !reflect.DeepEqual(back, r) {
			t.Errorf("%+v reads back as %+v, %v", r, back, err)
		}
	}
}

func sameMessage(t *testing.T, ours []byte, theirs any) {
	t.Helper()
	var message proto.Message
	switch m := theirs.(type) {
	case proto.Message:
		message = m
	case protoadapt.MessageV1:
		message = protoadapt.MessageV2Of(m)
	}
	want, err := proto.MarshalOptions{Deterministic: true}.Marshal(message)
	if err != nil || !bytes.Equal(ours, want) {
		t.Errorf("encoded as %x, want %x, %v", ours, want, err)
	}
}

func TestAuthRevision(t *testing.T) {
	if got, err := ParseAuthRevision(AppendAuthRevision(nil, 1<<40)); got != 1<<40 || err != nil {
		t.Errorf("%d, %v", got, err)
	}
	if _, err := ParseAuthRevision([]byte{1}); err == nil {
		t.Error("one byte was taken for a revision")
	}
}

func FuzzAuthRecords(f *testing.F) {
	u := UserRecord{Name: "u", Password: []byte("p"), Roles: []string{"r"}, NoPassword: true}
	r := RoleRecord{Name: "r", Permissions: []Permission{{1, []byte("k"), []byte("l")}}}
	f.Add(u.Append(nil))
	f.Add(r.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if u := new(UserRecord); u.Unmarshal(b) == nil {
			back := new(UserRecord)
			if err := back.Unmarshal(u.Append(nil)); err != nil {
				t.Fatal(err)
			}
		}
		if r := new(RoleRecord); r.Unmarshal(b) == nil {
			back := new(RoleRecord)
			if err := back.Unmarshal(r.Append(nil)); err != nil || len(back.Permissions) != len(r.Permissions) {
				t.Fatal(err)
			}
		}
	})
}
