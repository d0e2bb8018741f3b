package service

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/quoin-kv/quoin/internal/auth"
	"github.com/quoin-kv/quoin/internal/machine"
	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/token"
)

// changed is the users after a change.
func changed(t *testing.T, users *auth.State, r request.Request) *auth.State {
	t.Helper()
	next, err := users.Apply(r, nowhere{})
	if err != nil || next == users {
		t.Fatalf("%T: %v", r, err)
	}
	return next
}

// guarded is users of whom there is root alone, in force.
func guarded(t *testing.T) *auth.State {
	t.Helper()
	users := auth.New()
	for _, r := range []request.Request{
		&request.AuthUserAdd{Name: auth.Root}, &request.AuthUserGrantRole{User: auth.Root, Role: auth.Root}, &request.AuthEnable{},
	} {
		users = changed(t, users, r)
	}
	return users
}

// newAccess is an access with simple tokens whose time is told by now.
func newAccess(users *auth.State, now func() time.Time) *access {
	a := &access{tokens: token.Kind{Simple: true}, sessions: token.NewSimple(time.Hour, now)}
	a.users.Store(users)
	return a
}

// TestHolderOfAnEndedLogin: users that change while a login is looked up are not those as of which it was found.
func TestHolderOfAnEndedLogin(t *testing.T) {
	old := guarded(t)
	next := changed(t, old, &request.AuthUserAdd{Name: "other"})
	var a *access
	during := func() {}
	a = newAccess(old, func() time.Time {
		during()
		return time.Unix(0, 0)
	})
	a.sessions.Add("token", auth.Root)
	during = func() { a.users.Store(next) }
	who, ok := a.holder("token")
	if want := (auth.Identity{User: auth.Root, Revision: old.Revision()}); !ok || who != want {
		t.Errorf("%+v, %t, want %+v", who, ok, want)
	}
}

// TestHolderAsLoginsEnd: nobody is found by a login as of a revision at which it was over, however lookups and changes meet.
func TestHolderAsLoginsEnd(t *testing.T) {
	users := guarded(t)
	a := newAccess(users, time.Now)
	for round := range 500 {
		text := fmt.Sprint(round)
		a.sessions.Add(text, auth.Root)
		next := changed(t, users, &request.AuthUserChangePassword{Name: auth.Root})
		var both sync.WaitGroup
		both.Go(func() {
			a.note(&machine.Outcome{Users: next, Sessions: []machine.Session{{User: auth.Root}}})
		})
		for found := true; found; {
			var who auth.Identity
			if who, found = a.holder(text); found && who.Revision >= next.Revision() {
				t.Fatalf("round %d: found as of revision %d, the login was over at %d", round, who.Revision, next.Revision())
			}
		}
		both.Wait()
		users = next
	}
}

// TestHolderWithoutTokens: where no tokens are given, none counts, also if other members tell of logins.
func TestHolderWithoutTokens(t *testing.T) {
	a := newAccess(guarded(t), time.Now)
	a.tokens = token.Kind{}
	a.noteLogins([]machine.Session{{User: auth.Root, Token: "token"}})
	if who, ok := a.holder("token"); ok || who != (auth.Identity{}) {
		t.Errorf("%+v, %t", who, ok)
	}
}
