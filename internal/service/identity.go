package service

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/quoin-kv/quoin/internal/auth"
	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/machine"
	"github.com/quoin-kv/quoin/internal/replica"
	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/token"
)

// Credentials are what a call shows of who makes it: a token, or the common name of a certificate that was verified. A token counts more.
type Credentials struct{ Token, CommonName string }

// Access is how calls prove who makes them. The zero value lets nobody log in.
type Access struct {
	// Of reads the credentials of a call; nil for none.
	Of func(ctx context.Context) Credentials
	// Tokens is the kind of tokens that logins get.
	Tokens token.Kind
	// TokenTTL is how long a simple token is valid that is not used.
	TokenTTL time.Duration
	// BcryptCost is the cost of password hashes, as an exponent of two.
	BcryptCost int
}

// access is who may do what, and who has logged in.
type access struct {
	users    atomic.Pointer[auth.State]
	tokens   token.Kind
	sessions *token.Simple
	hashing  chan struct{} // holds one element for each password hash that may be computed now
}

func (a *access) init(cfg *Config, users *auth.State) {
	a.tokens = cfg.Access.Tokens
	a.sessions = token.NewSimple(cfg.Access.TokenTTL, cfg.Clock.Now)
	a.hashing = make(chan struct{}, hashesAtOnce())
	for range cap(a.hashing) {
		a.hashing <- struct{}{}
	}
	a.users.Store(users)
}

// note takes in what a command did about users and logins. Logins end before anybody sees the users by whose change they do, see holder; unless
// nobody needs one any more.
func (a *access) note(o *machine.Outcome) {
	if o.Users != nil && !o.Users.Enabled() {
		a.setUsers(o.Users)
	}
	a.noteLogins(o.Sessions)
	if o.Users != nil {
		a.setUsers(o.Users)
	}
}

// noteLogins takes in who has logged in and whose logins are over.
func (a *access) noteLogins(changes []machine.Session) {
	for _, one := range changes {
		if one.Token != "" {
			a.sessions.Add(one.Token, one.User)
		} else {
			a.sessions.Drop(one.User)
		}
	}
}

// setUsers puts users in force. While they are not needed, no tokens are remembered.
func (a *access) setUsers(users *auth.State) {
	a.users.Store(users)
	if a.tokens.Signer != nil && !users.Enabled() {
		a.tokens.Signer.Forget()
	}
}

// changesUsers reports whether a batch says anything new of who may do what.
func changesUsers(b *replica.Batch) bool {
	for i := range b.Outcomes {
		if b.Outcomes[i].Users != nil {
			return true
		}
	}
	return b.Installed != nil
}

// replace takes in the users of a snapshot. Which logins were ended on the way to it is not known: all are.
func (a *access) replace(users *auth.State) {
	a.sessions.Drop("")
	a.setUsers(users)
}

// runSessions forgets logins that are over.
func (s *Service) runSessions() {
	ttl := s.cfg.Access.TokenTTL
	for ttl > 0 && s.clock.Wait(s.ctx, nil, ttl) == nil {
		s.access.sessions.Sweep()
		if signer := s.access.tokens.Signer; signer != nil {
			signer.Sweep()
		}
	}
}

// identity is who makes a call; nobody while authentication is off. Error: kverr.InvalidAuthToken.
func (s *Service) identity(ctx context.Context) (auth.Identity, error) {
	users := s.access.users.Load()
	if !users.Enabled() || s.cfg.Access.Of == nil {
		return auth.Identity{}, nil
	}
	shown := s.cfg.Access.Of(ctx)
	if shown.Token == "" {
		if shown.CommonName == "" {
			return auth.Identity{}, nil
		}
		return auth.Identity{User: shown.CommonName, Revision: users.Revision()}, nil
	}
	if err := s.awaitLogin(ctx, shown.Token); err != nil {
		return auth.Identity{}, err
	}
	who, ok := s.access.holder(shown.Token)
	if !ok {
		return auth.Identity{}, kverr.InvalidAuthToken
	}
	return who, nil
}

