package watch

import "github.com/quoin-kv/quoin/internal/interval"

// watcher is one watch: what it wants and how far it has got. All but the first group belongs to the stream's lock.
//
// Invariants:
//  1. All events of the selection below next have been handed out or are being handed out by the Next under way.
//  2. All events of the selection known to the hub are below next or at most last; the watcher is queued iff next <= last,
//     unless it is dead or gone.
//  3. A watcher that is behind is queued.
//  4. A dead or gone watcher is never handed out events.
type watcher struct {
	id         int64
	stream     *Stream
	sel        selection
	start      int64 // as the client gave it
	fragment   bool
	progress   bool // wants periodic progress
	registered *interval.Entry[*watcher]

	next   int64 // cursor: the first revision not looked at
	last   int64 // the last revision known to concern it
	behind bool  // catching up: gets batches, holds up manual progress
	dead   bool  // compacted under its cursor; keeps its id until the client cancels it
	gone   bool  // canceled or closed
	active bool  // got events since the last tick
	queued bool  // in the ready list or being served
	ticked bool  // a periodic progress answer waits to be taken
	after  *watcher
}

// ready is the list of watchers that have something to do, in order of service.
type ready struct{ first, tail *watcher }

func (l *ready) empty() bool { return l.first == nil }

func (l *ready) push(w *watcher) {
	if l.first == nil {
		l.first = w
	} else {
		l.tail.after = w
	}
	l.tail = w
}

func (l *ready) pop() *watcher {
	w := l.first
	if w != nil {
		l.first, w.after = w.after, nil
	}
	return w
}

// prepend moves the watchers of another list to the front.
func (l *ready) prepend(o *ready) {
	if o.first == nil {
		return
	}
	if l.first == nil {
		l.tail = o.tail
	}
	o.tail.after, l.first = l.first, o.first
	*o = ready{}
}
