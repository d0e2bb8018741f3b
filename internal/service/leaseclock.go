package service

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/lease"
	"github.com/quoin-kv/quoin/internal/machine"
	"github.com/quoin-kv/quoin/internal/replica"
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
		noting    map[int64]bool          // leases whose remaining time is on its way into the log
		noted     chan struct{}           // closed when that is over
		doubtful  map[int64]bool          // leases of which a note in this term failed, but may be in the log all the same
	}
}

func (l *leases) init() {
	l.mu.deadlines = lease.NewDeadlines()
	l.mu.gone = map[int64]chan struct{}{}
	l.mu.doubtful = map[int64]bool{}
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

// forget begins anew, without leases. Who waits for one to be gone looks again.
func (l *leases) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.deadlines, l.mu.term = lease.NewDeadlines(), 0
	for _, gone := range l.mu.gone {
		close(gone)
	}
	clear(l.mu.gone)
}

// Timing of the end of leases.
const (
	expiryInterval = 250 * time.Millisecond // between two looks at the deadlines
	expiryBatch    = 256                    // leases taken and proposed at once
	expiryInFlight = 2 * expiryBatch        // revocations under way at once: what is applied in a few milliseconds, which is what others wait
)

// renewal is what came of a try to renew a lease.
type renewal struct {
	ttl      int64           // full TTL in seconds, 0 if the lease is unknown
	outdated bool            // the log says that less time is left
	noting   <-chan struct{} // not nil if the log is about to say so: closed when that is over
	gone     <-chan struct{} // not nil if the time of the lease is over: closed once it is gone
}

// tryRenew renews a lease if this member counts the time of leases. Errors: kverr.NotPrimaryLessor, kverr.Stopped.
func (s *Service) tryRenew(id int64) (renewal, error) {
	l := &s.leases
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.mu.closed:
		return renewal{}, kverr.Stopped
	case !s.countsDeadlines():
		return renewal{}, kverr.NotPrimaryLessor
	}
	ttl, ok := l.mu.deadlines.Renew(id, s.now())
	if ok || !l.mu.deadlines.Has(id) {
		r := renewal{ttl: ttl, outdated: l.mu.deadlines.Checkpointed(id) > 0 || l.mu.doubtful[id]}
		if l.mu.noting[id] {
			r.noting = l.mu.noted
		}
		return r, nil
	}
	c, ok := l.mu.gone[id]
	if !ok {
		c = make(chan struct{})
		l.mu.gone[id] = c
	}
	return renewal{gone: c}, nil
}

func (l *leases) has(id int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.deadlines.Has(id)
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

func (s *Service) remaining(id int64) (left time.Duration, granted int64, ok bool) {
	s.leases.mu.Lock()
	defer s.leases.mu.Unlock()
	return s.leases.mu.deadlines.Remaining(id, s.now())
}

// restoreLeases takes over the leases that a restart found or a snapshot brought. Until this member leads they have no deadline.
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
			delete(l.mu.doubtful, c.ID)
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
	clear(s.leases.mu.doubtful) // what the former term left is applied by now, or gone
	s.leases.mu.deadlines.Promote(s.now(), s.cfg.ElectionTimeout)
	poke(s.leads)
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

// expired takes leases whose time is over, and says in which term it was counted.
func (s *Service) expired() (ids []int64, term uint64) {
	s.leases.mu.Lock()
	defer s.leases.mu.Unlock()
	if !s.countsDeadlines() {
		return nil, 0
	}
	return s.leases.mu.deadlines.Expired(s.now(), expiryBatch, s.requestTimeout()), s.leases.mu.term
}

// expiry is the revocations under way.
type expiry struct {
	svc      *Service
	underWay atomic.Int64
	ended    chan struct{} // capacity 1: one has ended
}

// proposeAll proposes the end of all leases whose time is over, as long as this member leads: the next leader gives them time. It does not
// wait for the last ones.
func (e *expiry) proposeAll() {
	for e.hasRoom() {
		ids, term := e.svc.expired()
		if len(ids) == 0 {
			return
		}
		e.propose(ids, term)
	}
}

// hasRoom waits until one more batch may be under way; it reports false once the service is closed.
func (e *expiry) hasRoom() bool {
	for e.underWay.Load() > expiryInFlight-expiryBatch {
		if e.svc.clock.Wait(e.svc.ctx, e.ended, -1) != nil {
			return false
		}
	}
	return true
}

// propose proposes the end of leases, as the leader of term: the next leader must not get the proposals, because it gives the leases new time.
// A lease whose proposal fails is found expired again later.
func (e *expiry) propose(ids []int64, term uint64) {
	s, who, start := e.svc, e.svc.asRoot(), e.svc.clock.Now()
	endings, list := make([]ending, len(ids)), make([]*replica.Proposal, len(ids))
	for i, id := range ids {
		raw := (&request.LeaseRevoke{ID: id}).Append(nil)
		h := request.Header{ID: s.ids.next(), Username: who.User, AuthRevision: who.Revision}
		data := request.AppendInternal(nil, h, request.FieldLeaseRevoke, raw)
		endings[i] = ending{expiry: e, lease: id, start: start}
		endings[i].Proposal = replica.Proposal{ID: h.ID, Data: data, Term: term, Within: s.requestTimeout(), Asker: &endings[i]}
		list[i] = &endings[i].Proposal
	}
	e.underWay.Add(int64(len(list)))
	s.member.Offer(list)
}

// ending is the proposal to end one lease.
type ending struct {
	replica.Proposal
	*expiry
	lease int64
	start time.Time
}

// Answered implements replica.Asker.
func (n *ending) Answered(p *replica.Proposal) {
	s := n.svc
	s.observe("LeaseRevoke", n.start, p.Err)
	switch err := p.Err; {
	case err == nil:
		if s.cfg.Metrics.LeaseExpired != nil {
			s.cfg.Metrics.LeaseExpired()
		}
	case errors.Is(err, kverr.LeaseNotFound), errors.Is(err, kverr.LeaderChanged), s.ctx.Err() != nil:
	default:
		s.cfg.Logger.Warn("ending an expired lease failed", "lease", n.lease, "error", err)
	}
	n.underWay.Add(-1)
	poke(n.ended)
}
