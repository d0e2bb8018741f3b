package watch

import (
	"github.com/quoin-kv/quoin/internal/mvcc"
	"github.com/quoin-kv/quoin/internal/schema"
)

// History gives access to the store's present state. Acquire must be cheap, safe for concurrent use and never wait for a
// writer. Revisions of views never go down, and a view is available before the hub hears of its revision.
type History interface {
	Acquire() View
}

// View is what watchers need of an immutable state of the store; *mvcc.View has it. Everything returned is valid until Release,
// and Release is called once.
type View interface {
	// Rev is the view's revision.
	Rev() int64
	// CompactRev is the compacted revision, -1 if there was no compaction. Events above it and those at it are complete.
	CompactRev() int64
	// Changes returns the events of a range between two revisions, whole revisions within bounds, in order, and the
	// revision from which to go on.
	Changes(q mvcc.ChangesQuery) (mvcc.Changes, error)
	// Record returns the record of a put that an event names as the previous one.
	Record(rev schema.Rev) ([]byte, error)
	// Release gives the view back.
	Release()
}

// lookup reads previous values for one response from one view, which it acquires when first needed.
type lookup struct {
	history History
	view    View
}

// compacted reports whether the revision before rev can be read no more.
func (l *lookup) compacted(rev int64) bool { return l.acquire().CompactRev() > rev-1 }

// before returns the record that ev replaced, nil if there was none.
func (l *lookup) before(ev *event) ([]byte, error) {
	if ev.prev.IsZero() {
		return nil, nil
	}
	return l.view.Record(ev.prev)
}

func (l *lookup) acquire() View {
	if l.view == nil {
		l.view = l.history.Acquire()
	}
	return l.view
}

func (l *lookup) release() {
	if l.view != nil {
		l.view.Release()
		l.view = nil
	}
}
