// Package token is how a client shows who it is after it has logged in: by simple tokens, which every member keeps in memory, or by signed
// ones (JSON Web Tokens, RFC 7519), which say who it is themselves.
//
// What a token stands for is an identity; what that may do is package auth's business.
package token

import (
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ErrOptions is wrapped by what is wrong with the option that chooses the kind of tokens; the text is etcd's.
var ErrOptions = errors.New("auth: invalid auth options")

// simpleLetters is how many letters a simple token begins with.
const simpleLetters = 16

// NewPrefix draws the part of a simple token that nobody can guess: 16 letters.
func NewPrefix() string {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	out := make([]byte, 0, simpleLetters)
	var random [4 * simpleLetters]byte
	for len(out) < simpleLetters {
		_, _ = rand.Read(random[:]) // never fails
		for _, b := range random {
			// The greatest multiple of the number of letters keeps all letters equally likely.
			if int(b) < 256/len(letters)*len(letters) && len(out) < simpleLetters {
				out = append(out, letters[int(b)%len(letters)])
			}
		}
	}
	return string(out)
}

// Index is the index of the log entry that made a simple token valid, which comes after the one that the token names; false if text has not
// the form of one.
func Index(text string) (uint64, bool) {
	prefix, digits, ok := strings.Cut(text, ".")
	if !ok || len(prefix) != simpleLetters {
		return 0, false
	}
	before, err := strconv.ParseUint(digits, 10, 64)
	return before + 1, err == nil && before < math.MaxUint64
}

// maxSimple is the number of logins that a member remembers. Beyond it those used longest ago are forgotten.
const maxSimple = 100_000

// Simple is the logins that a member knows of by simple tokens. It may be used by many at once.
type Simple struct {
	ttl time.Duration
	now func() time.Time
	mu  sync.Mutex
	all map[string]*login // guarded by mu
}

type login struct {
	user string
	due  time.Time
}

// NewSimple returns a table whose logins end when they have not been used for ttl. now is the time.
func NewSimple(ttl time.Duration, now func() time.Time) *Simple {
	return &Simple{ttl: ttl, now: now, all: map[string]*login{}}
}

// Add notes a login.
func (s *Simple) Add(text, user string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.all) >= maxSimple {
		s.makeRoom()
	}
	s.all[text] = &login{user, s.now().Add(s.ttl)}
}

// makeRoom forgets what is over and, if that is not enough, the tenth that was used longest ago.
func (s *Simple) makeRoom() {
	s.sweep()
	if len(s.all) < maxSimple {
		return
	}
	byAge := slices.SortedFunc(maps.Keys(s.all), func(a, b string) int { return s.all[a].due.Compare(s.all[b].due) })
	for _, text := range byAge[:maxSimple/10] {
		delete(s.all, text)
	}
}

// User returns who has logged in with a token, and prolongs the login.
func (s *Simple) User(text string) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.all[text]
	if l == nil {
		return "", false
	}
	now := s.now()
	if !now.Before(l.due) {
		delete(s.all, text)
		return "", false
	}
	l.due = now.Add(s.ttl)
	return l.user, true
}

// Drop ends all logins of a user, or everybody's if user is empty.
func (s *Simple) Drop(user string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.all, func(_ string, l *login) bool { return user == "" || l.user == user })
}

// Sweep forgets logins that are over. Somebody should call it now and then.
func (s *Simple) Sweep() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep()
}

func (s *Simple) sweep() {
	now := s.now()
	maps.DeleteFunc(s.all, func(_ string, l *login) bool { return !now.Before(l.due) })
}

// Len is the number of logins, those that are over but not swept included.
func (s *Simple) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)
}

// Kind is what the option that chooses tokens says.
type Kind struct {
	Signer *Signer // nil: simple tokens, or none
	Simple bool    // neither Signer nor Simple: nobody can log in
}

// Parse reads the option: simple, jwt with its own options behind commas, or nothing. The key files are read.
func Parse(option string, now func() time.Time) (Kind, error) {
	name, rest, _ := strings.Cut(option, ",")
	switch name {
	case "":
		return Kind{}, nil
	case "simple":
		return Kind{Simple: true}, nil
	case "jwt":
		signer, err := newSigner(rest, now)
		if err != nil {
			return Kind{}, fmt.Errorf("%w: %w", ErrOptions, err)
		}
		return Kind{Signer: signer}, nil
	}
	return Kind{}, fmt.Errorf("%w: unknown token type %q", ErrOptions, name)
}
