package ctl

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"
)

// A workload is requests that workers send side by side.
type workload struct {
	requests, workers int
	over              time.Duration // they are begun evenly in this time, and none later; 0 for as fast as they are answered
	send              func(ctx context.Context, worker, request int) error
	progress          *Progress
}

// outcome is what came of a workload.
type outcome struct {
	mu     sync.Mutex
	took   []time.Duration // by requests that went well, in any order
	failed map[string]int  // how often, by text
	length time.Duration   // of it all
}

// run sends the requests until all are answered or ctx ends.
func (l workload) run(ctx context.Context) *outcome {
	o := &outcome{failed: map[string]int{}}
	began := time.Now()
	next := make(chan int)
	var workers sync.WaitGroup
	for w := range l.workers {
		workers.Go(func() {
			for n := range next {
				sent := time.Now()
				err := l.send(ctx, w, n)
				o.add(time.Since(sent), err)
			}
		})
	}
	l.handOut(ctx, began, next)
	close(next)
	workers.Wait()
	l.progress.End()
	o.length = time.Since(began)
	return o
}

// handOut gives each request to a worker that is free, when it is due.
func (l workload) handOut(ctx context.Context, began time.Time, next chan<- int) {
	if l.over > 0 {
		end, cancel := context.WithDeadline(ctx, began.Add(l.over))
		defer cancel()
		ctx = end
	}
	due := time.NewTimer(0)
	defer due.Stop()
	for n := range l.requests {
		due.Reset(time.Until(began.Add(l.over * time.Duration(n) / time.Duration(l.requests))))
		select {
		case <-due.C:
		case <-ctx.Done():
			return
		}
		select {
		case next <- n:
			l.progress.Count(int64(n+1), int64(l.requests))
		case <-ctx.Done():
			return
		}
	}
}

func (o *outcome) add(took time.Duration, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err != nil {
		o.failed[describe(err)]++
		return
	}
	o.took = append(o.took, took)
}

// rate is how many requests went well in a second.
func (o *outcome) rate() float64 {
	if o.length <= 0 {
		return 0
	}
	return float64(len(o.took)) / o.length.Seconds()
}

// slowest is the time of the slowest request in seconds.
func (o *outcome) slowest() float64 {
	if len(o.took) == 0 {
		return 0
	}
	return slices.Max(o.took).Seconds()
}

// deviation is the standard deviation of the times in seconds.
func (o *outcome) deviation() float64 {
	var sum, squares float64
	for _, t := range o.took {
		sum += t.Seconds()
	}
	mean := sum / float64(max(1, len(o.took)))
	for _, t := range o.took {
		squares += (t.Seconds() - mean) * (t.Seconds() - mean)
	}
	return math.Sqrt(squares / float64(max(1, len(o.took))))
}
