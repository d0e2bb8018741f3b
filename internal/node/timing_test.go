package node_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quoin-kv/quoin/internal/machine"
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
	spend := func(during func()) (*steps.Spent, steps.Step) {
		ctx, spent := steps.With(t.Context())
		began := time.Now()
		done := make(chan error, 1)
		go func() { done <- put(ctx, n, "a", "1") }()
		during()
		check(t, <-done)
		took := time.Since(began)
		return spent, spent.Close(took, took)
	}
	nothing := func() {}
	// The first one comes before there is a leader.
	if spent, step := spend(nothing); step != steps.Queue {
		t.Errorf("without a leader: %v", spent.LogValue())
	}
	slow.Store(true)
	if spent, step := spend(nothing); step != steps.Log {
		t.Errorf("with a slow log: %v", spent.LogValue())
	}
	slow.Store(false)
	spent, step := spend(func() { n.Inspect(func(*machine.Machine) { <-time.After(long) }) })
	if step != steps.Apply {
		t.Errorf("with a machine that is held: %v", spent.LogValue())
	}
	check(t, n.Stop())
}
