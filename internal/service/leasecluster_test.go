package service_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/service/servicetest"
)

// TestLeasesThroughAnyMember: what only the leader knows, every member answers.
func TestLeasesThroughAnyMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := settled(t, 3)
		leader, follower := c.Leader(), c.Follower()
		grant(t, follower, 7, 5)
		putLeased(t, follower, "k", 7)
		after(3500 * time.Millisecond)
		for id := uint64(1); id <= 3; id++ {
			m := c.Member(id)
			if r := timeToLive(t, m, 7); r.ID != 7 || r.TTL != 1 || r.GrantedTTL != 5 || len(r.Keys) != 1 || r.Header.MemberId != id {
				t.Errorf("member %d: %v", id, r)
			}
			if r := timeToLive(t, m, 8); r.TTL != -1 || r.GrantedTTL != 0 || r.ID != 8 {
				t.Errorf("member %d: an unknown lease: %v", id, r)
			}
			if r := keepAlive(t, m, 8); r.TTL != 0 || r.ID != 8 {
				t.Errorf("member %d: keep-alive of an unknown lease: %v", id, r)
			}
			if r := must(t, m.LeaseLeases, &pb.LeaseLeasesRequest{}, new(pb.LeaseLeasesResponse)); len(r.Leases) != 1 {
				t.Errorf("member %d: leases %v", id, r)
			}
		}
		if r := keepAlive(t, follower, 7); r.TTL != 5 || r.ID != 7 || r.Header.MemberId != follower.ID {
			t.Errorf("keep-alive through a follower: %v", r)
		}
		after(4500 * time.Millisecond)
		if r := keepAlive(t, leader, 7); r.TTL != 5 {
			t.Errorf("the renewal through a follower did not count: %v", r)
		}
		after(5500 * time.Millisecond)
		for id := uint64(1); id <= 3; id++ {
			if r := timeToLive(t, c.Member(id), 7); r.TTL != -1 {
				t.Errorf("member %d: the lease did not end: %v", id, r)
			}
			if get(t, c.Member(id), "k").Count != 0 {
				t.Errorf("member %d: the key of the lease is still there", id)
			}
		}
	})
}

// TestPrimary: only the leader answers other members about leases.
func TestPrimary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := settled(t, 3)
		leader, follower := c.Leader(), c.Follower()
		grant(t, leader, 7, 5)
		known := (&request.LeaseKeepAlive{ID: 7}).Append(nil)
		unknown := (&request.LeaseKeepAlive{ID: 8}).Append(nil)
		for _, ask := range []func(context.Context, []byte) ([]byte, error){leader.PrimaryKeepAlive, leader.PrimaryTimeToLive} {
			if _, err := ask(t.Context(), known); err != nil {
				t.Error(err)
			}
			_, err := ask(t.Context(), unknown)
			wantError(t, "unknown lease", err, kverr.LeaseNotFound)
			_, err = ask(t.Context(), []byte{0x0a, 0xff})
			wantError(t, "rubbish", err, request.ErrMalformed)
		}
		for _, ask := range []func(context.Context, []byte) ([]byte, error){follower.PrimaryKeepAlive, follower.PrimaryTimeToLive} {
			_, err := ask(t.Context(), known)
			wantError(t, "a follower", err, kverr.NotPrimaryLessor)
		}
	})
}

// TestKeepAliveOverAChangeOfLeader: a lease that is kept alive through a follower outlives the leader.
func TestKeepAliveOverAChangeOfLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := settled(t, 3)
		leader, follower := c.Leader(), c.Follower()
		grant(t, leader, 7, 5)
		putLeased(t, leader, "k", 7)
		c.Kill(leader.ID)
		for range 20 {
			if r := keepAlive(t, follower, 7); r.TTL != 5 { // waits until there is a leader
				t.Fatalf("renewed: %v", r)
			}
			after(time.Second)
		}
		if get(t, follower, "k").Count != 1 {
			t.Error("the key is gone")
		}
		c.Stop(c.Leader().ID)
		begin := time.Now()
		_, err := call(t.Context(), c.Member(lastRunning(c, leader.ID)).LeaseKeepAlive, &pb.LeaseKeepAliveRequest{ID: 7}, new(pb.LeaseKeepAliveResponse))
		wantError(t, "keep-alive without a quorum", err, kverr.NoLeader)
		if took := time.Since(begin); took != 7*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// TestOutdatedIdeaOfTheLeader: a member that asks one that does not lead any more asks again, until it knows better.
func TestOutdatedIdeaOfTheLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := settled(t, 3)
		id := add(t, c.Leader(), 4, true)
		c.Start(id)
		after(time.Second)
		old, asker := c.Leader(), c.Follower()
		next := c.Member(6 - old.ID - asker.ID)
		grant(t, old, 7, 5)
		c.Block(next.ID, asker.ID)
		check(t, old.MoveLeader(t.Context(), next.ID))
		if asker.Status().Leader != old.ID {
			t.Fatal("knows the new leader")
		}
		answers := make(chan error, 3)
		ask := func(fn func() error) { go func() { answers <- fn() }() }
		ask(func() error {
			_, err := call(t.Context(), asker.LeaseKeepAlive, &pb.LeaseKeepAliveRequest{ID: 7}, new(pb.LeaseKeepAliveResponse))
			return err
		})
		ask(func() error {
			_, err := call(t.Context(), asker.LeaseTimeToLive, &pb.LeaseTimeToLiveRequest{ID: 7}, new(pb.LeaseTimeToLiveResponse))
			return err
		})
		ask(func() error {
			_, err := asker.MemberPromote(t.Context(), id)
			return err
		})
		after(servicetest.Tick)
		if n := len(answers); n > 0 {
			t.Errorf("%d questions were answered by one that does not lead", n)
		}
		c.Heal(next.ID, asker.ID)
		for range 3 {
			if err := <-answers; err != nil {
				t.Error(err)
			}
		}
	})
}

