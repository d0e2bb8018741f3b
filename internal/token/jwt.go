package token

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// defaultTTL is how long a signed token is valid if the option does not say.
const defaultTTL = 5 * time.Minute

// reloadEvery is how often key files are looked at for a change.
const reloadEvery = time.Second

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
	method      jwt.SigningMethod
	ttl         time.Duration
	now         func() time.Time
	public      string // files
	private     string
	mu          sync.Mutex
	looked      time.Time // when the files were last looked at
	stamp       string    // of the files when they were read
	sign, check any       // keys; sign is nil without a private key
	known       map[string]knownToken
}

// knownToken is a token that was verified.
type knownToken struct {
	claim Claim
	due   time.Time
}

// maxKnown is the number of verified tokens that are remembered, as most come again and again and a signature is dear. Then it starts afresh.
const maxKnown = 10_000

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
	if err := s.load(); err != nil {
		return nil, err
	}
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

// load reads the key files.
func (s *Signer) load() error {
	public, err := readFile(s.public)
	if err != nil {
		return err
	}
	private, err := readFile(s.private)
	if err != nil {
		return err
	}
	sign, check, err := keys(s.method, public, private)
	if err != nil {
		return err
	}
	s.sign, s.check, s.stamp, s.looked = sign, check, s.stampNow(), s.now()
	s.known = map[string]knownToken{}
	return nil
}

func readFile(path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	return os.ReadFile(path)
}

// stampNow tells whether a file has changed.
func (s *Signer) stampNow() string {
	var out strings.Builder
	for _, path := range []string{s.public, s.private} {
		if info, err := os.Stat(path); err == nil {
			fmt.Fprintln(&out, info.Size(), info.ModTime().UnixNano())
		}
	}
	return out.String()
}

// keys reads the keys that a method signs and verifies with; the public key follows from the private one if it is not given.
func keys(method jwt.SigningMethod, public, private []byte) (sign, check any, err error) {
	switch method.(type) {
	case *jwt.SigningMethodHMAC:
		if len(private) == 0 {
			return nil, nil, errors.New("priv-key is missing")
		}
		return private, private, nil
	case *jwt.SigningMethodRSA, *jwt.SigningMethodRSAPSS:
		return pair(public, private, jwt.ParseRSAPublicKeyFromPEM, jwt.ParseRSAPrivateKeyFromPEM)
	case *jwt.SigningMethodECDSA:
		return pair(public, private, jwt.ParseECPublicKeyFromPEM, jwt.ParseECPrivateKeyFromPEM)
	case *jwt.SigningMethodEd25519:
		return pair(public, private, jwt.ParseEdPublicKeyFromPEM, jwt.ParseEdPrivateKeyFromPEM)
	}
	return nil, nil, fmt.Errorf("sign-method %s is not supported", method.Alg())
}

// pair reads a public key, a private key or both, and sees to it that they belong together.
func pair[P, S any](public, private []byte, readPublic func([]byte) (P, error), readPrivate func([]byte) (S, error)) (sign, check any, err error) {
	if len(public) > 0 {
		if check, err = readPublic(public); err != nil {
			return nil, nil, fmt.Errorf("pub-key: %w", err)
		}
	}
	if len(private) == 0 {
		if check == nil {
			err = errors.New("pub-key and priv-key are missing")
		}
		return nil, check, err
	}
	if sign, err = readPrivate(private); err != nil {
		return nil, nil, fmt.Errorf("priv-key: %w", err)
	}
	own, err := publicOf(sign)
	if err != nil {
		return nil, nil, err
	}
	if known, ok := check.(comparableKey); ok && !known.Equal(own) {
		return nil, nil, errors.New("pub-key and priv-key do not belong together")
	}
	return sign, own, nil
}

// refresh reads the key files again if they have changed.
func (s *Signer) refresh() {
	if s.now().Sub(s.looked) < reloadEvery {
		return
	}
	s.looked = s.now()
	if s.stampNow() == s.stamp {
		return
	}
	_ = s.load() // the old keys hold until the new ones can be read
}

// claims is the body of a token.
type claims struct {
	Username string `json:"username"`
	Revision uint64 `json:"revision"`
	jwt.RegisteredClaims
}

// Sign makes a token for a user at a revision of the users and roles.
func (s *Signer) Sign(user string, revision uint64) (string, error) {
	s.mu.Lock()
	s.refresh()
	key := s.sign
	s.mu.Unlock()
	if key == nil {
		return "", ErrVerifyOnly
	}
	body := claims{user, revision, jwt.RegisteredClaims{ExpiresAt: jwt.NewNumericDate(s.now().Add(s.ttl))}}
	return jwt.NewWithClaims(s.method, body).SignedString(key)
}

// Verify returns what a token says, or false if it was not signed with the key, with the method, or is over.
func (s *Signer) Verify(text string) (Claim, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refresh()
	one, ok := s.known[text]
	if !ok {
		if one, ok = s.verify(text); !ok {
			return Claim{}, false
		}
		if len(s.known) >= maxKnown {
			clear(s.known)
		}
		s.known[text] = one
	}
	return one.claim, s.now().Before(one.due)
}

func (s *Signer) verify(text string) (knownToken, bool) {
	var body claims
	_, err := jwt.ParseWithClaims(text, &body, func(*jwt.Token) (any, error) { return s.check, nil },
		jwt.WithValidMethods([]string{s.method.Alg()}), jwt.WithExpirationRequired(), jwt.WithTimeFunc(s.now))
	if err != nil || body.Username == "" {
		return knownToken{}, false
	}
	return knownToken{Claim{body.Username, body.Revision}, body.ExpiresAt.Time}, true
}
