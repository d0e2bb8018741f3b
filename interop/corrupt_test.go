package interop

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"

	"github.com/quoin-kv/quoin/interop/process"
	"github.com/quoin-kv/quoin/interop/workload"
)

// TestHashChecks has members of both kinds compare their data, whoever leads: those that are right get no alarm, and an etcd with other data in its
// file gets one from a leader of ours.
func TestHashChecks(t *testing.T) {
	t.Parallel()
	cfg := process.Config{Builder: builder, Volatile: true, Flags: []string{
		"--heartbeat-interval=50", "--election-timeout=500", "--corrupt-check-time=500ms", "--compact-hash-check-time=500ms",
		"--feature-gates=CompactHashCheck=true",
	}}
	m := &mixed{
		t: t, rand: rand.New(rand.NewPCG(flags.seed, 5)), source: workload.NewGenerator(flags.seed),
		members: process.StartCluster(t, cfg, process.Quoin(), process.Quoin(), process.Etcd()),
	}
	for _, s := range m.members {
		conn := s.Dial(t)
		t.Cleanup(func() { _ = conn.Close() })
		m.conns = append(m.conns, conn)
	}
	for i := range m.members {
		m.lead(i)
		m.work(mixedOps, -1)
		m.compact()
		m.work(mixedOps, -1)
		m.agree()
		if alarms := m.corrupt(); len(alarms) != 0 {
			t.Fatalf("with member %d as leader: alarms %v", i, alarms)
		}
	}
	const right, wrong = "marker-value-0123456789", "marker-value-9123456789"
	if _, err := pb.NewKVClient(m.conns[0]).Put(t.Context(), &pb.PutRequest{Key: []byte("marker"), Value: []byte(right)}); err != nil {
		t.Fatal(err)
	}
	m.agree()
	etcd := m.members[2]
	m.lead(0)
	etcd.Stop()
	replaceInFile(t, filepath.Join(etcd.DataDir(), "member", "snap", "db"), right, wrong)
	etcd.Restart()
	m.lead(0)
	status, err := pb.NewMaintenanceClient(m.conns[2]).Status(t.Context(), &pb.StatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	m.until("be found out", func(context.Context) bool {
		alarms := m.corrupt()
		return len(alarms) == 1 && alarms[0] == status.Header.MemberId
	})
}

// compact forgets what is older than the present.
func (m *mixed) compact() {
	m.t.Helper()
	kv := pb.NewKVClient(m.conns[0])
	now, err := kv.Range(m.t.Context(), &pb.RangeRequest{Key: []byte("x")})
	if err != nil {
		m.t.Fatal(err)
	}
	if _, err := kv.Compact(m.t.Context(), &pb.CompactionRequest{Revision: now.Header.Revision, Physical: true}, grpc.WaitForReady(true)); err != nil {
		m.t.Fatal(err)
	}
}

// corrupt lists the members that have the CORRUPT alarm.
func (m *mixed) corrupt() (ids []uint64) {
	m.t.Helper()
	r, err := pb.NewMaintenanceClient(m.conns[0]).Alarm(m.t.Context(), &pb.AlarmRequest{Alarm: pb.AlarmType_CORRUPT})
	if err != nil {
		m.t.Fatal(err)
	}
	for _, a := range r.Alarms {
		ids = append(ids, a.MemberID)
	}
	return ids
}

func replaceInFile(t *testing.T, path, from, to string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.ReplaceAll(b, []byte(from), []byte(to))
	if bytes.Equal(b, changed) {
		t.Fatalf("%s does not hold %q", path, from)
	}
	if err := os.WriteFile(path, changed, 0o600); err != nil {
		t.Fatal(err)
	}
}
