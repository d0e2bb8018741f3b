package service

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/lease"
	"github.com/quoin-kv/quoin/internal/machine"
	"github.com/quoin-kv/quoin/internal/request"
)

// leases is the leader's clock of leases: when each ends, and who waits for one that has ended to be gone.
type leases struct {
	mu struct {
		sync.Mutex
		deadlines *lease.Deadlines
		term      uint64                  // in which the deadlines were promoted; they count in no other
		gone      map[int64]chan struct{} // closed when the lease is revoked, or by close
		closed    bool                    // nobody waits for a lease to be gone any more
	}
}

func (l *leases) init() {
	l.mu.deadlines = lease.NewDeadlines()
	l.mu.gone = map[int64]chan struct{}{}
}

// close wakes who waits for leases to be gone.
func (l *leases) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.closed = true
	for _, gone := range l.mu.gone {
		close(gone)
	}
	clear(l.mu.gone)
}

// Timing of the end of leases.
const (
	expiryInterval  = 250 * time.Millisecond // between two looks at the deadlines
	expiryBatch     = 1000                   // leases taken at once
	expiryInFlight  = 128                    // revocations under way at once
	maxChosenLeases = 16                     // ids tried for a lease whose client did not choose one
)

// LeaseGrant answers a LeaseGrantRequest. An id of 0 is replaced by one that no lease has.
func (s *Service) LeaseGrant(ctx context.Context, raw []byte) (reply []byte, err error) {
	start := s.clock.Now()
	var r request.LeaseGrant
	if err := r.Unmarshal(raw); err != nil {
		return nil, err
	}
	if err := s.checkQuota(r.QuotaCost()); err != nil {
		return nil, err
	}
	defer func() { s.observe("LeaseGrant", start, err) }()
	if r.ID != 0 {
		return s.propose(ctx, request.FieldLeaseGrant, raw)
	}
	for range maxChosenLeases {
		r.ID = 1 + s.cfg.Random(1<<63-1)
		reply, err = s.propose(ctx, request.FieldLeaseGrant, r.Append(nil))
		if !errors.Is(err, kverr.LeaseExist) {
			break
		}
	}
	return reply, err
}

// LeaseRevoke answers a LeaseRevokeRequest.
func (s *Service) LeaseRevoke(ctx context.Context, raw []byte) (reply []byte, err error) {
	start := s.clock.Now()
	var r request.LeaseRevoke
	if err := r.Unmarshal(raw); err != nil {
		return nil, err
	}
	defer func() { s.observe("LeaseRevoke", start, err) }()
	return s.propose(ctx, request.FieldLeaseRevoke, raw)
}

