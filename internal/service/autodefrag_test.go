package service_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/service/servicetest"
)

// rewrites lets a member rewrite its file when 64 KiB of it are free, and so many per cent.
func rewrites(percent int) func(*servicetest.Options) {
	return func(o *servicetest.Options) {
		o.Service.AutoDefragPercent, o.Service.AutoDefragMinBytes = percent, 64<<10
	}
}

// bulk writes kilobytes under keys of their own.
func bulk(t *testing.T, m *servicetest.Member, kilobytes int) {
	t.Helper()
	value := make([]byte, 1<<10)
	for i := range kilobytes {
		must(t, m.Put, &pb.PutRequest{Key: fmt.Appendf(nil, "bulk%03d", i), Value: value}, new(pb.PutResponse))
	}
	after(time.Second)
}

func dropBulk(t *testing.T, m *servicetest.Member, from int) {
	t.Helper()
	must(t, m.DeleteRange, &pb.DeleteRangeRequest{Key: fmt.Appendf(nil, "bulk%03d", from), RangeEnd: []byte("bull")}, new(pb.DeleteRangeResponse))
	must(t, m.Compact, &pb.CompactionRequest{Revision: m.KeySpace().Revision, Physical: true}, new(pb.CompactionResponse))
}

// TestFileShrinksByItself: when much of the file is free it is rewritten, without anybody's doing, and not sooner.
func TestFileShrinksByItself(t *testing.T) {
	for _, c := range []struct {
		name     string
		percent  int
		keep     int // per cent of 100 KiB, or of 150
		rewrites bool
	}{
		{"much is free", 50, 20, true},
		{"less than half is free", 50, 55, false},
		{"but a smaller share will do", 40, 55, true},
		{"less than 64 KiB are free", 10, 45, false},
		{"switched off", 0, 20, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := start(t, rewrites(c.percent))
				total := 100
				if c.name == "but a smaller share will do" {
					total = 150
				}
				bulk(t, m, total)
				before := m.Status().DBSize
				dropBulk(t, m, c.keep*total/100)
				after(time.Minute)
				if got := m.Status().DBSize; got < before*3/4 != c.rewrites {
					t.Errorf("the file had %d bytes and has %d", before, got)
				}
			})
		})
	}
}

// TestRewritesKeepTheirDistance: one follows another not sooner than after minutes.
func TestRewritesKeepTheirDistance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t, rewrites(50))
		for _, wait := range []time.Duration{15 * time.Second, 290 * time.Second} {
			bulk(t, m, 100)
			dropBulk(t, m, 0)
			after(wait - 5*time.Second)
			if wait > time.Minute && m.Status().DBSize < 64<<10 {
				t.Fatal("rewritten again at once")
			}
			after(10 * time.Second)
			if got := m.Status().DBSize; got > 8<<10 {
				t.Fatalf("not rewritten after %v: %d bytes", wait, got)
			}
		}
	})
}

// TestDefragmentEnds: it ends with its caller.
func TestDefragmentEnds(t *testing.T) {
	m := start(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantError(t, "defragment", m.Defragment(ctx), context.Canceled)
}

// counter counts the lines of a log that say something.
type counter struct {
	slog.Handler
	what string
	n    *atomic.Int64
}

func (c counter) Handle(_ context.Context, r slog.Record) error {
	if r.Message == c.what {
		c.n.Add(1)
	}
	return nil
}

func (c counter) Enabled(context.Context, slog.Level) bool { return true }

// TestAlarmAfterCompaction: while the quota is used up, each compaction is followed by one rewrite, which may give back what it left between the
// records.
func TestAlarmAfterCompaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var rewritten atomic.Int64
		m := start(t, small, func(o *servicetest.Options) {
			o.Service.AutoDefragPercent = 50
			o.Service.Logger = slog.New(counter{slog.DiscardHandler, "defragmented", &rewritten})
		})
		var err error
		for i := 0; err == nil && i < 100; i++ {
			_, err = call(t.Context(), m.Put, &pb.PutRequest{Key: fmt.Append(nil, i), Value: make([]byte, 2000)}, new(pb.PutResponse))
		}
		wantError(t, "put", err, kverr.NoSpace)
		after(time.Minute)
		for want := range int64(3) {
			if got := rewritten.Load(); got != want {
				t.Errorf("%d rewrites after %d compactions", got, want)
			}
			must(t, m.DeleteRange, &pb.DeleteRangeRequest{Key: fmt.Append(nil, want)}, new(pb.DeleteRangeResponse))
			must(t, m.Compact, &pb.CompactionRequest{Revision: m.KeySpace().Revision}, new(pb.CompactionResponse))
			after(6 * time.Minute)
		}
		if got := m.ActiveAlarms(); len(got) != 1 {
			t.Errorf("alarms are %v; the test must leave no space", got)
		}
	})
}
