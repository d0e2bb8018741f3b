package request

import "google.golang.org/protobuf/encoding/protowire"

// Kinds of a [Permission].
const (
	PermissionRead int32 = iota
	PermissionWrite
	PermissionReadWrite
)

// AuthEnable, AuthDisable, AuthStatus, AuthUserList and AuthRoleList have no
// contents.
type (
	// AuthEnable switches authentication on.
	AuthEnable struct{ empty }
	// AuthDisable switches authentication off.
	AuthDisable struct{ empty }
	// AuthStatus asks whether authentication is on.
	AuthStatus struct{ empty }
	// AuthUserList asks for the names of all users.
	AuthUserList struct{ empty }
	// AuthRoleList asks for the names of all roles.
	AuthRoleList struct{ empty }
)

// empty is the codec of messages without fields.
type empty struct{}

// Unmarshal checks that b is a message.
func (empty) Unmarshal(b []byte) error {
	d := decoder{rest: b}
	for d.next() {
		continue
	}
	return d.done("empty request")
}

// Size is the length of the wire form in bytes: zero.
func (empty) Size() int { return 0 }

// Append returns b.
func (empty) Append(b []byte) []byte { return b }

// texts decodes and encodes messages made of strings alone, numbered from 1.
type texts [3]*string

func (t texts) unmarshal(name string, b []byte) error {
	d := decoder{rest: b}
	for d.next() {
		if i := int(d.num) - 1; i < len(t) && t[i] != nil {
			d.setString(t[i])
		}
	}
	return d.done(name)
}

func (t texts) size() int {
	n := 0
	for _, s := range t {
		if s != nil {
			n += sizeBytes(1, len(*s))
		}
	}
	return n
}

func (t texts) append(b []byte) []byte {
	w := begin(b, t.size())
	for i := len(t) - 1; i >= 0; i-- {
		if t[i] != nil {
			w.text(protowire.Number(i+1), *t[i])
		}
	}
	return w.finish()
}

// Authenticate is a login as it is logged: the password was checked before and
// is left out, the token's random part was drawn before.
type Authenticate struct{ Name, Password, SimpleToken string }

func (r *Authenticate) texts() texts { return texts{&r.Name, &r.Password, &r.SimpleToken} }

// Unmarshal merges the wire form b into r.
func (r *Authenticate) Unmarshal(b []byte) error {
	return r.texts().unmarshal("InternalAuthenticateRequest", b)
}

// Size is the length of the wire form in bytes.
func (r *Authenticate) Size() int { return r.texts().size() }

// Append appends the canonical wire form to b.
func (r *Authenticate) Append(b []byte) []byte { return r.texts().append(b) }

// AuthUserAdd creates a user. In the log Password is empty and HashedPassword
// set.
type AuthUserAdd struct {
	Name, Password string
	Options        *UserAddOptions // nil if absent
	HashedPassword string
}

// UserAddOptions are the choices for a new user.
type UserAddOptions struct {
	// NoPassword makes a user who can only come in by certificate.
	NoPassword bool
}

// Unmarshal merges the wire form b into r.
func (r *AuthUserAdd) Unmarshal(b []byte) error {
	d := decoder{rest: b}
	for d.next() {
		switch {
		case d.num == 1:
			d.setString(&r.Name)
		case d.num == 2:
			d.setString(&r.Password)
		case d.num == 3 && d.isMessage():
			r.Options = orNew(r.Options)
			d.err = r.Options.Unmarshal(d.payload)
		case d.num == 4:
			d.setString(&r.HashedPassword)
		}
	}
	return d.done("AuthUserAddRequest")
}

// Size is the length of the wire form in bytes.
func (r *AuthUserAdd) Size() int {
	n := sizeBytes(1, len(r.Name)) + sizeBytes(2, len(r.Password)) + sizeBytes(4, len(r.HashedPassword))
	if r.Options != nil {
		n += sizeFrame(3, r.Options.Size())
	}
	return n
}

// Append appends the canonical wire form to b.
func (r *AuthUserAdd) Append(b []byte) []byte {
	w := begin(b, r.Size())
	w.text(4, r.HashedPassword)
	if r.Options != nil {
		end := w.at
		w.flag(1, r.Options.NoPassword)
		w.message(3, end)
	}
	w.text(2, r.Password)
	w.text(1, r.Name)
	return w.finish()
}

