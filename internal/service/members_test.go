package service_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/membership"
	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/internal/service/servicetest"
)

// settled starts a cluster of voters whose members know each other's names and have been connected for long enough.
func settled(t *testing.T, voters int, change ...func(*servicetest.Options)) *servicetest.Cluster {
	t.Helper()
	c := servicetest.NewCluster(t, voters, change...)
	c.Leader()
	after(2 * membership.HealthyAfter)
	return c
}

func memberIDs(members []schema.Member) (ids []uint64) {
	for _, m := range members {
		ids = append(ids, m.ID)
	}
	return ids
}

// add adds a member through m and gives it an id of its own in the network.
func add(t *testing.T, m *servicetest.Member, peer uint64, learner bool) uint64 {
	t.Helper()
	added, all, err := m.MemberAdd(t.Context(), []string{servicetest.PeerURL(peer)}, learner)
	check(t, err)
	if added.Name != "" || added.IsLearner != learner || !slices.Equal(added.PeerURLs, []string{servicetest.PeerURL(peer)}) {
		t.Errorf("added %+v", added)
	}
	if !slices.ContainsFunc(all, func(m schema.Member) bool { return m.ID == added.ID }) || !slices.IsSorted(memberIDs(all)) {
		t.Errorf("after adding %x the members are %x", added.ID, memberIDs(all))
	}
	return added.ID
}

// promote promotes a learner through m as soon as it is ready.
func promote(t *testing.T, m *servicetest.Member, id uint64) {
	t.Helper()
	for range 100 {
		all, err := m.MemberPromote(t.Context(), id)
		if err == nil {
			i := slices.IndexFunc(all, func(m schema.Member) bool { return m.ID == id })
			if i < 0 || all[i].IsLearner {
				t.Errorf("after the promotion of %x: %+v", id, all)
			}
			return
		}
		if !errors.Is(err, kverr.LearnerNotReady) {
			t.Fatalf("promotion of %x: %v", id, err)
		}
		after(servicetest.Tick)
	}
	t.Fatalf("%x is never ready", id)
}

// TestGrowAndShrink replaces every member of a cluster one by one, through learners and by way of any member, while clients write.
func TestGrowAndShrink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := settled(t, 1)
		members := []uint64{servicetest.MemberID}
		writes := 0
		write := func() {
			for _, id := range members {
				put(t, c.Member(id), "k", "v")
				writes++
			}
		}
		for peer := uint64(2); peer <= 5; peer++ {
			write()
			through := c.Member(members[len(members)-1])
			id := add(t, through, peer, true)
			c.Start(id)
			write()
			promote(t, through, id)
			members = append(members, id)
			after(2 * membership.HealthyAfter)
			write()
		}
		for len(members) > 1 {
			gone := members[0]
			if len(members)%2 == 0 { // in turn the leader and another one
				gone = c.Leader().ID
			}
			members = slices.DeleteFunc(members, func(id uint64) bool { return id == gone })
			all, err := c.Member(members[0]).MemberRemove(t.Context(), gone)
			if err != nil || len(all) != len(members) {
				t.Fatalf("removing %x: %v, %x are left", gone, err, memberIDs(all))
			}
			after(servicetest.Tick)
			c.Stop(gone)
			c.Leader()
			write()
		}
		r := get(t, c.Member(members[0]), "k")
		if int(r.Kvs[0].Version) != writes {
			t.Errorf("%d writes were answered, the key has version %d", writes, r.Kvs[0].Version)
		}
		_, err := c.Member(members[0]).MemberRemove(t.Context(), members[0])
		wantError(t, "removing the last member", err, kverr.MemberNotEnoughStarted)
	})
}

