package auth

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"fmt"
	"slices"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/schema"
)

// Storage keeps what changes.
type Storage interface {
	Put(bucket schema.Bucket, key, value []byte)
	Delete(bucket schema.Bucket, key []byte)
}

// Apply carries out a request that changes users, roles, permissions or the switch, and returns the state after it. Whether the one who asks
// may do so is not looked at, see Admin. An error is a kverr.Error, and nothing has changed; so it has with a request that only asks. What the
// new state refers to does not alias the request.
func (s *State) Apply(r request.Request, st Storage) (*State, error) {
	c := change{next: *s, st: st}
	var err error
	switch r := r.(type) {
	case *request.AuthEnable:
		err = c.enable()
	case *request.AuthDisable:
		c.disable()
	case *request.AuthUserAdd:
		err = c.addUser(r)
	case *request.AuthUserDelete:
		err = c.deleteUser(r.Name)
	case *request.AuthUserChangePassword:
		err = c.changePassword(r)
	case *request.AuthUserGrantRole:
		err = c.grantRole(r.User, r.Role)
	case *request.AuthUserRevokeRole:
		err = c.revokeRole(r.Name, r.Role)
	case *request.AuthRoleAdd:
		err = c.addRole(r.Name)
	case *request.AuthRoleDelete:
		err = c.deleteRole(r.Role)
	case *request.AuthRoleGrantPermission:
		err = c.grantPermission(r)
	case *request.AuthRoleRevokePermission:
		err = c.revokePermission(r)
	}
	if err != nil || !c.changed {
		return s, err
	}
	return &c.next, nil
}

// change makes the next state, and storage, of the present one.
type change struct {
	next    State
	st      Storage
	changed bool
}

// count ends a change of what users may do.
func (c *change) count() {
	c.next.revision++
	c.st.Put(schema.Auth, []byte(schema.AuthRevisionKey), schema.AppendAuthRevision(nil, c.next.revision))
	c.changed = true
}

func (c *change) setEnabled(on bool) {
	value := []byte{0}
	if on {
		value[0] = 1
	}
	c.next.enabled, c.changed = on, true
	c.st.Put(schema.Auth, []byte(schema.AuthEnabledKey), value)
}

func (c *change) enable() error {
	if c.next.enabled {
		return nil
	}
	root := get(c.next.users, Root)
	if root == nil {
		return kverr.RootUserNotExist
	}
	if !root.root {
		return kverr.RootRoleNotExist
	}
	c.setEnabled(true)
	return nil
}

func (c *change) disable() {
	if c.next.enabled {
		c.setEnabled(false)
		c.count()
	}
}

// keepUser puts a user value, which nobody else has yet, into the state.
func (c *change) keepUser(u *user) {
	c.next.grant(u)
	c.next.users = with(c.next.users, u)
	c.st.Put(schema.AuthUsers, []byte(u.Name), u.Append(nil))
}

func (c *change) addUser(r *request.AuthUserAdd) error {
	if r.Name == "" {
		return kverr.UserEmpty
	}
	if get(c.next.users, r.Name) != nil {
		return kverr.UserAlreadyExist
	}
	u := &user{UserRecord: schema.UserRecord{Name: r.Name, NoPassword: r.Options != nil && r.Options.NoPassword}}
	if !u.NoPassword {
		hash, err := hashOf(r.HashedPassword)
		if err != nil {
			return err
		}
		u.Password = hash
	}
	c.keepUser(u)
	c.count()
	return nil
}

// hashOf reads a hashed password as requests carry it.
func hashOf(text string) ([]byte, error) {
	hash, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("hashed password: %w", err)
	}
	return hash, nil
}

func (c *change) deleteUser(name string) error {
	if c.next.enabled && name == Root {
		return kverr.InvalidAuthMgmt
	}
	if get(c.next.users, name) == nil {
		return kverr.UserNotFound
	}
	c.next.users = without(c.next.users, name)
	c.st.Delete(schema.AuthUsers, []byte(name))
	c.count()
	return nil
}

func (c *change) changePassword(r *request.AuthUserChangePassword) error {
	old := get(c.next.users, r.Name)
	if old == nil {
		return kverr.UserNotFound
	}
	hash, err := hashOf(r.HashedPassword)
	if err != nil {
		return err
	}
	u := *old
	u.Password = hash
	c.keepUser(&u)
	c.count()
	return nil
}

func (c *change) grantRole(name, roleName string) error {
	old := get(c.next.users, name)
	if old == nil {
		return kverr.UserNotFound
	}
	if roleName != Root && get(c.next.roles, roleName) == nil {
		return kverr.RoleNotFound
	}
	at, held := slices.BinarySearch(old.Roles, roleName)
	if held {
		return nil
	}
	u := *old
	u.Roles = slices.Insert(slices.Clone(old.Roles), at, roleName)
	c.keepUser(&u)
	c.count()
	return nil
}