// Unmarshal merges the wire form b into o.
func (o *UserAddOptions) Unmarshal(b []byte) error {
	d := decoder{rest: b}
	for d.next() {
		if d.num == 1 {
			d.setBool(&o.NoPassword)
		}
	}
	return d.done("UserAddOptions")
}

// Size is the length of the wire form in bytes.
func (o *UserAddOptions) Size() int { return sizeFlag(1, o.NoPassword) }

// AuthUserChangePassword replaces a password. In the log Password is empty and
// HashedPassword set.
type AuthUserChangePassword struct{ Name, Password, HashedPassword string }

func (r *AuthUserChangePassword) texts() texts {
	return texts{&r.Name, &r.Password, &r.HashedPassword}
}

// Unmarshal merges the wire form b into r.
func (r *AuthUserChangePassword) Unmarshal(b []byte) error {
	return r.texts().unmarshal("AuthUserChangePasswordRequest", b)
}

// Size is the length of the wire form in bytes.
func (r *AuthUserChangePassword) Size() int { return r.texts().size() }

// Append appends the canonical wire form to b.
func (r *AuthUserChangePassword) Append(b []byte) []byte { return r.texts().append(b) }

// AuthUserDelete deletes a user.
type AuthUserDelete struct{ Name string }

// Unmarshal merges the wire form b into r.
func (r *AuthUserDelete) Unmarshal(b []byte) error {
	return unmarshalName("AuthUserDeleteRequest", b, &r.Name)
}

// Size is the length of the wire form in bytes.
func (r *AuthUserDelete) Size() int { return sizeBytes(1, len(r.Name)) }

// Append appends the canonical wire form to b.
func (r *AuthUserDelete) Append(b []byte) []byte { return appendName(b, r.Name) }

// AuthUserGet asks for a user's roles.
type AuthUserGet struct{ Name string }

// Unmarshal merges the wire form b into r.
func (r *AuthUserGet) Unmarshal(b []byte) error {
	return unmarshalName("AuthUserGetRequest", b, &r.Name)
}

// Size is the length of the wire form in bytes.
func (r *AuthUserGet) Size() int { return sizeBytes(1, len(r.Name)) }

// Append appends the canonical wire form to b.
func (r *AuthUserGet) Append(b []byte) []byte { return appendName(b, r.Name) }

// AuthRoleAdd creates a role.
type AuthRoleAdd struct{ Name string }

// Unmarshal merges the wire form b into r.
func (r *AuthRoleAdd) Unmarshal(b []byte) error {
	return unmarshalName("AuthRoleAddRequest", b, &r.Name)
}

// Size is the length of the wire form in bytes.
func (r *AuthRoleAdd) Size() int { return sizeBytes(1, len(r.Name)) }

// Append appends the canonical wire form to b.
func (r *AuthRoleAdd) Append(b []byte) []byte { return appendName(b, r.Name) }

// AuthRoleDelete deletes a role.
type AuthRoleDelete struct{ Role string }

// Unmarshal merges the wire form b into r.
func (r *AuthRoleDelete) Unmarshal(b []byte) error {
	return unmarshalName("AuthRoleDeleteRequest", b, &r.Role)
}

// Size is the length of the wire form in bytes.
func (r *AuthRoleDelete) Size() int { return sizeBytes(1, len(r.Role)) }

// Append appends the canonical wire form to b.
func (r *AuthRoleDelete) Append(b []byte) []byte { return appendName(b, r.Role) }

// AuthRoleGet asks for a role's permissions.
type AuthRoleGet struct{ Role string }

// Unmarshal merges the wire form b into r.
func (r *AuthRoleGet) Unmarshal(b []byte) error {
	return unmarshalName("AuthRoleGetRequest", b, &r.Role)
}

// Size is the length of the wire form in bytes.
func (r *AuthRoleGet) Size() int { return sizeBytes(1, len(r.Role)) }

// Append appends the canonical wire form to b.
func (r *AuthRoleGet) Append(b []byte) []byte { return appendName(b, r.Role) }

// AuthUserGrantRole gives a role to a user.
type AuthUserGrantRole struct{ User, Role string }

func (r *AuthUserGrantRole) texts() texts { return texts{&r.User, &r.Role} }

// Unmarshal merges the wire form b into r.
func (r *AuthUserGrantRole) Unmarshal(b []byte) error {
	return r.texts().unmarshal("AuthUserGrantRoleRequest", b)
}

// Size is the length of the wire form in bytes.
func (r *AuthUserGrantRole) Size() int { return r.texts().size() }

