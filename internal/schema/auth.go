package schema

import (
	"encoding/binary"

	"google.golang.org/protobuf/encoding/protowire"
)

// UserRecord is a value of the AuthUsers bucket, the protobuf message authpb.User.
type UserRecord struct {
	Name       string
	Password   []byte   // a bcrypt hash; empty if nobody can log in with a password
	Roles      []string // ascending
	NoPassword bool     // the user can only come in by certificate
}

// Append appends the encoding. The options are always there, as etcd writes them.
func (u *UserRecord) Append(b []byte) []byte {
	b = appendBytesField(b, 1, []byte(u.Name))
	b = appendBytesField(b, 2, u.Password)
	for _, role := range u.Roles {
		b = protowire.AppendTag(b, 3, protowire.BytesType)
		b = protowire.AppendString(b, role)
	}
	var options []byte
	if u.NoPassword {
		options = appendIntField(nil, 1, 1)
	}
	b = protowire.AppendTag(b, 4, protowire.BytesType)
	return protowire.AppendBytes(b, options)
}

// Unmarshal sets u to the message in b, by the rules of KeyValue.Unmarshal. Password aliases b.
func (u *UserRecord) Unmarshal(b []byte) error {
	*u = UserRecord{}
	var options []byte
	err := decodeFields("user record", b, func(f field) {
		switch {
		case f.isBytes(1):
			u.Name = string(f.bytes)
		case f.isBytes(2):
			u.Password = f.bytes
		case f.isBytes(3):
			u.Roles = append(u.Roles, string(f.bytes))
		case f.isBytes(4):
			options = f.bytes
		}
	})
	if err != nil {
		return err
	}
	return decodeFields("user options", options, func(f field) {
		if f.isVarint(1) {
			u.NoPassword = f.varint != 0
		}
	})
}

// Permission is the protobuf message authpb.Permission: what, as package request names the kinds, a role may do with a key or, if RangeEnd is not empty, with the keys from Key
// up to it; a RangeEnd of one zero byte is no end.
type Permission struct {
	Kind          int32
	Key, RangeEnd []byte
}

// RoleRecord is a value of the AuthRoles bucket, the protobuf message authpb.Role. Permissions ascend by key and end.
type RoleRecord struct {
	Name        string
	Permissions []Permission
}

// Append appends the encoding.
func (r *RoleRecord) Append(b []byte) []byte {
	b = appendBytesField(b, 1, []byte(r.Name))
	for i := range r.Permissions {
		p := r.Permissions[i].append(nil)
		b = protowire.AppendTag(b, 2, protowire.BytesType)
		b = protowire.AppendBytes(b, p)
	}
	return b
}

func (p *Permission) append(b []byte) []byte {
	b = appendIntField(b, 1, int64(p.Kind))
	b = appendBytesField(b, 2, p.Key)
	return appendBytesField(b, 3, p.RangeEnd)
}

// Unmarshal sets r to the message in b, by the rules of KeyValue.Unmarshal. Keys alias b.
func (r *RoleRecord) Unmarshal(b []byte) error {
	*r = RoleRecord{}
	var inner error
	err := decodeFields("role record", b, func(f field) {
		switch {
		case f.isBytes(1):
			r.Name = string(f.bytes)
		case f.isBytes(2) && inner == nil:
			var p Permission
			inner = p.unmarshal(f.bytes)
			r.Permissions = append(r.Permissions, p)
		}
	})
	if err != nil {
		return err
	}
	return inner
}

func (p *Permission) unmarshal(b []byte) error {
	return decodeFields("permission", b, func(f field) {
		switch {
		case f.isVarint(1):
			p.Kind = int32(f.varint)
		case f.isBytes(2):
			p.Key = f.bytes
		case f.isBytes(3):
			p.RangeEnd = f.bytes
		}
	})
}

// AppendAuthRevision appends the value of AuthRevisionKey.
func AppendAuthRevision(b []byte, revision uint64) []byte {
	return binary.BigEndian.AppendUint64(b, revision)
}

// ParseAuthRevision reverses AppendAuthRevision.
func ParseAuthRevision(value []byte) (uint64, error) {
	if len(value) != 8 {
		return 0, malformed("auth revision", value)
	}
	return binary.BigEndian.Uint64(value), nil
}
