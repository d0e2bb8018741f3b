package service

import (
	"context"
	"errors"
	"time"

	"github.com/quoin-kv/quoin/internal/faultpoint"
	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/machine"
	"github.com/quoin-kv/quoin/internal/request"
)

// maxChosenLeases is how many ids are tried for a lease whose client did not choose one.
const maxChosenLeases = 16

// LeaseGrant answers a LeaseGrantRequest. An id of 0 is replaced by one that no lease has.
func (s *Service) LeaseGrant(ctx context.Context, raw []byte) (reply []byte, err error) {
	start := s.clock.Now()
	var r request.LeaseGrant
	if err := r.Unmarshal(raw); err != nil {
		return nil, err
	}
	if err := s.Present(ctx); err != nil {
		return nil, err
	}
	if err := s.checkQuota(ctx, r.QuotaCost()); err != nil {
		return nil, err
	}
	defer func() { s.observe("LeaseGrant", start, err) }()
	if r.ID != 0 {
		return s.propose(ctx, request.FieldLeaseGrant, raw)
	}
	for range maxChosenLeases {
		r.ID = s.someLeaseID()
		reply, err = s.propose(ctx, request.FieldLeaseGrant, r.Append(nil))
		if !errors.Is(err, kverr.LeaseExist) {
			break
		}
	}
	return reply, err
}

// withLeaseID returns a LeaseGrantRequest that names a lease: one out of 2^63, unless the client chose one. In the rare case that there is such
// a lease it fails as if the client had.
func (s *Service) withLeaseID(raw []byte) []byte {
	var r request.LeaseGrant
	if r.Unmarshal(raw) != nil || r.ID != 0 {
		return raw
	}
	r.ID = s.someLeaseID()
	return r.Append(nil)
}

func (s *Service) someLeaseID() int64 { return 1 + s.cfg.Random(1<<63-1) }

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

// LeaseKeepAlive answers one LeaseKeepAliveRequest, on any member. A lease that is gone gives a TTL of 0; one that has ended but is not gone
// yet is waited for.
func (s *Service) LeaseKeepAlive(ctx context.Context, raw []byte) ([]byte, error) {
	var r request.LeaseKeepAlive
	if err := r.Unmarshal(raw); err != nil {
		return nil, err
	}
	if err := s.mayProlong(ctx, r.ID); err != nil {
		return nil, err
	}
	ctx, cancel := s.clock.WithTimeout(ctx, s.requestTimeout())
	defer cancel()
	header := s.Header()
	answer := request.LeaseTTL{ID: r.ID}
	err := s.atLeader(ctx, func(ctx context.Context) (err error) {
		answer.TTL, err = s.renew(ctx, r.ID)
		return err
	}, func(ctx context.Context, urls []string) error {
		reply, err := s.cfg.Peers.LeaseKeepAlive(ctx, urls, raw)
		if err != nil {
			return err
		}
		theirs, err := request.ParseLeaseKeepAliveResponse(reply)
		answer.TTL = theirs.TTL
		return err
	})
	if err != nil && !errors.Is(err, kverr.LeaseNotFound) {
		return nil, err
	}
	return request.AppendLeaseKeepAliveResponse(nil, header, answer), nil
}

// TryKeepAlive answers a LeaseKeepAliveRequest like LeaseKeepAlive, appended to b, if nothing has to be waited for and nobody to be asked:
// this member is the only voter, and the lease runs. Otherwise it reports false.
func (s *Service) TryKeepAlive(b, raw []byte) (longer []byte, ok bool) {
	var r request.LeaseKeepAlive
	if r.Unmarshal(raw) != nil || s.AuthEnabled() || !s.votesAlone() || s.ctx.Err() != nil {
		return b, false
	}
	header := s.Header()
	faultpoint.Hit(faultpoint.BeforeCheckpointInLeaseRenew)
	now, err := s.tryRenew(r.ID)
	if err != nil || now.ttl == 0 || now.outdated || now.gone != nil || now.noting != nil {
		return b, false
	}
	s.observeLease(LeaseRenewed, now.ttl)
	return request.AppendLeaseKeepAliveResponse(b, header, request.LeaseTTL{ID: r.ID, TTL: now.ttl}), true
}

