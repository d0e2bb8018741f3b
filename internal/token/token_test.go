package token

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// clock is a time that tests set.
type clock struct{ t time.Time }

func newClock() *clock { return &clock{time.Unix(1_700_000_000, 0)} }

func (c *clock) now() time.Time { return c.t }

func (c *clock) pass(d time.Duration) { c.t = c.t.Add(d) }

func TestPrefix(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		p := NewPrefix()
		if len(p) != simpleLetters || strings.ContainsFunc(p, func(r rune) bool { return r < 'A' || r > 'z' || r > 'Z' && r < 'a' }) || seen[p] {
			t.Fatalf("prefix %q", p)
		}
		seen[p] = true
	}
}

func TestIndex(t *testing.T) {
	p := NewPrefix()
	for text, want := range map[string]int{p + ".17": 18, p + ".18446744073709551615": -1, p: -1, p + ".": -1, p + ".x": -1, p + "x.1": -1, "": -1, ".1": -1, p + ".99999999999999999999": -1, p + ".-1": -1} {
		if got, ok := Index(text); ok != (want >= 0) || ok && got != uint64(want) {
			t.Errorf("%q: %d, %t; want %d", text, got, ok, want)
		}
	}
}

// TestSimple: a login lasts as long as it is used, and ends when it is dropped.
func TestSimple(t *testing.T) {
	c := newClock()
	s := NewSimple(10*time.Second, c.now)
	expect := func(text, want string) {
		t.Helper()
		if got, ok := s.User(text); got != want || ok != (want != "") {
			t.Errorf("%s belongs to %q, %t; want %q", text, got, ok, want)
		}
	}
	s.Add("a", "ada")
	s.Add("a2", "ada")
	s.Add("b", "bob")
	expect("x", "")
	for range 3 {
		c.pass(9 * time.Second)
		expect("a", "ada")
	}
	expect("b", "")
	if s.Len() != 2 {
		t.Errorf("%d logins before they are swept", s.Len())
	}
	s.Sweep()
	if s.Len() != 1 {
		t.Errorf("%d logins left", s.Len())
	}
	s.Add("b", "bob")
	s.Drop("ada")
	expect("a", "")
	expect("b", "bob")
	s.Drop("")
	expect("b", "")
}

// TestSimpleIsBounded: a flood of logins forgets those used longest ago.
func TestSimpleIsBounded(t *testing.T) {
	c := newClock()
	s := NewSimple(time.Hour, c.now)
	for i := range maxSimple + 1 {
		c.pass(time.Microsecond)
		s.Add(fmt.Sprint(i), "u")
	}
	if s.Len() != maxSimple-maxSimple/10+1 {
		t.Errorf("%d logins", s.Len())
	}
	if _, ok := s.User("0"); ok {
		t.Error("the oldest is still there")
	}
	if _, ok := s.User(fmt.Sprint(maxSimple)); !ok {
		t.Error("the newest is not there")
	}
}

// write puts a key into a file.
func write(t *testing.T, dir, name, kind string, der []byte, err error) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err == nil {
		err = os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// keyFiles makes a key and returns the names of the files of its halves.
func keyFiles(t *testing.T, method string) (public, private string) {
	t.Helper()
	dir := t.TempDir()
	var key any
	var err error
	switch method[:2] {
	case "HS":
		return "", write(t, dir, "secret", "SECRET", []byte("a secret of thirty-two bytes, ok"), nil)
	case "RS", "PS":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	case "ES":
		curve := map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()}[method]
		key, err = ecdsa.GenerateKey(curve, rand.Reader)
	case "Ed":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	private = write(t, dir, "private", "PRIVATE KEY", der, err)
	pub, err := publicOf(key)
	if err != nil {
		t.Fatal(err)
	}
	der, err = x509.MarshalPKIXPublicKey(pub)
	return write(t, dir, "public", "PUBLIC KEY", der, err), private
}

func parse(t *testing.T, c *clock, options ...string) *Signer {
	t.Helper()
	k, err := Parse("jwt,"+strings.Join(options, ","), c.now)
	if err != nil || k.Signer == nil || k.Simple {
		t.Fatalf("%v: %+v, %v", options, k, err)
	}
	return k.Signer
}

// TestMethods: every method signs what it verifies, with both halves of a key, the private one alone, and the public one alone, which only verifies.
func TestMethods(t *testing.T) {
	for _, method := range []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "HS256", "HS384", "HS512", "EdDSA"} {
		c := newClock()
		public, private := keyFiles(t, method)
		full := parse(t, c, "sign-method="+method, "pub-key="+public, "priv-key="+private, "ttl=1m")
		text, err := full.Sign("ada", 7)
		if err != nil {
			t.Fatalf("%s: %v", method, err)
		}
		others := []*Signer{full, parse(t, c, "priv-key="+private, "sign-method="+method)}
		if public != "" {
			reader := parse(t, c, "pub-key="+public, "sign-method="+method)
			others = append(others, reader)
			if _, err := reader.Sign("ada", 7); !errors.Is(err, ErrVerifyOnly) {
				t.Errorf("%s: signing without a key: %v", method, err)
			}
		}
		for i, s := range others {
			if got, ok := s.Verify(text); !ok || got != (Claim{"ada", 7}) {
				t.Errorf("%s %d: %+v, %t", method, i, got, ok)
			}
			if _, ok := s.Verify(text[:len(text)-4] + "AAAA"); ok {
				t.Errorf("%s %d: a changed signature is good", method, i)
			}
		}
		c.pass(time.Minute)
		for i, s := range others {
			if _, ok := s.Verify(text); ok {
				t.Errorf("%s %d: good after its time", method, i)
			}
		}
	}
}

