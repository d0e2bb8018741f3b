package service

import (
	"context"
	"errors"
	"time"

	"github.com/quoin-kv/quoin/internal/backend"
	"github.com/quoin-kv/quoin/internal/kverr"
)

const (
	roomInterval   = 250 * time.Millisecond // between two looks at the room that members have
	yieldInterval  = 5 * time.Second        // between two tries to have a member with room lead
	yieldElections = 2                      // election timeouts that a try may take
)

// checkRoom refuses what makes the data grow while the disk of this member is nearly full, or those of so many voters that the others are no
// majority: what is left is for deletions and compactions. Nothing happened then.
func (s *Service) checkRoom() error {
	if s.fewHaveRoom.Load() || s.member.Status().Short {
		return kverr.NoSpace
	}
	return nil
}

// flush brings the database file up to date, as far as there is room for that: kverr.NoSpace.
func (s *Service) flush(ctx context.Context) error {
	err := s.member.Flush(ctx)
	if errors.Is(err, backend.ErrNoRoom) {
		return kverr.NoSpace
	}
	return err
}

// runRoom looks at who has room, and has another member lead if this one has none.
func (s *Service) runRoom() {
	var next time.Time // when to try again
	for s.clock.Wait(s.ctx, nil, roomInterval) == nil {
		roomy, voters := s.countRoomy()
		if few := roomy < voters/2+1; s.fewHaveRoom.Swap(few) != few && voters > 1 {
			s.cfg.Logger.Warn("room on the members' disks", "voters", voters, "with_room", roomy, "growth_refused", few)
		}
		now := s.clock.Now()
		if !s.member.Status().Short || !s.IsLeader() || now.Before(next) {
			continue
		}
		next = now.Add(yieldInterval)
		s.yield()
	}
}

// countRoomy counts the voters, and those of them that have room as far as is known here.
func (s *Service) countRoomy() (roomy, voters int) {
	for _, m := range s.cluster.Load().members {
		if m.IsLearner {
			continue
		}
		voters++
		if !s.isShort(m.ID) {
			roomy++
		}
	}
	return roomy, voters
}

// isShort reports whether a member is known to be short of room.
func (s *Service) isShort(id uint64) bool {
	if id == s.cfg.MemberID {
		return s.member.Status().Short
	}
	return s.cfg.Short != nil && s.cfg.Short(id)
}

// yield hands leadership over to a voter with room, if there is one. A leader must write whatever anybody proposes; a follower without room
// only falls behind.
func (s *Service) yield() {
	to, _ := s.successor(s.isShort)
	if to == 0 {
		return
	}
	ctx, cancel := s.clock.WithTimeout(s.ctx, yieldElections*s.cfg.ElectionTimeout)
	defer cancel()
	if err := s.handOver(ctx, to, func(lead uint64) bool { return lead != 0 && lead != s.cfg.MemberID }); err != nil {
		s.cfg.Logger.Warn("leadership not handed over to a member with room", "to", to, "error", err)
		return
	}
	s.cfg.Logger.Info("leadership handed over to a member with room", "to", to)
}
