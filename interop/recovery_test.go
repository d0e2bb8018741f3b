package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/quoin-kv/quoin/interop/process"
	"github.com/quoin-kv/quoin/test/freeport"
)

// TestLostQuorum is the procedure of docs/backup.md for a cluster that lost two of three members for good: the third is made a cluster of
// one, loses nothing that it had, and is grown to three again.
func TestLostQuorum(t *testing.T) {
	t.Parallel()
	quoin := process.Quoin()
	members := process.StartCluster(t, process.Config{Builder: builder, Volatile: true}, quoin, quoin, quoin)
	last := members[2]
	ctl := ourCtl(t, last.Endpoint())
	for i := range 200 {
		ctl.must(t, "put", fmt.Sprint("key", i), fmt.Sprint(i)) // acknowledged by the survivor, so it has them
	}
	want := ctl.must(t, "get", "", "--prefix")
	for _, m := range members {
		m.Kill()
	}
	for _, m := range members[:2] {
		if err := os.RemoveAll(m.DataDir()); err != nil {
			t.Fatal(err)
		}
	}

	cfg := process.Config{Program: quoin, Builder: builder, DataDir: last.DataDir(), Peer: last.Peer(), Name: "m3"}
	forcing := cfg
	forcing.Flags = []string{"--unsafe-no-fsync", "--force-new-cluster"}
	forced := process.Start(t, forcing)
	one := ourCtl(t, forced.Endpoint())
	if got := one.must(t, "get", "", "--prefix"); got != want {
		t.Errorf("the survivor has lost something: %d bytes, want %d", len(got), len(want))
	}
	if list := one.must(t, "member", "list"); strings.Count(list, "\n") != 1 {
		t.Errorf("members:\n%s", list)
	}
	forced.Stop()

	cfg.Flags = []string{"--unsafe-no-fsync"}
	again := process.Start(t, cfg)
	grown := []*process.Server{again}
	for _, name := range []string{"m4", "m5"} {
		grown = append(grown, join(t, again, name))
	}
	ourCtl(t, again.Endpoint()).must(t, "put", "after", "1")
	for _, m := range grown {
		c := ourCtl(t, m.Endpoint())
		if got := c.must(t, "get", "", "--prefix"); !strings.Contains(got, "after\n1\n") || strings.Count(got, "\n") != strings.Count(want, "\n")+2 {
			t.Errorf("%s has %d lines", m.Endpoint(), strings.Count(got, "\n"))
		}
	}
}

// join adds a member to the cluster of a server, starts it, and gives it a vote.
func join(t *testing.T, to *process.Server, name string) *process.Server {
	t.Helper()
	ctl, peer := ourCtl(t, to.Endpoint()), freeport.Address(t)
	var added string
	eventually(t, name+" to be added", func() bool { // the members have to have been connected for some seconds
		a := ctl.run(t, "member", "add", name, "--learner", "--peer-urls", "http://"+peer)
		added = a.out
		return a.code == 0
	})
	id := strings.Fields(added)[1]
	cluster := field(t, added, "ETCD_INITIAL_CLUSTER=")
	s := process.Prepare(t, process.Config{
		Program: process.Quoin(), Builder: builder, DataDir: filepath.Join(process.MemoryDir(t), "data"), Peer: peer, Name: name, Cluster: cluster,
		Flags: []string{"--unsafe-no-fsync", "--initial-cluster-state=existing"},
	})
	s.Launch()
	eventually(t, name+" to be promoted", func() bool { return ctl.run(t, "member", "promote", id).code == 0 })
	s.WaitReady()
	return s
}

// field is the quoted value behind a name at the begin of a line.
func field(t *testing.T, text, name string) string {
	t.Helper()
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			return strings.Trim(strings.TrimSpace(rest), `"`)
		}
	}
	t.Fatalf("no %s in\n%s", name, text)
	return ""
}
