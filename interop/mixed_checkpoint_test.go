package interop

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/quoin-kv/quoin/interop/process"
)

const (
	checkpointTTL  = 1000            // seconds
	checkpointLeft = 60              // what the test notes itself
	checkpointWait = 6 * time.Minute // leaders note every five
	checkpointSlow = 20              // seconds that may pass between two steps
)

// TestMixedCheckpoint: what a leader of either kind notes of the time that a lease has left, the next leader, of the other kind, gives it and no
// more; so does the one after it, and one that was started anew. When the lease is renewed, all of them give it all of its time again. Leaders
// note every five minutes: with -long the test waits for that, otherwise it says the same in the leader's name.
func TestMixedCheckpoint(t *testing.T) {
	t.Parallel()
	for _, programs := range [][]process.Program{{process.Quoin(), process.Etcd()}, {process.Etcd(), process.Quoin()}} {
		t.Run(programs[0].Name+" notes", func(t *testing.T) {
			t.Parallel()
			m := newMixed(t, append(programs, process.Quoin()), "--feature-gates=LeaseCheckpoint=true,LeaseCheckpointPersist=true")
			m.lead(0)
			m.must(pb.NewLeaseClient(m.conns[2]).LeaseGrant(t.Context(), &pb.LeaseGrantRequest{ID: leaseBase, TTL: checkpointTTL}))
			least, most := m.noted()
			for _, next := range []int{1, 0} {
				m.lead(next)
				m.wantLeft(least, most)
			}
			m.members[1].Stop()
			m.members[1].Restart()
			m.lead(1)
			m.wantLeft(least, most)
			m.renew()
			for _, next := range []int{0, 1} {
				m.lead(next)
				m.wantLeft(checkpointTTL-checkpointSlow, checkpointTTL)
			}
		})
	}
}

// noted waits until the leader, the first member, has noted how much time is left, and returns how much the next one may give.
func (m *mixed) noted() (least, most int64) {
	m.t.Helper()
	if flags.long {
		wait := time.NewTimer(checkpointWait)
		defer wait.Stop()
		<-wait.C
		left := m.timeLeft(m.t.Context(), 0)
		return left - checkpointSlow, left + int64(checkpointWait/time.Second) - checkpointSlow // it was noted in between
	}
	note := &pb.LeaseCheckpointRequest{Checkpoints: []*pb.LeaseCheckpoint{{ID: leaseBase, Remaining_TTL: checkpointLeft}}}
	m.propose(&pb.InternalRaftRequest{Header: &pb.RequestHeader{ID: 1}, LeaseCheckpoint: note})
	m.work(10, -1) // comes after it in the log
	m.agree()
	return checkpointLeft - checkpointSlow, checkpointLeft + 1 // and the time of an election
}

// propose sends a request to the leader, the first member, in the name of the second, as members do with proposals of theirs.
func (m *mixed) propose(r *pb.InternalRaftRequest) {
	m.t.Helper()
	ctx := m.t.Context()
	to, err := pb.NewMaintenanceClient(m.conns[0]).Status(ctx, &pb.StatusRequest{})
	check(m.t, err)
	from, err := pb.NewMaintenanceClient(m.conns[1]).Status(ctx, &pb.StatusRequest{})
	check(m.t, err)
	data, err := proto.Marshal(r)
	check(m.t, err)
	message, err := proto.Marshal(&raftpb.Message{
		Type: raftpb.MsgProp.Enum(), To: &to.Header.MemberId, From: &from.Header.MemberId, Entries: []*raftpb.Entry{{Data: data}},
	})
	check(m.t, err)
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+m.members[0].Peer()+"/raft", bytes.NewReader(message))
	check(m.t, err)
	for name, value := range map[string]string{
		"X-Server-From": fmt.Sprintf("%x", from.Header.MemberId), "X-Raft-To": fmt.Sprintf("%x", to.Header.MemberId),
		"X-Etcd-Cluster-ID": fmt.Sprintf("%x", to.Header.ClusterId), "X-Server-Version": "3.7.0", "X-Min-Cluster-Version": "3.0.0",
		"Content-Type": "application/protobuf",
	} {
		q.Header.Set(name, value)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(q)
	check(m.t, err)
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusNoContent {
		m.t.Errorf("a proposal is answered with %s", answer.Status)
	}
}

func (m *mixed) timeLeft(ctx context.Context, i int) int64 {
	r, err := pb.NewLeaseClient(m.conns[i]).LeaseTimeToLive(ctx, &pb.LeaseTimeToLiveRequest{ID: leaseBase})
	if err != nil {
		return -1
	}
	return r.TTL
}

// wantLeft checks how much time the lease has according to any member, all of which ask the leader.
func (m *mixed) wantLeft(least, most int64) {
	m.t.Helper()
	for i := range m.conns {
		var left int64
		m.until("know how much time is left", func(ctx context.Context) bool {
			left = m.timeLeft(ctx, i)
			return left >= 0
		})
		if left < least || left > most {
			m.t.Errorf("%d s are left, according to %s; want %d to %d", left, m.members[i].Program().Name, least, most)
		}
	}
}

// renew gives the lease its time again, through the last member.
func (m *mixed) renew() {
	m.t.Helper()
	m.until("renew", func(ctx context.Context) bool {
		stream, err := pb.NewLeaseClient(m.conns[2]).LeaseKeepAlive(ctx)
		if err != nil || stream.Send(&pb.LeaseKeepAliveRequest{ID: leaseBase}) != nil {
			return false
		}
		r, err := stream.Recv()
		return err == nil && r.TTL == checkpointTTL
	})
}
