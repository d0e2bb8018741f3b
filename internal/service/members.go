package service

import (
	"context"
	"errors"
	"time"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/machine"
	"github.com/quoin-kv/quoin/internal/membership"
	"github.com/quoin-kv/quoin/internal/node"
	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/raft/wire"
)

// MemberAdd adds a member that will be started later, and returns it and all members. Whether the cluster can bear one more is checked
// before, whether it may be is decided when the change is applied.
func (s *Service) MemberAdd(ctx context.Context, peerURLs []string, learner bool) (added schema.Member, all []schema.Member, err error) {
	urls, err := membership.AddedURLs(peerURLs)
	if err != nil {
		return added, nil, err
	}
	if s.cfg.StrictReconfig {
		if err := s.decide(func(c *membership.Cluster) error { return c.CheckAdd(learner, s.links()) }); err != nil {
			return added, nil, err
		}
	}
	now := s.clock.Now().Unix()
	added = schema.Member{ID: membership.MemberID(urls, "", &now), PeerURLs: urls, IsLearner: learner}
	all, err = s.changeMembers(ctx, change{
		propose: func(id uint64) wire.ConfChange { return membership.AddChange(id, added) },
		done:    membership.ErrIDExists,
	})
	return added, all, err
}

// MemberRemove removes a member for good and returns the others. The last voter cannot go.
func (s *Service) MemberRemove(ctx context.Context, id uint64) ([]schema.Member, error) {
	if id == 0 {
		return nil, kverr.MemberNotFound // which no change can name
	}
	if err := s.decide(func(c *membership.Cluster) error { return s.checkRemove(c, id) }); err != nil {
		return nil, err
	}
	if err := s.replaceLeader(ctx, id); err != nil {
		s.cfg.Logger.Warn("leadership not handed over before the removal", "member", membership.FormatID(id), "error", err)
	}
	return s.changeMembers(ctx, change{
		propose: func(request uint64) wire.ConfChange { return membership.RemoveChange(request, id) },
		done:    membership.ErrIDRemoved,
	})
}

func (s *Service) checkRemove(c *membership.Cluster, id uint64) error {
	if s.cfg.StrictReconfig {
		return c.CheckRemove(id, s.links())
	}
	if voters := c.Voters(); len(voters) == 1 && voters[0].ID == id {
		return kverr.MemberNotEnoughStarted // nobody could ever decide anything again
	}
	return nil
}

// MemberUpdate changes the peer URLs of a member and returns all members. The URLs are taken as they are.
func (s *Service) MemberUpdate(ctx context.Context, id uint64, peerURLs []string) ([]schema.Member, error) {
	if id == 0 {
		return nil, kverr.MemberNotFound
	}
	return s.changeMembers(ctx, change{propose: func(request uint64) wire.ConfChange {
		return membership.UpdateChange(request, schema.Member{ID: id, PeerURLs: peerURLs})
	}})
}