// mayProlong refuses to prolong a lease to who may not write all its keys: whoever prolongs a lease decides over them, as who ends it.
func (s *Service) mayProlong(ctx context.Context, id int64) error {
	if !s.AuthEnabled() {
		return nil
	}
	_, err := s.admit(ctx, &request.LeaseRevoke{ID: id})
	return err
}

// PrimaryKeepAlive answers the LeaseKeepAliveRequest that another member passes on to the leader. Errors: kverr.LeaseNotFound;
// kverr.NotPrimaryLessor if this member does not lead; those of a failed read index.
func (s *Service) PrimaryKeepAlive(ctx context.Context, raw []byte) ([]byte, error) {
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

// LeaseTimeToLive answers a LeaseTimeToLiveRequest, on any member. An unknown lease has a TTL of -1.
func (s *Service) LeaseTimeToLive(ctx context.Context, raw []byte) ([]byte, error) {
	var r request.LeaseTimeToLive
	if err := r.Unmarshal(raw); err != nil {
		return nil, err
	}
	pass, err := s.admit(ctx, &r)
	if err != nil {
		return nil, err
	}
	ctx, cancel := s.clock.WithTimeout(ctx, s.requestTimeout())
	defer cancel()
	var answer request.LeaseTimeToLiveResult
	err = s.atLeader(ctx, func(ctx context.Context) (err error) {
		answer, err = s.timeToLive(ctx, &r)
		return err
	}, func(ctx context.Context, urls []string) error {
		reply, err := s.cfg.Peers.LeaseTimeToLive(ctx, urls, raw)
		if err != nil {
			return err
		}
		answer, err = request.ParseLeaseTimeToLiveResponse(reply)
		return err
	})
	if errors.Is(err, kverr.LeaseNotFound) {
		answer, err = request.LeaseTimeToLiveResult{ID: r.ID, TTL: -1}, nil
	}
	if err == nil && r.Keys {
		err = pass.mayShow(&r, answer.Keys)
	}
	if err != nil {
		return nil, err
	}
	return request.AppendLeaseTimeToLiveResponse(nil, s.Header(), &answer), nil
}

// mayShow refuses to show the keys of a lease to who may not read them. The leader may have attached more of them than this member knew of.
func (p pass) mayShow(r *request.LeaseTimeToLive, keys [][]byte) error {
	if err := p.users.Admit(p.who, r, func(int64) [][]byte { return keys }); err != nil {
		return err
	}
	return p.recheck()
}

// PrimaryTimeToLive answers the LeaseTimeToLiveRequest that another member passes on to the leader. Errors are those of PrimaryKeepAlive.
func (s *Service) PrimaryTimeToLive(ctx context.Context, raw []byte) ([]byte, error) {
	var r request.LeaseTimeToLive
	if err := r.Unmarshal(raw); err != nil {
		return nil, err
	}
	ctx, cancel := s.clock.WithTimeout(ctx, s.requestTimeout())
	defer cancel()
	answer, err := s.timeToLive(ctx, &r)
	if err != nil {
		return nil, err
	}
	return request.AppendLeaseTimeToLiveResponse(nil, s.Header(), &answer), nil
}

// timeToLive is what the leader knows of a lease. Errors: kverr.LeaseNotFound, those of prove.
func (s *Service) timeToLive(ctx context.Context, r *request.LeaseTimeToLive) (request.LeaseTimeToLiveResult, error) {
	answer := request.LeaseTimeToLiveResult{ID: r.ID}
	if err := s.prove(ctx); err != nil {
		return answer, err
	}
	left, granted, ok := s.remaining(r.ID)
	switch {
	case !s.isPrimary():
		return answer, kverr.LeaderChanged
	case !ok:
		return answer, kverr.LeaseNotFound
	}
	answer.TTL, answer.GrantedTTL = int64(left/time.Second), granted
	if r.Keys {
		s.member.Inspect(func(m *machine.Machine) { answer.Keys = m.Leases().Keys(r.ID) })
	}
	return answer, nil
}

// renew restarts the time of a lease and returns its full TTL in seconds. The time counts only if this member still led after it was given:
// whoever leads later gives the lease its whole time from then on. A lease whose time is over is waited for. Errors: kverr.LeaseNotFound,
// those of prove, kverr.Stopped.
func (s *Service) renew(ctx context.Context, id int64) (int64, error) {
	for {
		faultpoint.Hit(faultpoint.BeforeCheckpointInLeaseRenew)
		r, err := s.tryRenew(id)
		switch {
		case err != nil:
			return 0, err
		case r.gone != nil: // leadership may move meanwhile, which gives the lease new time
			if s.clock.Wait(ctx, r.gone, expiryInterval) != nil {
				return 0, timeoutError(ctx)
			}
			continue
		case r.noting != nil: // what is noted then must be taken back
			if s.clock.Wait(ctx, r.noting, -1) != nil {
				return 0, timeoutError(ctx)
			}
			continue
		case r.outdated:
			if err := s.clearCheckpoint(ctx, id); err != nil {
				return 0, err
			}
		}
		if err := s.prove(ctx); err != nil {
			return 0, err
		}
		if r.ttl == 0 && s.leases.has(id) {
			continue // it was granted, but not applied here yet
		}
		if r.ttl == 0 {
			return 0, kverr.LeaseNotFound
		}
		s.observeLease(LeaseRenewed, r.ttl)
		return r.ttl, nil
	}
}

// clearCheckpoint makes all members forget how much time a lease had left: it has its full time again.
func (s *Service) clearCheckpoint(ctx context.Context, id int64) error {
	r := request.LeaseCheckpoint{Checkpoints: []request.Checkpoint{{ID: id}}}
	_, err := s.propose(ctx, request.FieldLeaseCheckpoint, r.Append(nil))
	return err
}

// prove makes sure that this member led at some time since the call began and had applied everything that was committed before. Errors:
// kverr.NotPrimaryLessor, those of a failed read index.
func (s *Service) prove(ctx context.Context) error {
	if !s.isPrimary() {
		return kverr.NotPrimaryLessor
	}
	if s.votesAlone() {
		return nil
	}
	if err := s.member.ReadIndex(ctx); err != nil {
		return err
	}
	if !s.isPrimary() { // then another leader may have answered
		return kverr.NotPrimaryLessor
	}
	return nil
}

// votesAlone reports whether this member is the only voter, which nobody else can take the leadership from: a second voter would have to be
// added first, and to win an election.
func (s *Service) votesAlone() bool {
	voters := s.member.Status().ConfState.Voters
	return len(voters) == 1 && voters[0] == s.cfg.MemberID
}

// timeoutError says why a context that bounds a wait for others has ended: our patience did, or the client has gone.
func timeoutError(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	return kverr.Timeout
}

// LeaseLeases answers a LeaseLeasesRequest from this member's own state, the soonest to end first. It is for who may read all their keys.
func (s *Service) LeaseLeases(ctx context.Context, _ []byte) ([]byte, error) {
	who, err := s.identity(ctx)
	if err != nil {
		return nil, err
	}
	p := pass{s, s.access.users.Load(), who}
	if err := p.users.Present(who); err != nil {
		return nil, err
	}
	s.leases.mu.Lock()
	ids := s.leases.mu.deadlines.ByRemaining()
	s.leases.mu.Unlock()
	if p.users.Enabled() {
		for _, id := range ids {
			if err := p.users.Admit(who, &request.LeaseTimeToLive{ID: id, Keys: true}, s.keysOf); err != nil {
				return nil, err
			}
		}
	}
	if err := p.recheck(); err != nil {
		return nil, err
	}
	return request.AppendLeaseLeasesResponse(nil, s.Header(), ids), nil
}
