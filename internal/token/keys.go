package token

import (
	"crypto"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// reloadEvery is how often key files are looked at for a change.
const reloadEvery = time.Second

// keyring is the keys that were in the files at one time, and the tokens that were found good by them: with other keys nothing is known.
type keyring struct {
	stamp       string // of the files before they were read
	sign, check any    // sign is nil without a private key
	known       verified
}

// current returns the keys that are in the files now, but for the time between two looks. Whoever is due looks; the others do not wait for it.
func (s *Signer) current() *keyring {
	keys := s.keys.Load()
	if !s.isDue() {
		return keys
	}
	stamp := s.stampNow()
	if stamp == keys.stamp {
		return keys
	}
	fresh, err := s.load(stamp)
	if err != nil {
		return keys // they hold until the new ones can be read
	}
	if !s.keys.CompareAndSwap(keys, fresh) {
		return s.keys.Load() // somebody was faster
	}
	return fresh
}

// isDue reports whether the files have to be looked at, once each time.
func (s *Signer) isDue() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if now.Sub(s.looked) < reloadEvery {
		return false
	}
	s.looked = now
	return true
}

// load reads the key files, which had a stamp before: if they change meanwhile, the next look finds another one.
func (s *Signer) load(stamp string) (*keyring, error) {
	public, err := readFile(s.public)
	if err != nil {
		return nil, err
	}
	private, err := readFile(s.private)
	if err != nil {
		return nil, err
	}
	keys := &keyring{stamp: stamp, known: newVerified()}
	keys.sign, keys.check, err = parseKeys(s.method, public, private)
	return keys, err
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

// parseKeys reads the keys that a method signs and verifies with; the public key follows from the private one if it is not given.
func parseKeys(method jwt.SigningMethod, public, private []byte) (sign, check any, err error) {
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

// comparableKey is a public key.
type comparableKey interface {
	Equal(other crypto.PublicKey) bool
}

// publicOf is the public key of a private one.
func publicOf(private any) (any, error) {
	signer, ok := private.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("priv-key is a %T, which cannot sign", private)
	}
	return signer.Public(), nil
}
