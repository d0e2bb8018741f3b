package service_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/replica"
	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/service/servicetest"
	"github.com/quoin-kv/quoin/internal/watch"
)

// forgetful makes members keep few entries, so that one that was away needs a snapshot.
func forgetful(o *servicetest.Options) {
	o.Consensus = replica.ConsensusOptions{MarkEvery: 20, CatchupEntries: 10, HoldTicks: 1}
}

// installs counts the snapshots that a member installs.
func installs(counts map[uint64]int) func(o *servicetest.Options) {
	return func(o *servicetest.Options) {
		id, adopt := o.Service.MemberID, o.Node.Adopt
		o.Node.Adopt = func(index uint64) error {
			counts[id]++
			return adopt(index)
		}
	}
}

// TestWatchAcrossASnapshot: a watcher on a member that catches up by a snapshot misses nothing and sees nothing twice; one whose revisions
// were compacted meanwhile is told.
func TestWatchAcrossASnapshot(t *testing.T) {
	for _, compact := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			counts := map[uint64]int{}
			c := settled(t, 3, forgetful, installs(counts))
			leader, away := c.Leader(), c.Follower()
			w := away.Watch()
			defer w.Close()
			check(t, w.Create(t.Context(), watch.CreateRequest{Key: []byte("k")}))
			if r := next(t, w); !r.Created {
				t.Fatal(r)
			}
			put(t, leader, "k", "0")
			revision := next(t, w).Events[0].Kv.ModRevision
			c.Isolate(away.ID)
			last := int64(0)
			for i := range 200 {
				if i == 100 {
					after(5 * time.Second) // then nobody keeps anything for a member that is away
				}
				last = put(t, leader, "k", fmt.Sprint(i+1)).Header.Revision
			}
			if compact {
				must(t, leader.Compact, &pb.CompactionRequest{Revision: last - 5, Physical: true}, new(pb.CompactionResponse))
			}
			after(5 * time.Second)
			c.Rejoin(away.ID)
			after(5 * time.Second)
			if counts[away.ID] == 0 {
				t.Fatal("no snapshot was installed")
			}
			if r := get(t, away, "k"); r.Header.Revision != last {
				t.Fatalf("after the snapshot: %v", r.Header)
			}
			put(t, leader, "k", "end")
			last++
			if compact {
				if r := next(t, w); !r.Canceled || r.CompactRevision != last-6 {
					t.Errorf("compacted under the watcher: %v", r)
				}
				return
			}
			for revision < last {
				for _, e := range next(t, w).Events {
					if e.Kv.ModRevision != revision+1 {
						t.Fatalf("event of revision %d after %d", e.Kv.ModRevision, revision)
					}
					revision++
				}
			}
		})
	}
}

// TestSnapshotBringsEverything: leases, alarms, members and versions come with a snapshot, and a member that then leads counts the leases.
func TestSnapshotBringsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		counts := map[uint64]int{}
		c := settled(t, 3, forgetful, installs(counts))
		leader, away := c.Leader(), c.Follower()
		grant(t, leader, 1, 10) // will be gone
		c.Isolate(away.ID)
		must(t, leader.LeaseRevoke, &pb.LeaseRevokeRequest{ID: 1}, new(pb.LeaseRevokeResponse))
		grant(t, leader, 2, 20)
		putLeased(t, leader, "leased", 2)
		_, err := leader.Alarm(t.Context(), request.Alarm{Action: request.AlarmActivate, MemberID: 99, Kind: request.AlarmNoSpace})
		check(t, err)
		_, err = leader.MemberUpdate(t.Context(), leader.ID, []string{"http://moved:1"})
		check(t, err)
		for i := range 100 {
			if i == 50 {
				after(5 * time.Second)
			}
			must(t, leader.DeleteRange, &pb.DeleteRangeRequest{Key: fmt.Append(nil, i)}, new(pb.DeleteRangeResponse))
		}
		after(5 * time.Second)
		c.Rejoin(away.ID)
		after(5 * time.Second)
		if counts[away.ID] == 0 {
			t.Fatal("no snapshot was installed")
		}
		if alarms := away.ActiveAlarms(); !slices.Equal(alarms, []string{"NOSPACE"}) {
			t.Errorf("alarms are %v", alarms)
		}
		_, err = call(t.Context(), away.Put, &pb.PutRequest{Key: []byte("k")}, new(pb.PutResponse))
		wantError(t, "put while the alarm is raised", err, kverr.NoSpace)
		all, err := away.Members(t.Context(), false)
		check(t, err)
		for _, m := range all {
			if m.ID == leader.ID && !slices.Equal(m.PeerURLs, []string{"http://moved:1"}) {
				t.Errorf("member %+v", m)
			}
		}
		if r := must(t, away.LeaseLeases, &pb.LeaseLeasesRequest{}, new(pb.LeaseLeasesResponse)); len(r.Leases) != 1 || r.Leases[0].ID != 2 {
			t.Errorf("leases are %v", r.Leases)
		}
		check(t, leader.MoveLeader(t.Context(), away.ID))
		if r := timeToLive(t, away, 2); r.GrantedTTL != 20 || r.TTL < 20 || len(r.Keys) != 1 {
			t.Errorf("the new leader says of the lease: %v", r)
		}
		after(22 * time.Second)
		if r := get(t, away, "leased"); r.Count != 0 {
			t.Error("the lease did not end")
		}
	})
}

// TestNewMemberBySnapshot: a member that joins a cluster with a past gets it as a snapshot, and can be promoted.
func TestNewMemberBySnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		counts := map[uint64]int{}
		c := settled(t, 1, forgetful, installs(counts))
		leader := c.Leader()
		for i := range 100 {
			put(t, leader, "k", fmt.Sprint(i))
		}
		after(time.Second)
		id := add(t, leader, 2, true)
		m := c.Start(id)
		after(3 * time.Second)
		if counts[id] == 0 {
			t.Fatal("no snapshot was installed")
		}
		if all, err := m.Members(t.Context(), true); err != nil || len(all) != 2 || !m.IsLearner() {
			t.Errorf("members %+v, %v", all, err)
		}
		promote(t, leader, id)
		c.Stop(servicetest.MemberID)
		c.Start(servicetest.MemberID)
		put(t, c.Leader(), "k", "end")
		if r := get(t, m, "k"); r.Kvs[0].Version != 101 {
			t.Errorf("the new member: %v", r)
		}
	})
}
