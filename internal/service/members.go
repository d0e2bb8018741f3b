package service

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/machine"
	"github.com/quoin-kv/quoin/internal/membership"
	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/raft/wire"
)

// errOneMember refuses what would need other members, which this version cannot talk to yet.
var errOneMember = &kverr.Error{Symbol: "OneMember", Code: kverr.CodeUnimplemented, Text: "quoin: this version runs clusters of one member"}

// MemberAdd checks whether a member with these peer URLs could be added.
func (s *Service) MemberAdd(_ context.Context, peerURLs []string, learner bool) error {
	urls, err := membership.AddedURLs(peerURLs)
	if err != nil {
		return kverr.MemberBadURLs
	}
	return s.decide(func(c *membership.Cluster) error {
		if err := c.CheckAdd(learner, s.links()); err != nil {
			return err
		}
		for _, m := range c.Members() {
			if slices.ContainsFunc(m.PeerURLs, func(u string) bool { return slices.Contains(urls, u) }) {
				return kverr.PeerURLExist
			}
		}
		return errOneMember
	})
}

// MemberRemove removes a member. The last voter cannot go.
func (s *Service) MemberRemove(_ context.Context, id uint64) error {
	return s.decide(func(c *membership.Cluster) error {
		if _, ok := c.Member(id); !ok {
			return kverr.MemberNotFound
		}
		return c.CheckRemove(id, s.links())
	})
}

// MemberPromote gives a learner a vote.
func (s *Service) MemberPromote(_ context.Context, id uint64) error {
	return s.decide(func(c *membership.Cluster) error {
		m, ok := c.Member(id)
		switch {
		case !ok:
			return kverr.MemberNotFound
		case !m.IsLearner:
			return kverr.MemberNotLearner
		}
		return errOneMember
	})
}

// MemberUpdate changes the peer URLs of a member and returns all members. The URLs are taken as they are.
func (s *Service) MemberUpdate(ctx context.Context, id uint64, peerURLs []string) ([]schema.Member, error) {
	if id == 0 {
		return nil, kverr.MemberNotFound // which no change can name
	}
	return s.changeMembers(ctx, membership.UpdateChange(s.ids.next(), schema.Member{ID: id, PeerURLs: peerURLs}))
}

func (s *Service) changeMembers(ctx context.Context, cc wire.ConfChange) ([]schema.Member, error) {
	ctx, cancel := s.clock.WithTimeout(ctx, s.requestTimeout())
	defer cancel()
	if err := s.member.ProposeConfChange(ctx, cc); err != nil {
		return nil, fmt.Errorf("changing the membership: %w", err)
	}
	return s.Members(ctx, false)
}

// decide asks fn about the membership as it is now.
func (s *Service) decide(fn func(*membership.Cluster) error) (err error) {
	s.member.Inspect(func(m *machine.Machine) { err = fn(m.Members()) })
	return err
}

// links is this member's connections: it is alone.
func (s *Service) links() membership.Links {
	return membership.Links{Self: s.cfg.MemberID, Since: func(uint64) (time.Duration, bool) { return 0, false }}
}
