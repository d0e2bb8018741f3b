package service

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	courtesyAfterWrite = 100 * time.Millisecond // for so long after a write those who catch up leave time to others
	courtesyWaitMax    = 50 * time.Millisecond
	courtesyShare      = 8 // they take one part in so many of the processors
)

// courtesy spaces out the work for watchers that catch up, as long as there are writes: all streams together take at most an eighth of the
// processors for it, one after the other, and about as much goes into sending it. Else a write would stand in line behind them at each of its
// steps.
type courtesy struct {
	wrote atomic.Int64 // when the store changed last
	mu    struct {
		sync.Mutex
		free int64 // when the time that was taken has been given back
	}
}

// after returns how long someone waits who has worked from one time to another.
func (c *courtesy) after(began, now int64) time.Duration {
	if now-c.wrote.Load() > int64(courtesyAfterWrite) {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.free = max(c.mu.free, began) + courtesyShare*(now-began)/int64(runtime.GOMAXPROCS(0))
	wait := min(c.mu.free-now, int64(courtesyWaitMax))
	c.mu.free = now + wait
	return time.Duration(wait)
}

// Yield gives way to others if the messages since the last call took work for watchers that catch up; Poll has to be called in between. The error is
// ctx's.
func (w *WatchStream) Yield(ctx context.Context) error {
	began := w.turn
	w.turn = 0
	if !w.CaughtUp() || began == 0 {
		return nil
	}
	if wait := w.svc.courtesy.after(began, w.svc.now()); wait > 0 {
		return w.svc.clock.Wait(ctx, nil, wait)
	}
	runtime.Gosched()
	return nil
}
