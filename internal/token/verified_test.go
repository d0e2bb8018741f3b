package token

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// check looks at the invariants.
func (v *verified) check(t *testing.T) {
	t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	sum := 0
	for text := range v.all {
		sum += len(text)
	}
	if v.bytes != sum || sum > maxVerifiedBytes || len(v.all) > maxVerified {
		t.Errorf("%d tokens of %d bytes, counted as %d", len(v.all), sum, v.bytes)
	}
}

// remembered is how many tokens the signer knows to be good.
func remembered(t *testing.T, s *Signer) int {
	t.Helper()
	known := &s.keys.Load().known
	known.check(t)
	known.mu.Lock()
	defer known.mu.Unlock()
	return len(known.all)
}

func signFor(t *testing.T, s *Signer, user string) string {
	t.Helper()
	text, err := s.Sign(user, 3)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestRememberedTokensEnd: a token that is remembered ends when it ends, to the second, whether its signature is looked at again or not; so it
// does before the time from which it holds, should the clock be set back.
func TestRememberedTokensEnd(t *testing.T) {
	c := newClock()
	s := newSecretSigner(c)
	text := signFor(t, s, "ada") // for a minute
	from := jwt.NewNumericDate(c.now())
	body := claims{"bob", 3, jwt.RegisteredClaims{ExpiresAt: jwt.NewNumericDate(c.now().Add(time.Hour)), NotBefore: from}}
	later, err := jwt.NewWithClaims(s.method, body).SignedString(s.current().sign)
	if err != nil {
		t.Fatal(err)
	}
	for i, one := range []struct {
		pass       time.Duration
		ada, bob   bool
		remembered int
	}{
		{0, true, true, 2},
		{time.Minute - time.Nanosecond, true, true, 2},
		{time.Nanosecond, false, true, 1},
		{0, false, true, 1},
		{-time.Minute - time.Second, true, false, 1},
		{time.Second, true, true, 2},
		{time.Hour, false, false, 0},
	} {
		c.pass(one.pass)
		_, ada := s.Verify(text)
		_, bob := s.Verify(later)
		if n := remembered(t, s); ada != one.ada || bob != one.bob || n != one.remembered {
			t.Errorf("step %d: ada %t, bob %t, %d remembered, want %+v", i, ada, bob, n, one)
		}
	}
}

// TestRememberedTokensAreForgotten: with the keys that they were signed with, when they are over, and when asked.
func TestRememberedTokensAreForgotten(t *testing.T) {
	c := newClock()
	_, private := keyFiles(t, "HS256")
	s := parse(t, c, "sign-method=HS256", "priv-key="+private, "ttl=1m")
	verify := func(text string, want bool) {
		t.Helper()
		if _, ok := s.Verify(text); ok != want {
			t.Errorf("good %t, want %t", ok, want)
		}
	}
	text := signFor(t, s, "ada")
	verify(text, true)
	verify(strings.Replace(text, ".", "..", 1), false)
	if n := remembered(t, s); n != 1 {
		t.Errorf("%d remembered", n)
	}
	s.Forget()
	if n := remembered(t, s); n != 0 {
		t.Errorf("%d remembered after all were forgotten", n)
	}
	verify(text, true)
	c.pass(time.Minute)
	s.Sweep()
	if n := remembered(t, s); n != 0 {
		t.Errorf("%d remembered after they were over", n)
	}

	text = signFor(t, s, "ada")
	verify(text, true)
	secret, err := os.ReadFile(private)
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range []struct {
		secret string
		good   bool
	}{{"another secret, longer than the one before", false}, {string(secret), true}, {"a third", false}} {
		if err := os.WriteFile(private, []byte(one.secret), 0o600); err != nil {
			t.Fatal(err)
		}
		c.pass(reloadEvery)
		verify(text, one.good)
	}
}

// TestKeysThatChangeWhileTheyAreRead: what is read is stamped with what the files were before, so the next look finds a change that it missed.
func TestKeysThatChangeWhileTheyAreRead(t *testing.T) {
	c := newClock()
	_, private := keyFiles(t, "HS256")
	s := parse(t, c, "sign-method=HS256", "priv-key="+private)
	text := signFor(t, s, "ada")
	stamp := s.stampNow()
	if err := os.WriteFile(private, []byte("another secret, longer than the one before"), 0o600); err != nil {
		t.Fatal(err)
	}
	late, err := s.load(stamp) // looked at before the change, read after it; or the other way round, which looks the same
	if err != nil {
		t.Fatal(err)
	}
	s.keys.Store(late)
	c.pass(reloadEvery)
	if s.current() == late {
		t.Error("the files are taken for those that were looked at")
	}
	if _, ok := s.Verify(text); ok {
		t.Error("the old key still counts")
	}
}

// TestVerifiedIsBounded: by count and by bytes; a token that is too long is verified each time. What is over makes room first.
func TestVerifiedIsBounded(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	long := strings.Repeat("x", maxVerifiedToken-8)
	for what, one := range map[string]struct {
		prefix string
		times  int
	}{"count": {"", 3 * maxVerified}, "bytes": {long, 3 * maxVerifiedBytes / maxVerifiedToken}} {
		v := newVerified()
		most := 0
		for i := range one.times {
			v.add(fmt.Sprintf("%s%08d", one.prefix, i), signed{until: now.Add(time.Hour)}, now)
			most = max(most, len(v.all))
			if _, ok := v.find(fmt.Sprintf("%s%08d", one.prefix, i), now); !ok {
				t.Fatalf("%s: what was added last is not there", what)
			}
		}
		v.check(t)
		if least := min(maxVerified, maxVerifiedBytes/maxVerifiedToken, one.times); most < least {
			t.Errorf("%s: at most %d were remembered", what, most)
		}
	}

	v := newVerified()
	v.add(long+"123456789", signed{until: now.Add(time.Hour)}, now)
	if len(v.all) != 0 {
		t.Error("one that is too long is remembered")
	}
	for i := range maxVerified {
		v.add(fmt.Sprint(i), signed{until: now.Add(time.Duration(i%4) * time.Second)}, now)
	}
	v.add("new", signed{until: now.Add(time.Hour)}, now.Add(2*time.Second))
	v.check(t)
	if _, ok := v.find("3", now); !ok || len(v.all) != maxVerified/4+1 {
		t.Errorf("%d are left when three of four are over", len(v.all))
	}
}

// TestVerifyTogether: many at once, while keys change and tokens are forgotten.
func TestVerifyTogether(t *testing.T) {
	_, private := keyFiles(t, "HS256")
	kind, err := Parse("jwt,sign-method=HS256,priv-key="+private, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	s := kind.Signer
	texts := []string{signFor(t, s, "0"), signFor(t, s, "1"), signFor(t, s, "2")}
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			for i := range 300 {
				which := (i + worker) % len(texts)
				if claim, ok := s.Verify(texts[which]); !ok || claim.User != fmt.Sprint(which) {
					t.Errorf("%d is %+v, %t", which, claim, ok)
				}
				switch {
				case i%50 == 0:
					s.Forget()
				case i%70 == 0:
					s.Sweep()
				case i%90 == 0:
					keys := s.keys.Load()
					if fresh, err := s.load(keys.stamp); err != nil {
						t.Error(err)
					} else {
						s.keys.CompareAndSwap(keys, fresh)
					}
				}
			}
		})
	}
	all.Wait()
	remembered(t, s)
}