// MemberPromote gives a learner a vote and returns all members. The leader decides whether the learner is ready.
func (s *Service) MemberPromote(ctx context.Context, id uint64) ([]schema.Member, error) {
	ctx, cancel := s.clock.WithTimeout(ctx, s.requestTimeout())
	defer cancel()
	asked := false // and had no answer: it may have happened
	err := s.atLeader(ctx, func(ctx context.Context) error {
		return s.PromoteAsLeader(ctx, id)
	}, func(ctx context.Context, urls []string) error {
		err := s.cfg.Peers.Promote(ctx, urls, id)
		if asked && errors.Is(err, kverr.MemberNotLearner) {
			return nil
		}
		asked = asked || isTimeout(err)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := s.readIndex(ctx); err != nil { // this member may not have applied the change yet
		s.cfg.Logger.Debug("members after a promotion may be out of date", "error", err)
	}
	return s.Members(ctx, false)
}

// promoteApplyTimeout is the time that a leader has to apply what was decided before a promotion.
const promoteApplyTimeout = time.Second

// PromoteAsLeader gives a learner a vote if this member leads. Errors: kverr.NotLeader, kverr.TimeoutWaitAppliedIndex, what stands against
// the promotion, those of a proposal.
func (s *Service) PromoteAsLeader(ctx context.Context, id uint64) (err error) {
	if !s.IsLeader() {
		return kverr.NotLeader
	}
	if s.cfg.Metrics.Promoted != nil {
		defer func() { s.cfg.Metrics.Promoted(err) }()
	}
	if err := s.caughtUp(ctx); err != nil {
		return err
	}
	if err := s.decide(func(c *membership.Cluster) error { return s.checkPromote(c, id) }); err != nil {
		return err
	}
	_, err = s.changeMembers(ctx, change{
		propose: func(request uint64) wire.ConfChange { return membership.PromoteChange(request, id) },
		done:    membership.ErrNotLearner,
	})
	return err
}

// caughtUp waits until what is known to be committed is applied.
func (s *Service) caughtUp(ctx context.Context) error {
	brief, cancel := s.clock.WithTimeout(ctx, promoteApplyTimeout)
	defer cancel()
	err := s.member.WaitApplied(brief, s.member.Status().Commit)
	if errors.Is(err, kverr.Timeout) && ctx.Err() == nil {
		return kverr.TimeoutWaitAppliedIndex
	}
	return err
}

// checkPromote checks in the order that clients know: a voter that lags behind is told to be not ready.
func (s *Service) checkPromote(c *membership.Cluster, id uint64) error {
	if _, ok := c.Member(id); !ok {
		return kverr.MemberNotFound
	}
	st := s.member.Status()
	if st.Lead != s.cfg.MemberID {
		return kverr.NotLeader
	}
	if id != st.ID && !membership.LearnerReady(matchOf(st, id), st.Last) {
		return kverr.LearnerNotReady
	}
	if !s.cfg.StrictReconfig {
		return nil
	}
	return c.CheckPromote(id)
}

// matchOf is how much of the leader's log a member is known to have.
func matchOf(st node.Status, id uint64) uint64 {
	for _, p := range st.Peers {
		if p.ID == id {
			return p.Match
		}
	}
	return 0
}

// change is a change of the members as it is proposed.
type change struct {
	propose func(request uint64) wire.ConfChange
	done    error // the rule that a second proposal breaks if the first one was applied; nil if a second one does no harm
}

// changePause is the time before a change is proposed again that consensus has refused.
const changePause = 20 * time.Millisecond

// changeMembers proposes a change until it is applied or refused, and returns all members. Changes that this member is asked for go one by
// one.
func (s *Service) changeMembers(ctx context.Context, c change) ([]schema.Member, error) {
	ctx, cancel := s.clock.WithTimeout(ctx, s.requestTimeout())
	defer cancel()
	if s.clock.Wait(ctx, s.turn, -1) != nil {
		return nil, timeoutError(ctx)
	}
	defer poke(s.turn)
	if err := s.proposeUntilDone(ctx, c); err != nil {
		return nil, err
	}
	return s.Members(ctx, false)
}

// proposeUntilDone repeats a proposal that got lost: a leader drops it without a word while another change is not applied.
func (s *Service) proposeUntilDone(ctx context.Context, c change) error {
	unknown := false // a former proposal may have been applied
	for {
		err := s.proposeChange(ctx, c.propose(s.ids.next()))
		if unknown && c.done != nil && errors.Is(err, c.done) {
			return nil
		}
		lost := isTimeout(err)
		if err == nil || ctx.Err() != nil || !lost && !passing(err) {
			return err
		}
		unknown = unknown || lost && !errors.Is(err, context.DeadlineExceeded) // which says that the proposal went nowhere
		if s.clock.Wait(ctx, nil, changePause) != nil {
			if lost {
				return err
			}
			return timeoutError(ctx)
		}
	}
}

// proposeChange waits for one proposal, not for the same time on all members: those that are in each other's way get out of it.
func (s *Service) proposeChange(ctx context.Context, cc wire.ConfChange) error {
	patience := s.cfg.ElectionTimeout
	patience += time.Duration(s.cfg.Random(int64(patience)))
	ctx, cancel := s.clock.WithTimeout(ctx, patience)
	defer cancel()
	return s.member.ProposeConfChange(ctx, cc)
}

// isTimeout reports whether a proposal got no answer in its time.
func isTimeout(err error) bool {
	for _, timeout := range []error{kverr.Timeout, kverr.TimeoutDueToLeaderFail, kverr.TimeoutDueToConnectionLost, context.DeadlineExceeded} {
		if errors.Is(err, timeout) {
			return true
		}
	}
	return false
}

// passing reports whether a change was refused for what may pass: consensus cannot take it now. What clients know is final.
func passing(err error) bool {
	_, known := kverr.From(err)
	return !known && !errors.Is(err, context.Canceled)
}

// decide asks fn about the membership as it is now.
func (s *Service) decide(fn func(*membership.Cluster) error) (err error) {
	s.member.Inspect(func(m *machine.Machine) { err = fn(m.Members()) })
	return err
}

// links is this member's connections.
func (s *Service) links() membership.Links {
	return membership.Links{Self: s.cfg.MemberID, Since: func(id uint64) (time.Duration, bool) {
		if s.cfg.Peers == nil {
			return 0, false
		}
		return s.cfg.Peers.Connected(id)
	}}
}
