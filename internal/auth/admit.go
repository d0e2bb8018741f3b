package auth

import (
	"errors"
	"slices"

	"github.com/quoin-kv/quoin/internal/interval"
	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/schema"
)

// Identity is who asks: a user, and the revision of the state at which that was established. The zero Identity is nobody.
type Identity struct {
	User     string
	Revision uint64
}

// Keys tells which keys are attached to a lease.
type Keys func(lease int64) [][]byte

// Admit decides whether somebody may do what a request about keys and leases asks for, nested operations included. It returns nil or a
// kverr.Error. Requests that are not about keys or leases need Admin.
func (s *State) Admit(who Identity, r request.Request, keys Keys) error {
	switch r := r.(type) {
	case *request.LeaseGrant:
		return s.Present(who)
	case *request.LeaseRevoke:
		return s.admitLease(who, keys, r.ID, checker.writes)
	case *request.LeaseTimeToLive:
		if r.Keys {
			return s.admitLease(who, keys, r.ID, checker.reads)
		}
		return s.Present(who)
	}
	u, err := s.known(who)
	if u == nil {
		return err
	}
	return checker{u, keys}.request(r)
}

// admitLease decides on what is asked of a lease itself. As in etcd, somebody is enough for a lease without keys, and for root: then the
// revision is not looked at.
func (s *State) admitLease(who Identity, keys Keys, lease int64, may func(c checker, key, end []byte) error) error {
	if err := s.Present(who); err != nil || !s.enabled || s.Admin(who) == nil {
		return err
	}
	for _, key := range keys(lease) {
		u, err := s.known(who)
		if err != nil {
			return err
		}
		if err := may(checker{user: u}, key, nil); err != nil {
			return err
		}
	}
	return nil
}

// known returns the user who asks if what it may do has to be looked at: with neither user nor error, everything is allowed.
func (s *State) known(who Identity) (*user, error) {
	switch {
	case !s.enabled:
		return nil, nil
	case who.User == "":
		return nil, kverr.UserEmpty
	case who.Revision < s.revision:
		return nil, kverr.AuthOldRevision
	}
	u := get(s.users, who.User)
	if u == nil {
		return nil, kverr.PermissionDenied
	}
	if u.root {
		return nil, nil
	}
	return u, nil
}

// Admin decides whether somebody may administer the cluster. As in etcd the revision is not looked at.
func (s *State) Admin(who Identity) error {
	if !s.enabled {
		return nil
	}
	if who.User == "" {
		return kverr.UserEmpty
	}
	u := get(s.users, who.User)
	switch {
	case u == nil:
		return kverr.UserNotFound
	case !u.root:
		return kverr.PermissionDenied
	}
	return nil
}

// Present decides on what needs no more than to be somebody.
func (s *State) Present(who Identity) error {
	if s.enabled && who.User == "" {
		return kverr.UserEmpty
	}
	return nil
}

// AdmitAuth decides on the requests of package request about users and roles: everybody may ask about itself and about the roles it holds,
// the rest is for administrators.
func (s *State) AdmitAuth(who Identity, r request.Request) error {
	err := s.Admin(who)
	if err == nil {
		return nil
	}
	switch r := r.(type) {
	case *request.AuthStatus, *request.Authenticate:
		return nil
	case *request.AuthUserGet:
		if r.Name == who.User && who.User != "" {
			return nil
		}
	case *request.AuthRoleGet:
		if u := get(s.users, who.User); u != nil && slices.Contains(u.Roles, r.Role) {
			return nil
		}
	}
	return err
}

// checker looks at what one user, who is not root, asks for.
type checker struct {
	*user
	keys Keys
}

func allowed(yes bool) error {
	if yes {
		return nil
	}
	return kverr.PermissionDenied
}

func (c checker) reads(key, end []byte) error  { return allowed(covers(c.read, key, end)) }
func (c checker) writes(key, end []byte) error { return allowed(covers(c.write, key, end)) }

