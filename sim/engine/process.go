package engine

import (
	"context"
	"fmt"
	"iter"
	"runtime/debug"
	"slices"
	"time"
)

// Process is one run of a program in the simulation: its events, coroutines and clock. When it is killed all of them are gone at once, and
// while it is paused nothing of it happens, but everything that should have is made up for afterwards.
//
// Invariants:
//  1. At most one coroutine of all processes runs at a time, and only from within Exec.
//  2. A coroutine is either running, or in waiters once, or finished.
type Process struct {
	engine   *Engine
	dead     bool
	paused   bool
	late     []func() // what should have happened during the pause
	waiters  []*waiter
	routines []*coroutine
	current  *coroutine
	clock    clock
}

// clock is a local clock: it shows local at the virtual time virtual and runs at permille thousandths of the virtual speed.
type clock struct {
	virtual, local int64
	permille       int64
}

func (c *clock) at(virtual int64) int64 { return c.local + (virtual-c.virtual)*c.permille/1000 }

// coroutine is blocking code of a process.
type coroutine struct {
	resume func() (struct{}, bool)
	stop   func()
	yield  func(struct{}) bool
}

// waiter is a coroutine that waits for the first of several things.
type waiter struct {
	routine *coroutine
	ctx     context.Context
	wake    <-chan struct{}
	flag    *bool
	fired   bool
	err     error
}

// Panic is what a panic in a coroutine becomes on its way out of Exec, with the stack where it began.
type Panic struct {
	Value any
	Stack []byte
}

func (p *Panic) Error() string { return fmt.Sprintf("panic: %v\n%s", p.Value, p.Stack) }

// killed unwinds the coroutines of a process that is gone.
type killed struct{}

// NewProcess starts a process whose clock shows local nanoseconds now and runs at permille thousandths of the virtual speed.
func (e *Engine) NewProcess(local, permille int64) *Process {
	return &Process{engine: e, clock: clock{e.now, local, permille}}
}

// Alive reports whether the process has not been killed.
func (p *Process) Alive() bool { return !p.dead }

// Paused reports whether the process stands still.
func (p *Process) Paused() bool { return p.paused }

// Local is what the process's clock shows, in nanoseconds.
func (p *Process) Local() int64 { return p.clock.at(p.engine.now) }

// Tick changes the speed of the clock. Waits under way keep the speed that they began with.
func (p *Process) Tick(permille int64) {
	p.clock = clock{p.engine.now, p.Local(), permille}
}

// Jump moves the clock forward.
func (p *Process) Jump(by int64) { p.clock.local += by }

// Exec lets fn happen in the process, now or when it runs again, and then resumes every coroutine that can go on.
func (p *Process) Exec(fn func()) {
	switch {
	case p.dead:
	case p.paused:
		p.late = append(p.late, fn)
	default:
		fn()
		p.settle()
	}
}

// After lets fn happen in the process when d has passed on its clock.
func (p *Process) After(d time.Duration, fn func()) {
	p.engine.After(p.virtual(d), func() { p.Exec(fn) })
}

// AfterVirtual lets fn happen in the process after a number of virtual nanoseconds.
func (p *Process) AfterVirtual(ns int64, fn func()) {
	p.engine.After(ns, func() { p.Exec(fn) })
}

// virtual is the time after which the clock has moved by d at least.
func (p *Process) virtual(d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return int64(d)*1000/p.clock.permille + 1
}

// Pause makes the process stand still.
func (p *Process) Pause() { p.paused = true }

// Resume ends a pause.
func (p *Process) Resume() {
	p.paused = false
	late := p.late
	p.late = nil
	for _, fn := range late {
		p.Exec(fn)
	}
}

// Kill ends the process. It must not be called by one of its own coroutines.
func (p *Process) Kill() {
	if p.current != nil {
		panic("engine: a coroutine kills its own process")
	}
	p.dead, p.late, p.waiters = true, nil, nil
	routines := p.routines
	p.routines = nil
	for _, r := range routines {
		r.stop()
	}
}

// Go runs fn as a coroutine.
func (p *Process) Go(fn func()) {
	if p.dead {
		return
	}
	r := &coroutine{}
	r.resume, r.stop = iter.Pull(func(yield func(struct{}) bool) {
		r.yield = yield
		defer endOfRoutine()
		fn()
	})
	p.routines = append(p.routines, r)
	p.waiters = append(p.waiters, &waiter{routine: r, fired: true})
}

// endOfRoutine lets a killed coroutine end quietly and any other panic through, with its stack.
func endOfRoutine() {
	switch v := recover().(type) {
	case nil, killed:
	case *Panic:
		panic(v)
	default:
		panic(&Panic{v, debug.Stack()})
	}
}

// resumesMax bounds how often coroutines are resumed without time passing: more is a loop that never ends.
const resumesMax = 100_000

// settle resumes coroutines until none can go on.
func (p *Process) settle() {
	if p.current != nil {
		return
	}
	resumes := 0
	for again := true; again; {
		again = false
		for i := 0; i < len(p.waiters); {
			w := p.waiters[i]
			if !w.ready() {
				i++
				continue
			}
			p.waiters = slices.Delete(p.waiters, i, i+1)
			p.run(w.routine)
			if resumes++; resumes > resumesMax {
				panic("engine: coroutines go on for ever without time passing")
			}
			again = true
			if p.dead {
				return
			}
		}
	}
}

func (p *Process) run(r *coroutine) {
	p.current = r
	_, more := r.resume()
	p.current = nil
	if !more {
		p.routines = slices.DeleteFunc(p.routines, func(o *coroutine) bool { return o == r })
	}
}

// ready reports whether the waiter can go on, and takes what woke it.
func (w *waiter) ready() bool {
	if w.fired || w.flag != nil && *w.flag {
		return true
	}
	if w.wake != nil {
		select {
		case <-w.wake:
			return true
		default:
		}
	}
	if w.ctx != nil {
		w.err = w.ctx.Err()
	}
	return w.err != nil
}

// Wait blocks the calling coroutine until wake delivers or is closed or d has passed, then it returns nil; or until ctx ends, then it
// returns its error. A negative d is no limit, and wake may be nil.
func (p *Process) Wait(ctx context.Context, wake <-chan struct{}, d time.Duration) error {
	w := &waiter{ctx: ctx, wake: wake}
	if d >= 0 {
		p.After(d, func() { w.fired = true })
	}
	return p.park(w)
}

// Await blocks the calling coroutine until flag is set, which it notices when Exec has done what it was called for, or ctx ends.
func (p *Process) Await(ctx context.Context, flag *bool) error {
	return p.park(&waiter{ctx: ctx, flag: flag})
}

func (p *Process) park(w *waiter) error {
	if p.dead {
		panic(killed{})
	}
	if w.ready() {
		return w.err
	}
	r := p.current
	if r == nil {
		panic("engine: expected a coroutine that waits, found an event")
	}
	w.routine = r
	p.waiters = append(p.waiters, w)
	if !r.yield(struct{}{}) {
		panic(killed{})
	}
	return w.err
}