// Append appends the canonical wire form to b.
func (r *AuthUserGrantRole) Append(b []byte) []byte { return r.texts().append(b) }

// AuthUserRevokeRole takes a role from a user.
type AuthUserRevokeRole struct{ Name, Role string }

func (r *AuthUserRevokeRole) texts() texts { return texts{&r.Name, &r.Role} }

// Unmarshal merges the wire form b into r.
func (r *AuthUserRevokeRole) Unmarshal(b []byte) error {
	return r.texts().unmarshal("AuthUserRevokeRoleRequest", b)
}

// Size is the length of the wire form in bytes.
func (r *AuthUserRevokeRole) Size() int { return r.texts().size() }

// Append appends the canonical wire form to b.
func (r *AuthUserRevokeRole) Append(b []byte) []byte { return r.texts().append(b) }

// AuthRoleGrantPermission adds a permission to the role Name.
type AuthRoleGrantPermission struct {
	Name       string
	Permission *Permission // nil if absent
}

// Permission allows reading, writing or both on a key range.
type Permission struct {
	Kind          int32
	Key, RangeEnd []byte // as in Range
}

// Unmarshal merges the wire form b into r. Byte fields alias b.
func (r *AuthRoleGrantPermission) Unmarshal(b []byte) error {
	d := decoder{rest: b}
	for d.next() {
		switch {
		case d.num == 1:
			d.setString(&r.Name)
		case d.num == 2 && d.isMessage():
			r.Permission = orNew(r.Permission)
			d.err = r.Permission.Unmarshal(d.payload)
		}
	}
	return d.done("AuthRoleGrantPermissionRequest")
}

// Size is the length of the wire form in bytes.
func (r *AuthRoleGrantPermission) Size() int {
	n := sizeBytes(1, len(r.Name))
	if r.Permission != nil {
		n += sizeFrame(2, r.Permission.Size())
	}
	return n
}

// Append appends the canonical wire form to b.
func (r *AuthRoleGrantPermission) Append(b []byte) []byte {
	w := begin(b, r.Size())
	if r.Permission != nil {
		end := w.at
		r.Permission.write(&w)
		w.message(2, end)
	}
	w.text(1, r.Name)
	return w.finish()
}

// Unmarshal merges the wire form b into p. Byte fields alias b.
func (p *Permission) Unmarshal(b []byte) error {
	d := decoder{rest: b}
	for d.next() {
		switch d.num {
		case 1:
			d.setInt32(&p.Kind)
		case 2:
			d.setBytes(&p.Key)
		case 3:
			d.setBytes(&p.RangeEnd)
		}
	}
	return d.done("Permission")
}

// Size is the length of the wire form in bytes.
func (p *Permission) Size() int {
	return sizeNumber(1, uint64(p.Kind)) + sizeBytes(2, len(p.Key)) + sizeBytes(3, len(p.RangeEnd))
}

// Append appends the canonical wire form to b.
func (p *Permission) Append(b []byte) []byte {
	w := begin(b, p.Size())
	p.write(&w)
	return w.finish()
}

func (p *Permission) write(w *writer) {
	w.bytes(3, p.RangeEnd)
	w.bytes(2, p.Key)
	w.number(1, uint64(p.Kind))
}

// AuthRoleRevokePermission takes the permission on exactly this range away.
type AuthRoleRevokePermission struct {
	Role          string
	Key, RangeEnd []byte // as in Range
}

// Unmarshal merges the wire form b into r. Byte fields alias b.
func (r *AuthRoleRevokePermission) Unmarshal(b []byte) error {
	d := decoder{rest: b}
	for d.next() {
		switch d.num {
		case 1:
			d.setString(&r.Role)
		case 2:
			d.setBytes(&r.Key)
		case 3:
			d.setBytes(&r.RangeEnd)
		}
	}
	return d.done("AuthRoleRevokePermissionRequest")
}

// Size is the length of the wire form in bytes.
func (r *AuthRoleRevokePermission) Size() int {
	return sizeBytes(1, len(r.Role)) + sizeBytes(2, len(r.Key)) + sizeBytes(3, len(r.RangeEnd))
}

// Append appends the canonical wire form to b.
func (r *AuthRoleRevokePermission) Append(b []byte) []byte {
	w := begin(b, r.Size())
	w.bytes(3, r.RangeEnd)
	w.bytes(2, r.Key)
	w.text(1, r.Role)
	return w.finish()
}
