package token

import (
	"maps"
	"sync"
	"time"
)

// What is remembered of tokens that were verified.
const (
	maxVerified      = 10_000
	maxVerifiedBytes = 8 << 20 // of tokens
	maxVerifiedToken = 8 << 10 // bytes of one that is remembered
)

// signed is what a token says whose signature is good: only from one time until another.
type signed struct {
	claim       Claim
	from, until time.Time
}

// holds reports whether it is in force.
func (o *signed) holds(now time.Time) bool { return !now.Before(o.from) && now.Before(o.until) }

// verified is the tokens that were found good by one key: a signature is dear to look at, and most tokens come again and again.
//
// Invariants:
//  1. bytes is the sum of the lengths of the tokens in all.
//  2. There are at most maxVerified of them, and bytes <= maxVerifiedBytes.
type verified struct {
	mu    sync.Mutex
	all   map[string]signed
	bytes int
}

func newVerified() verified { return verified{all: map[string]signed{}} }

// find returns what a token says that is known and in force. One that is not in force is forgotten.
func (v *verified) find(text string, now time.Time) (Claim, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	one, ok := v.all[text]
	if !ok {
		return Claim{}, false
	}
	if !one.holds(now) {
		delete(v.all, text)
		v.bytes -= len(text)
		return Claim{}, false
	}
	return one.claim, true
}

// add remembers a token. If there is no room it forgets those that are over and, if that leaves more than half, all: so that it seldom looks.
func (v *verified) add(text string, one signed, now time.Time) {
	if len(text) > maxVerifiedToken {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, ok := v.all[text]; ok {
		return // another call with it has come at the same time
	}
	if len(v.all) >= maxVerified || v.bytes+len(text) > maxVerifiedBytes {
		v.makeRoom(now)
	}
	v.all[text] = one
	v.bytes += len(text)
}

func (v *verified) makeRoom(now time.Time) {
	v.dropOver(now)
	if len(v.all) > maxVerified/2 || v.bytes > maxVerifiedBytes/2 {
		v.drop()
	}
}

// sweep forgets what is not in force.
func (v *verified) sweep(now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.dropOver(now)
}

// forget forgets everything.
func (v *verified) forget() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.drop()
}

func (v *verified) dropOver(now time.Time) {
	maps.DeleteFunc(v.all, func(text string, one signed) bool {
		over := !one.holds(now)
		if over {
			v.bytes -= len(text)
		}
		return over
	})
}

func (v *verified) drop() {
	v.all, v.bytes = map[string]signed{}, 0
}
