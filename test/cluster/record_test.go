package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/status"

	"github.com/quoin-kv/quoin/internal/model"
)

// A recorder keeps what all clients of a test see, on one clock.
type recorder struct {
	start time.Time
	// leases is what its leases are numbered from: those of an earlier history may not have ended yet.
	leases int64
	mu     struct {
		sync.Mutex
		lost     map[string]int // errors after which nobody knows, with their number
		history  model.History
		clients  int
		waiters  []*waiter
		revision int64 // the highest that was acknowledged
	}
}

// A waiter waits for the first acknowledged write that was called after a time,
// through one member or any.
type waiter struct {
	after  int64
	member uint64 // 0: any
	done   chan int64
}

func newRecorder() *recorder {
	r := &recorder{start: time.Now(), leases: rand.Int64N(1<<20) << 40}
	r.mu.lost = map[string]int{}
	return r
}

// now is the time on the recorder's clock, in nanoseconds; never 0.
func (r *recorder) now() int64 { return int64(time.Since(r.start)) + 1 }

// client returns a number for a new client.
func (r *recorder) client() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.clients++
	return r.mu.clients
}

// op keeps an operation and tells whoever waits for it.
func (r *recorder) op(op model.Op) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.history.Ops = append(r.mu.history.Ops, op)
	if op.Unknown || op.Failure != model.FailureNone {
		return
	}
	r.mu.revision = max(r.mu.revision, op.Response.Revision)
	if !acknowledgedPut(&op) {
		return
	}
	rest := r.mu.waiters[:0]
	for _, w := range r.mu.waiters {
		if op.Call >= w.after && (w.member == 0 || w.member == op.Member) {
			w.done <- op.Return
			continue
		}
		rest = append(rest, w)
	}
	r.mu.waiters = rest
}

// written returns when the first write was acknowledged that was called at or
// after a time, through a member (0: any).
func (r *recorder) written(ctx context.Context, after int64, member uint64) (int64, error) {
	w := &waiter{after: after, member: member, done: make(chan int64, 1)}
	r.mu.Lock()
	for i := range r.mu.history.Ops {
		if op := &r.mu.history.Ops[i]; acknowledgedPut(op) && op.Call >= after && (member == 0 || op.Member == member) {
			r.mu.Unlock()
			return op.Return, nil
		}
	}
	r.mu.waiters = append(r.mu.waiters, w)
	r.mu.Unlock()
	select {
	case at := <-w.done:
		return at, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// acknowledgedPut says whether an operation is a put with a good answer.
func acknowledgedPut(op *model.Op) bool {
	return op.Kind == model.Put && !op.Unknown && op.Failure == model.FailureNone
}

// lost counts an error after which nobody knows what happened.
func (r *recorder) lost(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := status.Convert(err)
	r.mu.lost[fmt.Sprintf("%s: %.60s", s.Code(), s.Message())]++
}

// losses describes what was counted so.
func (r *recorder) losses() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return fmt.Sprint(r.mu.lost)
}

// longestStop returns the longest time in [from, to) in which no put was acknowledged.
func (r *recorder) longestStop(from, to int64) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	returns := []int64{from, to}
	for i := range r.mu.history.Ops {
		if op := &r.mu.history.Ops[i]; acknowledgedPut(op) && op.Return > from && op.Return < to {
			returns = append(returns, op.Return)
		}
	}
	slices.Sort(returns)
	var longest int64
	for i := 1; i < len(returns); i++ {
		longest = max(longest, returns[i]-returns[i-1])
	}
	return longest
}

// watch keeps what a watcher saw.
func (r *recorder) watch(log model.WatchLog) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.history.Watches = append(r.mu.history.Watches, log)
}

// lease keeps the life of a lease.
func (r *recorder) lease(log model.LeaseLog) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.history.Leases = append(r.mu.history.Leases, log)
}

// latency returns the part-quantile (0.99: the 99th percentile) of the time that
// acknowledged puts called in [from, to) took, and how many there were.
func (r *recorder) latency(from, to int64, part float64) (time.Duration, int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []int64
	for i := range r.mu.history.Ops {
		if op := &r.mu.history.Ops[i]; acknowledgedPut(op) && op.Call >= from && op.Call < to {
			all = append(all, op.Return-op.Call)
		}
	}
	return quantile(all, part), len(all)
}

// judge checks the history. A history that fails is kept.
func (r *recorder) judge(t *testing.T) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	h := &r.mu.history
	unknown := 0
	for i := range h.Ops {
		if h.Ops[i].Unknown {
			unknown++
		}
	}
	slices.SortStableFunc(h.Ops, func(a, b model.Op) int { return cmp.Compare(a.Call, b.Call) })
	began := time.Now()
	err := h.Check(patience)
	t.Logf("judged %d operations, %d of unknown outcome, %d watchers, %d leases in %v",
		len(h.Ops), unknown, len(h.Watches), len(h.Leases), time.Since(began).Round(time.Millisecond))
	for _, text := range slices.Sorted(maps.Keys(r.mu.lost)) {
		t.Logf("unknown after %q: %d", text, r.mu.lost[text])
	}
	if err == nil {
		return
	}
	t.Errorf("%v", err)
	text, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(keepDir(t), "history.json")
	if err := os.WriteFile(name, text, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Logf("the history is in %s", name)
}