// holder is whose token this is, by what is known here and now.
//
// With a simple token the revision is read before the login is looked up, and logins end before the users change by which they do (note): so
// whoever has the new revision finds no login that is over, and whoever found one has the old revision, with which nothing about keys is allowed
// any more. The other way round a call could come through as of a revision at which its login was over already.
func (a *access) holder(shown string) (auth.Identity, bool) {
	if signer := a.tokens.Signer; signer != nil {
		claim, ok := signer.Verify(shown)
		return auth.Identity{User: claim.User, Revision: claim.Revision}, ok
	}
	revision := a.users.Load().Revision()
	user, ok := a.sessions.User(shown)
	if !ok || !a.tokens.Simple {
		return auth.Identity{}, false
	}
	return auth.Identity{User: user, Revision: revision}, true
}

// maxTokenLead is how far ahead of what is applied here the index in a simple token may be for this member to wait for it: further than any
// member lags behind that clients can have logged in to meanwhile, and too little for a forged token to hold a call for long.
const maxTokenLead = 10_000

// awaitLogin waits until the login that a simple token names is applied here: it may have been made through another member. Error:
// kverr.InvalidAuthToken.
func (s *Service) awaitLogin(ctx context.Context, text string) error {
	if !s.access.tokens.Simple {
		return nil
	}
	index, ok := token.Index(text)
	applied := s.member.Status().Applied
	if !ok || index > applied+maxTokenLead {
		return kverr.InvalidAuthToken
	}
	if index <= applied {
		return nil
	}
	waiting, cancel := s.clock.WithTimeout(ctx, s.requestTimeout())
	defer cancel()
	if s.member.WaitApplied(waiting, index) != nil {
		return kverr.InvalidAuthToken
	}
	return nil
}

// asRoot is the identity of what a member does by itself.
func (s *Service) asRoot() auth.Identity {
	users := s.access.users.Load()
	if !users.Enabled() {
		return auth.Identity{}
	}
	return auth.Identity{User: auth.Root, Revision: users.Revision()}
}

// pass is the permission to read that a call was given; it must still hold when the answer is there.
type pass struct {
	service *Service
	users   *auth.State
	who     auth.Identity
}

// admit decides whether a call may do what a request asks for. The returned pass has to be shown again by who answers from a view.
func (s *Service) admit(ctx context.Context, r request.Request) (pass, error) {
	who, err := s.identity(ctx)
	if err != nil {
		return pass{}, err
	}
	users := s.access.users.Load()
	return pass{s, users, who}, users.Admit(who, r, s.keysOf)
}

// recheck refuses an answer that was made while permissions changed.
func (p pass) recheck() error {
	if now := p.service.access.users.Load(); now != p.users && now.Enabled() {
		return kverr.AuthOldRevision
	}
	return nil
}

// stamp is recheck for an answer.
func (p pass) stamp(a Answer, err error) (Answer, error) {
	if err != nil {
		return a, err
	}
	if err := p.recheck(); err != nil {
		if a.Large != nil {
			a.Large.Close()
		}
		return Answer{}, err
	}
	return a, nil
}

// keysOf is the keys attached to a lease.
func (s *Service) keysOf(lease int64) (keys [][]byte) {
	s.member.Inspect(func(m *machine.Machine) { keys = m.Leases().Keys(lease) })
	return keys
}

// Admin refuses calls of whoever is not an administrator, while authentication is on.
func (s *Service) Admin(ctx context.Context) error {
	who, err := s.identity(ctx)
	if err != nil {
		return err
	}
	return s.access.users.Load().Admin(who)
}

// Present refuses calls of nobody, while authentication is on.
func (s *Service) Present(ctx context.Context) error {
	who, err := s.identity(ctx)
	if err != nil {
		return err
	}
	return s.access.users.Load().Present(who)
}

// AuthEnabled reports whether calls need a user.
func (s *Service) AuthEnabled() bool { return s.access.users.Load().Enabled() }

// AuthRevision counts the changes of users, roles and permissions.
func (s *Service) AuthRevision() uint64 { return s.access.users.Load().Revision() }
