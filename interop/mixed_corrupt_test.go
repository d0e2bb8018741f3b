package interop

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/quoin-kv/quoin/interop/process"
)

// TestMixedCorrupt: an etcd leader finds out a Quoin member that was started on data that is not what it should be, and nobody goes on with a
// migration then.
func TestMixedCorrupt(t *testing.T) {
	t.Parallel()
	etcd := process.Etcd()
	m := newMixed(t, []process.Program{etcd, etcd, etcd}, "--corrupt-check-time=500ms")
	const right, wrong = "marker-value-0123456789", "marker-value-9123456789"
	m.must(pb.NewKVClient(m.conns[0]).Put(t.Context(), &pb.PutRequest{Key: []byte("marker"), Value: []byte(right)}))
	m.agree()
	m.lead(0)
	victim := m.members[2]
	victim.Stop()
	replaceInFile(t, filepath.Join(victim.DataDir(), "member", "snap", "db"), right, wrong)
	victim.Become(process.Quoin())
	victim.Restart()
	m.lead(0)
	status, err := pb.NewMaintenanceClient(m.conns[2]).Status(t.Context(), &pb.StatusRequest{})
	check(t, err)
	m.until("be found out", func(context.Context) bool {
		alarms := m.corrupt()
		return len(alarms) == 1 && alarms[0] == status.Header.MemberId
	})
	migrate := exec.CommandContext(t.Context(), builder.Path(t, process.Quoin()), "migrate", "--dry-run", "--settle=1s", "--endpoints="+m.members[0].Endpoint())
	out, err := migrate.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "the cluster is not ready: there is an alarm: CORRUPT on m3") {
		t.Errorf("%v: %s", err, out)
	}
}
