package node_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quoin-kv/quoin/internal/backend"
	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/mvcc"
	"github.com/quoin-kv/quoin/internal/node"
	"github.com/quoin-kv/quoin/internal/vfs"
)

// gate lets the calls of one kind wait while it is shut.
type gate struct {
	shut atomic.Bool
	open chan struct{}
}

func newGate() *gate { return &gate{open: make(chan struct{})} }

func (g *gate) pass() {
	if g.shut.Load() {
		<-g.open
	}
}

// syncs wraps a file system so that its syncs pass the gate.
func (g *gate) syncs(fs vfs.FS) vfs.FS {
	return vfs.Intercept(fs, func(op vfs.Op) error {
		if op.Kind == vfs.OpSync {
			g.pass()
		}
		return nil
	})
}

// TestStopUnderLoad stops a node while writers, readers and compactions are at work: every call returns, and what was acknowledged is there.
func TestStopUnderLoad(t *testing.T) {
	d := newDisks(t)
	for round := range 10 {
		n := start(t, d, d.fs)
		var last [8]atomic.Int64
		var calls sync.WaitGroup
		var puts atomic.Int64
		busy := make(chan struct{})
		for w := range last {
			calls.Go(func() { writeUntilStopped(t, n, fmt.Sprint("key", w), &last[w], &puts, busy) })
			calls.Go(func() { readUntilStopped(t, n) })
		}
		<-busy
		_ = compact(t.Context(), n, 50) // may be compacted already
		calls.Go(func() { check(t, n.Stop()) })
		check(t, n.Stop())
		calls.Wait()
		n = start(t, d, d.fs)
		for w := range last {
			if got, want := get(t, n, fmt.Sprint("key", w)), last[w].Load(); want > 0 && got < fmt.Sprintf("%09d", want) {
				t.Errorf("round %d: key%d is %q, but %d was acknowledged", round, w, got, want)
			}
		}
		check(t, n.Stop())
	}
}

func writeUntilStopped(t *testing.T, n *node.Node, key string, last, puts *atomic.Int64, busy chan struct{}) {
	for value := int64(1); ; value++ {
		err := put(t.Context(), n, key, fmt.Sprintf("%09d", value))
		if err != nil {
			if !errors.Is(err, kverr.Stopped) {
				t.Errorf("put: %v", err)
			}
			return
		}
		last.Store(value)
		if puts.Add(1) == 200 {
			close(busy)
		}
	}
}

func readUntilStopped(t *testing.T, n *node.Node) {
	for {
		if err := n.ReadIndex(t.Context()); err != nil {
			if !errors.Is(err, kverr.Stopped) {
				t.Errorf("read index: %v", err)
			}
			return
		}
		v, err := n.View()
		if err != nil {
			return
		}
		if _, err := v.HashKV(0); err != nil {
			t.Errorf("hash: %v", err)
		}
		v.Release()
	}
}

// TestStopWhileTheApplierWaits fills the pending layers while the flusher is stuck. The applier then waits; Stop ends that.
func TestStopWhileTheApplierWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, stuck := newDisks(t), newGate()
		n := options{backend: func(c *backend.Config) {
			c.PendingBytesMax, c.FlushBytes = 4<<10, 1<<10
			c.OnFlush = func(backend.FlushInfo) { stuck.pass() }
		}}.start(t, d)
		value := strings.Repeat("x", 1<<10)
		for range 50 { // more than fits, so flushes make room
			check(t, put(t.Context(), n, "a", value))
		}
		check(t, n.Flush(t.Context()))
		stuck.shut.Store(true)
		last := 0
		for {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			err := put(ctx, n, "b", fmt.Sprintf("%s%04d", value, last+1))
			cancel()
			if err != nil {
				if !errors.Is(err, kverr.Timeout) {
					t.Fatalf("a put that cannot be applied gives %v", err)
				}
				break
			}
			last++
		}
		if last < 2 || last > 10 {
			t.Errorf("%d puts of 1 KiB found room, the bound is 4 KiB and one flush", last)
		}
		unknown := make(chan error, 1)
		go func() { unknown <- put(t.Context(), n, "c", "1") }()
		stopped := make(chan error, 1)
		synctest.Wait()
		go func() { stopped <- n.Stop() }()
		if err := <-unknown; !errors.Is(err, kverr.Stopped) {
			t.Errorf("a put that waits when the node stops gives %v", err)
		}
		close(stuck.open)
		check(t, <-stopped)
		n = start(t, d, d.fs)
		if got := get(t, n, "b"); got < fmt.Sprintf("%s%04d", value, last) {
			t.Errorf("b is %q, but %d was acknowledged", got, last)
		}
		check(t, n.Stop())
	})
}

// TestFailedFlush: the node ends with the error of the database file, and a restart finds in the log what the file lacks.
func TestFailedFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisks(t)
		n := start(t, d, d.fs)
		check(t, put(t.Context(), n, "a", "flushed"))
		check(t, n.Flush(t.Context()))
		d.db.Fail(syscall.EIO)
		acknowledged := 0
		for ; ; acknowledged++ {
			if err := put(t.Context(), n, "a", fmt.Sprint(acknowledged+1)); err != nil {
				if !errors.Is(err, kverr.Stopped) {
					t.Errorf("a put after the failure gives %v", err)
				}
				break
			}
		}
		<-n.Done()
		for _, err := range []error{n.Err(), n.Stop(), n.Stop()} {
			if !errors.Is(err, backend.ErrPoisoned) || !errors.Is(err, syscall.EIO) {
				t.Errorf("the node ends with %v", err)
			}
		}
		if err := n.Flush(t.Context()); !errors.Is(err, kverr.Stopped) {
			t.Errorf("a flush afterwards gives %v", err)
		}
		d.db.Fail(nil)
		n = start(t, d, d.fs)
		if got := get(t, n, "a"); acknowledged > 0 && got != fmt.Sprint(acknowledged) && got != fmt.Sprint(acknowledged+1) {
			t.Errorf("a is %q, but %d was acknowledged", got, acknowledged)
		}
		check(t, n.Stop())
	})
}

// TestViewOutlivesStop: who holds a view may go on reading, a new one is not to be had.
func TestViewOutlivesStop(t *testing.T) {
	d := newDisks(t)
	n := start(t, d, d.fs)
	check(t, put(t.Context(), n, "a", "1"))
	v, err := n.View()
	check(t, err)
	check(t, n.Stop())
	if _, err := n.View(); !errors.Is(err, kverr.Stopped) {
		t.Errorf("a view of a stopped node: %v", err)
	}
	if r, err := v.Range(mvcc.Query{Key: []byte("a")}); err != nil || len(r.Records) != 1 {
		t.Errorf("the held view gives %v, %v", r, err)
	}
	v.Release()
	b, err := backend.OpenMemory(backend.Config{}, d.db) // nobody holds the file any more
	check(t, err)
	check(t, b.Close())
}