// lastRunning is the one member of three that runs, besides those that were stopped.
func lastRunning(c *servicetest.Cluster, killed uint64) uint64 {
	for id := uint64(1); id <= 3; id++ {
		if id != killed && c.Runs(id) {
			return id
		}
	}
	return 0
}

// TestDeposedLeaderRenewsNothing: a member that lost the lead while its clock stood still, and does not know it, does not say that a lease
// has time: the new leader would end it early.
func TestDeposedLeaderRenewsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const stopped = 1
		c := servicetest.NewCluster(t, 3, func(o *servicetest.Options) {
			if o.Service.MemberID == stopped {
				o.Node.Tick = time.Hour
			}
		})
		old := c.Member(stopped)
		grant(t, c.Leader(), 7, 2)
		putLeased(t, c.Leader(), "k", 7)
		check(t, c.Leader().MoveLeader(t.Context(), stopped))
		if r := keepAlive(t, old, 7); r.TTL != 2 {
			t.Fatalf("renewed by the leader: %v", r)
		}
		c.Isolate(stopped)
		last := time.Now() // of the renewals that were answered
		now := c.Leader()
		for get(t, now, "k").Count == 1 {
			asked := time.Now()
			brief, cancel := context.WithTimeout(t.Context(), servicetest.Tick)
			r, err := call(brief, old.LeaseKeepAlive, &pb.LeaseKeepAliveRequest{ID: 7}, new(pb.LeaseKeepAliveResponse))
			cancel()
			if err == nil && r.TTL > 0 {
				last = asked
			} else if !errors.Is(err, kverr.Timeout) {
				t.Errorf("keep-alive: %v", err)
			}
			after(servicetest.Tick)
		}
		if !old.IsLeader() {
			t.Error("the former leader knows that it was deposed")
		}
		if lived := time.Since(last); lived < 2*time.Second {
			t.Errorf("the lease ended %v after a renewal", lived)
		}
	})
}

// TestDeposedLeaderEndsNothing: a leader that is cut off while it ends leases, more than it ends at once, does not go on with them when it is
// back: by then another leader has given them time.
func TestDeposedLeaderEndsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const leases = 1500
		began := make(chan struct{}, leases)
		c := servicetest.NewCluster(t, 3, func(o *servicetest.Options) {
			o.Service.Metrics.LeaseExpired = func() { began <- struct{}{} }
		})
		old := c.Leader()
		for id := range int64(leases) {
			grant(t, old, id+1, 5)
		}
		<-began
		c.Isolate(old.ID)
		now := c.Leader()
		after(5 * time.Second)
		var alive []int64
		for id := range int64(leases) {
			if keepAlive(t, now, id+1).TTL > 0 {
				alive = append(alive, id+1)
			}
		}
		c.Rejoin(old.ID)
		after(4 * time.Second)
		for _, id := range alive {
			if timeToLive(t, now, id).TTL < 0 {
				t.Fatalf("lease %d of %d ended 4 s after it was renewed for 5", id, len(alive))
			}
		}
		if len(alive) == 0 {
			t.Fatal("nothing was left to end")
		}
	})
}

// TestCheckpointIsClearedByRenewal: a lease that was noted to have little time left has its full time again, on the next leader, too.
func TestCheckpointIsClearedByRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := settled(t, 3)
		leader := c.Leader()
		grant(t, leader, 7, 60)
		note := request.LeaseCheckpoint{Checkpoints: []request.Checkpoint{{ID: 7, RemainingTTL: 3}}}
		id := uint64(0xabcdef)
		_, err := leader.Node.Propose(t.Context(), id, request.AppendInternal(nil, request.Header{ID: id}, request.FieldLeaseCheckpoint, note.Append(nil)))
		check(t, err)
		if r := keepAlive(t, leader, 7); r.TTL != 60 {
			t.Fatalf("renewed: %v", r)
		}
		index := leader.Status().RaftIndex
		keepAlive(t, leader, 7)
		if now := leader.Status().RaftIndex; now != index {
			t.Errorf("a renewal without need wrote %d entries", now-index)
		}
		check(t, leader.HandOver(t.Context()))
		after(30 * time.Second)
		if r := timeToLive(t, c.Leader(), 7); r.TTL < 30 {
			t.Errorf("the next leader gave it less time: %v", r)
		}
	})
}

// TestLeaseOrder: the list of leases is ordered by what is left on the leader, by id elsewhere.
func TestLeaseOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := settled(t, 3)
		grant(t, c.Leader(), 1, 60)
		grant(t, c.Leader(), 2, 30)
		after(servicetest.Tick)
		list := func(m *servicetest.Member) (ids []int64) {
			for _, l := range must(t, m.LeaseLeases, &pb.LeaseLeasesRequest{}, new(pb.LeaseLeasesResponse)).Leases {
				ids = append(ids, l.ID)
			}
			return ids
		}
		if got := list(c.Leader()); !slices.Equal(got, []int64{2, 1}) {
			t.Errorf("on the leader: %v", got)
		}
		if got := list(c.Follower()); !slices.Equal(got, []int64{1, 2}) {
			t.Errorf("on a follower: %v", got)
		}
	})
}
