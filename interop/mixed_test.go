package interop

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"

	"github.com/quoin-kv/quoin/interop/process"
	"github.com/quoin-kv/quoin/interop/workload"
)

const (
	mixedOps    = 400              // between two events
	mixedMissed = 1200             // while a member is away: enough for the others to forget what it needs
	mixedOpTime = 10 * time.Second // an operation that takes longer has an unknown outcome, which is nothing to this test
	mixedBudget = 60 * time.Second // for members to agree
)

// TestMixedCluster runs clusters of Quoin and etcd members together: whoever leads, whoever is killed and has to be brought back with a
// snapshot, all members hold the same history in the end.
func TestMixedCluster(t *testing.T) {
	t.Parallel()
	quoin, etcd := process.Quoin(), process.Etcd()
	for _, programs := range [][]process.Program{{quoin, etcd, etcd}, {quoin, quoin, etcd}} {
		var names []string
		for _, p := range programs {
			names = append(names, p.Name)
		}
		t.Run(strings.Join(names, "+"), func(t *testing.T) { newMixed(t, programs).run() })
	}
}

// mixed is a cluster of members of several kinds.
type mixed struct {
	t       *testing.T
	rand    *rand.Rand
	source  *workload.Generator
	members []*process.Server
	conns   []*grpc.ClientConn
}

// mixedFlags are those of every member: elections are quick, and logs short, so that who was away needs a snapshot.
func mixedFlags() []string {
	return []string{
		"--heartbeat-interval=50", "--election-timeout=500", "--snapshot-count=100", "--snapshot-catchup-entries=50", "--backend-batch-interval=10ms",
	}
}

func newMixed(t *testing.T, programs []process.Program, more ...string) *mixed {
	t.Helper()
	t.Logf("repeat with: -seed %d", flags.seed)
	cfg := process.Config{Builder: builder, Volatile: true, Flags: append(mixedFlags(), more...)}
	m := &mixed{t: t, rand: rand.New(rand.NewPCG(flags.seed, 3)), source: workload.NewGenerator(flags.seed)}
	for _, s := range process.StartCluster(t, cfg, programs...) {
		m.take(s)
	}
	return m
}

// take makes a server that runs a member.
func (m *mixed) take(s *process.Server) {
	m.t.Helper()
	conn := s.Dial(m.t)
	m.t.Cleanup(func() { _ = conn.Close() })
	m.members, m.conns = append(m.members, s), append(m.conns, conn)
}

// run makes each member lead once, and then kills and revives each while the others go on. The leader to which it comes back has followed
// while it was away: that one has not kept what it lacks.
func (m *mixed) run() {
	m.work(mixedOps, -1)
	m.agree()
	for i := range m.members {
		m.lead(i)
		m.work(mixedOps, -1)
		m.agree()
	}
	for i, s := range m.members {
		m.lead((i + 1) % len(m.members))
		s.Kill()
		m.work(mixedMissed, i)
		m.lead((i + 2) % len(m.members))
		s.Restart()
		m.agree()
		m.gotSnapshot(i)
	}
}

// gotSnapshot checks that a member was brought back by a snapshot, or what it missed was less than this test means.
func (m *mixed) gotSnapshot(i int) {
	m.t.Helper()
	r, err := http.NewRequestWithContext(m.t.Context(), http.MethodGet, m.members[i].URL()+"/metrics", nil)
	if err != nil {
		m.t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(r)
	if err != nil {
		m.t.Fatal(err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil {
		m.t.Fatal(err)
	}
	if !strings.Contains(string(page), "\netcd_network_snapshot_receive_success{") {
		m.t.Errorf("%s was not sent a snapshot", m.members[i].Program().Name)
	}
}

// work sends random operations through all members but one.
func (m *mixed) work(ops, without int) {
	m.t.Helper()
	clients := make([]*workload.Client, len(m.conns))
	for range ops {
		i := m.rand.IntN(len(m.conns))
		if i == without {
			continue
		}
		ctx, cancel := context.WithTimeout(m.t.Context(), mixedOpTime)
		if clients[i] == nil {
			client, err := workload.NewClient(ctx, m.conns[i])
			if err != nil {
				m.t.Fatalf("%s: %v", m.members[i].Program().Name, err)
			}
			clients[i] = client
		}
		clients[i].Do(ctx, m.source.Next())
		cancel()
	}
}

// lead makes a member the leader.
func (m *mixed) lead(i int) {
	m.t.Helper()
	m.until("lead", func(ctx context.Context) bool {
		to, err := pb.NewMaintenanceClient(m.conns[i]).Status(ctx, &pb.StatusRequest{})
		if err != nil || to.Leader == to.Header.MemberId {
			return err == nil
		}
		for _, conn := range m.conns {
			_, _ = pb.NewMaintenanceClient(conn).MoveLeader(ctx, &pb.MoveLeaderRequest{TargetID: to.Header.MemberId})
		}
		return false
	})
}

// agree waits until all members are at one revision with one hash.
func (m *mixed) agree() {
	m.t.Helper()
	var last []*pb.HashKVResponse
	defer func() {
		if m.t.Failed() {
			m.t.Logf("hashes: %v", last)
		}
	}()
	m.until("agree", func(ctx context.Context) bool {
		last = nil
		for _, conn := range m.conns {
			h, err := pb.NewMaintenanceClient(conn).HashKV(ctx, &pb.HashKVRequest{})
			if err != nil {
				return false
			}
			last = append(last, h)
		}
		for _, h := range last[1:] {
			if h.Hash != last[0].Hash || h.HashRevision != last[0].HashRevision || h.CompactRevision != last[0].CompactRevision {
				return false
			}
		}
		return true
	})
}

// until repeats a try until it succeeds.
func (m *mixed) until(what string, try func(context.Context) bool) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), mixedBudget)
	defer cancel()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for !try(ctx) {
		select {
		case <-again.C:
		case <-ctx.Done():
			m.t.Fatalf("members do not %s within %v", what, mixedBudget)
		}
	}
}
