package membership

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/raft/wire"
)

// Cluster is the membership of one cluster. Members and slices it returns are
// shared and not to be modified; it never modifies them either.
//
// Invariants:
//  1. No id is both a member and removed, and none is 0.
//  2. Members are filed under their own id.
//  3. No two members share a peer URL, as long as none did when loaded.
type Cluster struct {
	members   map[uint64]*schema.Member
	removed   map[uint64]bool
	undead    map[uint64]*schema.Member // that a loaded store had among the members and among the removed ones; they are removed
	version   string
	downgrade Downgrade
}

// Downgrade is a step of the whole cluster to the minor version below. It is
// stored as JSON.
type Downgrade struct {
	TargetVersion string `json:"target-version"`
	Enabled       bool   `json:"enabled"`
}

// New returns a cluster without members.
func New() *Cluster {
	return &Cluster{members: make(map[uint64]*schema.Member), removed: make(map[uint64]bool), undead: make(map[uint64]*schema.Member)}
}

// Load adds a stored record of the buckets Members, MembersRemoved and Cluster.
// The order does not matter. Unknown keys of the bucket Cluster are ignored. An
// id that is both a member and removed, which older servers could leave behind,
// counts as removed. The error wraps [ErrMalformed] and names bucket and key.
func (c *Cluster) Load(bucket schema.Bucket, key, value []byte) error {
	if err := c.load(bucket, key, value); err != nil {
		return fmt.Errorf("membership: record %q of bucket %s: %w: %w", key, bucket.Name(), ErrMalformed, err)
	}
	return nil
}

func (c *Cluster) load(bucket schema.Bucket, key, value []byte) error {
	switch bucket {
	case schema.Members:
		return c.loadMember(key, value)
	case schema.MembersRemoved:
		return c.loadRemoved(key)
	case schema.Cluster:
		return c.loadProperty(string(key), value)
	}
	return errors.New("the bucket does not belong to the membership")
}

func (c *Cluster) loadMember(key, value []byte) error {
	id, err := parseID(key)
	if err != nil {
		return err
	}
	m := new(schema.Member)
	if err := m.Unmarshal(value); err != nil {
		return err
	}
	if m.ID != id {
		return fmt.Errorf("the member's id is %s", FormatID(m.ID))
	}
	if c.removed[id] {
		c.undead[id] = m
		return nil
	}
	c.members[id] = m
	return nil
}

func (c *Cluster) loadRemoved(key []byte) error {
	id, err := parseID(key)
	if err != nil {
		return err
	}
	if m := c.members[id]; m != nil {
		c.undead[id] = m
		delete(c.members, id)
	}
	c.removed[id] = true
	return nil
}

// parseID reads a record's key; 0 is nobody's id.
func parseID(key []byte) (uint64, error) {
	id, err := schema.ParseMemberKey(key)
	if err == nil && id == 0 {
		err = errors.New("0 is not an id")
	}
	return id, err
}

func (c *Cluster) loadProperty(key string, value []byte) error {
	switch key {
	case schema.ClusterVersionKey:
		if _, err := ParseVersion(string(value)); err != nil {
			return err
		}
		c.version = string(value)
	case schema.ClusterDowngradeKey:
		return json.Unmarshal(value, &c.downgrade)
	}
	return nil
}

// Records returns everything that Load takes, so that a store can be filled
// anew: removed members, members and properties, each in order.
func (c *Cluster) Records() []Write {
	var writes []Write
	for _, id := range c.Removed() {
		writes = append(writes, Write{Bucket: schema.MembersRemoved, Key: schema.MemberKey(id), Value: []byte(schema.RemovedMember)})
	}
	for _, m := range c.Members() {
		writes = append(writes, memberWrite(m))
	}
	if c.version != "" {
		writes = append(writes, c.versionWrite())
	}
	return append(writes, c.downgradeWrite())
}

