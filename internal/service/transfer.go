package service

import (
	"context"
	"time"

	"github.com/quoin-kv/quoin/internal/kverr"
)

// transferLooks is how often in an election timeout a leader that hands over looks whether it still leads.
const transferLooks = 20

// MoveLeader hands leadership to another voter and waits until it leads. Only the leader can do so. Errors: kverr.NotLeader,
// kverr.BadLeaderTransferee, kverr.TimeoutLeaderTransfer.
func (s *Service) MoveLeader(ctx context.Context, to uint64) error {
	if !s.IsLeader() {
		return kverr.NotLeader
	}
	if to == s.cfg.MemberID {
		return nil
	}
	if m, ok := s.cluster.Load().member(to); !ok || m.IsLearner {
		return kverr.BadLeaderTransferee
	}
	return s.handOver(ctx, to, func(lead uint64) bool { return lead == to })
}

// HandOver gives away leadership, if this member leads and can reach another voter, so that the cluster is not left without a leader when
// this member stops. Errors: kverr.TimeoutLeaderTransfer, kverr.Unhealthy if no other voter is connected.
func (s *Service) HandOver(ctx context.Context) error {
	if !s.IsLeader() {
		return nil
	}
	to, others := s.successor(func(uint64) bool { return false })
	switch {
	case !others:
		return nil
	case to == 0:
		return kverr.Unhealthy
	}
	return s.handOver(ctx, to, func(lead uint64) bool { return lead != 0 && lead != s.cfg.MemberID })
}

// replaceLeader has another member lead if the one with id does: one that goes without a word leaves the others without a leader until they
// miss it. A follower takes over itself.
func (s *Service) replaceLeader(ctx context.Context, id uint64) error {
	if s.member.Status().Lead != id {
		return nil
	}
	ctx, cancel := s.clock.WithTimeout(ctx, 2*s.cfg.ElectionTimeout)
	defer cancel()
	if id == s.cfg.MemberID {
		return s.HandOver(ctx)
	}
	return s.handOver(ctx, s.cfg.MemberID, func(lead uint64) bool { return lead != 0 && lead != id })
}

// successor is the voter whose connection has stood longest, but for those that are not to lead, 0 if there is none; others reports whether
// there are other voters at all.
func (s *Service) successor(not func(id uint64) bool) (to uint64, others bool) {
	var longest time.Duration
	for _, m := range s.cluster.Load().members {
		if m.IsLearner || m.ID == s.cfg.MemberID {
			continue
		}
		others = true
		stood, up := s.links().Since(m.ID)
		if up && !not(m.ID) && (to == 0 || stood > longest) {
			to, longest = m.ID, stood
		}
	}
	return to, others
}

// handOver asks for a new leader and waits until done says so of the one that is known.
func (s *Service) handOver(ctx context.Context, to uint64, done func(lead uint64) bool) error {
	ctx, cancel := s.clock.WithTimeout(ctx, s.requestTimeout())
	defer cancel()
	s.member.TransferLeader(to)
	for !done(s.member.Status().Lead) {
		if s.clock.Wait(ctx, nil, s.cfg.ElectionTimeout/transferLooks) != nil {
			return kverr.TimeoutLeaderTransfer
		}
	}
	return nil
}