// TestMembersAreTold: whoever keeps the connections hears of each change, and a removed member hears that it should stop, once.
func TestMembersAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		heard, removed := map[uint64][]uint64{}, map[uint64]int{}
		c := settled(t, 3, func(o *servicetest.Options) {
			id, next := o.Service.MemberID, o.Service.MembersChanged
			o.Service.MembersChanged = func(members []schema.Member, gone []uint64) {
				next(members, gone)
				mu.Lock()
				defer mu.Unlock()
				heard[id] = append(memberIDs(members), gone...)
			}
			o.Service.SelfRemoved = func() {
				mu.Lock()
				defer mu.Unlock()
				removed[id]++
			}
		})
		leaver := c.Follower()
		_, err := leaver.MemberRemove(t.Context(), leaver.ID)
		check(t, err)
		after(servicetest.Tick)
		want := []uint64{1, 2, 3}
		want = append(slices.DeleteFunc(want, func(id uint64) bool { return id == leaver.ID }), leaver.ID)
		mu.Lock()
		for id, got := range heard {
			if !slices.Equal(got, want) {
				t.Errorf("member %d heard of %v, want %v", id, got, want)
			}
		}
		if len(removed) != 1 || removed[leaver.ID] != 1 {
			t.Errorf("removed are %v", removed)
		}
		mu.Unlock()
		if leaver.IsLearner() {
			t.Error("a removed member counts as learner")
		}
		c.Stop(leaver.ID)
		c.Start(leaver.ID)
		mu.Lock()
		if removed[leaver.ID] != 2 {
			t.Error("a removed member is not told so when it starts again")
		}
		mu.Unlock()
		_, err = c.Leader().MemberRemove(t.Context(), leaver.ID)
		wantError(t, "removing it again", err, kverr.MemberNotFound)
		_, err = c.Leader().MemberUpdate(t.Context(), leaver.ID, []string{"http://x:1"})
		wantError(t, "updating it", err, kverr.MemberNotFound)
		_, err = c.Leader().MemberPromote(t.Context(), leaver.ID)
		wantError(t, "promoting it", err, kverr.MemberNotFound)
	})
}

// TestRemovedLeader: the others do not miss a leader that is removed, whoever was asked for that.
func TestRemovedLeader(t *testing.T) {
	for _, itself := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			c := settled(t, 3)
			leader, asked := c.Leader(), c.Follower()
			if itself {
				asked = leader
			}
			begin := time.Now()
			all, err := asked.MemberRemove(t.Context(), leader.ID)
			if err != nil || len(all) != 2 {
				t.Fatal(all, err)
			}
			synctest.Wait() // the new leader has applied the change: the one that left is nobody's follower
			put(t, c.Follower(), "k", "v")
			if took := time.Since(begin); took > servicetest.ElectionTimeout/2 {
				t.Errorf("asking the leader %v: the next write was answered after %v", itself, took)
			}
		})
	}
}

// TestPromotion: the leader decides, whoever was asked.
func TestPromotion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := settled(t, 3)
		for range 20 {
			put(t, c.Leader(), "k", "v")
		}
		id := add(t, c.Follower(), 4, true)
		_, _, err := c.Leader().MemberAdd(t.Context(), []string{servicetest.PeerURL(5)}, true)
		wantError(t, "a second learner", err, kverr.TooManyLearners)
		after(time.Second) // which makes another id
		_, _, err = c.Leader().MemberAdd(t.Context(), []string{servicetest.PeerURL(4)}, false)
		wantError(t, "its URL again", err, kverr.PeerURLExist)
		for _, m := range []*servicetest.Member{c.Leader(), c.Follower()} {
			_, err := m.MemberPromote(t.Context(), id)
			wantError(t, "a learner that does not run", err, kverr.LearnerNotReady)
			_, err = m.MemberPromote(t.Context(), 99)
			wantError(t, "a stranger", err, kverr.MemberNotFound)
			_, err = m.MemberPromote(t.Context(), c.Follower().ID)
			wantError(t, "a voter", err, kverr.MemberNotLearner)
		}
		learner := c.Start(id)
		after(time.Second)
		if !learner.IsLearner() {
			t.Error("does not know to be a learner")
		}
		promote(t, c.Follower(), id)
		after(servicetest.Tick)
		if learner.IsLearner() {
			t.Error("does not know of its promotion")
		}
		down := c.Follower().ID
		c.Stop(down)
		_, err = c.Leader().MemberPromote(t.Context(), down)
		wantError(t, "a voter that lags behind", err, kverr.MemberNotLearner) // it has nine tenths of the log
	})
}

