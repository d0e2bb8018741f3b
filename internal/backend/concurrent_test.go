package backend

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/quoin-kv/quoin/internal/schema"
)

// Writer, flusher, readers and defragmenter at once. The writer also deletes
// old revisions, except every tenth, as compaction does.
func TestEverybodyAtOnce(t *testing.T) {
	inEveryPlace(t, func(t *testing.T, p place) {
		b := mustOpen(t, p, Config{PendingBytesMax: 200_000, FlushBytes: 50_000})
		c := &crowd{t: t, b: b, done: make(chan struct{})}
		c.start(c.flusher)
		c.start(c.defragmenter)
		c.start(c.reader)
		c.start(c.reader)
		c.writer(6000)
		close(c.done)
		c.wait.Wait()
		mustFlush(t, b)
		c.readOnce()
		after := mustOpen(t, p.crash(t), Config{})
		if after.Flushed().Index != 6000 {
			t.Errorf("after all the file is at %v", after.Flushed())
		}
	})
}

type crowd struct {
	t         *testing.T
	b         *Backend
	done      chan struct{}
	wait      sync.WaitGroup
	committed atomic.Int64
	compacted atomic.Int64 // deletions may have happened up to here
}

func (c *crowd) start(f func()) { c.wait.Go(f) }

func (c *crowd) stopped() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

func (c *crowd) writer(last int64) {
	for main := int64(1); main <= last; main++ {
		if err := c.b.Throttle(context.Background()); err != nil {
			c.t.Error(err)
			return
		}
		c.b.Append(rev(main), false, content(main))
		if main > 1000 {
			c.compacted.Store(main - 1000)
			if old := main - 1000; old%10 != 0 {
				c.b.DeleteRecord(rev(old), false)
			}
		}
		if got, err := c.b.Record(rev(max(1, main-900))); err != nil || !bytes.Equal(got, content(max(1, main-900))) {
			c.t.Errorf("writer reads %d: %q, %v", main-900, got, err)
		}
		c.b.Commit(applied(uint64(main)))
		c.committed.Store(main)
	}
}

func (c *crowd) flusher() {
	for !c.stopped() {
		select {
		case <-c.b.FlushWanted():
		case <-c.done:
		}
		if _, err := c.b.Flush(uint64(c.committed.Load())); err != nil {
			c.t.Error(err)
		}
		c.b.Sizes()
	}
}

func (c *crowd) defragmenter() {
	for !c.stopped() {
		if err := c.b.Defragment(context.Background(), nil); err != nil {
			c.t.Error(err)
			return
		}
	}
}

func (c *crowd) reader() {
	for !c.stopped() {
		c.readOnce()
	}
}

// readOnce checks that a reader sees all that was committed before it was
// taken, except what may have been deleted by the time.
func (c *crowd) readOnce() {
	atLeast := c.committed.Load()
	r := c.b.Reader()
	defer r.Release()
	compacted := c.compacted.Load()
	next := int64(1)
	var wrong error
	err := r.Scan(rev(0), rev(1<<40), func(at schema.Rev, _ bool, rec []byte) bool {
		for ; next < at.Main; next++ {
			if next%10 == 0 || next > compacted {
				wrong = errors.Join(wrong, fmt.Errorf("revision %d is missing before %d", next, at.Main))
				return false
			}
		}
		next = at.Main + 1
		if !bytes.Equal(rec, content(at.Main)) {
			wrong = fmt.Errorf("revision %d holds %q", at.Main, rec)
		}
		return wrong == nil
	})
	if next <= atLeast && wrong == nil {
		wrong = fmt.Errorf("reader ends before %d, committed was %d", next, atLeast)
	}
	if err != nil || wrong != nil {
		c.t.Error(err, wrong)
	}
}