func (c *change) revokeRole(name, roleName string) error {
	if c.next.enabled && name == Root && roleName == Root {
		return kverr.InvalidAuthMgmt
	}
	old := get(c.next.users, name)
	if old == nil {
		return kverr.UserNotFound
	}
	at, held := slices.BinarySearch(old.Roles, roleName)
	if !held {
		return kverr.RoleNotGranted
	}
	c.dropRole(old, at)
	c.count()
	return nil
}

// dropRole takes from a user the role at an index.
func (c *change) dropRole(old *user, at int) {
	u := *old
	u.Roles = slices.Delete(slices.Clone(old.Roles), at, at+1)
	c.keepUser(&u)
}

// keepRole puts a role value, which nobody else has yet, into the state; what its holders may do follows.
func (c *change) keepRole(r *role) {
	c.next.roles = with(c.next.roles, r)
	c.st.Put(schema.AuthRoles, []byte(r.Name), r.Append(nil))
	for i, u := range c.next.users {
		if _, held := slices.BinarySearch(u.Roles, r.Name); !held {
			continue
		}
		again := *u
		c.next.grant(&again)
		c.next.users = slices.Clone(c.next.users)
		c.next.users[i] = &again
	}
}

func (c *change) addRole(name string) error {
	if name == "" {
		return kverr.RoleEmpty
	}
	if get(c.next.roles, name) != nil {
		return kverr.RoleAlreadyExist
	}
	c.keepRole(&role{schema.RoleRecord{Name: name}})
	c.count()
	return nil
}

// deleteRole deletes a role and takes it from all who hold it.
func (c *change) deleteRole(name string) error {
	if c.next.enabled && name == Root {
		return kverr.InvalidAuthMgmt
	}
	if get(c.next.roles, name) == nil {
		return kverr.RoleNotFound
	}
	c.next.roles = without(c.next.roles, name)
	c.st.Delete(schema.AuthRoles, []byte(name))
	for _, u := range c.next.users {
		if at, held := slices.BinarySearch(u.Roles, name); held {
			c.dropRole(u, at)
		}
	}
	c.count()
	return nil
}

// validRange reports whether a permission may have a range: from a key, up to a later one or without end.
func validRange(key, end []byte) bool {
	if len(key) == 0 {
		return false
	}
	return len(end) == 0 || len(end) == 1 && end[0] == 0 || bytes.Compare(key, end) < 0
}

// grantPermission adds a permission. As in etcd, the first one with the same key is replaced if it has the same end, and the others are not
// looked at.
func (c *change) grantPermission(r *request.AuthRoleGrantPermission) error {
	p := r.Permission
	if p == nil {
		return kverr.PermissionNotGiven
	}
	if !validRange(p.Key, p.RangeEnd) {
		return kverr.InvalidAuthMgmt
	}
	old := get(c.next.roles, r.Name)
	if old == nil {
		return kverr.RoleNotFound
	}
	fresh := schema.Permission{Kind: p.Kind, Key: bytes.Clone(p.Key), RangeEnd: bytes.Clone(p.RangeEnd)}
	list := slices.Clone(old.Permissions)
	at := slices.IndexFunc(list, func(one schema.Permission) bool { return bytes.Equal(one.Key, p.Key) })
	if at >= 0 && bytes.Equal(list[at].RangeEnd, p.RangeEnd) {
		list[at] = fresh
	} else {
		list = append(list, fresh)
		slices.SortStableFunc(list, func(a, b schema.Permission) int {
			return cmp.Or(bytes.Compare(a.Key, b.Key), bytes.Compare(a.RangeEnd, b.RangeEnd))
		})
	}
	c.keepRole(&role{schema.RoleRecord{Name: old.Name, Permissions: list}})
	c.count()
	return nil
}

// revokePermission takes the permissions on exactly a range from a role.
func (c *change) revokePermission(r *request.AuthRoleRevokePermission) error {
	old := get(c.next.roles, r.Role)
	if old == nil {
		return kverr.RoleNotFound
	}
	list := slices.DeleteFunc(slices.Clone(old.Permissions), func(p schema.Permission) bool {
		return bytes.Equal(p.Key, r.Key) && bytes.Equal(p.RangeEnd, r.RangeEnd)
	})
	if len(list) == len(old.Permissions) {
		return kverr.PermissionNotGranted
	}
	c.keepRole(&role{schema.RoleRecord{Name: old.Name, Permissions: list}})
	c.count()
	return nil
}
