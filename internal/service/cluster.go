package service

import (
	"context"
	"slices"

	"github.com/quoin-kv/quoin/internal/machine"
	"github.com/quoin-kv/quoin/internal/membership"
	"github.com/quoin-kv/quoin/internal/replica"
	"github.com/quoin-kv/quoin/internal/schema"
)

// cluster is the membership as last applied, published so that looking at it never waits for the applier. It is immutable.
type cluster struct {
	members          []schema.Member // by id
	removed          []uint64        // ids that members had, ascending
	version, storage string          // empty until the cluster has agreed
	downgrade        membership.Downgrade

	loweredAt uint64 // log index at which the version last went down, 0 if it did not since the start
	higher    string // storage version before that
}

// after returns c, read when b had been applied, with what it takes over from the cluster before.
func (c *cluster) after(before *cluster, b *replica.Batch) *cluster {
	c.loweredAt, c.higher = before.loweredAt, before.higher
	if b.Lowered {
		c.loweredAt, c.higher = b.Index, before.storage
	}
	return c
}

func readCluster(m *machine.Machine) *cluster {
	return &cluster{
		members: m.Members().Members(), removed: m.Members().Removed(),
		version: m.Members().Version(), storage: m.StorageVersion(), downgrade: m.Members().Downgrade(),
	}
}

// changesCluster reports whether applying b may have changed what cluster holds.
func changesCluster(b *replica.Batch) bool {
	return len(b.ConfChanges) > 0 || slices.ContainsFunc(b.Outcomes, func(o machine.Outcome) bool {
		return o.Kind == "ClusterVersionSet" || o.Kind == "ClusterMemberAttrSet" || o.Kind == "DowngradeInfoSet"
	})
}

// member is the member of an id, and false if there is none.
func (c *cluster) member(id uint64) (schema.Member, bool) {
	i := slices.IndexFunc(c.members, func(m schema.Member) bool { return m.ID == id })
	if i < 0 {
		return schema.Member{}, false
	}
	return c.members[i], true
}

func (c *cluster) wasRemoved(id uint64) bool {
	_, found := slices.BinarySearch(c.removed, id)
	return found
}

// tellMembers tells whoever keeps the connections who the members are now.
func (s *Service) tellMembers() {
	c := s.cluster.Load()
	if s.cfg.MembersChanged != nil {
		s.cfg.MembersChanged(c.members, c.removed)
	}
	if c.wasRemoved(s.cfg.MemberID) && !s.left && s.cfg.SelfRemoved != nil {
		s.left = true
		s.cfg.SelfRemoved()
	}
}

// Members lists the members by id. The list is shared and must not be changed.
func (s *Service) Members(ctx context.Context, linearizable bool) ([]schema.Member, error) {
	if linearizable {
		if err := s.readIndex(ctx); err != nil {
			return nil, err
		}
	}
	return s.cluster.Load().members, nil
}

// IsLearner reports whether this member has no vote.
func (s *Service) IsLearner() bool {
	self, _ := s.cluster.Load().member(s.cfg.MemberID)
	return self.IsLearner
}

// Versions returns the versions of server, cluster and storage; the latter two are empty until the cluster has agreed.
func (s *Service) Versions() (server, cluster, storage string) {
	return s.cfg.Version, s.cluster.Load().version, s.storageVersion()
}

// DowngradeEnabled reports whether the cluster is on its way to the version below.
func (s *Service) DowngradeEnabled() bool { return s.cluster.Load().downgrade.Enabled }

// storageVersion is the version of the server that could take this member's files over. A lower one counts once the log has a mark behind the
// entries that a server of that version does not read.
func (s *Service) storageVersion() string {
	c := s.cluster.Load()
	if s.member.Status().Marked < c.loweredAt {
		return c.higher
	}
	return c.storage
}
