package service

import (
	"context"
	"sync"

	"github.com/quoin-kv/quoin/internal/kverr"
)

// leaderlessLimit is how many election timeouts a stream that asked for a leader lives without one.
const leaderlessLimit = 3

// leaderless ends streams that asked for a leader when there has been none for too long.
type leaderless struct {
	mu struct {
		sync.Mutex
		lost chan struct{} // closed and replaced each time
	}
}

func (l *leaderless) init() { l.mu.lost = make(chan struct{}) }

func (l *leaderless) channel() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.lost
}

func (l *leaderless) announce() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.mu.lost)
	l.mu.lost = make(chan struct{})
}

// WithLeader returns a context that ends with the cause kverr.NoLeader once this member has known no leader for three election timeouts.
// cancel must be called.
func (s *Service) WithLeader(parent context.Context) (ctx context.Context, cancel func()) {
	ctx, end := context.WithCancelCause(parent)
	lost := s.leaderless.channel()
	s.clock.Go(func() {
		if s.clock.Wait(ctx, lost, -1) == nil {
			end(kverr.NoLeader)
		}
	})
	return ctx, func() { end(nil) }
}

// runLeaderWatch notices when there has been no leader for too long.
func (s *Service) runLeaderWatch() {
	without := 0
	for s.clock.Wait(s.ctx, nil, s.cfg.ElectionTimeout) == nil {
		if without++; s.HasLeader() {
			without = 0
		}
		if without == leaderlessLimit {
			s.leaderless.announce()
		}
	}
}
