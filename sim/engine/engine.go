// Package engine is the time in which a simulation lives: one thread, a queue of events in order of a virtual clock, and processes whose
// blocking code runs as coroutines that only the queue resumes. The same inputs give the same order of everything.
package engine

import (
	"fmt"
	"io"
)

// Engine is the queue of what will happen. It is used by one goroutine.
//
// Invariants:
//  1. Events happen in order of their time, those of one time in the order in which they were asked for.
//  2. The time never goes back.
type Engine struct {
	now   int64
	next  uint64
	queue queue
	steps uint64
	same  int // events at the present time
	hash  uint64
	trace io.Writer
}

// New returns an engine at time 0. trace, if not nil, gets a line for every note.
func New(trace io.Writer) *Engine { return &Engine{hash: fnvOffset, trace: trace} }

// Now is the virtual time in nanoseconds.
func (e *Engine) Now() int64 { return e.now }

// Steps is the number of events that have happened.
func (e *Engine) Steps() uint64 { return e.steps }

// At lets fn happen at a time, or now if that has passed.
func (e *Engine) At(at int64, fn func()) {
	e.next++
	e.queue.push(event{max(at, e.now), e.next, fn})
}

// After lets fn happen when delay nanoseconds have passed.
func (e *Engine) After(delay int64, fn func()) { e.At(e.now+max(delay, 0), fn) }

// Run lets everything happen up to and including time until, or up to the first event after which done says so.
func (e *Engine) Run(until int64, done func() bool) {
	for len(e.queue) > 0 && e.queue[0].at <= until {
		ev := e.queue.pop()
		e.advance(ev.at)
		e.steps++
		ev.fn()
		if done != nil && done() {
			return
		}
	}
	e.now = max(e.now, until)
}

// The constants of the 64-bit FNV-1a hash.
const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

// stepsMax bounds what happens at one time: more is a loop that never ends.
const stepsMax = 1_000_000

// advance moves the time on.
func (e *Engine) advance(to int64) {
	if to > e.now {
		e.now, e.same = to, 0
	}
	if e.same++; e.same > stepsMax {
		panic("engine: events go on for ever without time passing")
	}
}

// Note records that something happened to somebody: it goes into the hash of the run and into the trace.
func (e *Engine) Note(what string, who int, numbers ...uint64) {
	h := e.hash
	for i := range len(what) {
		h = (h ^ uint64(what[i])) * fnvPrime
	}
	h = (h ^ uint64(e.now)) * fnvPrime
	h = (h ^ uint64(who)) * fnvPrime
	for _, n := range numbers {
		h = (h ^ n) * fnvPrime
	}
	e.hash = h
	if e.trace != nil {
		fmt.Fprintf(e.trace, "%13.6f %3d %s %v\n", float64(e.now)/1e9, who, what, numbers)
	}
}

// Comment writes a line into the trace that does not count for the hash. Who makes it should ask Traced first if it costs anything.
func (e *Engine) Comment(who int, format string, args ...any) {
	if e.trace != nil {
		fmt.Fprintf(e.trace, "%13.6f %3d # %s\n", float64(e.now)/1e9, who, fmt.Sprintf(format, args...))
	}
}

// Traced reports whether anybody reads the trace.
func (e *Engine) Traced() bool { return e.trace != nil }

// Hash is a fingerprint of everything noted so far.
func (e *Engine) Hash() uint64 { return e.hash }
