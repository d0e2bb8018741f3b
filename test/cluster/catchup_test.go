package cluster

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
)

// load writes n values of a size through a member, outside of any history.
// keys bounds how many different keys there are.
func load(t *testing.T, m *member, n, keys, size int) {
	t.Helper()
	const writers = 64
	var next atomic.Int64
	var running sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range writers {
		running.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				write(ctx, m, i%keys, i, size)
			}
		})
	}
	began := time.Now()
	running.Wait()
	took := time.Since(began)
	t.Logf("loaded %d values of %d bytes in %v, %.0f a second", n, size, took.Round(time.Millisecond), float64(n)/took.Seconds())
}

// write puts one value and tries again until it is acknowledged.
func write(ctx context.Context, m *member, key, i, size int) {
	value := make([]byte, size)
	copy(value, fmt.Sprint(i))
	for ctx.Err() == nil {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		_, err := etcdserverpb.NewKVClient(m.conn).Put(ctx, &etcdserverpb.PutRequest{
			Key: fmt.Appendf(nil, "bulk/%09d", key), Value: value,
		})
		cancel()
		if err == nil {
			return
		}
		pause(ctx, 10*time.Millisecond)
	}
}

// TestFollowerBehind: a follower that has missed many entries catches up while
// clients write.
func TestFollowerBehind(t *testing.T) {
	c := newCluster(t, flags.network, 3, false)
	leader := c.leader(t)
	behind := c.others(leader)[0]
	behind.kill(t)
	load(t, leader, flags.behind, 100_000, 64)
	w := newWorkload(t, c)
	for _, m := range c.others(behind) {
		w.through(m)
	}
	calm := w.calm(t, c, behind)
	w.catchUp(t, c, calm, func() *member {
		behind.restart(t)
		eventually(t, "catching up", behind.serves)
		return behind
	})
}

// TestNewMemberOfLargeCluster: an empty member gets a large database while
// clients write.
func TestNewMemberOfLargeCluster(t *testing.T) {
	const size = 32 << 10
	c := newCluster(t, flags.network, 3, false)
	n := flags.large << 20 / size
	load(t, c.leader(t), n, n, size)
	w := newWorkload(t, c)
	for _, m := range c.members {
		w.through(m)
	}
	calm := w.calm(t, c, nil)
	w.catchUp(t, c, calm, func() *member { return c.add(t, true) })
}

// calm lets clients work undisturbed for a while and returns when that began.
func (w *workload) calm(t *testing.T, c *cluster, without *member) int64 {
	t.Helper()
	for _, m := range c.others(without) {
		w.writtenThrough(t, m, 0)
	}
	began := w.recorder.now()
	pause(t.Context(), 2*flags.election)
	return began
}

// catchUp lets a member come and waits until it serves what the others have,
// reports what that meant for the others' writes, and judges.
func (w *workload) catchUp(t *testing.T, c *cluster, calm int64, come func() *member) {
	t.Helper()
	began := w.recorder.now()
	m := come()
	done := w.recorder.now()
	w.through(m)
	w.writtenThrough(t, m, done)
	before, n := w.recorder.latency(calm, began, 0.99)
	t.Logf("undisturbed: p99 of %d writes %v", n, before.Round(time.Microsecond))
	during, n := w.recorder.latency(began, done, 0.99)
	t.Logf("%s caught up in %v; p99 of %d writes meanwhile %v",
		m.name, time.Duration(done-began).Round(time.Millisecond), n, during.Round(time.Microsecond))
	w.neverStopped(t, calm)
	w.finish(t, c)
}
