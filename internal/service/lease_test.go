package service_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/service"
	"github.com/quoin-kv/quoin/internal/service/servicetest"
	"github.com/quoin-kv/quoin/raft/wire"
)

func grant(t testing.TB, m *servicetest.Member, id, ttl int64) *pb.LeaseGrantResponse {
	t.Helper()
	return must(t, m.LeaseGrant, &pb.LeaseGrantRequest{ID: id, TTL: ttl}, new(pb.LeaseGrantResponse))
}

func keepAlive(t testing.TB, m *servicetest.Member, id int64) *pb.LeaseKeepAliveResponse {
	t.Helper()
	return must(t, m.LeaseKeepAlive, &pb.LeaseKeepAliveRequest{ID: id}, new(pb.LeaseKeepAliveResponse))
}

func timeToLive(t testing.TB, m *servicetest.Member, id int64) *pb.LeaseTimeToLiveResponse {
	t.Helper()
	return must(t, m.LeaseTimeToLive, &pb.LeaseTimeToLiveRequest{ID: id, Keys: true}, new(pb.LeaseTimeToLiveResponse))
}

func putLeased(t testing.TB, m *servicetest.Member, key string, id int64) {
	t.Helper()
	must(t, m.Put, &pb.PutRequest{Key: []byte(key), Lease: id}, new(pb.PutResponse))
}

// after lets the fake time pass and everything that follows from it happen.
func after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestLeaseLifeCycle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var changes []service.LeaseChange // by the applier and by the calls here, never at once
		m := start(t, func(o *servicetest.Options) {
			o.Service.Metrics.Lease = func(c service.LeaseChange, _ int64) { changes = append(changes, c) }
		})
		if g := grant(t, m, 7, 10); g.ID != 7 || g.TTL != 10 {
			t.Errorf("granted %v", g)
		}
		if g := grant(t, m, -8, 0); g.ID != -8 || g.TTL != servicetest.MinLeaseTTL {
			t.Errorf("a lease without TTL: granted %v", g)
		}
		if g := grant(t, m, 0, 60); g.ID <= 0 {
			t.Errorf("the member chose the id %d", g.ID)
		}
		_, err := call(t.Context(), m.LeaseGrant, &pb.LeaseGrantRequest{ID: 7, TTL: 1}, new(pb.LeaseGrantResponse))
		wantError(t, "grant of a lease that there is", err, kverr.LeaseExist)
		putLeased(t, m, "b", 7)
		putLeased(t, m, "a", 7)
		after(3500 * time.Millisecond)
		if r := timeToLive(t, m, 7); r.TTL != 6 || r.GrantedTTL != 10 || len(r.Keys) != 2 {
			t.Errorf("after 3.5 s of 10: %v", r)
		}
		if r := keepAlive(t, m, 7); r.ID != 7 || r.TTL != 10 {
			t.Errorf("keep-alive: %v", r)
		}
		if r := timeToLive(t, m, 7); r.TTL != 10 {
			t.Errorf("after a keep-alive: %v", r)
		}
		if r := must(t, m.LeaseLeases, &pb.LeaseLeasesRequest{}, new(pb.LeaseLeasesResponse)); len(r.Leases) != 2 || r.Leases[0].ID != 7 {
			t.Errorf("leases, the soonest to end first: %v", r.Leases)
		}
		must(t, m.LeaseRevoke, &pb.LeaseRevokeRequest{ID: 7}, new(pb.LeaseRevokeResponse))
		if r := timeToLive(t, m, 7); r.TTL != -1 || r.GrantedTTL != 0 {
			t.Errorf("a revoked lease: %v", r)
		}
		if r := keepAlive(t, m, 7); r.TTL != 0 {
			t.Errorf("keep-alive of a revoked lease: %v", r)
		}
		if r := get(t, m, "a"); r.Count != 0 || r.Header.Revision != 4 {
			t.Errorf("a key of a revoked lease: %v", r)
		}
		want := []service.LeaseChange{
			service.LeaseGranted, service.LeaseGranted, service.LeaseGranted, service.LeaseRevoked, service.LeaseRenewed, service.LeaseRevoked,
		}
		if fmt.Sprint(changes) != fmt.Sprint(want) {
			t.Errorf("measured %v, want %v", changes, want)
		}
	})
}

