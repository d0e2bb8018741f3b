package service

import (
	"context"
	"slices"
	"time"

	"github.com/quoin-kv/quoin/internal/machine"
	"github.com/quoin-kv/quoin/internal/membership"
	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/schema"
)

// Timing of what members tell the cluster.
const (
	announcePause   = time.Second     // between two tries to tell who this member is
	versionInterval = 4 * time.Second // between two looks of a leader at the versions of the members
	versionTimeout  = time.Second     // for one member to tell its version
)

// runAnnounce tells the cluster this member's name and client URLs.
func (s *Service) runAnnounce() {
	for !s.attributesKnown() {
		if err := s.announce(); err != nil && s.ctx.Err() == nil {
			s.cfg.Logger.Warn("announcing this member failed", "error", err)
		}
		if !s.attributesKnown() && s.clock.Wait(s.ctx, nil, announcePause) != nil {
			return
		}
	}
}

// attributesKnown reports whether there is nothing to tell. A member that was removed has nothing to tell.
func (s *Service) attributesKnown() bool {
	c := s.cluster.Load()
	self, ok := c.member(s.cfg.MemberID)
	return c.wasRemoved(s.cfg.MemberID) || ok && self.Name == s.cfg.Name && slices.Equal(self.ClientURLs, s.cfg.ClientURLs)
}

func (s *Service) announce() error {
	if err := s.readIndex(s.ctx); err != nil || s.attributesKnown() { // the cluster may know what this member does not yet
		return err
	}
	r := request.MemberAttrSet{MemberID: s.cfg.MemberID, Attributes: &request.MemberAttributes{Name: s.cfg.Name, ClientURLs: s.cfg.ClientURLs}}
	start := s.clock.Now()
	_, err := s.propose(s.ctx, request.FieldMemberAttrSet, r.Append(nil))
	s.observe("ClusterMemberAttrSet", start, err)
	return err
}

// runVersion decides, while this member leads, which version the cluster has: at the begin of its term and every few seconds.
func (s *Service) runVersion() {
	for s.clock.Wait(s.ctx, s.leads, versionInterval) == nil {
		if !s.IsLeader() {
			continue
		}
		if err := s.decideVersion(s.ctx); err != nil && s.ctx.Err() == nil {
			s.cfg.Logger.Warn("deciding the cluster version failed", "error", err)
		}
	}
}

// decideVersion asks all members for their versions, if that could change anything, and proposes what follows.
func (s *Service) decideVersion(ctx context.Context) error {
	own, err := membership.ParseVersion(s.cfg.ClusterVersion)
	if err != nil {
		return err
	}
	c := s.cluster.Load()
	if now, err := membership.ParseVersion(c.version); err == nil && !now.Less(own) && !c.downgrade.Enabled {
		return nil // it never goes beyond what this member speaks
	}
	versions, err := s.memberVersions(ctx, c)
	if err != nil {
		return err
	}
	var next membership.Version
	var due bool
	s.member.Inspect(func(m *machine.Machine) { next, due = m.Members().NextVersion(versions) })
	if !due {
		return nil
	}
	s.cfg.Logger.Info("cluster version is due", "version", next.String(), "was", c.version)
	r := request.ClusterVersionSet{Version: next.String()}
	start := s.clock.Now()
	_, err = s.propose(ctx, request.FieldClusterVersionSet, r.Append(nil))
	s.observe("ClusterVersionSet", start, err)
	return err
}

// memberVersions asks all members for their versions, nil for one that does not tell.
func (s *Service) memberVersions(ctx context.Context, c *cluster) ([]*membership.Version, error) {
	own, err := membership.ParseVersion(s.cfg.ClusterVersion)
	if err != nil {
		return nil, err
	}
	versions := []*membership.Version{&own}
	for _, m := range c.members {
		if m.ID != s.cfg.MemberID {
			versions = append(versions, s.versionOf(ctx, m))
		}
	}
	return versions, nil
}

// versionOf asks a member for the version of its server, nil if it does not tell.
func (s *Service) versionOf(ctx context.Context, m schema.Member) *membership.Version {
	if s.cfg.Peers == nil {
		return nil
	}
	ctx, cancel := s.clock.WithTimeout(ctx, versionTimeout)
	defer cancel()
	server, _, err := s.cfg.Peers.Version(ctx, m.PeerURLs)
	if err != nil {
		s.cfg.Logger.Debug("a member does not tell its version", "member", membership.FormatID(m.ID), "error", err)
		return nil
	}
	v, err := membership.ParseVersion(server)
	if err != nil {
		s.cfg.Logger.Warn("a member tells a version that is none", "member", membership.FormatID(m.ID), "version", server)
		return nil
	}
	return &v
}
