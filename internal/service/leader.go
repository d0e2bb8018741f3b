package service

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/schema"
)

const (
	leaderlessLimit = 3 // election timeouts that a stream that asked for a leader lives without one
	leaderLooks     = 4 // looks at who leads in an election timeout

	// leaderPause is the time between two tries to reach the leader.
	leaderPause = 50 * time.Millisecond
)

// leadership is when a leader was seen.
type leadership struct {
	mu struct {
		sync.Mutex
		lost     chan struct{} // closed and replaced each time there has been no leader for too long: ends streams that asked for one
		lastSeen time.Time     // when there was a leader
		told     bool          // of its absence
	}
}

func (l *leadership) init(now time.Time) {
	l.mu.lost = make(chan struct{})
	l.mu.lastSeen = now
}

func (l *leadership) channel() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.lost
}

// look takes note of whether there is a leader, and tells the streams if there has been none for limit.
func (l *leadership) look(leads bool, now time.Time, limit time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case leads:
		l.mu.lastSeen, l.mu.told = now, false
	case now.Sub(l.mu.lastSeen) >= limit && !l.mu.told:
		l.mu.told = true
		close(l.mu.lost)
		l.mu.lost = make(chan struct{})
	}
}

// WithLeader returns a context that ends with the cause kverr.NoLeader once this member has known no leader for three election timeouts.
// cancel must be called.
func (s *Service) WithLeader(parent context.Context) (ctx context.Context, cancel func()) {
	ctx, end := context.WithCancelCause(parent)
	lost := s.leadership.channel()
	s.clock.Go(func() {
		if s.clock.Wait(ctx, lost, -1) == nil {
			end(kverr.NoLeader)
		}
	})
	return ctx, func() { end(nil) }
}

// runLeaderWatch looks at who leads.
func (s *Service) runLeaderWatch() {
	for {
		s.leadership.look(s.HasLeader(), s.clock.Now(), leaderlessLimit*s.cfg.ElectionTimeout)
		if s.clock.Wait(s.ctx, nil, s.cfg.ElectionTimeout/leaderLooks) != nil {
			return
		}
	}
}

// leader is the member that leads, and false if none is known.
func (s *Service) leader() (schema.Member, bool) {
	lead := s.member.Status().Lead
	if lead == 0 {
		return schema.Member{}, false
	}
	return s.cluster.Load().member(lead)
}

// atLeader has the leader do something: here if this member leads, else there, which is told the leader's peer URLs. It tries until that is
// done or refused; when ctx ends the error is kverr.NoLeader if none was known in the end, else kverr.Timeout, or that the client has gone.
func (s *Service) atLeader(ctx context.Context, here func(context.Context) error, there func(context.Context, []string) error) error {
	for {
		err := s.tryLeader(ctx, here, there)
		if settled(err) {
			return err
		}
		if s.clock.Wait(ctx, nil, leaderPause) != nil {
			if errors.Is(err, kverr.NoLeader) && !errors.Is(ctx.Err(), context.Canceled) {
				return err
			}
			return timeoutError(ctx)
		}
	}
}

func (s *Service) tryLeader(ctx context.Context, here func(context.Context) error, there func(context.Context, []string) error) error {
	leader, ok := s.leader()
	switch {
	case s.ctx.Err() != nil:
		return kverr.Stopped
	case !ok:
		return kverr.NoLeader
	case leader.ID == s.cfg.MemberID:
		return here(ctx)
	case s.cfg.Peers == nil:
		return kverr.NotLeader
	}
	// Whoever leads next is not kept waiting by one that does not answer any more.
	ctx, cancel := s.clock.WithTimeout(ctx, 2*s.cfg.ElectionTimeout)
	defer cancel()
	if err := there(ctx, leader.PeerURLs); !errors.Is(err, kverr.Stopped) {
		return err
	}
	return kverr.NotLeader // any more
}

// settled reports whether an answer of the leader is final: anything but that it is none any more, or did not answer.
func settled(err error) bool {
	if err == nil {
		return true
	}
	known, ok := kverr.From(err)
	if !ok {
		return false
	}
	switch known {
	case kverr.NoLeader, kverr.NotLeader, kverr.NotPrimaryLessor, kverr.LeaderChanged, kverr.Canceled, kverr.DeadlineExceeded,
		kverr.Timeout, kverr.TimeoutDueToLeaderFail, kverr.TimeoutDueToConnectionLost:
		return false
	}
	return true
}
