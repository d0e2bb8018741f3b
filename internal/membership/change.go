package membership

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/raft/wire"
)

// ErrMalformed is wrapped by the error for a configuration change or a record
// that cannot be understood, as opposed to one that the rules refuse.
var ErrMalformed = errors.New("malformed membership data")

// changeContext is the JSON in a configuration change's context.
type changeContext struct {
	schema.Member
	IsPromote bool `json:"isPromote,omitempty"`
}

func contextOf(c changeContext) []byte {
	b, err := json.Marshal(&c)
	if err != nil {
		panic(fmt.Sprintf("membership: a member cannot be written as JSON: %v", err))
	}
	return b
}

// AddChange proposes to add m as a voter, or as a learner if it is one. id is
// the proposal's id, 0 for the changes with which a log begins.
func AddChange(id uint64, m schema.Member) wire.ConfChange {
	kind := wire.ConfChangeAddNode
	if m.IsLearner {
		kind = wire.ConfChangeAddLearnerNode
	}
	return wire.ConfChange{ID: id, Type: kind, NodeID: m.ID, Context: contextOf(changeContext{Member: m})}
}

// PromoteChange proposes to make a learner a voter.
func PromoteChange(id, member uint64) wire.ConfChange {
	c := changeContext{Member: schema.Member{ID: member}, IsPromote: true}
	return wire.ConfChange{ID: id, Type: wire.ConfChangeAddNode, NodeID: member, Context: contextOf(c)}
}

// UpdateChange proposes new peer URLs for the member m.ID.
func UpdateChange(id uint64, m schema.Member) wire.ConfChange {
	return wire.ConfChange{ID: id, Type: wire.ConfChangeUpdateNode, NodeID: m.ID, Context: contextOf(changeContext{Member: m})}
}

// RemoveChange proposes to remove a member.
func RemoveChange(id, member uint64) wire.ConfChange {
	return wire.ConfChange{ID: id, Type: wire.ConfChangeRemoveNode, NodeID: member}
}

// Kind is what a change did.
type Kind uint8

// The kinds of change.
const (
	Added    Kind = iota // a member, voter or learner, is new
	Promoted             // a learner became a voter
	Updated              // peer URLs changed
	Removed              // a member is gone
)

// Write is a record that a change leaves to be stored. A nil Value deletes the
// record. The bytes are the caller's.
type Write struct {
	Bucket     schema.Bucket
	Key, Value []byte
}

// Change is an applied configuration change.
type Change struct {
	Kind Kind
	// Member is the member as it is now, or as it was before its removal.
	Member schema.Member
	Writes []Write
}

// Apply applies a committed configuration change, or refuses it with a
// [*RuleError] and changes nothing. The caller then applies the change to the
// consensus group with node id 0, which does nothing. maxLearners bounds the
// learners. An error that wraps [ErrMalformed] means that the log is damaged.
func (c *Cluster) Apply(cc wire.ConfChange, maxLearners int) (Change, error) {
	ctx, err := parseContext(cc)
	if err != nil {
		return Change{}, err
	}
	if c.removed[cc.NodeID] {
		return Change{}, ErrIDRemoved
	}
	switch {
	case cc.Type == wire.ConfChangeRemoveNode:
		return c.remove(cc.NodeID)
	case cc.Type == wire.ConfChangeUpdateNode:
		return c.update(ctx.Member)
	case ctx.IsPromote:
		return c.promote(cc.NodeID)
	default:
		return c.add(ctx.Member, maxLearners)
	}
}

func parseContext(cc wire.ConfChange) (changeContext, error) {
	var ctx changeContext
	switch cc.Type {
	case wire.ConfChangeRemoveNode:
		return ctx, nil
	case wire.ConfChangeAddNode, wire.ConfChangeUpdateNode, wire.ConfChangeAddLearnerNode:
	default:
		return ctx, fmt.Errorf("membership: configuration change of type %d: %w", cc.Type, ErrMalformed)
	}
	if err := json.Unmarshal(cc.Context, &ctx); err != nil {
		return ctx, fmt.Errorf("membership: context of a configuration change: %w: %w", ErrMalformed, err)
	}
	if ctx.ID != cc.NodeID || ctx.ID == 0 {
		return ctx, fmt.Errorf("membership: configuration change of %s names %s: %w", FormatID(cc.NodeID), FormatID(ctx.ID), ErrMalformed)
	}
	// The type decides, as it does for the consensus group.
	ctx.IsLearner = cc.Type == wire.ConfChangeAddLearnerNode
	return ctx, nil
}

func (c *Cluster) add(m schema.Member, maxLearners int) (Change, error) {
	switch {
	case c.members[m.ID] != nil:
		return Change{}, ErrIDExists
	case c.urlInUse(m.PeerURLs, m.ID):
		return Change{}, ErrPeerURLExists
	case m.IsLearner && len(c.Learners()) >= maxLearners:
		return Change{}, ErrTooManyLearners
	}
	return c.store(Added, m), nil
}

func (c *Cluster) promote(id uint64) (Change, error) {
	m := c.members[id]
	switch {
	case m == nil:
		return Change{}, ErrIDNotFound
	case !m.IsLearner:
		return Change{}, ErrNotLearner
	}
	voter := *m
	voter.IsLearner = false
	return c.store(Promoted, voter), nil
}

func (c *Cluster) update(wanted schema.Member) (Change, error) {
	m := c.members[wanted.ID]
	switch {
	case m == nil:
		return Change{}, ErrIDNotFound
	case c.urlInUse(wanted.PeerURLs, wanted.ID):
		return Change{}, ErrPeerURLExists
	}
	updated := *m
	updated.PeerURLs = wanted.PeerURLs
	return c.store(Updated, updated), nil
}

func (c *Cluster) remove(id uint64) (Change, error) {
	m := c.members[id]
	if m == nil {
		return Change{}, ErrIDNotFound
	}
	delete(c.members, id)
	c.removed[id] = true
	key := schema.MemberKey(id)
	return Change{Kind: Removed, Member: *m, Writes: []Write{
		{Bucket: schema.Members, Key: key},
		{Bucket: schema.MembersRemoved, Key: key, Value: []byte(schema.RemovedMember)},
	}}, nil
}

// store makes m the member of its id.
func (c *Cluster) store(kind Kind, m schema.Member) Change {
	c.members[m.ID] = &m
	return Change{Kind: kind, Member: m, Writes: []Write{memberWrite(m)}}
}

func memberWrite(m schema.Member) Write {
	return Write{Bucket: schema.Members, Key: schema.MemberKey(m.ID), Value: m.Append(nil)}
}

// urlInUse reports whether a member other than except has one of urls.
func (c *Cluster) urlInUse(urls []string, except uint64) bool {
	for id, m := range c.members {
		if id != except && slices.ContainsFunc(m.PeerURLs, func(u string) bool { return slices.Contains(urls, u) }) {
			return true
		}
	}
	return false
}
