package node_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/machine"
	"github.com/quoin-kv/quoin/internal/membership"
	"github.com/quoin-kv/quoin/internal/node"
	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/raft"
)

// giveUp runs call twice, once with a deadline and once cancelled, and returns both errors.
func giveUp(t *testing.T, call func(context.Context) error) (late, cancelled error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	late = call(ctx)
	cancel()
	ctx, cancel = context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- call(ctx) }()
	synctest.Wait()
	cancel()
	return late, <-done
}

func wantErrors(t *testing.T, what string, late, wantLate, cancelled, wantCancelled error) {
	t.Helper()
	if !errors.Is(late, wantLate) || !errors.Is(cancelled, wantCancelled) {
		t.Errorf("%s: %v when the time is over, want %v; %v when cancelled, want %v", what, late, wantLate, cancelled, wantCancelled)
	}
}

// TestErrorsWithoutLeader: what no leader took is certainly without effect, and the context's own error says so. Nothing of it is kept.
func TestErrorsWithoutLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, newDisksOf(t, 2), nil) // the other one does not run
		late, cancelled := giveUp(t, func(ctx context.Context) error { return put(ctx, n, "a", "1") })
		wantErrors(t, "put", late, context.DeadlineExceeded, cancelled, context.Canceled)
		late, cancelled = giveUp(t, n.ReadIndex)
		wantErrors(t, "read", late, kverr.Timeout, cancelled, context.Canceled)
		late, cancelled = giveUp(t, func(ctx context.Context) error { return n.WaitApplied(ctx, 1000) })
		wantErrors(t, "wait", late, kverr.Timeout, cancelled, context.Canceled)
		if p := n.Pending(); p != 0 {
			t.Errorf("%d proposals still wait", p)
		}
		if st := n.Status(); st.Lead != 0 || st.Commit != 2 || st.Applied != 2 {
			t.Errorf("status %+v", st)
		}
		check(t, n.Stop())
	})
}

// TestErrorsAfterAcceptance: what the leader has may happen, so the outcome is unknown.
func TestErrorsAfterAcceptance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, slow := newDisks(t), newGate()
		n := start(t, d, slow.syncs(d.fs))
		check(t, put(t.Context(), n, "a", "1"))
		slow.shut.Store(true)
		late, cancelled := giveUp(t, func(ctx context.Context) error { return put(ctx, n, "a", "2") })
		wantErrors(t, "put", late, kverr.Timeout, cancelled, kverr.Canceled)
		slow.shut.Store(false)
		close(slow.open)
		check(t, put(t.Context(), n, "b", "1"))
		if got := get(t, n, "a"); got != "2" {
			t.Errorf("a is %q: both puts were in the log", got)
		}
		check(t, n.Stop())
	})
}

// TestBytesAreBounded: proposals are refused when too many bytes wait; a single one may be as large as it likes.
func TestBytesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, slow := newDisks(t), newGate()
		n := options{fs: slow.syncs(d.fs), node: func(c *node.Config) { c.MaxPendingBytes = 10 << 10 }}.start(t, d)
		check(t, put(t.Context(), n, "large", strings.Repeat("x", 100<<10)))
		slow.shut.Store(true)
		answers := make(chan error)
		for range 2 {
			go func() { answers <- put(t.Context(), n, "a", strings.Repeat("x", 4<<10)) }()
		}
		synctest.Wait()
		if err := put(t.Context(), n, "a", strings.Repeat("x", 4<<10)); !errors.Is(err, kverr.TooManyRequests) {
			t.Errorf("12 KiB that wait, 10 allowed: %v", err)
		}
		go func() { answers <- put(t.Context(), n, "a", "small") }()
		slow.shut.Store(false)
		close(slow.open)
		for range 3 {
			check(t, <-answers)
		}
		check(t, put(t.Context(), n, "a", strings.Repeat("x", 9<<10))) // all is given back
		check(t, n.Stop())
	})
}