// covers reports whether all of a range is granted. One that ends before it begins holds nothing; as in etcd its first key decides.
func covers(granted *interval.Set[struct{}], key, end []byte) bool {
	if len(end) == 0 {
		return granted.Contains(key) // without a copy of it
	}
	rng := interval.Make(key, end)
	if rng.Empty() {
		return granted.Contains(key)
	}
	return granted.Covers(rng)
}

func (c checker) request(r request.Request) error {
	switch r := r.(type) {
	case *request.Range:
		return c.reads(r.Key, r.RangeEnd)
	case *request.Put:
		return c.put(r)
	case *request.DeleteRange:
		return c.deleteRange(r)
	case *request.Txn:
		return c.txn(r)
	}
	return kverr.PermissionDenied
}

func (c checker) put(r *request.Put) error {
	if err := c.writes(r.Key, nil); err != nil {
		return err
	}
	if r.PrevKV {
		if err := c.reads(r.Key, nil); err != nil {
			return err
		}
	}
	if r.Lease == 0 {
		return nil
	}
	// Who may attach to a lease, end or prolong it decides over all its keys.
	for _, key := range c.keys(r.Lease) {
		if err := c.writes(key, nil); err != nil {
			return err
		}
	}
	return nil
}

func (c checker) deleteRange(r *request.DeleteRange) error {
	if err := c.writes(r.Key, r.RangeEnd); err != nil || !r.PrevKV {
		return err
	}
	return c.reads(r.Key, r.RangeEnd)
}

// txn asks about all compares and both branches, whichever is taken.
func (c checker) txn(t *request.Txn) error {
	for i := range t.Compare {
		if err := c.reads(t.Compare[i].Key, t.Compare[i].RangeEnd); err != nil {
			return err
		}
	}
	for _, branch := range [][]request.Op{t.Success, t.Failure} {
		for i := range branch {
			if err := c.op(&branch[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c checker) op(op *request.Op) error {
	switch {
	case op.Range != nil:
		return c.request(op.Range)
	case op.Put != nil:
		return c.request(op.Put)
	case op.DeleteRange != nil:
		return c.request(op.DeleteRange)
	case op.Txn != nil:
		return c.request(op.Txn)
	}
	return nil // nothing is asked for
}

// Users lists the names of all users.
func (s *State) Users() (names []string) {
	for _, u := range s.users {
		names = append(names, u.Name)
	}
	return names
}

// Roles lists the names of all roles.
func (s *State) Roles() (names []string) {
	for _, r := range s.roles {
		names = append(names, r.Name)
	}
	return names
}

// RolesOf lists the roles of a user. The list must not be changed.
func (s *State) RolesOf(name string) ([]string, error) {
	u := get(s.users, name)
	if u == nil {
		return nil, kverr.UserNotFound
	}
	return u.Roles, nil
}

// Permissions lists the permissions of a role; the role Root, if it exists, has the one on everything. The list must not be changed.
func (s *State) Permissions(name string) ([]schema.Permission, error) {
	r := get(s.roles, name)
	switch {
	case r == nil:
		return nil, kverr.RoleNotFound
	case name == Root:
		return []schema.Permission{{Kind: request.PermissionReadWrite, RangeEnd: []byte{0}}}, nil
	}
	return r.Permissions, nil
}

// errNoPassword refuses a login with a password to one who has none. Etcd has no error of its own for it.
var errNoPassword = errors.New("auth: authentication failed, password was given for no password user")

// LogIn returns the hash of the password by which somebody logs in under a name, or why nobody can now: kverr.AuthFailed if there is no such
// user. Nobody can log in with an empty hash.
func (s *State) LogIn(name string) (hash []byte, err error) {
	if !s.enabled {
		return nil, kverr.AuthNotEnabled
	}
	u := get(s.users, name)
	switch {
	case u == nil:
		return nil, kverr.AuthFailed
	case u.NoPassword:
		return nil, errNoPassword
	}
	return u.Password, nil
}
