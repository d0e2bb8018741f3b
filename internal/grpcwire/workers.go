package grpcwire

import (
	"sync"
	"sync/atomic"
)

// workersKept is the number of goroutines that are kept for calls; more are started as needed. A kept one has grown its stack already.
const workersKept = 256

// workers are the goroutines that run handlers.
type workers struct {
	jobs    chan *call
	quit    chan struct{}
	idle    atomic.Int32
	running sync.WaitGroup // handlers
}

func newWorkers() *workers {
	return &workers{jobs: make(chan *call), quit: make(chan struct{})}
}

// start runs a call's handler on a goroutine.
func (w *workers) start(t *call) {
	w.running.Add(1)
	select {
	case w.jobs <- t:
	default:
		go w.run(t)
	}
}

func (w *workers) run(t *call) {
	for {
		t.run()
		w.running.Done()
		if w.idle.Add(1) > workersKept {
			w.idle.Add(-1)
			return
		}
		select {
		case t = <-w.jobs:
			w.idle.Add(-1)
		case <-w.quit:
			return
		}
	}
}
