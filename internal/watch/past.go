package watch

import (
	"sync"
	"sync/atomic"
)

// pastBytesMax bounds the events of the past that are kept for other watchers.
const pastBytesMax = 16 << 20

// stretch is what a selection finds in a piece of the past: all its events from a revision to before another.
type stretch struct {
	sel        selection
	from, next int64
	compacted  int64 // the store's compacted revision when this was read, on which previous values depend
	events     [][]byte
	bytes      int
	revisions  int
}

// past is the stretches that were read last, for watchers that want the same: those that are far behind begin together more often than not,
// as after a restart of their clients. While no watcher is behind nothing is kept.
//
// Invariants:
//  1. bytes is the sum over stretches, and at most pastBytesMax unless there is only one.
//  2. What is kept never changes.
type past struct {
	slow *atomic.Int64 // watchers that are behind
	mu   struct {
		sync.Mutex
		stretches []*stretch // oldest first
		bytes     int
	}
}

// find returns what a selection finds from a revision on, nil if nobody has looked lately.
func (p *past) find(sel *selection, from, compacted int64) *stretch {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := len(p.mu.stretches) - 1; i >= 0; i-- {
		if s := p.mu.stretches[i]; s.from == from && s.compacted == compacted && s.sel == *sel {
			return s
		}
	}
	return nil
}

// keep keeps a stretch for others, if there may be others.
func (p *past) keep(s *stretch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.slow.Load() < 2 {
		return
	}
	p.mu.stretches = append(p.mu.stretches, s)
	p.mu.bytes += s.bytes
	for p.mu.bytes > pastBytesMax && len(p.mu.stretches) > 1 {
		p.mu.bytes -= p.mu.stretches[0].bytes
		p.mu.stretches[0] = nil
		p.mu.stretches = p.mu.stretches[1:]
	}
}

// forget frees what is kept. It is called when no watcher is behind any more.
func (p *past) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.stretches, p.mu.bytes = nil, 0
}
