package service

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/crypto/bcrypt"

	"github.com/quoin-kv/quoin/internal/auth"
	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/token"
)

// hashesAtOnce is how many password hashes may be computed at a time: half the processors, so that logins cannot starve everything else.
func hashesAtOnce() int { return max(1, runtime.GOMAXPROCS(0)/2) }

// errNoPassword refuses a login with a password to one who has none. Etcd has no error of its own for it.
var errNoPassword = errors.New("auth: authentication failed, password was given for no password user")

// errPasswordTooLong is what the hash says of a password that it would cut.
var errPasswordTooLong = errors.New("bcrypt: password length exceeds 72 bytes")

// Auth carries out a request about users, roles and permissions other than a login, and returns the encoded response.
func (s *Service) Auth(ctx context.Context, field request.Field, raw []byte) (reply []byte, err error) {
	r := request.New(field)
	if err := r.Unmarshal(raw); err != nil {
		return nil, err
	}
	start := s.clock.Now()
	defer func() { s.observe(authKind(r), start, err) }()
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

// authKind names a request as metrics do.
func authKind(r request.Request) string {
	name := fmt.Sprintf("%T", r)
	return name[len("*request."):]
}

// hashTurn waits until a password hash may be computed; done must be called afterwards.
func (s *Service) hashTurn(ctx context.Context) (done func(), err error) {
	if err := s.clock.Wait(ctx, s.access.hashing, -1); err != nil {
		return nil, err
	}
	return func() { s.access.hashing <- struct{}{} }, nil
}

// hash is what is stored of a password, as requests carry it.
func (s *Service) hash(ctx context.Context, password string) (string, error) {
	done, err := s.hashTurn(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), s.cfg.Access.BcryptCost)
	if errors.Is(err, bcrypt.ErrPasswordTooLong) {
		return "", errPasswordTooLong
	}
	return base64.StdEncoding.EncodeToString(hash), err
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
	kind := s.cfg.Access.Tokens
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
	if !users.Enabled() {
		return kverr.AuthNotEnabled
	}
	credentials, ok := users.CredentialsOf(name)
	if ok && credentials.NoPassword {
		return errNoPassword
	}
	done, err := s.hashTurn(ctx)
	if err != nil {
		return err
	}
	defer done()
	if !ok {
		_, _ = bcrypt.GenerateFromPassword([]byte("nobody"), s.cfg.Access.BcryptCost)
		return kverr.AuthFailed
	}
	if bcrypt.CompareHashAndPassword(credentials.Hash, []byte(password)) != nil {
		return kverr.AuthFailed
	}
	return nil
}
