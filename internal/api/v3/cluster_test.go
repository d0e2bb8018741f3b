package v3

import (
	"testing"
	"testing/synctest"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/quoin-kv/quoin/internal/membership"
	"github.com/quoin-kv/quoin/internal/service/servicetest"
)

// after lets the fake time pass and everything that follows from it happen.
func after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// settled starts three members that have been connected for long enough.
func settled(t *testing.T) *servicetest.Cluster {
	c := servicetest.NewCluster(t, 3)
	c.Leader()
	after(2 * membership.HealthyAfter)
	return c
}

// TestMembershipCalls makes every call that changes the members, through a follower.
func TestMembershipCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := settled(t)
		e := serve(t, c.Follower())
		ctx := t.Context()
		_, err := e.maint.MoveLeader(ctx, &pb.MoveLeaderRequest{TargetID: e.ID})
		wantStatus(t, "MoveLeader", err, codes.FailedPrecondition, "etcdserver: not leader")

		url := []string{servicetest.PeerURL(4)}
		added, err := e.cluster.MemberAdd(ctx, &pb.MemberAddRequest{PeerURLs: url, IsLearner: true})
		check(t, err)
		if m := added.Member; m.ID == 0 || m.Name != "" || len(m.ClientURLs) != 0 || m.PeerURLs[0] != url[0] || !m.IsLearner || len(added.Members) != 4 {
			t.Errorf("MemberAdd: %v", added)
		}
		if h := added.Header; h.MemberId != e.ID || h.Revision != 0 || h.RaftTerm == 0 {
			t.Errorf("MemberAdd: header %v", h)
		}
		after(time.Second) // a member's id is made of its URLs and the second
		_, err = e.cluster.MemberAdd(ctx, &pb.MemberAddRequest{PeerURLs: url})
		wantStatus(t, "the URL again", err, codes.FailedPrecondition, "etcdserver: Peer URLs already exists")
		_, err = e.cluster.MemberAdd(ctx, &pb.MemberAddRequest{PeerURLs: []string{servicetest.PeerURL(5)}, IsLearner: true})
		wantStatus(t, "another learner", err, codes.FailedPrecondition, "etcdserver: too many learner members in cluster")
		id := added.Member.ID
		_, err = e.cluster.MemberPromote(ctx, &pb.MemberPromoteRequest{ID: id})
		wantStatus(t, "promotion of a learner that does not run", err, codes.FailedPrecondition, "etcdserver: can only promote a learner member which is in sync with leader")
		c.Start(id)
		after(2 * time.Second)
		promoted, err := e.cluster.MemberPromote(ctx, &pb.MemberPromoteRequest{ID: id})
		check(t, err)
		for _, m := range promoted.Members {
			if m.IsLearner {
				t.Errorf("MemberPromote: %v", promoted)
			}
		}
		left, err := e.cluster.MemberRemove(ctx, &pb.MemberRemoveRequest{ID: id})
		if err != nil || len(left.Members) != 3 || left.Header.Revision != 0 {
			t.Errorf("MemberRemove: %v, %v", left, err)
		}
		_, err = e.cluster.MemberPromote(ctx, &pb.MemberPromoteRequest{ID: id})
		wantStatus(t, "promotion of a member that was removed", err, codes.NotFound, "etcdserver: member not found")
		c.Stop(id)
		c.Stop(c.Leader().ID)
		c.Leader()
		_, err = e.cluster.MemberAdd(ctx, &pb.MemberAddRequest{PeerURLs: []string{servicetest.PeerURL(6)}})
		wantStatus(t, "adding with a member down", err, codes.Unavailable, "etcdserver: unhealthy cluster")
	})
}

// TestCallsOfALearner: a learner of a cluster refuses what it cannot answer, and answers all once it is a voter; a removed member is none.
func TestCallsOfALearner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := settled(t)
		added, _, err := c.Leader().MemberAdd(t.Context(), []string{servicetest.PeerURL(4)}, true)
		check(t, err)
		e := serve(t, c.Start(added.ID))
		after(2 * time.Second)
		ctx := t.Context()
		_, err = e.cluster.MemberList(ctx, &pb.MemberListRequest{})
		wantStatus(t, "MemberList", err, codes.FailedPrecondition, "etcdserver: rpc not supported for learner")
		asking := metadata.AppendToOutgoingContext(ctx, "hasleader", "true")
		if st, err := e.maint.Status(asking, &pb.StatusRequest{}); err != nil || !st.IsLearner || st.Leader != c.Leader().ID {
			t.Errorf("Status: %v, %v", st, err)
		}
		_, err = c.Leader().MemberPromote(ctx, added.ID)
		check(t, err)
		after(servicetest.Tick)
		if list, err := e.cluster.MemberList(ctx, &pb.MemberListRequest{Linearizable: true}); err != nil || len(list.Members) != 4 {
			t.Errorf("MemberList of a voter: %v, %v", list, err)
		}
		if _, err := c.Leader().MemberRemove(ctx, added.ID); err != nil {
			t.Fatal(err)
		}
		after(servicetest.Tick)
		if list, err := e.cluster.MemberList(ctx, &pb.MemberListRequest{}); err != nil || len(list.Members) != 3 {
			t.Errorf("MemberList of a removed member: %v, %v", list, err)
		}
	})
}

// TestWithoutQuorum: what clients hear of a member that has lost the others.
func TestWithoutQuorum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := settled(t)
		e := serve(t, c.Follower())
		_, err := e.kv.Put(t.Context(), &pb.PutRequest{Key: []byte("k")})
		check(t, err)
		c.Isolate(e.ID)
		after(3 * servicetest.ElectionTimeout)
		_, err = e.kv.Put(t.Context(), &pb.PutRequest{Key: []byte("k")})
		wantStatus(t, "Put", err, codes.DeadlineExceeded, "context deadline exceeded")
		_, err = e.kv.Range(t.Context(), &pb.RangeRequest{Key: []byte("k")})
		wantStatus(t, "Range", err, codes.Unavailable, "etcdserver: request timed out")
		r, err := e.kv.Range(t.Context(), &pb.RangeRequest{Key: []byte("k"), Serializable: true})
		if err != nil || r.Count != 1 {
			t.Errorf("serializable Range: %v, %v", r, err)
		}
		asking := metadata.AppendToOutgoingContext(t.Context(), "hasleader", "true")
		_, err = e.kv.Range(asking, &pb.RangeRequest{Key: []byte("k"), Serializable: true})
		wantStatus(t, "Range that asks for a leader", err, codes.Unavailable, "etcdserver: no leader")
		_, err = e.lease.LeaseTimeToLive(t.Context(), &pb.LeaseTimeToLiveRequest{ID: 7})
		wantStatus(t, "LeaseTimeToLive", err, codes.Unavailable, "etcdserver: no leader")
		_, err = e.cluster.MemberPromote(t.Context(), &pb.MemberPromoteRequest{ID: 7})
		wantStatus(t, "MemberPromote", err, codes.Unavailable, "etcdserver: no leader")
	})
}
