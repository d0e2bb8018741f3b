package service

import (
	"time"

	"github.com/quoin-kv/quoin/internal/auth"
	"github.com/quoin-kv/quoin/internal/steps"
)

// Direct is a call that is served without a goroutine of its own: what it asks for, in wire form, and where its answer goes. It is ended once, by
// Answer, Fail or Leave, now or later, from any goroutine; none of these blocks, and after them it is not used any more.
type Direct interface {
	// Kind is the call's method.
	Kind() DirectKind
	// Request is the request, which may be kept.
	Request() []byte
	// Token is the token that the call shows; empty if it shows none.
	Token() string
	// OnCancel has it told that the client has given the call up before it was ended, perhaps at once, perhaps while it is being ended.
	OnCancel(c Cancelled)
	// Answer ends the call with a response, which is not changed any more. where says what it waited for, until Answer returns.
	Answer(response []byte, where Accounts)
	// Fail ends the call with an error as the ordinary calls give it.
	Fail(err error, where Accounts)
	// Leave has the call served the ordinary way, as if it had just come.
	Leave()
}

// Cancelled is told that a call was given up.
type Cancelled interface {
	// Cancelled tells why: an error of package context. It must not block.
	Cancelled(cause error)
}

// Accounts says where the time of a call went.
type Accounts interface {
	Account(spent *steps.Spent)
}

// DirectKind is a method that may be called directly.
type DirectKind uint8

// The methods.
const (
	DirectRange DirectKind = iota
	DirectPut
	DirectDeleteRange
	DirectTxn
	DirectLeaseGrant
)

// ServeDirect serves calls that have come together: what they write is proposed at once, and what they read is read from one view, after one wait
// if there has to be one. It does not block. What is unusual, large, or not allowed is left to the ordinary calls, which judge it as ever. The
// slice may be used again when it returns.
func (s *Service) ServeDirect(calls []Direct) {
	start := s.clock.Now()
	if !s.serveReads(calls, start) {
		return
	}
	s.serveWrites(calls, start)
}

// serveReads serves the calls that read, and reports whether there are others.
func (s *Service) serveReads(calls []Direct, start time.Time) (others bool) {
	reads := 0
	for _, c := range calls {
		if c.Kind() == DirectRange {
			reads++
		}
	}
	if reads > 0 {
		s.readDirect(calls, start)
	}
	return reads < len(calls)
}

// callers is who makes the calls that have come together, most of them the same user.
type callers struct {
	last string // a token, and whose it is; empty for none
	who  auth.Identity
}

// of returns who makes a call: nobody while authentication is off. It does not know whoever shows no token, or one that is not known here
// and now.
func (a *callers) of(s *Service, c Direct) (who auth.Identity, known bool) {
	if !s.AuthEnabled() {
		return auth.Identity{}, true
	}
	shown := c.Token()
	if shown == "" || s.cfg.Access.Of == nil {
		return auth.Identity{}, false
	}
	if shown == a.last {
		return a.who, true
	}
	if who, known = s.access.holder(shown); known {
		a.last, a.who = shown, who
	}
	return who, known
}
