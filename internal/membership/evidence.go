package membership

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/raft/wire"
)

// Evidence is what a member's log, and the file that etcd writes beside a mark of it, say of the membership. Servers up to etcd 3.5 went by
// that and wrote the database file on the side, where members could stay that were long gone; later servers go by the database file.
type Evidence struct {
	Mark      uint64          // index of the log's newest mark
	StoreJSON []byte          // who the members were at the mark, as [Cluster.StoreJSON] has it; nil if no file says so
	ConfState *wire.ConfState // the same as ids; nil if the mark does not say so
	Entries   []wire.Entry    // the log behind the mark
	Applied   uint64          // how far the database file has got
}

// DeviationKind says what is wrong with a member in the database file.
type DeviationKind uint8

// The kinds of deviations.
const (
	Zombie   DeviationKind = iota // the file has it, but it was removed, or never was a member
	Missing                       // the file does not have it
	Role                          // one takes it for a learner, the other for a voter
	PeerURLs                      // its peer URLs are not those of the log
)

func (k DeviationKind) String() string {
	return [...]string{
		"is in the database file, but not a member any more", "is a member, but not in the database file",
		"has another role in the database file", "has other peer URLs in the database file",
	}[k]
}

// Deviation is a member of which the database file does not say what the log says.
type Deviation struct {
	Kind   DeviationKind
	Stored schema.Member // as in the file; zero if it is not there
	Logged schema.Member // as the log has it; zero if it does not know it; without URLs if only ids are known
}

// ID is the member's id.
func (d Deviation) ID() uint64 { return max(d.Stored.ID, d.Logged.ID) }

// Deviations compares a loaded membership with the evidence, by ascending id. It finds nothing where there is no evidence: in a log whose
// mark says nothing of the members, or that ends before what the file holds. An error wraps [ErrMalformed].
func (c *Cluster) Deviations(e Evidence) ([]Deviation, error) {
	var found []Deviation
	for _, id := range slices.Sorted(maps.Keys(c.undead)) {
		found = append(found, Deviation{Kind: Zombie, Stored: *c.undead[id]})
	}
	logged, err := e.cluster()
	if err != nil || logged == nil {
		return found, err
	}
	for _, m := range c.Members() {
		other, ok := logged.Member(m.ID)
		switch {
		case !ok:
			found = append(found, Deviation{Kind: Zombie, Stored: m})
		case other.IsLearner != m.IsLearner:
			found = append(found, Deviation{Kind: Role, Stored: m, Logged: other})
		case len(other.PeerURLs) > 0 && !sameURLs(other.PeerURLs, m.PeerURLs):
			found = append(found, Deviation{Kind: PeerURLs, Stored: m, Logged: other})
		}
	}
	for _, m := range logged.Members() {
		if _, ok := c.Member(m.ID); !ok {
			found = append(found, Deviation{Kind: Missing, Logged: m})
		}
	}
	slices.SortStableFunc(found, func(a, b Deviation) int { return cmp.Compare(a.ID(), b.ID()) })
	return found, nil
}

// Mended returns the membership as the log has it, or an error if that is not known in full. Version and downgrade stay as they are.
func (c *Cluster) Mended(e Evidence) (*Cluster, error) {
	logged, err := e.cluster()
	if err != nil {
		return nil, err
	}
	if logged == nil {
		return nil, errors.New("neither the log nor a file beside it says who the members are")
	}
	mended := New()
	mended.version, mended.downgrade = c.version, c.downgrade
	maps.Copy(mended.removed, logged.removed)
	maps.Copy(mended.removed, c.removed)
	for id, m := range logged.members {
		stored := c.members[id]
		switch {
		case stored == nil && len(m.PeerURLs) == 0:
			return nil, fmt.Errorf("nothing says where member %s is", FormatID(id))
		case stored != nil:
			m = mend(*stored, m)
		}
		delete(mended.removed, id)
		mended.members[id] = m
	}
	for id := range c.members {
		if logged.members[id] == nil {
			mended.removed[id] = true
		}
	}
	return mended, nil
}

// mend is a stored member with what the log knows better.
func mend(stored schema.Member, logged *schema.Member) *schema.Member {
	stored.IsLearner = logged.IsLearner
	if len(logged.PeerURLs) > 0 {
		stored.PeerURLs = logged.PeerURLs
	}
	return &stored
}

// cluster is the membership that follows from the evidence; nil if nothing does.
func (e *Evidence) cluster() (c *Cluster, err error) {
	if e.Applied < e.Mark || e.Applied > e.Mark+uint64(len(e.Entries)) {
		return nil, nil
	}
	switch {
	case e.StoreJSON != nil:
		if c, err = parseStoreJSON(e.StoreJSON); err != nil {
			return nil, fmt.Errorf("membership at index %d: %w: %w", e.Mark, ErrMalformed, err)
		}
	case e.Mark == 0:
		c = New()
	case e.ConfState != nil:
		c = ofConfState(e.ConfState)
	default:
		return nil, nil
	}
	return c, c.follow(e.Entries, e.Applied)
}

// follow applies the changes of a log up to an index. What the rules refuse was refused then, too.
func (c *Cluster) follow(entries []wire.Entry, upTo uint64) error {
	for i := range entries {
		entry := &entries[i]
		if entry.Type != wire.EntryConfChange || entry.Index > upTo {
			continue
		}
		var cc wire.ConfChange
		if err := cc.Unmarshal(entry.Data); err != nil {
			return fmt.Errorf("entry %d: %w: %w", entry.Index, ErrMalformed, err)
		}
		if _, err := c.Apply(cc, math.MaxInt); err != nil && !errors.As(err, new(*RuleError)) {
			return fmt.Errorf("entry %d: %w", entry.Index, err)
		}
	}
	return nil
}

// ofConfState is a membership of which only ids and roles are known.
func ofConfState(s *wire.ConfState) *Cluster {
	c := New()
	for _, id := range s.Voters {
		c.members[id] = &schema.Member{ID: id}
	}
	for _, id := range s.Learners {
		c.members[id] = &schema.Member{ID: id, IsLearner: true}
	}
	return c
}

// parseStoreJSON reads what [Cluster.StoreJSON] writes, and etcd.
func parseStoreJSON(text []byte) (*Cluster, error) {
	var store struct{ Root *treeNode }
	if err := json.Unmarshal(text, &store); err != nil {
		return nil, err
	}
	c := New()
	for name := range store.Root.child("0").child("removed_members").children() {
		if err := c.loadRemoved([]byte(name)); err != nil {
			return nil, fmt.Errorf("member %q: %w", name, err)
		}
	}
	for name, node := range store.Root.child("0").child("members").children() {
		if err := c.loadNode(name, node); err != nil {
			return nil, fmt.Errorf("member %q: %w", name, err)
		}
	}
	return c, nil
}

// loadNode takes a member out of a key tree, in which its facts are two texts of JSON.
func (c *Cluster) loadNode(name string, node *treeNode) error {
	id, err := parseID([]byte(name))
	if err != nil {
		return err
	}
	var m schema.Member
	for _, part := range []string{"raftAttributes", "attributes"} {
		if text := node.child(part); text != nil {
			if err := json.Unmarshal([]byte(text.Value), &m); err != nil {
				return err
			}
		}
	}
	m.ID = id
	if !c.removed[id] {
		c.members[id] = &m
	}
	return nil
}

func (n *treeNode) child(name string) *treeNode { return n.children()[name] }

func (n *treeNode) children() map[string]*treeNode {
	if n == nil {
		return nil
	}
	return n.Children
}