// TestChangesAreProposedOnce lets data be held back that came before a change of the configuration: when it is tried again, the change is not.
func TestChangesAreProposedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, slow := newDisks(t), newGate()
		n := options{fs: slow.syncs(d.fs), core: func(c *raft.Config) { c.MaxUncommittedBytes = 300 }}.start(t, d)
		check(t, put(t.Context(), n, "a", "1"))
		slow.shut.Store(true)
		answers := make(chan error)
		for range 2 {
			go func() { answers <- put(t.Context(), n, "a", strings.Repeat("x", 200)) }()
			synctest.Wait()
		}
		learner := schema.Member{ID: 9, PeerURLs: []string{"http://l:1"}, IsLearner: true}
		go func() { answers <- n.ProposeConfChange(t.Context(), membership.AddChange(ids.Add(1), learner)) }()
		synctest.Wait()
		n.Campaign() // one more turn of the loop
		synctest.Wait()
		slow.shut.Store(false)
		close(slow.open)
		for range 3 {
			check(t, <-answers)
		}
		// Nobody answers for the learner, but it has no vote.
		if err := n.ProposeConfChange(t.Context(), membership.AddChange(ids.Add(1), learner)); err == nil {
			t.Error("the same member was added twice")
		}
		var learners int
		n.Inspect(func(m *machine.Machine) { learners = len(m.Members().Learners()) })
		if learners != 1 || len(n.Status().ConfState.Learners) != 1 {
			t.Errorf("%d learners, status %+v", learners, n.Status().ConfState)
		}
		check(t, n.Stop())
	})
}

func TestWaitApplied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, newDisks(t), nil)
		check(t, put(t.Context(), n, "a", "1"))
		now := n.Status().Applied
		check(t, n.WaitApplied(t.Context(), now))
		next := make(chan error, 1)
		go func() { next <- n.WaitApplied(t.Context(), now+1) }()
		synctest.Wait()
		select {
		case err := <-next:
			t.Fatalf("applied to %d, waiting for %d gives %v", now, now+1, err)
		default:
		}
		check(t, put(t.Context(), n, "a", "2"))
		check(t, <-next)
		go func() { next <- n.WaitApplied(t.Context(), now+1000) }()
		synctest.Wait()
		check(t, n.Stop())
		if err := <-next; !errors.Is(err, kverr.Stopped) {
			t.Errorf("waiting when the node stops gives %v", err)
		}
	})
}

// TestInspectStandsBetweenBatches: what is inspected does not change meanwhile, and is at least what was answered.
func TestInspectStandsBetweenBatches(t *testing.T) {
	n := start(t, newDisks(t), nil)
	check(t, put(t.Context(), n, "a", "1"))
	answer := make(chan error, 1)
	n.Inspect(func(m *machine.Machine) {
		before := m.Rev()
		go func() { answer <- put(t.Context(), n, "a", "2") }()
		for st := n.Status(); st.Commit == st.Applied; st = n.Status() {
			runtime.Gosched() // until the put waits for the machine
		}
		if m.Rev() != before || before != 2 || len(answer) != 0 {
			t.Errorf("revision %d, then %d, %d answers", before, m.Rev(), len(answer))
		}
	})
	check(t, <-answer)
	n.Inspect(func(m *machine.Machine) {
		if m.Rev() != 3 {
			t.Errorf("revision %d after the answer", m.Rev())
		}
	})
	check(t, n.Stop())
}

// TestCompactionGoesOnAfterARestart cuts a compaction off in the middle, several times.
func TestCompactionGoesOnAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisks(t)
		slowly := options{node: func(c *node.Config) { c.CompactionBatch, c.CompactionPause = 7, time.Hour }}
		n := slowly.start(t, d)
		for i := range 100 {
			check(t, put(t.Context(), n, "k", fmt.Sprint(i)))
		}
		check(t, compact(t.Context(), n, 90))
		for range 3 {
			late, cancelled := giveUp(t, n.WaitCompacted)
			wantErrors(t, "wait", late, context.DeadlineExceeded, cancelled, context.Canceled)
			check(t, n.Stop())
			if left := d.records(t); left < 13 {
				t.Fatalf("%d records are left, so nothing was cut off", left)
			}
			n = slowly.start(t, d)
		}
		waiting := make(chan error, 1)
		go func() { waiting <- n.WaitCompacted(t.Context()) }()
		synctest.Wait()
		check(t, n.Stop())
		if err := <-waiting; !errors.Is(err, kverr.Stopped) {
			t.Errorf("waiting when the node stops gives %v", err)
		}
		n = start(t, d, nil)
		check(t, n.WaitCompacted(t.Context()))
		check(t, n.WaitCompacted(t.Context())) // nothing to wait for
		check(t, n.Stop())
		if left := d.records(t); left != 12 { // revisions 90 to 101
			t.Errorf("%d records are left, want 12", left)
		}
	})
}