// TestForgeries: tokens by another method, without one, without an end, without a user, or by another key.
func TestForgeries(t *testing.T) {
	c := newClock()
	public, private := keyFiles(t, "RS256")
	s := parse(t, c, "sign-method=RS256", "priv-key="+private)
	publicText, err := os.ReadFile(public)
	if err != nil {
		t.Fatal(err)
	}
	end := jwt.RegisteredClaims{ExpiresAt: jwt.NewNumericDate(c.now().Add(time.Hour))}
	sign := func(m jwt.SigningMethod, key any, body claims) string {
		text, err := jwt.NewWithClaims(m, body).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	_, other := keyFiles(t, "RS256")
	stranger := parse(t, c, "sign-method=RS256", "priv-key="+other)
	foreign, err := stranger.Sign("root", 1)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"none":                       sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, claims{"root", 1, end}),
		"the public key as a secret": sign(jwt.SigningMethodHS256, publicText, claims{"root", 1, end}),
		"no end":                     sign(s.method, s.current().sign, claims{"root", 1, jwt.RegisteredClaims{}}),
		"no user":                    sign(s.method, s.current().sign, claims{"", 1, end}),
		"another method":             sign(jwt.SigningMethodRS384, s.current().sign, claims{"root", 1, end}),
		"another key":                foreign,
		"nothing":                    "",
		"no token":                   "a.b.c",
	} {
		if _, ok := s.Verify(text); ok {
			t.Errorf("%s: taken for good", name)
		}
	}
}

// TestReload: a key that is exchanged counts soon; one that cannot be read does not.
func TestReload(t *testing.T) {
	c := newClock()
	_, private := keyFiles(t, "HS256")
	s := parse(t, c, "sign-method=HS256", "priv-key="+private)
	old, err := s.Sign("ada", 1)
	if err != nil {
		t.Fatal(err)
	}
	exchange := func(secret string) {
		t.Helper()
		if err := os.WriteFile(private, []byte(secret), 0o600); err != nil {
			t.Fatal(err)
		}
		c.pass(reloadEvery)
	}
	if _, ok := s.Verify(old); !ok {
		t.Fatal("not good")
	}
	exchange("")
	if _, ok := s.Verify(old); !ok {
		t.Error("an empty file took the key away")
	}
	exchange("another secret, longer than before")
	if _, ok := s.Verify(old); ok {
		t.Error("the old key still counts")
	}
	if text, err := s.Sign("ada", 1); err != nil {
		t.Error(err)
	} else if _, ok := s.Verify(text); !ok {
		t.Error("the new key does not count")
	}
}

func TestParse(t *testing.T) {
	c := newClock()
	public, private := keyFiles(t, "RS256")
	otherPublic, _ := keyFiles(t, "RS256")
	if k, err := Parse("simple", c.now); err != nil || !k.Simple {
		t.Error(k, err)
	}
	if k, err := Parse("", c.now); err != nil || k.Simple || k.Signer != nil {
		t.Error(k, err)
	}
	for _, option := range []string{
		"other", "jwt", "jwt,sign-method=none,priv-key=" + private, "jwt,sign-method=XX", "jwt,sign-method=RS256", "jwt,sign-method=HS256",
		"jwt,sign-method=RS256,priv-key=/missing", "jwt,sign-method=RS256,priv-key=" + public, "jwt,sign-method=RS256,pub-key=" + private,
		"jwt,sign-method=ES256,priv-key=" + private, "jwt,sign-method=RS256,ttl=x,priv-key=" + private, "jwt,sign-method=RS256,ttl=-1s,priv-key=" + private,
		"jwt,sign-method=RS256,nonsense=1,priv-key=" + private, "jwt,sign-method=RS256,pub-key=" + otherPublic + ",priv-key=" + private,
	} {
		if _, err := Parse(option, c.now); !errors.Is(err, ErrOptions) {
			t.Errorf("%s: %v", option, err)
		}
	}
}

// newSecretSigner signs with a secret that is in no file.
func newSecretSigner(c *clock) *Signer {
	s := &Signer{now: c.now, method: jwt.SigningMethodHS256, ttl: time.Minute, looked: c.now()}
	s.keys.Store(&keyring{sign: []byte("secret"), check: []byte("secret"), known: newVerified()})
	return s
}

func FuzzVerify(f *testing.F) {
	c := newClock()
	s := newSecretSigner(c)
	good, err := s.Sign("ada", 1)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, text string) {
		_, _ = Index(text)
		if claim, ok := s.Verify(text); ok && claim != (Claim{"ada", 1}) {
			t.Errorf("%q says %+v", text, claim)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	c := newClock()
	s := newSecretSigner(c)
	text, err := s.Sign("ada", 1)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := s.Verify(text); !ok {
			b.Fatal("refused")
		}
	}
}
