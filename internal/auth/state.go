// Package auth is who may do what: users, roles, their permissions on key ranges, and whether any of it is in force. It is a kernel: a
// State is a value that never changes; a request makes another one of it. Every member applies the same requests and comes to the same
// answers.
//
// All questions of permission in the program are answered by the methods Admit and Admin of a State, and they deny what they do not know.
// How somebody proved to be a user (a password, a token, a certificate) is not decided here: a caller says who asks, and as of which
// revision of the State that was established.
package auth

import (
	"bytes"
	"slices"
	"strings"

	"github.com/quoin-kv/quoin/internal/interval"
	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/schema"
)

// Root is the name of the user without whom authentication cannot be in force, and of the role that may do everything.
const Root = "root"

// State is all users and roles. It never changes and may be read by anybody.
//
// Invariants:
//  1. users and roles ascend by name; a user's roles ascend.
//  2. A user's ranges are what its roles grant. Nothing is added to them or taken from them: other roles make another user value.
//  3. enabled only if there is a user Root with the role Root.
type State struct {
	enabled  bool
	revision uint64
	users    []*user
	roles    []*role
}

type user struct {
	schema.UserRecord
	root        bool // holds the role Root
	read, write *interval.Set[struct{}]
}

type role struct{ schema.RoleRecord }

// New returns the state of a new cluster: nobody, nothing in force, revision 1.
func New() *State { return &State{revision: 1} }

// Enabled reports whether requests need a user.
func (s *State) Enabled() bool { return s.enabled }

// Revision counts the changes of users, roles and permissions.
func (s *State) Revision() uint64 { return s.revision }

// Load adds what storage kept in one of the buckets Auth, AuthUsers and AuthRoles to a state that is being restored; nobody else may have
// the state yet. Complete must follow.
func (s *State) Load(bucket schema.Bucket, key, value []byte) error {
	switch bucket {
	case schema.AuthUsers:
		u := new(user)
		if err := u.Unmarshal(bytes.Clone(value)); err != nil {
			return err
		}
		s.users = with(s.users, u)
	case schema.AuthRoles:
		r := new(role)
		if err := r.Unmarshal(bytes.Clone(value)); err != nil {
			return err
		}
		s.roles = with(s.roles, r)
	case schema.Auth:
		return s.loadSwitch(key, value)
	}
	return nil
}

func (s *State) loadSwitch(key, value []byte) (err error) {
	switch string(key) {
	case schema.AuthEnabledKey:
		s.enabled = len(value) == 1 && value[0] == 1
	case schema.AuthRevisionKey:
		s.revision, err = schema.ParseAuthRevision(value)
	}
	return err
}

// Complete ends a restoration.
func (s *State) Complete() {
	s.revision = max(s.revision, 1)
	for _, u := range s.users {
		s.grant(u)
	}
}

// named is what has a name and stands in a list ordered by it.
type named interface{ name() string }

func (u *user) name() string { return u.Name }
func (r *role) name() string { return r.Name }

func find[T named](list []T, name string) (at int, ok bool) {
	return slices.BinarySearchFunc(list, name, func(one T, name string) int { return strings.Compare(one.name(), name) })
}

// get returns the one with a name, or the zero T.
func get[T named](list []T, name string) (one T) {
	if i, ok := find(list, name); ok {
		return list[i]
	}
	return one
}

// with returns a copy of the list in which one is, in the place of its namesake if there is one.
func with[T named](list []T, one T) []T {
	i, ok := find(list, one.name())
	list = slices.Clone(list)
	if ok {
		list[i] = one
		return list
	}
	return slices.Insert(list, i, one)
}

// without returns a copy of the list without the one of that name.
func without[T named](list []T, name string) []T {
	return slices.DeleteFunc(slices.Clone(list), func(one T) bool { return one.name() == name })
}

// grant works out what the roles of a new user value allow.
func (s *State) grant(u *user) {
	u.root, u.read, u.write = false, new(interval.Set[struct{}]), new(interval.Set[struct{}])
	for _, name := range u.Roles {
		u.root = u.root || name == Root
		r := get(s.roles, name)
		if r == nil {
			continue
		}
		for i := range r.Permissions {
			p := &r.Permissions[i]
			keys := interval.Make(p.Key, p.RangeEnd)
			if p.Kind != request.PermissionWrite {
				u.read.Insert(keys, struct{}{})
			}
			if p.Kind != request.PermissionRead {
				u.write.Insert(keys, struct{}{})
			}
		}
	}
}
