package service

import (
	"context"
	"sync"
)

// tasks counts what the service runs beside its calls, so that it can wait for the end of it.
type tasks struct {
	clock Clock
	mu    struct {
		sync.Mutex
		running int
		ended   chan struct{} // closed when nothing runs any more; nil until somebody waits
	}
}

// run runs fn beside the caller. It must not be called by others than tasks once wait was.
func (t *tasks) run(fn func()) {
	t.mu.Lock()
	t.mu.running++
	t.mu.Unlock()
	t.clock.Go(func() {
		defer t.end()
		fn()
	})
}

func (t *tasks) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.running--
	if t.mu.running == 0 && t.mu.ended != nil {
		close(t.mu.ended)
	}
}

// wait blocks until all tasks have ended. It may be called again, but not at the same time.
func (t *tasks) wait() {
	ended := t.waiting()
	if ended == nil {
		return
	}
	_ = t.clock.Wait(context.Background(), ended, -1) // without a limit there is no error
}

// waiting returns what is closed at the end of the last task, nil if none runs.
func (t *tasks) waiting() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mu.running == 0 {
		return nil
	}
	t.mu.ended = make(chan struct{})
	return t.mu.ended
}
