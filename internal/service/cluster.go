package service

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/quoin-kv/quoin/internal/machine"
	"github.com/quoin-kv/quoin/internal/membership"
	"github.com/quoin-kv/quoin/internal/replica"
	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/schema"
)

// cluster is the membership as last applied, published so that looking at it never waits for the applier. It is immutable.
type cluster struct {
	members          []schema.Member // by id
	removed          []uint64        // ids that members had, ascending
	version, storage string          // empty until the cluster has agreed
}

func readCluster(m *machine.Machine) *cluster {
	return &cluster{
		members: m.Members().Members(), removed: m.Members().Removed(), version: m.Members().Version(), storage: m.StorageVersion(),
	}
}

// changesCluster reports whether applying b may have changed what cluster holds.
func changesCluster(b *replica.Batch) bool {
	return len(b.ConfChanges) > 0 || slices.ContainsFunc(b.Outcomes, func(o machine.Outcome) bool {
		return o.Kind == "ClusterVersionSet" || o.Kind == "ClusterMemberAttrSet"
	})
}

// self is this member, and false if it is not one of the cluster.
func (c *cluster) self(id uint64) (schema.Member, bool) {
	i := slices.IndexFunc(c.members, func(m schema.Member) bool { return m.ID == id })
	if i < 0 {
		return schema.Member{}, false
	}
	return c.members[i], true
}

// tellMembers tells whoever keeps the connections who the members are now.
func (s *Service) tellMembers() {
	c := s.cluster.Load()
	if s.cfg.MembersChanged != nil {
		s.cfg.MembersChanged(c.members, c.removed)
	}
	if _, gone := slices.BinarySearch(c.removed, s.cfg.MemberID); gone && !s.left && s.cfg.SelfRemoved != nil {
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
	self, _ := s.cluster.Load().self(s.cfg.MemberID)
	return self.IsLearner
}

// Versions returns the versions of server, cluster and storage; the latter two are empty until the cluster has agreed.
func (s *Service) Versions() (server, cluster, storage string) {
	c := s.cluster.Load()
	return s.cfg.Version, c.version, c.storage
}

func (s *Service) storageVersion() string { return s.cluster.Load().storage }

// announcePause is the time between two tries to announce.
const announcePause = time.Second

// runAnnounce tells the cluster this member's name and client URLs and, as leader, proposes the version that all members speak.
func (s *Service) runAnnounce() {
	for !s.announced() {
		if err := s.announce(); err != nil && s.ctx.Err() == nil {
			s.cfg.Logger.Warn("announcing this member failed", "error", err)
		}
		if s.announced() {
			return
		}
		if s.clock.Wait(s.ctx, nil, announcePause) != nil {
			return
		}
	}
}

// announced reports whether there is nothing left to tell.
func (s *Service) announced() bool {
	_, due := s.nextVersion()
	return !due && s.attributesKnown()
}

func (s *Service) attributesKnown() bool {
	self, ok := s.cluster.Load().self(s.cfg.MemberID)
	return ok && self.Name == s.cfg.Name && slices.Equal(self.ClientURLs, s.cfg.ClientURLs)
}

// nextVersion is the cluster version that is due, and false if the present one may stay. A directory that an older server wrote brings an
// older version.
func (s *Service) nextVersion() (next membership.Version, due bool) {
	own, err := membership.ParseVersion(s.cfg.ClusterVersion)
	if err != nil {
		return own, false
	}
	s.member.Inspect(func(m *machine.Machine) { next, due = m.Members().NextVersion([]*membership.Version{&own}) })
	return next, due
}

func (s *Service) announce() error {
	if err := s.readIndex(s.ctx); err != nil {
		return err
	}
	var errs []error
	if !s.attributesKnown() {
		r := request.MemberAttrSet{MemberID: s.cfg.MemberID, Attributes: &request.MemberAttributes{Name: s.cfg.Name, ClientURLs: s.cfg.ClientURLs}}
		_, err := s.propose(s.ctx, request.FieldMemberAttrSet, r.Append(nil))
		errs = append(errs, err)
	}
	if next, due := s.nextVersion(); due && s.IsLeader() {
		r := request.ClusterVersionSet{Version: next.String()}
		_, err := s.propose(s.ctx, request.FieldClusterVersionSet, r.Append(nil))
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