// TestStrictReconfiguration: a change that the cluster could not bear is refused, unless the operator said that it may be.
func TestStrictReconfiguration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := servicetest.NewCluster(t, 3)
		leader := c.Leader()
		after(time.Second)
		url := []string{servicetest.PeerURL(4)}
		_, _, err := leader.MemberAdd(t.Context(), url, true)
		wantError(t, "adding while connections are young", err, kverr.Unhealthy)
		after(2 * membership.HealthyAfter)
		down, up := c.Follower().ID, uint64(0)
		c.Stop(down)
		for id := uint64(1); id <= 3; id++ {
			if id != down && id != leader.ID {
				up = id
			}
		}
		_, _, err = leader.MemberAdd(t.Context(), url, false)
		wantError(t, "adding with one of three down", err, kverr.Unhealthy)
		_, err = leader.MemberRemove(t.Context(), up)
		wantError(t, "removing one of the two that are left", err, kverr.Unhealthy)
		_, err = leader.MemberRemove(t.Context(), down)
		check(t, err)
		add(t, leader, 5, false) // not started, so two of three are
		_, _, err = leader.MemberAdd(t.Context(), []string{servicetest.PeerURL(6)}, false)
		wantError(t, "adding with one of three not started", err, kverr.MemberNotEnoughStarted)
	})
	synctest.Test(t, func(t *testing.T) {
		c := servicetest.NewCluster(t, 3, func(o *servicetest.Options) { o.Service.StrictReconfig = false })
		c.Stop(c.Follower().ID)
		add(t, c.Leader(), 4, true)
	})
}

// TestLostChange: a change that the leader drops without a word is proposed again.
func TestLostChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := settled(t, 3, func(o *servicetest.Options) { o.Service.StrictReconfig = false })
		leader, follower := c.Leader(), c.Follower()
		c.Cut(leader.ID, follower.ID)
		done := make(chan error, 1)
		go func() {
			_, err := follower.MemberUpdate(t.Context(), follower.ID, []string{"http://moved:2380"})
			done <- err
		}()
		after(servicetest.Tick)
		c.Heal(leader.ID, follower.ID)
		check(t, <-done)
		// A change that was made without this member hearing of it is not made twice, and is no error.
		after(servicetest.Tick) // the leader has applied the change before
		index := leader.Status().RaftIndex
		c.Block(leader.ID, follower.ID)
		added := make(chan error, 1)
		go func() {
			_, _, err := follower.MemberAdd(t.Context(), []string{servicetest.PeerURL(4)}, false)
			added <- err
		}()
		after(2 * servicetest.ElectionTimeout)
		if leader.Status().RaftIndex == index {
			t.Fatal("the change was not made")
		}
		c.Heal(leader.ID, follower.ID)
		check(t, <-added)
		all, err := leader.Members(t.Context(), true)
		if err != nil || len(all) != 4 {
			t.Errorf("members %+v, %v", all, err)
		}
	})
}

// TestConcurrentChanges: members can be asked for several changes at once; consensus takes them one by one.
func TestConcurrentChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := settled(t, 3)
		done := make(chan error)
		for id := uint64(1); id <= 3; id++ {
			for _, url := range []string{"http://a:1", "http://b:1"} {
				m := c.Member(id)
				go func() {
					_, err := m.MemberUpdate(t.Context(), m.ID, []string{url + string(rune('0'+m.ID))})
					done <- err
				}()
			}
		}
		for range 6 {
			check(t, <-done)
		}
	})
}

// TestChangesWithoutQuorum: without a leader nothing is decided, and the error says no more than that.
func TestChangesWithoutQuorum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := settled(t, 3)
		m := c.Follower()
		for id := uint64(1); id <= 3; id++ {
			if id != m.ID {
				c.Stop(id)
			}
		}
		for m.HasLeader() {
			after(servicetest.Tick)
		}
		begin := time.Now()
		_, err := m.MemberUpdate(t.Context(), m.ID, []string{"http://x:1"})
		wantError(t, "update", err, context.DeadlineExceeded)
		if took := time.Since(begin); took != 7*time.Second {
			t.Errorf("it took %v", took)
		}
		_, err = m.MemberPromote(t.Context(), 4)
		wantError(t, "promotion", err, kverr.NoLeader)
		_, err = m.Members(t.Context(), true)
		wantError(t, "linearizable list", err, kverr.Timeout)
		if all, err := m.Members(t.Context(), false); err != nil || len(all) != 3 {
			t.Errorf("local list: %v, %v", all, err)
		}
		_, err = call(t.Context(), m.Put, &pb.PutRequest{Key: []byte("k")}, new(pb.PutResponse))
		wantError(t, "put", err, context.DeadlineExceeded)
		if st := m.Status(); st.Leader != 0 || !slices.Equal(st.Errors, []string{"etcdserver: no leader"}) {
			t.Errorf("status is %+v", st)
		}
	})
}
