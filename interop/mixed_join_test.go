package interop

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/quoin-kv/quoin/interop/process"
	"github.com/quoin-kv/quoin/test/freeport"
)

// TestMixedJoin: members of the other kind join a cluster as learners, are given votes, lead, and stay when the founder is removed. So a
// cluster of either kind becomes one of the other without a member that changes what it is.
func TestMixedJoin(t *testing.T) {
	t.Parallel()
	for _, kinds := range [][2]process.Program{{process.Etcd(), process.Quoin()}, {process.Quoin(), process.Etcd()}} {
		t.Run(kinds[1].Name+" joins "+kinds[0].Name, func(t *testing.T) {
			loose := "--strict-reconfig-check=false" // strictly, members have to have been connected for some seconds
			m := newMixed(t, []process.Program{kinds[0]}, loose)
			m.work(mixedOps, -1)
			m.join(kinds[1], "m2", loose)
			m.join(kinds[1], "m3", loose)
			for i := range m.members {
				m.lead(i)
				m.work(mixedOps, -1)
				m.agree()
			}
			m.lead(0)
			m.remove(0)
			m.work(mixedOps, -1)
			m.agree()
		})
	}
}

// join adds a member as a learner, starts it, waits until it has everything, and gives it a vote.
func (m *mixed) join(program process.Program, name string, more ...string) {
	m.t.Helper()
	peer := freeport.Address(m.t)
	var added *pb.MemberAddResponse
	m.until("add "+name, func(ctx context.Context) (done bool) {
		var err error
		added, err = pb.NewClusterClient(m.conns[0]).MemberAdd(ctx, &pb.MemberAddRequest{PeerURLs: []string{"http://" + peer}, IsLearner: true})
		return err == nil
	})
	var cluster []string
	for _, member := range added.Members {
		known := member.Name
		if member.ID == added.Member.ID {
			known = name
		}
		cluster = append(cluster, known+"="+member.PeerURLs[0])
	}
	s := process.Start(m.t, process.Config{
		Program: program, Builder: builder, DataDir: filepath.Join(process.MemoryDir(m.t), "data"), Peer: peer, Name: name, Volatile: true,
		Cluster: strings.Join(cluster, ","), Flags: append(append(mixedFlags(), "--initial-cluster-state=existing"), more...),
	})
	m.take(s)
	m.wantRefusal(len(m.members)-1, "etcdserver: rpc not supported for learner")
	m.until("promote "+name, func(ctx context.Context) bool {
		_, err := pb.NewClusterClient(m.conns[0]).MemberPromote(ctx, &pb.MemberPromoteRequest{ID: added.Member.ID})
		return err == nil
	})
	s.WaitReady()
}

// wantRefusal writes through a member, which has to refuse it.
func (m *mixed) wantRefusal(i int, text string) {
	m.t.Helper()
	_, err := pb.NewKVClient(m.conns[i]).Put(m.t.Context(), &pb.PutRequest{Key: []byte("refused")})
	if err == nil || !strings.Contains(err.Error(), text) {
		m.t.Errorf("a write through %s: %v, want %q", m.members[i].Program().Name, err, text)
	}
}

// remove takes a member out of the cluster, which ends it.
func (m *mixed) remove(i int) {
	m.t.Helper()
	status, err := pb.NewMaintenanceClient(m.conns[i]).Status(m.t.Context(), &pb.StatusRequest{})
	check(m.t, err)
	other := (i + 1) % len(m.members)
	m.until("remove a member", func(ctx context.Context) bool {
		r, err := pb.NewClusterClient(m.conns[other]).MemberRemove(ctx, &pb.MemberRemoveRequest{ID: status.Header.MemberId})
		return err == nil && len(r.Members) == len(m.members)-1 || strings.Contains(fmt.Sprint(err), "member not found")
	})
	m.until("end the member that was removed", func(context.Context) bool { return !m.members[i].Running() })
	m.members, m.conns = slices.Delete(m.members, i, i+1), slices.Delete(m.conns, i, i+1)
}
