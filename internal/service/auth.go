package service

import (
	"context"
	"errors"

	"github.com/quoin-kv/quoin/internal/auth"
	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/token"
)

// Auth carries out a request about users, roles and permissions other than a login, and returns the encoded response.
func (s *Service) Auth(ctx context.Context, field request.Field, raw []byte) (reply []byte, err error) {
	r := request.New(field)
	if err := r.Unmarshal(raw); err != nil {
		return nil, err
	}
	start := s.clock.Now()
	defer func() { s.observe(field.String(), start, err) }()
	who, err := s.identity(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.access.users.Load().AdmitAuth(who, r); err != nil {
		return nil, err
	}
	switch r := r.(type) {
	case *request.AuthUserAdd:
		if r.Options == nil || !r.Options.NoPassword {
			r.HashedPassword, err = s.hash(ctx, r.Password)
		}
		r.Password = ""
		raw = r.Append(nil)
	case *request.AuthUserChangePassword:
		if r.Password != "" {
			r.HashedPassword, err = s.hash(ctx, r.Password)
		}
		r.Password = ""
		raw = r.Append(nil)
	}
	if err != nil {
		return nil, err
	}
	return s.proposeAs(ctx, who, 0, field, raw)
}

// Authenticate checks a password and returns the encoded response with a token. The password is checked here, against a state that is not older
// than the call; that the user may still come in is decided again when the login is applied.
func (s *Service) Authenticate(ctx context.Context, raw []byte) (reply []byte, err error) {
	start := s.clock.Now()
	defer func() { s.observe("Authenticate", start, err) }()
	var r request.Authenticate
	if err := r.Unmarshal(raw); err != nil {
		return nil, err
	}
	for {
		if err := s.readIndex(ctx); err != nil {
			return nil, err
		}
		users := s.access.users.Load()
		if err := s.checkPassword(ctx, users, r.Name, r.Password); err != nil {
			return nil, err
		}
		reply, err := s.login(ctx, r.Name, users.Revision())
		if err != nil || s.access.users.Load().Revision() == users.Revision() {
			return reply, err
		}
	}
}

// login has a login replicated, and makes a token of the user at a revision.
func (s *Service) login(ctx context.Context, name string, revision uint64) ([]byte, error) {
	out := request.Authenticate{Name: name}
	kind := s.access.tokens
	if kind.Simple {
		out.SimpleToken = token.NewPrefix()
	}
	reply, err := s.proposeAs(ctx, auth.Identity{}, 0, request.FieldAuthenticate, out.Append(nil))
	if err != nil || kind.Simple {
		return reply, err
	}
	if kind.Signer == nil {
		return nil, kverr.InvalidAuthToken
	}
	signed, err := kind.Signer.Sign(name, revision)
	if err != nil {
		return nil, err
	}
	return request.AppendAuthenticateResponse(nil, s.Header(), signed), nil
}

// checkPassword refuses a login with a wrong password. It takes as long for a user that does not exist.
func (s *Service) checkPassword(ctx context.Context, users *auth.State, name, password string) error {
	hash, err := users.LogIn(name)
	if errors.Is(err, kverr.AuthFailed) {
		if _, err := s.newHash(ctx, "nobody"); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	if same, err := s.isPassword(ctx, hash, password); same || err != nil {
		return err
	}
	return kverr.AuthFailed
}