// Member returns a member by id.
func (c *Cluster) Member(id uint64) (schema.Member, bool) {
	if m := c.members[id]; m != nil {
		return *m, true
	}
	return schema.Member{}, false
}

// IsRemoved reports whether a member of this id was removed. Such an id never
// comes back.
func (c *Cluster) IsRemoved(id uint64) bool { return c.removed[id] }

// Members returns all members by ascending id. The slice is the caller's.
func (c *Cluster) Members() []schema.Member {
	return c.filter(func(*schema.Member) bool { return true })
}

// Voters returns the voting members by ascending id.
func (c *Cluster) Voters() []schema.Member {
	return c.filter(func(m *schema.Member) bool { return !m.IsLearner })
}

// Learners returns the members without a vote by ascending id.
func (c *Cluster) Learners() []schema.Member {
	return c.filter(func(m *schema.Member) bool { return m.IsLearner })
}

func (c *Cluster) filter(want func(*schema.Member) bool) []schema.Member {
	var list []schema.Member
	for _, m := range c.members {
		if want(m) {
			list = append(list, *m)
		}
	}
	sortMembers(list)
	return list
}

// Removed returns the ids of all removed members, ascending.
func (c *Cluster) Removed() []uint64 { return slices.Sorted(maps.Keys(c.removed)) }

// ConfState returns the membership as the consensus group sees it.
func (c *Cluster) ConfState() wire.ConfState {
	return wire.ConfState{Voters: ids(c.Voters()), Learners: nilIfEmpty(ids(c.Learners()))}
}

func nilIfEmpty(list []uint64) []uint64 {
	if len(list) == 0 {
		return nil
	}
	return list
}

// SetAttributes stores what a member says about itself. It reports false, and
// changes nothing, for a member that does not exist, for instance because it
// was removed meanwhile.
func (c *Cluster) SetAttributes(id uint64, name string, clientURLs []string) (Write, bool) {
	m := c.members[id]
	if m == nil {
		return Write{}, false
	}
	changed := *m
	changed.Name, changed.ClientURLs = name, clientURLs
	c.members[id] = &changed
	return memberWrite(changed), true
}

// Version is the cluster version, like "3.7.0"; empty if none is decided yet.
func (c *Cluster) Version() string { return c.version }

// SetVersion decides the cluster version. The error wraps [ErrMalformed].
func (c *Cluster) SetVersion(text string) (Write, error) {
	if _, err := ParseVersion(text); err != nil {
		return Write{}, err
	}
	c.version = text
	return c.versionWrite(), nil
}

func (c *Cluster) versionWrite() Write {
	return Write{Bucket: schema.Cluster, Key: []byte(schema.ClusterVersionKey), Value: []byte(c.version)}
}

// Downgrade returns the downgrade under way, if it is enabled.
func (c *Cluster) Downgrade() Downgrade { return c.downgrade }

// SetDowngrade begins or, if d is not enabled, ends a downgrade.
func (c *Cluster) SetDowngrade(d Downgrade) Write {
	c.downgrade = d
	return c.downgradeWrite()
}

func (c *Cluster) downgradeWrite() Write {
	value, err := json.Marshal(&c.downgrade)
	if err != nil {
		panic(fmt.Sprintf("membership: downgrade %+v cannot be written as JSON: %v", c.downgrade, err))
	}
	return Write{Bucket: schema.Cluster, Key: []byte(schema.ClusterDowngradeKey), Value: value}
}

// check panics if an invariant is broken.
func (c *Cluster) check() {
	urls := make(map[string]uint64)
	for id, m := range c.members {
		if id == 0 || m.ID != id || c.removed[id] {
			panic(fmt.Sprintf("membership: member %s is filed under %s, removed %v", FormatID(m.ID), FormatID(id), c.removed[id]))
		}
		for _, u := range m.PeerURLs {
			if other, ok := urls[u]; ok && other != id {
				panic(fmt.Sprintf("membership: %s and %s share the peer URL %s", FormatID(id), FormatID(other), u))
			}
			urls[u] = id
		}
	}
}
