package migrate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// step replaces the next member. goOn is false if the operator does not want to.
func (r *run) step(ctx context.Context, s *Survey, left []*Member) (goOn bool, err error) {
	victim := left[0]
	interrupted := false
	if away := s.away(); len(away) > 0 {
		victim, interrupted = away[0], true
	}
	r.sayStep(victim, len(left), interrupted)
	if goOn, err := r.Confirm("Go on with " + victim.title() + "?"); err != nil || !goOn {
		return false, err
	}
	if victim.leads() && !(r.Pause && s.successor(victim, r.To) == nil) {
		if err := r.handOver(ctx, victim); err != nil {
			return false, err
		}
	}
	r.sayOrders(victim, interrupted)
	began := time.Now()
	if err := r.act(ctx, victim, interrupted); err != nil {
		return false, err
	}
	back, err := r.awaitBack(ctx, victim)
	if err != nil {
		return false, err
	}
	r.done++
	r.say("%s is back as %s %s after %v.\n", back.title(), back.Kind, back.Version, time.Since(began).Round(100*time.Millisecond))
	return true, nil
}

// handOver has another member lead.
func (r *run) handOver(ctx context.Context, victim *Member) error {
	ctx, cancel := context.WithTimeout(ctx, r.Settle)
	defer cancel()
	var last error
	for {
		s, err := r.cluster.Look(ctx)
		if err == nil {
			leader := s.leader()
			if leader != nil && leader.ID != victim.ID {
				r.say("%s leads now.", leader.title())
				return nil
			}
			last = r.move(ctx, s, victim)
		}
		if err := r.pause(ctx); err != nil {
			return fmt.Errorf("%s does not hand over the leadership: %w", victim.title(), errors.Join(err, last))
		}
	}
}

// move asks the leader once.
func (r *run) move(ctx context.Context, s *Survey, victim *Member) error {
	leader, to := s.leader(), s.successor(victim, r.To)
	if leader == nil {
		return errors.New("no member leads")
	}
	if to == nil {
		return errors.New("no other member can lead")
	}
	return r.cluster.MoveLeader(ctx, leader, to)
}

// act has the member stopped and started, if that is not left to the operator.
func (r *run) act(ctx context.Context, victim *Member, interrupted bool) error {
	if r.Act == nil {
		return nil
	}
	if !interrupted {
		if err := r.Act(ctx, Action{Step: stepStop, Member: *victim, To: r.To}); err != nil {
			return fmt.Errorf("stopping %s: %w", victim.title(), err)
		}
		if err := r.awaitAway(ctx, victim); err != nil {
			return err
		}
	}
	if err := r.Act(ctx, Action{Step: stepStart, Member: *victim, To: r.To}); err != nil {
		return fmt.Errorf("starting %s: %w", victim.title(), err)
	}
	return nil
}

// awaitAway waits until a member does not answer any more.
func (r *run) awaitAway(ctx context.Context, victim *Member) error {
	ctx, cancel := context.WithTimeout(ctx, r.Settle)
	defer cancel()
	for {
		s, err := r.cluster.Look(ctx)
		if m := find(s, victim.ID); err != nil || m != nil && m.Err != nil {
			return nil // without it nobody may be left to say so
		}
		if r.pause(ctx) != nil {
			return fmt.Errorf("%s was to be stopped and still answers", victim.title())
		}
	}
}

func find(s *Survey, id uint64) *Member {
	if s == nil {
		return nil
	}
	return s.byID(id)
}

// awaitBack waits until a member is there as what it is to become, and nothing is wrong. It tells the operator what it is waiting for when
// that changes.
func (r *run) awaitBack(ctx context.Context, victim *Member) (*Member, error) {
	ctx, cancel := context.WithTimeout(ctx, r.Away)
	defer cancel()
	told := ""
	for {
		missing, m := r.missing(ctx, victim)
		if missing == "" {
			return m, nil
		}
		if missing != told && ctx.Err() == nil {
			r.say("  waiting: %s", missing)
			told = missing
		}
		if err := r.pause(ctx); err != nil {
			return nil, fmt.Errorf("%s is not back as %s: %s (%w); see its log, and run the command again when it is mended", victim.title(), r.To, told, err)
		}
	}
}

// missing is what a member lacks to be back, empty if nothing.
func (r *run) missing(ctx context.Context, victim *Member) (string, *Member) {
	s, err := r.cluster.Look(ctx)
	if err != nil {
		return "no member answers", nil
	}
	m := s.byID(victim.ID)
	switch {
	case m == nil:
		return victim.title() + " is not a member any more", nil
	case m.Err != nil:
		return m.title() + " does not answer", nil
	case m.Kind != r.To:
		return m.title() + " is still " + string(m.Kind), nil
	}
	if reasons := s.obstacles(); len(reasons) > 0 {
		return strings.Join(reasons, "; "), nil
	}
	return "", m
}