// TestManyLeasesExpireTogether: a lease lives to its last moment, and however many end at once they are all gone soon after.
func TestManyLeasesExpireTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const leases = 3000
		var expired atomic.Int64
		m := start(t, func(o *servicetest.Options) { o.Service.Metrics.LeaseExpired = func() { expired.Add(1) } })
		for id := range int64(leases) {
			grant(t, m, id+1, 5)
		}
		putLeased(t, m, "k", leases)
		after(5*time.Second - time.Millisecond)
		if n := expired.Load(); n != 0 {
			t.Fatalf("%d leases ended early", n)
		}
		after(300 * time.Millisecond)
		if n := expired.Load(); n != leases {
			t.Errorf("%d of %d leases have ended after the look at them", n, leases)
		}
		if r := must(t, m.LeaseLeases, &pb.LeaseLeasesRequest{}, new(pb.LeaseLeasesResponse)); len(r.Leases) != 0 {
			t.Errorf("%d leases are left", len(r.Leases))
		}
		if get(t, m, "k").Count != 0 {
			t.Error("the key of an ended lease is still there")
		}
	})
}

// TestKeepAliveOfAnExpiredLeaseWaits holds up the log, so that a lease whose time is over cannot be revoked.
func TestKeepAliveOfAnExpiredLeaseWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, g := startGated(t)
		grant(t, m, 7, 5)
		after(4 * time.Second)
		g.shut.Store(true)
		after(1300 * time.Millisecond) // the revocation is under way
		answered := make(chan int64, 1)
		go func() { answered <- keepAlive(t, m, 7).TTL }()
		impatient, leave := context.WithCancel(t.Context())
		left := make(chan error, 1)
		go func() {
			_, err := call(impatient, m.LeaseKeepAlive, &pb.LeaseKeepAliveRequest{ID: 7}, new(pb.LeaseKeepAliveResponse))
			left <- err
		}()
		after(2 * time.Second)
		leave()
		wantError(t, "keep-alive of a client that goes", <-left, context.Canceled)
		select {
		case ttl := <-answered:
			t.Fatalf("answered TTL %d for a lease that has ended and is not gone", ttl)
		default:
		}
		if r := timeToLive(t, m, 7); r.TTL != 0 || r.GrantedTTL != 5 {
			t.Errorf("a lease that has ended and is not gone: %v", r)
		}
		g.shut.Store(false)
		opened := time.Now()
		close(g.open)
		if ttl := <-answered; ttl != 0 {
			t.Errorf("TTL %d for a lease that is gone", ttl)
		}
		if took := time.Since(opened); took != 0 {
			t.Errorf("answered %v after the lease was gone", took)
		}
	})
}

// TestKeepAliveEndsWithTheService is the same wait, ended by Close.
func TestKeepAliveEndsWithTheService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, g := startGated(t)
		grant(t, m, 7, 5)
		after(4 * time.Second)
		g.shut.Store(true)
		after(1300 * time.Millisecond)
		answered := make(chan error, 1)
		go func() {
			_, err := call(t.Context(), m.LeaseKeepAlive, &pb.LeaseKeepAliveRequest{ID: 7}, new(pb.LeaseKeepAliveResponse))
			answered <- err
		}()
		synctest.Wait()
		begin := time.Now()
		m.Close()
		wantError(t, "keep-alive", <-answered, kverr.Stopped)
		if took := time.Since(begin); took != 0 {
			t.Errorf("closing took %v", took)
		}
		close(g.open)
	})
}

// TestRestartKeepsLeasesAlive: whoever had a lease before the restart has its whole time again after it, and an election timeout on top.
func TestRestartKeepsLeasesAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := servicetest.NewDisks(t, 1)
		m := startOn(t, d)
		grant(t, m, 7, 5)
		putLeased(t, m, "k", 7)
		check(t, m.Node.Flush(t.Context())) // this one comes back from the file, the next from the log
		grant(t, m, 8, 5)
		after(4 * time.Second)
		d = d.Crash()
		m.Stop(t)
		m = startOn(t, d)
		after(5*time.Second + servicetest.ElectionTimeout - time.Millisecond)
		for _, id := range []int64{7, 8} {
			if r := timeToLive(t, m, id); r.GrantedTTL != 5 || r.TTL < 0 {
				t.Errorf("lease %d ended early: %v", id, r)
			}
		}
		if r := timeToLive(t, m, 7); len(r.Keys) != 1 {
			t.Errorf("keys of the lease after a restart: %q", r.Keys)
		}
		after(time.Second)
		for _, id := range []int64{7, 8} {
			if r := timeToLive(t, m, id); r.TTL != -1 {
				t.Errorf("lease %d did not end: %v", id, r)
			}
		}
	})
}

func TestLeasesNeedALeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := servicetest.Start(t, servicetest.NewDisks(t, 2))
		begin := time.Now()
		_, err := call(t.Context(), m.LeaseKeepAlive, &pb.LeaseKeepAliveRequest{ID: 7}, new(pb.LeaseKeepAliveResponse))
		wantError(t, "keep-alive", err, kverr.NoLeader)
		if took := time.Since(begin); took != 7*time.Second {
			t.Errorf("it took %v to find out", took)
		}
		_, err = call(t.Context(), m.LeaseTimeToLive, &pb.LeaseTimeToLiveRequest{ID: 7}, new(pb.LeaseTimeToLiveResponse))
		wantError(t, "time to live", err, kverr.NoLeader)
		_, err = call(t.Context(), m.LeaseGrant, &pb.LeaseGrantRequest{TTL: 7}, new(pb.LeaseGrantResponse))
		wantError(t, "grant", err, context.DeadlineExceeded)
		_, err = call(t.Context(), m.Range, &pb.RangeRequest{Key: []byte("k")}, new(pb.RangeResponse))
		wantError(t, "linearizable read", err, kverr.Timeout)
	})
}

// TestRenewalsRaceWithExpiry: a lease that a keep-alive renewed is never found gone before its new time is over.
func TestRenewalsRaceWithExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t)
		var wg sync.WaitGroup
		for id := range int64(20) {
			grant(t, m, id+1, 2)
			wg.Go(func() { renewNearTheEnd(t, m, id+1) })
		}
		wg.Wait()
	})
}

func renewNearTheEnd(t *testing.T, m *servicetest.Member, id int64) {
	wait := 1900*time.Millisecond + time.Duration(id)*10*time.Millisecond // from just before to just after the end
	for range 20 {
		<-time.After(wait)
		r, err := call(t.Context(), m.LeaseKeepAlive, &pb.LeaseKeepAliveRequest{ID: id}, new(pb.LeaseKeepAliveResponse))
		switch {
		case err != nil && !errors.Is(err, context.Canceled):
			t.Errorf("lease %d: %v", id, err)
			return
		case r.TTL == 0:
			if wait < 2*time.Second {
				t.Errorf("lease %d ended early", id)
			}
			return
		}
		if left := timeToLive(t, m, id); left.TTL < 1 {
			t.Errorf("lease %d was renewed and has %d s left", id, left.TTL)
		}
	}
	if wait > 2*time.Second {
		t.Errorf("lease %d was renewed after its end", id)
	}
}

// depose makes the member follow somebody who is never heard of again.
func depose(t *testing.T, m *servicetest.Member) {
	t.Helper()
	m.Node.Step(wire.Message{Type: wire.MsgHeartbeat, From: 2, To: servicetest.MemberID, Term: m.Status().RaftTerm + 10})
	synctest.Wait()
	if m.IsLeader() {
		t.Fatal("still leads")
	}
}

// TestChangeOfLeader: a member that lost the lead answers for no lease and ends none; once it leads again every lease has its whole time.
func TestChangeOfLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t)
		grant(t, m, 7, 5)
		after(4900 * time.Millisecond)
		depose(t, m)
		if _, err := m.HashKV(t.Context(), 0); err != nil {
			t.Errorf("a follower has no state: %v", err)
		}
		brief, cancel := context.WithTimeout(t.Context(), servicetest.Tick)
		defer cancel()
		_, err := call(brief, m.LeaseTimeToLive, &pb.LeaseTimeToLiveRequest{ID: 7}, new(pb.LeaseTimeToLiveResponse))
		wantError(t, "time to live on a follower", err, kverr.NoLeader)
		renewed := keepAlive(t, m, 7) // waits until there is a leader
		if renewed.TTL != 5 {
			t.Fatalf("renewed by %d s, want 5", renewed.TTL)
		}
		after(4900 * time.Millisecond)
		depose(t, m)
		for !m.IsLeader() {
			after(servicetest.Tick)
		}
		after(5*time.Second + servicetest.ElectionTimeout - servicetest.Tick - time.Millisecond)
		if r := timeToLive(t, m, 7); r.GrantedTTL != 5 {
			t.Errorf("ended early under the new leader: %v", r)
		}
		after(time.Second / 2)
		if r := timeToLive(t, m, 7); r.TTL != -1 {
			t.Errorf("did not end: %v", r)
		}
	})
}
