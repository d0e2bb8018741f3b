package node_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quoin-kv/quoin/internal/machine"
	"github.com/quoin-kv/quoin/internal/mvcc"
	"github.com/quoin-kv/quoin/internal/node"
	"github.com/quoin-kv/quoin/internal/steps"
	"github.com/quoin-kv/quoin/internal/vfs"
)

// TestWhereTheTimeGoes: a proposal that takes long says where: waiting for a leader, in the log, or behind what holds the machine.
func TestWhereTheTimeGoes(t *testing.T) {
	const long = 50 * time.Millisecond
	d := newDisks(t)
	var slow atomic.Bool
	n := start(t, d, vfs.Intercept(d.fs, func(op vfs.Op) error {
		if op.Kind == vfs.OpSync && slow.Load() && strings.HasSuffix(op.Path, ".wal") {
			<-time.After(long)
		}
		return nil
	}))
	spend := func() (*steps.Spent, steps.Step) {
		ctx, spent := steps.With(t.Context())
		began := time.Now()
		done := make(chan error, 1)
		go func() { done <- put(ctx, n, "a", "1") }()
		check(t, <-done)
		took := time.Since(began)
		return spent, spent.Close(took, took)
	}
	check(t, put(t.Context(), n, "a", "0")) // now it leads
	slow.Store(true)
	if spent, step := spend(); step != steps.Log {
		t.Errorf("with a slow log: %v", spent.LogValue())
	}
	slow.Store(false)
	held := make(chan struct{})
	go n.Inspect(func(*machine.Machine) { close(held); <-time.After(long) })
	<-held
	spent, step := spend()
	if step != steps.Apply {
		t.Errorf("with a machine that is held: %v", spent.LogValue())
	}
	check(t, n.Stop())

	alone := newCluster(t, 3, 0).members[0].start()
	ctx, waited := steps.With(t.Context())
	ctx, cancel := context.WithTimeout(ctx, long)
	defer cancel()
	if err := put(ctx, alone, "a", "1"); err == nil || waited.Close(long, long) != steps.Queue {
		t.Errorf("without a leader: %v, %v", err, waited.LogValue())
	}
}

// TestWhatIsNoticed: reads that get no index in time, leaders that come late, snapshots that are installed and compactions are told of.
func TestWhatIsNoticed(t *testing.T) {
	c := newCluster(t, 3, 0)
	var slowReads, lateHeartbeats, steps, compactions atomic.Int64
	var removed atomic.Int64
	var mu sync.Mutex
	var installing []bool
	for _, m := range c.members {
		stall := sync.OnceFunc(func() { <-time.After(60 * time.Millisecond) })
		m.change = func(nc *node.Config) {
			nc.Metrics = node.Metrics{
				SlowRead:      func() { slowReads.Add(1) },
				LateHeartbeat: func() { lateHeartbeats.Add(1) },
				LeaderChanged: stall, // holds up the loop
				Installing: func(yes bool) {
					mu.Lock()
					defer mu.Unlock()
					installing = append(installing, yes)
				},
				CompactionStep: func(_ time.Duration, work mvcc.CompactionWork) {
					steps.Add(1)
					removed.Add(work.Removed)
				},
				Compacted: func(took time.Duration) {
					compactions.Add(1)
					if took <= 0 || took > time.Minute {
						t.Errorf("a compaction took %v", took)
					}
				},
			}
		}
		m.start()
	}
	lead := c.leader()
	eventually(t, "the leader is late", func() bool { return lateHeartbeats.Load() > 0 })
	late := c.members[lead.id%3]
	late.cut.Store(true)
	for i := range 500 {
		check(t, lead.put(fmt.Sprint("k", i%50), fmt.Sprint(i)))
	}
	check(t, compact(t.Context(), lead.node.Load(), 400))
	check(t, lead.node.Load().WaitCompacted(t.Context()))
	if steps.Load() == 0 || removed.Load() == 0 || compactions.Load() == 0 {
		t.Errorf("%d compactions in %d steps removed %d records", compactions.Load(), steps.Load(), removed.Load())
	}
	lead.forgets(100)
	late.cut.Store(false)
	check(t, late.node.Load().WaitApplied(t.Context(), 400))
	eventually(t, "a snapshot was installed", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return slices.Equal(installing[:min(2, len(installing))], []bool{true, false})
	})

	for _, m := range c.members {
		m.cut.Store(m != lead)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := lead.node.Load().ReadIndex(ctx); err == nil || slowReads.Load() == 0 {
		t.Errorf("a leader without followers: %v, %d slow reads", err, slowReads.Load())
	}
	for _, m := range c.members {
		m.cut.Store(false)
	}
}
