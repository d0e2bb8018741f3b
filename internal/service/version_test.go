package service_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/service/servicetest"
)

// older makes a member one of an earlier version.
func older(o *servicetest.Options) { o.Service.Version, o.Service.ClusterVersion = "3.6.9", "3.6.0" }

func wantVersion(t *testing.T, c *servicetest.Cluster, ids []uint64, want string) {
	t.Helper()
	for _, id := range ids {
		if _, cluster, storage := c.Member(id).Versions(); cluster != want || storage != want {
			t.Errorf("member %d: cluster version %q, storage version %q, want %q", id, cluster, storage, want)
		}
	}
}

// TestVersionOfACluster: one older member holds the cluster at its version; when it is replaced the cluster goes on.
func TestVersionOfACluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := servicetest.NewCluster(t, 3, func(o *servicetest.Options) {
			if o.Service.MemberID == 3 {
				older(o)
			}
		})
		c.Leader()
		after(10 * time.Second)
		wantVersion(t, c, []uint64{1, 2, 3}, "3.6.0")
		c.Stop(3)
		after(10 * time.Second)
		wantVersion(t, c, []uint64{1, 2}, "3.6.0") // a member that does not answer decides nothing
		c.Start(3, func(o *servicetest.Options) { o.Service.Version, o.Service.ClusterVersion = "3.7.1", "3.7.0" })
		after(10 * time.Second)
		wantVersion(t, c, []uint64{1, 2, 3}, "3.7.0")
		index := c.Leader().Status().RaftIndex
		after(time.Minute)
		if now := c.Leader().Status().RaftIndex; now != index {
			t.Errorf("%d entries were written although nothing was due", now-index)
		}
	})
}

// TestFirstVersion: without an answer of all members the cluster begins with the oldest version, and goes up when they answer.
func TestFirstVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := servicetest.NewCluster(t, 3)
		c.Stop(3)
		c.Leader()
		after(2 * time.Second)
		for _, id := range []uint64{1, 2} {
			if _, cluster, _ := c.Member(id).Versions(); cluster != "3.0.0" {
				t.Errorf("member %d: the cluster version is %q", id, cluster)
			}
		}
		c.Start(3)
		after(10 * time.Second)
		wantVersion(t, c, []uint64{1, 2, 3}, "3.7.0")
	})
}

// TestDowngradeIsKnown: what the log says of a downgrade is told.
func TestDowngradeIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := settled(t, 3)
		m := c.Member(2)
		if m.DowngradeEnabled() {
			t.Error("a new cluster goes down")
		}
		r := request.DowngradeInfoSet{Enabled: true, Version: "3.6.0"}
		id := uint64(0xabcdef)
		_, err := m.Node.Propose(t.Context(), id, request.AppendInternal(nil, request.Header{ID: id}, request.FieldDowngradeInfoSet, r.Append(nil)))
		check(t, err)
		after(servicetest.Tick)
		for id := uint64(1); id <= 3; id++ {
			m := c.Member(id)
			if st := m.Status(); !m.DowngradeEnabled() || !st.Downgrade.Enabled || st.Downgrade.TargetVersion != "3.6.0" {
				t.Errorf("member %d: %+v", id, st.Downgrade)
			}
		}
	})
}
