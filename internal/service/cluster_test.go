package service_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/service/servicetest"
	"github.com/quoin-kv/quoin/raft/wire"
)

// TestAnnounce: a new member tells who it is and which version the cluster has, at once.
func TestAnnounce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := servicetest.NewDisks(t, 1)
		m := servicetest.Start(t, d)
		after(time.Second / 2) // before there would be a second try
		wantMember(t, m, servicetest.Name, servicetest.ClientURL)
		if _, cluster, storage := m.Versions(); cluster != "3.7.0" || storage != "3.7.0" {
			t.Errorf("the cluster speaks %q, the storage is %q", cluster, storage)
		}
		index := m.Status().RaftIndex
		m.Stop(t)
		m = servicetest.Start(t, d)
		after(time.Minute)
		if now := m.Status().RaftIndex; now != index+1 {
			t.Errorf("a restart wrote %d entries, want the new term's only", now-index)
		}
		m.Stop(t)
		renamed := func(o *servicetest.Options) {
			o.Service.Name, o.Service.ClientURLs = "renamed", []string{"http://elsewhere:1"}
		}
		m = servicetest.Start(t, d, renamed)
		after(time.Second / 2)
		wantMember(t, m, "renamed", "http://elsewhere:1")
		m.Stop(t)
		m = servicetest.Start(t, d, renamed, func(o *servicetest.Options) { o.Service.ClusterVersion = "3.8.0" })
		after(time.Second / 2)
		if _, cluster, _ := m.Versions(); cluster != "3.8.0" {
			t.Errorf("a newer server left the cluster at %q", cluster)
		}
	})
}

func wantMember(t *testing.T, m *servicetest.Member, name, url string) {
	t.Helper()
	members, err := m.Members(t.Context(), true)
	if err != nil || len(members) != 1 || members[0].Name != name || !slices.Equal(members[0].ClientURLs, []string{url}) {
		t.Errorf("members are %+v, %v, want %s at %s", members, err, name, url)
	}
}

func TestMembership(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t)
		after(time.Second / 2)
		ctx := t.Context()
		const self = servicetest.MemberID
		_, _, err := m.MemberAdd(ctx, []string{"nowhere"}, false)
		wantError(t, "adding a bad URL", err, kverr.MemberBadURLs)
		_, _, err = m.MemberAdd(ctx, []string{"http://peer1:2380"}, false)
		wantError(t, "adding a known URL", err, kverr.PeerURLExist)
		for _, id := range []uint64{0, 5} {
			_, err = m.MemberRemove(ctx, id)
			wantError(t, "removing a stranger", err, kverr.MemberNotFound)
			_, err := m.MemberUpdate(ctx, id, []string{"http://x:1"})
			wantError(t, "updating a stranger", err, kverr.MemberNotFound)
			_, err = m.MemberPromote(ctx, id)
			wantError(t, "promoting a stranger", err, kverr.MemberNotFound)
		}
		_, err = m.MemberRemove(ctx, self)
		wantError(t, "removing the last voter", err, kverr.MemberNotEnoughStarted)
		_, err = m.MemberPromote(ctx, self)
		wantError(t, "promoting a voter", err, kverr.MemberNotLearner)
		members, err := m.MemberUpdate(ctx, self, []string{"not checked"})
		if err != nil || members[0].PeerURLs[0] != "not checked" || members[0].Name != servicetest.Name {
			t.Errorf("updated to %+v, %v", members, err)
		}
	})
}

// TestLeaderlessStreams: who asked for a leader is cut off after three election timeouts without one, others are not.
func TestLeaderlessStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := servicetest.Start(t, servicetest.NewDisks(t, 2))
		// heard of the other member as leader of term 5, once
		m.Node.Step(wire.Message{Type: wire.MsgHeartbeat, From: 2, To: servicetest.MemberID, Term: 5})
		synctest.Wait()
		if !m.HasLeader() || m.IsLeader() {
			t.Fatal("does not follow the leader that it heard of")
		}
		ctx, cancel := m.WithLeader(t.Context())
		defer cancel()
		other, cancelOther := m.WithLeader(t.Context())
		cancelOther()
		for m.HasLeader() {
			after(servicetest.Tick)
		}
		after(2*servicetest.ElectionTimeout - servicetest.Tick) // the first timeout had begun
		if ctx.Err() != nil {
			t.Error("cut off too early")
		}
		after(servicetest.ElectionTimeout + servicetest.Tick)
		if context.Cause(ctx) != error(kverr.NoLeader) {
			t.Errorf("after three election timeouts the cause is %v", context.Cause(ctx))
		}
		if context.Cause(other) != context.Canceled {
			t.Errorf("a call that ended before has the cause %v", context.Cause(other))
		}
	})
}

func TestStreamsLiveWithTheLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t)
		ctx, cancel := m.WithLeader(t.Context())
		defer cancel()
		after(time.Minute)
		if ctx.Err() != nil {
			t.Errorf("cut off with a leader: %v", context.Cause(ctx))
		}
	})
}
