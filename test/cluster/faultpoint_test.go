package cluster

import (
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/quoin-kv/quoin/internal/faultpoint"
	"github.com/quoin-kv/quoin/internal/model"
	"github.com/quoin-kv/quoin/test/freeport"
)

// newFaultyCluster starts three members of a build with fault points, whatever program is under test otherwise.
func newFaultyCluster(t *testing.T) *cluster {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "quoin-faults")
	build := exec.Command("go", "build", "-tags", "faultpoints", "-o", binary, "github.com/quoin-kv/quoin/cmd/quoin")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	link := filepath.Join(t.TempDir(), "etcd")
	if out, err := exec.Command("ln", "-s", binary, link).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	c := newClusterOf(t, &cluster{program: link, extra: []string{
		"--snapshot-count=200", "--snapshot-catchup-entries=20", "--backend-batch-interval=20ms", "--compaction-batch-limit=50", "--max-wals=1",
	}}, networkLoopback, 3, false)
	for _, m := range c.members {
		m.servePoints(t, c)
	}
	return c
}

// TestFaultPoints lets a member crash at each fault point, under load, and judges what clients saw. Without -long a few points must do.
func TestFaultPoints(t *testing.T) {
	t.Parallel()
	c := newFaultyCluster(t)
	for _, name := range chosenPoints() {
		f := fault{name: string(name), leader: atLeader(name), strike: crashAt(name), proof: hasEnded}
		if !t.Run(f.name, func(t *testing.T) { f.run(t, c) }) {
			t.Fatal("the cluster is not whole any more")
		}
	}
}

// TestStallAndFail: a leader whose disk takes long is one vote of three, so writes do not wait for it; and a step that is told to fail does,
// and nothing else.
func TestStallAndFail(t *testing.T) {
	c := newFaultyCluster(t)
	w := newWorkload(t, c)
	for _, m := range c.members {
		w.through(m)
	}
	w.warm(t, c)
	leader := c.leader(t)
	if err := leader.setPoint(t.Context(), faultpoint.RaftBeforeSave, fmt.Sprintf("sleep(%d)", (flags.election/2).Milliseconds())); err != nil {
		t.Fatal(err)
	}
	from := w.recorder.now()
	pause(t.Context(), 4*flags.election)
	median, n := w.recorder.latency(from, w.recorder.now(), 0.5)
	t.Logf("median of %d writes: %v", n, median.Round(time.Millisecond))
	if n == 0 || median > flags.election/4 {
		t.Errorf("the median of %d writes is %v with a leader's disk that takes %v", n, median, flags.election/2)
	}
	for name, terms := range map[faultpoint.Name]string{faultpoint.RaftBeforeSave: "off", faultpoint.DefragOpenFileError: `return("no room here")`} {
		if err := leader.setPoint(t.Context(), name, terms); err != nil {
			t.Fatal(err)
		}
	}
	_, err := etcdserverpb.NewMaintenanceClient(leader.conn).Defragment(t.Context(), &etcdserverpb.DefragmentRequest{})
	if err == nil || !strings.Contains(err.Error(), "no room here") {
		t.Errorf("defragmentation: %v", err)
	}
	w.writtenThrough(t, leader, w.recorder.now())
	w.finish(t, c)
}

// TestFailedSync: a member whose log could not be synced acknowledges nothing more, ends, and says which file it was; the others go on.
func TestFailedSync(t *testing.T) {
	c := newFaultyCluster(t)
	w := newWorkload(t, c)
	for _, m := range c.members {
		w.through(m)
	}
	w.warm(t, c)
	leader := c.leader(t)
	if err := leader.setPoint(t.Context(), faultpoint.WALSyncError, `return("the disk is gone")`); err != nil {
		t.Fatal(err)
	}
	hasEnded(t, c, w, leader)
	if code := leader.process.ProcessState.ExitCode(); code != 1 {
		t.Errorf("exit code %d", code)
	}
	tail := leader.tail(20)
	for _, want := range []string{"sync " + filepath.Join(leader.dir, "data", "member", "wal"), ".wal at offset", "the disk is gone"} {
		if !strings.Contains(tail, want) {
			t.Errorf("%q is not in the end of its log:\n%s", want, tail)
		}
	}
	anotherLeads(t, c, w, leader)
	leader.restart(t)
	w.writtenThrough(t, leader, w.recorder.now())
	w.finish(t, c)
}