// LeaseKeepAlive answers one LeaseKeepAliveRequest. A lease that is gone gives a TTL of 0; one that has ended but is not gone yet is waited for.
func (s *Service) LeaseKeepAlive(ctx context.Context, raw []byte) ([]byte, error) {
	var r request.LeaseKeepAlive
	if err := r.Unmarshal(raw); err != nil {
		return nil, err
	}
	ctx, cancel := s.clock.WithTimeout(ctx, s.requestTimeout())
	defer cancel()
	header := s.Header()
	ttl, err := s.renew(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	return request.AppendLeaseKeepAliveResponse(nil, header, request.LeaseTTL{ID: r.ID, TTL: ttl}), nil
}

// renew restarts the time of a lease and returns its full TTL in seconds, 0 if the lease is gone.
func (s *Service) renew(ctx context.Context, id int64) (int64, error) {
	for {
		if err := s.primary(ctx); err != nil {
			return 0, err
		}
		ttl, gone, err := s.tryRenew(id)
		if err != nil {
			return 0, err
		}
		if gone == nil {
			if ttl > 0 {
				s.observeLease(LeaseRenewed, ttl)
			}
			return ttl, nil
		}
		// Leadership may move meanwhile, which gives the lease new time.
		if s.clock.Wait(ctx, gone, expiryInterval) != nil {
			return 0, timeoutError(ctx)
		}
	}
}

// timeoutError says why a context that bounds a wait for others has ended: our patience did, or the client has gone.
func timeoutError(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	return kverr.Timeout
}

// tryRenew renews a lease. If its time is over it returns a channel that is closed once it is gone; a lease that is gone has a TTL of 0.
func (s *Service) tryRenew(id int64) (ttl int64, gone <-chan struct{}, err error) {
	l := &s.leases
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.closed {
		return 0, nil, kverr.Stopped
	}
	ttl, ok := l.mu.deadlines.Renew(id, s.now())
	if ok || !l.mu.deadlines.Has(id) {
		return ttl, nil, nil
	}
	c, ok := l.mu.gone[id]
	if !ok {
		c = make(chan struct{})
		l.mu.gone[id] = c
	}
	return 0, c, nil
}

// primary waits until this member may answer for leases: it leads and has applied what its predecessors committed.
func (s *Service) primary(ctx context.Context) error {
	if s.isPrimary() {
		return nil
	}
	switch err := s.member.ReadIndex(ctx); {
	case errors.Is(err, kverr.Timeout), err == nil && !s.isPrimary():
		return kverr.NoLeader
	default:
		return err
	}
}

func (s *Service) isPrimary() bool {
	s.leases.mu.Lock()
	defer s.leases.mu.Unlock()
	return s.countsDeadlines()
}

// countsDeadlines reports whether this member leads in the term for which it knows the deadlines; the caller holds the lock.
func (s *Service) countsDeadlines() bool {
	st := s.member.Status()
	return s.leases.mu.deadlines.Leading() && st.Lead == s.cfg.MemberID && st.Term == s.leases.mu.term
}

// LeaseTimeToLive answers a LeaseTimeToLiveRequest. An unknown lease has a TTL of -1.
func (s *Service) LeaseTimeToLive(ctx context.Context, raw []byte) ([]byte, error) {
	var r request.LeaseTimeToLive
	if err := r.Unmarshal(raw); err != nil {
		return nil, err
	}
	ctx, cancel := s.clock.WithTimeout(ctx, s.requestTimeout())
	defer cancel()
	if err := s.primary(ctx); err != nil {
		return nil, err
	}
	result := request.LeaseTimeToLiveResult{ID: r.ID, TTL: -1}
	left, granted, ok := s.remaining(r.ID)
	if !s.isPrimary() {
		return nil, kverr.LeaderChanged
	}
	if ok {
		result.TTL, result.GrantedTTL = int64(left/time.Second), granted
		if r.Keys {
			s.member.Inspect(func(m *machine.Machine) { result.Keys = m.Leases().Keys(r.ID) })
		}
	}
	return request.AppendLeaseTimeToLiveResponse(nil, s.Header(), &result), nil
}

func (s *Service) remaining(id int64) (left time.Duration, granted int64, ok bool) {
	s.leases.mu.Lock()
	defer s.leases.mu.Unlock()
	return s.leases.mu.deadlines.Remaining(id, s.now())
}

// LeaseLeases answers a LeaseLeasesRequest from this member's own state, the soonest to end first.
func (s *Service) LeaseLeases(context.Context, []byte) ([]byte, error) {
	s.leases.mu.Lock()
	ids := s.leases.mu.deadlines.ByRemaining()
	s.leases.mu.Unlock()
	return request.AppendLeaseLeasesResponse(nil, s.Header(), ids), nil
}

// restoreLeases takes over the leases that a restart found. Until this member leads they have no deadline.
func (s *Service) restoreLeases(book *lease.Book) {
	s.leases.mu.Lock()
	defer s.leases.mu.Unlock()
	for _, l := range book.Leases() {
		s.leases.mu.deadlines.Grant(l.ID, l.TTL, s.now())
		s.leases.mu.deadlines.Checkpoint(l.ID, l.RemainingTTL)
	}
}

// leaseChanges follows what was applied.
func (s *Service) leaseChanges(changes []machine.LeaseChange) {
	s.leases.note(changes, s.now())
	for _, c := range changes {
		switch {
		case c.Checkpoint:
		case c.Revoked:
			s.observeLease(LeaseRevoked, 0)
		default:
			s.observeLease(LeaseGranted, c.TTL)
		}
	}
}

func (l *leases) note(changes []machine.LeaseChange, now int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range changes {
		switch {
		case c.Checkpoint:
			l.mu.deadlines.Checkpoint(c.ID, c.Remaining)
		case c.Revoked:
			l.end(c.ID)
		default:
			l.mu.deadlines.Grant(c.ID, c.TTL, now)
		}
	}
}

// end forgets a lease and tells who waited for that; the caller holds the lock.
func (l *leases) end(id int64) {
	l.mu.deadlines.Revoke(id)
	if gone, ok := l.mu.gone[id]; ok {
		close(gone)
		delete(l.mu.gone, id)
	}
}

func (s *Service) observeLease(change LeaseChange, ttl int64) {
	if s.cfg.Metrics.Lease != nil {
		s.cfg.Metrics.Lease(change, ttl)
	}
}

// termBegan gives every lease new time when this member begins to lead: the former leader may have renewed it without telling.
func (s *Service) termBegan(term uint64) {
	if st := s.member.Status(); st.Lead != s.cfg.MemberID || st.Term != term {
		return
	}
	s.leases.mu.Lock()
	defer s.leases.mu.Unlock()
	s.leases.mu.term = term
	s.leases.mu.deadlines.Promote(s.now(), s.cfg.ElectionTimeout)
}

// runLeases proposes the end of leases whose time is over, many at a time.
func (s *Service) runLeases() {
	ends := expiry{svc: s, ended: make(chan struct{}, 1)}
	for s.clock.Wait(s.ctx, nil, expiryInterval) == nil {
		if s.leasesDue() && s.readIndex(s.ctx) == nil { // which proves that this member leads
			ends.proposeAll()
		}
	}
}

// leasesDue reports whether the time of a lease is over. A member that does not lead any more stops counting.
func (s *Service) leasesDue() bool {
	s.leases.mu.Lock()
	defer s.leases.mu.Unlock()
	if !s.countsDeadlines() {
		if s.leases.mu.deadlines.Leading() {
			s.leases.mu.deadlines.Demote()
		}
		return false
	}
	next, ok := s.leases.mu.deadlines.Next()
	return ok && next <= s.now()
}

// expired takes leases whose time is over.
func (s *Service) expired() []int64 {
	s.leases.mu.Lock()
	defer s.leases.mu.Unlock()
	if !s.countsDeadlines() {
		return nil
	}
	return s.leases.mu.deadlines.Expired(s.now(), expiryBatch, s.requestTimeout())
}

// expiry is the revocations under way.
type expiry struct {
	svc      *Service
	underWay atomic.Int64
	ended    chan struct{} // capacity 1: one has ended
}

// proposeAll proposes the end of all leases whose time is over. It does not wait for the last ones.
func (e *expiry) proposeAll() {
	for ids := e.svc.expired(); len(ids) > 0; ids = e.svc.expired() {
		for _, id := range ids {
			if !e.begin() {
				return
			}
			e.svc.tasks.run(func() {
				e.svc.expire(id)
				e.underWay.Add(-1)
				poke(e.ended)
			})
		}
	}
}

// begin waits until one more may be under way; it reports false once the service is closed.
func (e *expiry) begin() bool {
	for e.underWay.Load() >= expiryInFlight {
		if e.svc.clock.Wait(e.svc.ctx, e.ended, -1) != nil {
			return false
		}
	}
	e.underWay.Add(1)
	return true
}

// expire proposes the end of one lease. If that fails the lease is found expired again later.
func (s *Service) expire(id int64) {
	raw := (&request.LeaseRevoke{ID: id}).Append(nil)
	_, err := s.propose(s.ctx, request.FieldLeaseRevoke, raw)
	switch {
	case err == nil:
		if s.cfg.Metrics.LeaseExpired != nil {
			s.cfg.Metrics.LeaseExpired()
		}
	case !errors.Is(err, kverr.LeaseNotFound) && s.ctx.Err() == nil:
		s.cfg.Logger.Warn("ending an expired lease failed", "lease", id, "error", err)
	}
}
