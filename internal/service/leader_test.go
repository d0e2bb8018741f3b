package service_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/service/servicetest"
)

// writer puts to one key until it is told to stop, and counts what was answered and what may have happened.
type writer struct {
	key                 string
	done, lost, refused int
	errs                map[error]int
}

func (w *writer) run(ctx context.Context, m *servicetest.Member) {
	w.errs = map[error]int{}
	for ctx.Err() == nil {
		_, err := call(context.WithoutCancel(ctx), m.Put, &pb.PutRequest{Key: []byte(w.key), Value: []byte(fmt.Sprint(w.done))}, new(pb.PutResponse))
		switch {
		case err == nil:
			w.done++
		case errors.Is(err, context.DeadlineExceeded):
			w.refused++
		default:
			w.lost++
			w.errs[err]++
		}
		<-time.After(10 * time.Millisecond)
	}
}

// TestLeaderLostWhileWriting kills the leader while clients write through all members: nothing answered is lost, nothing is done twice, and
// writes go on soon.
func TestLeaderLostWhileWriting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := settled(t, 3)
		leader := c.Leader()
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		writers := map[uint64]*writer{}
		for id := uint64(1); id <= 3; id++ {
			if id == leader.ID {
				continue
			}
			w := &writer{key: fmt.Sprint(id)}
			writers[id] = w
			m := c.Member(id)
			wg.Go(func() { w.run(ctx, m) })
		}
		after(time.Second)
		c.Kill(leader.ID)
		after(10 * time.Second)
		cancel()
		wg.Wait()
		m := c.Leader()
		for id, w := range writers {
			version := int(get(t, m, w.key).Kvs[0].Version)
			if version < w.done || version > w.done+w.lost {
				t.Errorf("member %d: %d puts were answered, %d may have happened, the version is %d", id, w.done, w.lost, version)
			}
			if w.done < 300 || w.refused > 0 { // 10 ms each, two election timeouts and the patience of the lost one without
				t.Errorf("member %d: %d puts in 11 s, %d refused", id, w.done, w.refused)
			}
			for err := range w.errs {
				wantError(t, "put", err, kverr.TimeoutDueToLeaderFail)
			}
		}
	})
}

func TestMoveLeaderInACluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := settled(t, 3)
		id := add(t, c.Leader(), 4, true)
		c.Start(id)
		leader, follower := c.Leader(), c.Follower()
		ctx := t.Context()
		wantError(t, "asking a follower", follower.MoveLeader(ctx, follower.ID), kverr.NotLeader)
		wantError(t, "to a stranger", leader.MoveLeader(ctx, 99), kverr.BadLeaderTransferee)
		wantError(t, "to a learner", leader.MoveLeader(ctx, id), kverr.BadLeaderTransferee)
		check(t, leader.MoveLeader(ctx, leader.ID))
		begin := time.Now()
		check(t, leader.MoveLeader(ctx, follower.ID))
		if took := time.Since(begin); leader.Status().Leader != follower.ID || took > servicetest.ElectionTimeout/2 {
			t.Errorf("after %v %d leads, want %d", took, leader.Status().Leader, follower.ID)
		}
		put(t, leader, "k", "v") // through the new one
		c.Isolate(leader.ID)
		begin = time.Now()
		wantError(t, "to one that is cut off", follower.MoveLeader(ctx, leader.ID), kverr.TimeoutLeaderTransfer)
		if took := time.Since(begin); took != 7*time.Second {
			t.Errorf("it took %v", took)
		}
		if !follower.IsLeader() {
			t.Error("a transfer that failed cost the leadership")
		}
		put(t, follower, "k", "v")
	})
}

// TestHandOver: a leader that is to stop gives the leadership to the voter that has been connected longest.
func TestHandOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := settled(t, 3)
		leader, follower := c.Leader(), c.Follower()
		check(t, follower.HandOver(t.Context()))
		if !leader.IsLeader() {
			t.Error("a follower handed over what it does not have")
		}
		c.Cut(leader.ID, follower.ID)
		c.Heal(leader.ID, follower.ID)
		after(servicetest.Tick)
		check(t, leader.HandOver(t.Context()))
		if now := c.Leader(); now == follower || now == leader {
			t.Errorf("%d took over from %d, %d was connected later", now.ID, leader.ID, follower.ID)
		}
		c.Stop(leader.ID)
		put(t, c.Leader(), "k", "v")
		last := c.Leader()
		c.Isolate(last.ID)
		wantError(t, "with nobody to hand over to", last.HandOver(t.Context()), kverr.Unhealthy)
	})
	synctest.Test(t, func(t *testing.T) {
		m := start(t)
		check(t, m.HandOver(t.Context()))
		put(t, m, "k", "v")
	})
}

// TestMinority: what clients of a member hear that was cut off from the others together with the leadership it had.
func TestMinority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := settled(t, 3)
		old := c.Leader()
		c.Isolate(old.ID)
		begin := time.Now()
		_, err := call(t.Context(), old.Put, &pb.PutRequest{Key: []byte("k")}, new(pb.PutResponse))
		wantError(t, "put", err, kverr.TimeoutDueToConnectionLost)
		if took := time.Since(begin); took != 7*time.Second {
			t.Errorf("it took %v", took)
		}
		if old.HasLeader() || old.IsLeader() {
			t.Error("still believes in a leader")
		}
		_, err = call(t.Context(), old.Range, &pb.RangeRequest{Key: []byte("k")}, new(pb.RangeResponse))
		wantError(t, "linearizable read", err, kverr.Timeout)
		must(t, old.Range, &pb.RangeRequest{Key: []byte("k"), Serializable: true}, new(pb.RangeResponse))
		now := c.Leader()
		put(t, now, "k", "v")
		c.Rejoin(old.ID)
		after(2 * servicetest.ElectionTimeout)
		if r := get(t, old, "k"); r.Count != 1 || r.Kvs[0].Version != 1 {
			t.Errorf("after the return: %v", r)
		}
	})
}

// TestReadsFollowWrites: a read on any member sees what was answered on another one just before.
func TestReadsFollowWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := settled(t, 3)
		for i := range 30 {
			put(t, c.Member(uint64(1+i%3)), "k", fmt.Sprint(i))
			if r := get(t, c.Member(uint64(1+(i+1)%3)), "k"); string(r.Kvs[0].Value) != fmt.Sprint(i) {
				t.Fatalf("after put %d: %v", i, r.Kvs)
			}
		}
	})
}

// TestStatusOfMembers: each member says who leads, and who has no vote.
func TestStatusOfMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := settled(t, 3)
		id := add(t, c.Leader(), 4, true)
		c.Start(id)
		after(2 * time.Second)
		leader := c.Leader().ID
		for _, one := range []uint64{1, 2, 3, id} {
			st := c.Member(one).Status()
			if st.Leader != leader || len(st.Errors) != 0 || st.IsLearner != (one == id) || st.Version != "3.7.1" || st.StorageVersion != "3.7.0" {
				t.Errorf("member %x: %+v", one, st)
			}
		}
		all, err := c.Member(id).Members(t.Context(), true)
		check(t, err)
		for _, m := range all {
			if m.Name != fmt.Sprintf("m%d", m.ID) || !slices.Equal(m.ClientURLs, []string{"http://" + m.Name + ":2379"}) {
				t.Errorf("announced: %+v", m)
			}
		}
	})
}
