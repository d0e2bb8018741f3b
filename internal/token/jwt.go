package token

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// defaultTTL is how long a signed token is valid if the option does not say.
const defaultTTL = 5 * time.Minute

// Claim is what a signed token says.
type Claim struct {
	User     string
	Revision uint64 // of the users and roles when the token was made
}

// ErrVerifyOnly is returned by a Signer that has no private key.
var ErrVerifyOnly = errors.New("auth: no private key: tokens can only be verified")

// Signer makes and verifies signed tokens. It may be used by many at once. Key files that change are read again; while they cannot be read
// the last good keys hold.
type Signer struct {
	method  jwt.SigningMethod
	ttl     time.Duration
	now     func() time.Time
	public  string // files
	private string
	keys    atomic.Pointer[keyring]
	mu      sync.Mutex
	looked  time.Time // when the files were last looked at; guarded by mu
}

// newSigner reads options of the form key=value, separated by commas: sign-method, pub-key, priv-key, ttl.
func newSigner(options string, now func() time.Time) (*Signer, error) {
	s := &Signer{ttl: defaultTTL, now: now}
	for option := range strings.SplitSeq(options, ",") {
		if err := s.set(option); err != nil {
			return nil, err
		}
	}
	if s.method == nil {
		return nil, errors.New("sign-method is missing")
	}
	s.looked = now()
	keys, err := s.load(s.stampNow())
	if err != nil {
		return nil, err
	}
	s.keys.Store(keys)
	return s, nil
}

func (s *Signer) set(option string) (err error) {
	key, value, _ := strings.Cut(option, "=")
	switch key {
	case "sign-method":
		if s.method = jwt.GetSigningMethod(value); s.method == nil || s.method == jwt.SigningMethodNone {
			return fmt.Errorf("unknown sign-method %q", value)
		}
	case "pub-key":
		s.public = value
	case "priv-key":
		s.private = value
	case "ttl":
		if s.ttl, err = time.ParseDuration(value); err != nil || s.ttl <= 0 {
			return fmt.Errorf("ttl %q is no positive duration", value)
		}
	case "":
	default:
		return fmt.Errorf("unknown option %q", key)
	}
	return nil
}

// claims is the body of a token.
type claims struct {
	Username string `json:"username"`
	Revision uint64 `json:"revision"`
	jwt.RegisteredClaims
}

// Sign makes a token for a user at a revision of the users and roles.
func (s *Signer) Sign(user string, revision uint64) (string, error) {
	key := s.current().sign
	if key == nil {
		return "", ErrVerifyOnly
	}
	body := claims{user, revision, jwt.RegisteredClaims{ExpiresAt: jwt.NewNumericDate(s.now().Add(s.ttl))}}
	return jwt.NewWithClaims(s.method, body).SignedString(key)
}

// Verify returns what a token says, or false if it was not signed with the key, with the method, or is over.
func (s *Signer) Verify(text string) (Claim, bool) {
	keys, now := s.current(), s.now()
	if claim, ok := keys.known.find(text, now); ok {
		return claim, true
	}
	one, ok := s.verify(keys.check, text)
	if !ok {
		return Claim{}, false
	}
	keys.known.add(text, one, now)
	return one.claim, true
}

func (s *Signer) verify(check any, text string) (signed, bool) {
	var body claims
	_, err := jwt.ParseWithClaims(text, &body, func(*jwt.Token) (any, error) { return check, nil },
		jwt.WithValidMethods([]string{s.method.Alg()}), jwt.WithExpirationRequired(), jwt.WithTimeFunc(s.now))
	if err != nil || body.Username == "" {
		return signed{}, false
	}
	one := signed{claim: Claim{body.Username, body.Revision}, until: body.ExpiresAt.Time}
	if body.NotBefore != nil {
		one.from = body.NotBefore.Time
	}
	return one, true
}

// Sweep forgets tokens that are over. Somebody should call it now and then.
func (s *Signer) Sweep() { s.keys.Load().known.sweep(s.now()) }

// Forget forgets all tokens that were verified: each is verified again when it comes next.
func (s *Signer) Forget() { s.keys.Load().known.forget() }
