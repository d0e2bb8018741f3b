package engine

import (
	"context"
	"time"
)

// timeout is a context that ends by the clock of a process. All but the error is done by a context of the standard library, so that
// contexts made of this one need no goroutine.
type timeout struct {
	context.Context
	parent   context.Context
	deadline time.Time
	expired  bool
}

// WithTimeout returns a context that ends when d has passed on the process's clock, when its parent ends, or with cancel.
func (p *Process) WithTimeout(parent context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	inner, cancel := context.WithCancel(parent)
	ctx := &timeout{Context: inner, parent: parent, deadline: p.Now().Add(d)}
	p.After(d, func() {
		if inner.Err() == nil {
			ctx.expired = true
			cancel()
		}
	})
	return ctx, cancel
}

// Now is what the process's clock shows, as a time.
func (p *Process) Now() time.Time { return epoch().Add(time.Duration(p.Local())) }

// epoch is the time that a clock at 0 shows.
func epoch() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

// Deadline implements context.Context.
func (t *timeout) Deadline() (time.Time, bool) {
	if d, ok := t.parent.Deadline(); ok && d.Before(t.deadline) {
		return d, true
	}
	return t.deadline, true
}

// Err implements context.Context.
func (t *timeout) Err() error {
	switch err := t.Context.Err(); {
	case err == nil:
		return nil
	case t.expired:
		return context.DeadlineExceeded
	default:
		if outer := t.parent.Err(); outer != nil {
			return outer
		}
		return err
	}
}
