package service_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/quoin-kv/quoin/internal/service"
	"github.com/quoin-kv/quoin/internal/service/servicetest"
)

func compacts(c service.AutoCompaction) func(*servicetest.Options) {
	return func(o *servicetest.Options) { o.Service.AutoCompaction = c }
}

// TestCompactionByPeriod writes once a second, so that revisions tell their age, and looks at what is forgotten when.
func TestCompactionByPeriod(t *testing.T) {
	for _, c := range []struct {
		period, step  time.Duration
		first, second int // steps until the first and between the first and the next compaction
	}{
		{10 * time.Second, time.Second, 10, 10},
		{time.Minute, time.Second, 60, 60},
	} {
		t.Run(c.period.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := start(t, compacts(service.AutoCompaction{Period: c.period}))
				after(100 * time.Millisecond)
				var at []int // steps at which a compaction was seen
				last := m.KeySpace().Compacted
				for step := 1; step <= c.first+2*c.second+2; step++ {
					put(t, m, "k", fmt.Sprint(step))
					after(c.step)
					k := m.KeySpace()
					if k.Compacted == last {
						continue
					}
					last = k.Compacted
					at = append(at, step)
					kept := time.Duration(k.Revision-k.Compacted) * c.step
					if slack := min(c.period, time.Hour)/5 + c.step; kept < c.period-c.step || kept > c.period+slack {
						t.Errorf("at step %d history of %v is left of %v", step, kept, c.period)
					}
				}
				if len(at) != 3 || at[0] != c.first || at[1] != c.first+c.second || at[2] != c.first+2*c.second {
					t.Errorf("compacted at steps %v, want at %d and then every %d", at, c.first, c.second)
				}
			})
		})
	}
}

func TestCompactionByRevision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t, compacts(service.AutoCompaction{Revisions: 20}))
		for range 100 {
			put(t, m, "k", "v")
		}
		after(4 * time.Minute)
		if got := m.KeySpace().Compacted; got > 0 {
			t.Errorf("compacted to %d before its time", got)
		}
		after(2 * time.Minute)
		if got := m.KeySpace(); got.Compacted != got.Revision-20 {
			t.Errorf("compacted to %d of %d", got.Compacted, got.Revision)
		}
		before := m.Status().RaftIndex
		after(11 * time.Minute)
		if got := m.Status().RaftIndex; got != before {
			t.Errorf("%d entries were made while nothing was written", got-before)
		}
	})
}

// TestRevisionsToKeepAreFew: with less history than is kept nothing happens.
func TestRevisionsToKeepAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t, compacts(service.AutoCompaction{Revisions: 20}))
		put(t, m, "k", "v")
		after(11 * time.Minute)
		if got := m.KeySpace().Compacted; got > 0 {
			t.Errorf("compacted to %d", got)
		}
	})
}

// TestOnlyTheLeaderCompacts counts the entries of the log: a compaction is asked for once, and a new leader goes on with what it has noted as a
// follower.
func TestOnlyTheLeaderCompacts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := servicetest.NewCluster(t, 3, compacts(service.AutoCompaction{Period: 10 * time.Second}))
		old := c.Leader()
		put(t, old, "k", "1")
		after(9 * time.Second)
		put(t, old, "k", "2")
		c.Stop(old.ID)
		m := c.Leader()
		before := m.Status().RaftIndex
		after(20 * time.Second)
		if got := m.KeySpace(); got.Compacted < got.Revision-1 {
			t.Errorf("compacted to %d of %d", got.Compacted, got.Revision)
		}
		if got := m.Status().RaftIndex - before; got > 3 {
			t.Errorf("%d entries were made for two compactions", got)
		}
	})
}

// TestCompactionByHandGoesFirst: somebody else has compacted further than the member would.
func TestCompactionByHandGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t, compacts(service.AutoCompaction{Revisions: 20}))
		for range 100 {
			put(t, m, "k", "v")
		}
		must(t, m.Compact, &pb.CompactionRequest{Revision: 95}, new(pb.CompactionResponse))
		after(6 * time.Minute)
		before := m.Status().RaftIndex
		if got := m.KeySpace().Compacted; got != 95 {
			t.Errorf("compacted to %d", got)
		}
		after(11 * time.Minute)
		if got := m.Status().RaftIndex; got != before {
			t.Errorf("it tried %d times more", got-before)
		}
	})
}
