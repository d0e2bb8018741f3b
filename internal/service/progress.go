package service

import (
	"container/heap"
	"sync"
	"time"

	"github.com/quoin-kv/quoin/internal/watch"
)

// progress makes the periodic progress of all watch streams due, each at its own pace.
type progress struct {
	wake chan struct{} // capacity 1: the first one due has changed
	mu   struct {
		sync.Mutex
		beats beats
	}
}

// beat is when the progress of a stream is due next.
type beat struct {
	stream *watch.Stream
	due    time.Time
	period time.Duration
	at     int // in the heap, -1 outside
}

func (p *progress) init() { p.wake = make(chan struct{}, 1) }

// add begins to tick for a stream.
func (p *progress) add(b *beat) {
	p.mu.Lock()
	defer p.mu.Unlock()
	heap.Push(&p.mu.beats, b)
	if b.at == 0 {
		poke(p.wake)
	}
}

// remove ends that.
func (p *progress) remove(b *beat) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b.at >= 0 {
		heap.Remove(&p.mu.beats, b.at)
	}
}

// due returns the streams whose progress is due, and the time until the next one is, negative if there is none.
func (p *progress) due(now time.Time) (streams []*watch.Stream, next time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.mu.beats) > 0 {
		first := p.mu.beats[0]
		if wait := first.due.Sub(now); wait > 0 {
			return streams, wait
		}
		streams = append(streams, first.stream)
		first.due = now.Add(first.period)
		heap.Fix(&p.mu.beats, 0)
	}
	return nil, -1
}

// runProgress ticks the streams.
func (s *Service) runProgress() {
	for {
		streams, wait := s.progress.due(s.clock.Now())
		for _, stream := range streams {
			stream.Tick()
		}
		if s.clock.Wait(s.ctx, s.progress.wake, wait) != nil {
			return
		}
	}
}

// poke signals a channel of capacity 1.
func poke(wake chan<- struct{}) {
	select {
	case wake <- struct{}{}:
	default: // it is signalled already
	}
}

// beats is a heap by due.
type beats []*beat

func (b beats) Len() int           { return len(b) }
func (b beats) Less(i, j int) bool { return b[i].due.Before(b[j].due) }

func (b beats) Swap(i, j int) {
	b[i], b[j] = b[j], b[i]
	b[i].at, b[j].at = i, j
}

// Push adds a beat (heap.Interface).
func (b *beats) Push(x any) {
	one := x.(*beat)
	one.at = len(*b)
	*b = append(*b, one)
}

// Pop takes the last beat (heap.Interface).
func (b *beats) Pop() any {
	last := len(*b) - 1
	one := (*b)[last]
	(*b)[last] = nil
	*b = (*b)[:last]
	one.at = -1
	return one
}