func chosenPoints() []faultpoint.Name {
	if flags.long {
		return faultpoint.Names()
	}
	return []faultpoint.Name{
		faultpoint.RaftBeforeSave, faultpoint.RaftAfterSaveSnap, faultpoint.BeforeCommit, faultpoint.CompactBeforeSetFinished, faultpoint.DefragBeforeRename,
	}
}

// atLeader reports whether only the leader comes by a point.
func atLeader(name faultpoint.Name) bool {
	return name == faultpoint.RaftBeforeLeaderSend || name == faultpoint.BeforeCheckpointInLeaseRenew
}

// servePoints starts the member again with its points at an address.
func (m *member) servePoints(t *testing.T, c *cluster) {
	t.Helper()
	m.points = freeport.Address(t)
	m.env = []string{"GOFAIL_HTTP=" + m.points}
	m.kill(t)
	m.restart(t)
	c.awaitServing(t)
}

// setPoint sets a point of a running member.
func (m *member) setPoint(ctx context.Context, name faultpoint.Name, terms string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://"+m.points+"/"+string(name), strings.NewReader(terms))
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusNoContent {
		return fmt.Errorf("setting %s to %s: %s", name, terms, answer.Status)
	}
	return nil
}

// crashAt has the victim panic when it comes by a point, and sees to it that it does.
func crashAt(name faultpoint.Name) func(*testing.T, *cluster, *workload, *member) func() {
	return func(t *testing.T, c *cluster, w *workload, victim *member) func() {
		if inSnapshot(name) {
			return crashInSnapshot(t, c, w, victim, name)
		}
		if err := victim.setPoint(t.Context(), name, "panic"); err != nil {
			t.Fatal(err)
		}
		for victim.running() && t.Context().Err() == nil {
			victim.provoke(t, w, name)
			pause(t.Context(), 20*time.Millisecond)
		}
		return func() { victim.restart(t) }
	}
}

// inSnapshot reports whether a point is passed by members that are sent a snapshot.
func inSnapshot(name faultpoint.Name) bool {
	return strings.HasSuffix(string(name), "Snap") || strings.HasSuffix(string(name), "OpenSnapshot")
}

// crashInSnapshot keeps the victim away until the leader has changed and cannot bring it back but by a snapshot, and has it panic at a point
// in that.
func crashInSnapshot(t *testing.T, c *cluster, w *workload, victim *member, name faultpoint.Name) func() {
	victim.kill(t)
	lead := c.leader(t)
	status, err := lead.status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "many writes", func(ctx context.Context) error {
		now, err := lead.status(ctx)
		if err == nil && now.RaftAppliedIndex < status.RaftAppliedIndex+300 {
			err = fmt.Errorf("at %d, from %d", now.RaftAppliedIndex, status.RaftAppliedIndex)
		}
		return err
	})
	for _, m := range c.others(victim) { // the next leader has kept nothing for the victim
		if m != lead {
			_, err = etcdserverpb.NewMaintenanceClient(lead.conn).MoveLeader(t.Context(), &etcdserverpb.MoveLeaderRequest{TargetID: m.id})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	usual := victim.env
	victim.env = append([]string{"GOFAIL_FAILPOINTS=" + string(name) + "=panic"}, usual...)
	victim.restart(t)
	return func() {
		victim.env = usual
		victim.restart(t)
	}
}

// provoke does what makes a member come by points that ordinary work does not lead to. It may end with the member.
func (m *member) provoke(t *testing.T, w *workload, name faultpoint.Name) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	switch {
	case strings.HasPrefix(string(name), "defrag"):
		_, _ = etcdserverpb.NewMaintenanceClient(m.conn).Defragment(ctx, &etcdserverpb.DefragmentRequest{})
	case strings.HasPrefix(string(name), "compact"):
		s := w.recorder.session(m)
		s.do(ctx, model.Request{Kind: model.Compact, AtRevision: w.recorder.past(50) + 1})
	case name == faultpoint.BeforeApplyOneConfChange:
		list, err := etcdserverpb.NewClusterClient(m.conn).MemberList(ctx, &etcdserverpb.MemberListRequest{})
		if err != nil {
			return
		}
		one := list.Members[0] // stays as it is
		_, _ = etcdserverpb.NewClusterClient(m.conn).MemberUpdate(ctx, &etcdserverpb.MemberUpdateRequest{ID: one.ID, PeerURLs: one.PeerURLs})
	}
}
