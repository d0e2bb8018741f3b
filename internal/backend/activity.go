package backend

import (
	"sync/atomic"
	"time"
)

// activity is what a backend is busy with, for those who watch over it.
type activity struct {
	snapshots     atomic.Int64 // of the file, open
	rewriting     atomic.Bool
	copied, total atomic.Int64 // bytes, of the rewrite under way
}

// Activity says what a backend is busy with.
type Activity struct {
	Snapshots     int64 // read transactions that are open; there is always one
	Rewriting     bool
	Copied, Total int64 // bytes, of the rewrite under way; the total is an estimate
}

// Activity returns what the backend is busy with.
func (b *Backend) Activity() Activity {
	a := b.cfg.activity
	return Activity{Snapshots: a.snapshots.Load(), Rewriting: a.rewriting.Load(), Copied: a.copied.Load(), Total: a.total.Load()}
}

// rewriteBegins notes that a rewrite is under way; the caller calls what it
// returns at the end.
func (b *Backend) rewriteBegins() (ends func(err error)) {
	a := b.cfg.activity
	a.copied.Store(0)
	a.total.Store(b.Sizes().InUseBytes)
	a.rewriting.Store(true)
	began := time.Now()
	return func(err error) {
		a.rewriting.Store(false)
		if err == nil && b.cfg.OnRewrite != nil {
			b.cfg.OnRewrite(time.Since(began))
		}
	}
}
