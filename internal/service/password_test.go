package service

import (
	"context"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// hasher is a service that computes password hashes and nothing else.
func hasher(cost, turns int, clock Clock) *Service {
	s := &Service{cfg: Config{Access: Access{BcryptCost: cost}}, clock: clock}
	s.access.hashing = make(chan struct{}, turns)
	for range turns {
		s.access.hashing <- struct{}{}
	}
	return s
}

// TestHashesAreBcrypts: package bcrypt accepts our hashes, and we its, of passwords of any length; other passwords neither of us.
func TestHashesAreBcrypts(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	ctx := t.Context()
	for _, n := range []int{0, 1, 2 + rng.IntN(30), 33 + rng.IntN(38), maxPassword} {
		s := hasher(bcrypt.MinCost+n%2, 1, SystemClock{})
		var password strings.Builder
		for range n {
			password.WriteByte(byte(rng.IntN(256)))
		}
		ours, err := s.newHash(ctx, password.String())
		if err != nil {
			t.Fatal(err)
		}
		if err := bcrypt.CompareHashAndPassword(ours, []byte(password.String())); err != nil {
			t.Errorf("%q: %v", password.String(), err)
		}
		theirs, err := bcrypt.GenerateFromPassword([]byte(password.String()), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		for _, hash := range [][]byte{ours, theirs} {
			if same, err := s.isPassword(ctx, hash, password.String()); !same || err != nil {
				t.Errorf("%s is not the hash of %q: %v", hash, password.String(), err)
			}
			if same, err := s.isPassword(ctx, hash, "x"+password.String()); same || err != nil {
				t.Errorf("%s is the hash of another than %q: %v", hash, password.String(), err)
			}
		}
	}
}

// TestNoHash: what has not the form of a hash is nobody's.
func TestNoHash(t *testing.T) {
	s := hasher(bcrypt.MinCost, 1, SystemClock{})
	good, err := s.newHash(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	for _, hash := range []string{"", "$", "$2a$04$", "$2a$99" + string(good[6:]), "$3a" + string(good[3:]), string(good) + "x", string(good[:59]), strings.Replace(string(good), "$2a$04$", "$2a$04$!", 1)} {
		if same, err := s.isPassword(t.Context(), []byte(hash), "a"); same || err != nil {
			t.Errorf("%q: %v, %v", hash, same, err)
		}
	}
	if _, err := s.newHash(t.Context(), strings.Repeat("a", maxPassword+1)); err != errPasswordTooLong {
		t.Errorf("a password that is too long: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.isPassword(ctx, good, "a"); err != context.Canceled {
		t.Errorf("a call that has ended: %v", err)
	}
}

// restClock adds up how often and how long hashes rest.
type restClock struct {
	SystemClock
	mu struct {
		sync.Mutex
		rests  int
		rested time.Duration
	}
}

func (c *restClock) Wait(ctx context.Context, wake <-chan struct{}, d time.Duration) error {
	if d >= 0 {
		c.mu.Lock()
		c.mu.rests++
		c.mu.rested += d
		c.mu.Unlock()
	}
	return c.SystemClock.Wait(ctx, wake, d)
}

// TestHashesRest: however many log in, no more hashes than turns are under way, each rests after every slice, and they rest for so long
// that they take no more than their part of the processors.
func TestHashesRest(t *testing.T) {
	const cost, logins = 6, 8
	clock := &restClock{}
	turns := runtime.GOMAXPROCS(0)
	s := hasher(cost, turns, clock)
	var all sync.WaitGroup
	began := time.Now()
	for range logins {
		all.Go(func() {
			if _, err := s.newHash(t.Context(), "word"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if want := logins << cost / roundsAtOnce; clock.mu.rests != want {
		t.Errorf("%d rests, want %d", clock.mu.rests, want)
	}
	if most := time.Duration(turns) * time.Since(began) * restsFor / (restsFor + 1); clock.mu.rested > most {
		t.Errorf("rested for %v of at most %v: more hashes than turns were under way", clock.mu.rested, most)
	}
}
