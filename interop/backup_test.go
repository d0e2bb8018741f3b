package interop

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quoin-kv/quoin/interop/process"
	"github.com/quoin-kv/quoin/test/freeport"
)

// TestBackupAcrossPrograms: whoever made a snapshot, of whichever version, and whoever restores it, the key space is the same on any server.
func TestBackupAcrossPrograms(t *testing.T) {
	t.Parallel()
	for _, made := range []process.Program{process.Quoin(), process.Etcd(), process.Etcd36(), process.Etcd35()} {
		t.Run("of "+made.Name, func(t *testing.T) {
			server := process.Start(t, process.Config{Program: made, Builder: builder, Volatile: true})
			ctl := ourCtl(t, server.Endpoint())
			for i := range 30 {
				ctl.must(t, "put", fmt.Sprint("key", i%10), fmt.Sprint(i))
			}
			ctl.must(t, "del", "key3")
			want := ctl.must(t, "get", "", "--prefix")
			file := filepath.Join(t.TempDir(), "snapshot")
			ctl.must(t, "snapshot", "save", file)
			server.Stop()
			for _, restorer := range []tool{ourUtl(t), theirUtl(t)} {
				for _, program := range []process.Program{process.Quoin(), process.Etcd()} {
					restoreAndCompare(t, file, restorer, program, want, nil)
				}
			}
			plain := filepath.Join(server.DataDir(), "member", "snap", "db")
			if made.Name != process.Quoin().Name || server.Running() {
				restoreAndCompare(t, plain, ourUtl(t), process.Quoin(), want, []string{"--skip-hash-check"})
			}
		})
	}
}

// restoreAndCompare restores a snapshot into a cluster of one and compares what it holds.
func restoreAndCompare(t *testing.T, file string, restorer tool, program process.Program, want string, flags []string) {
	t.Helper()
	dir, peer := filepath.Join(process.MemoryDir(t), "data"), freeport.Address(t)
	restorer.must(t, append([]string{
		"snapshot", "restore", file, "--data-dir", dir, "--name", "m1", "--initial-cluster", "m1=http://" + peer,
		"--initial-advertise-peer-urls", "http://" + peer,
	}, flags...)...)
	server := process.Start(t, process.Config{Program: program, Builder: builder, DataDir: dir, Peer: peer, Flags: []string{"--unsafe-no-fsync"}})
	ctl := ourCtl(t, server.Endpoint())
	if got := ctl.must(t, "get", "", "--prefix"); got != want {
		t.Errorf("restored by %s, served by %s: got\n%s\nwant\n%s", restorer.path, program.Name, got, want)
	}
	ctl.must(t, "put", "after", "1")
	server.Kill()
}

// TestRestoreClusterOfThree: three members are restored from one snapshot, agree, and go on; the revision has not gone back.
func TestRestoreClusterOfThree(t *testing.T) {
	t.Parallel()
	eachProgram(t, func(t *testing.T, program process.Program) {
		source := process.Start(t, process.Config{Program: program, Builder: builder, Volatile: true})
		file := filepath.Join(t.TempDir(), "snapshot")
		ctl := ourCtl(t, source.Endpoint())
		for i := range 100 {
			ctl.must(t, "put", fmt.Sprint("key", i), fmt.Sprint(i))
		}
		ctl.must(t, "snapshot", "save", file)
		source.Stop()

		members := restoreThree(t, file)
		for _, m := range members {
			m.Launch()
		}
		for _, m := range members {
			m.WaitReady()
		}
		first := ourCtl(t, members[0].Endpoint())
		if list := first.must(t, "member", "list"); strings.Count(list, ", started, ") != 3 && strings.Count(list, "\n") != 3 {
			t.Errorf("members:\n%s", list)
		}
		first.must(t, "put", "after", "1")
		for _, m := range members {
			c := ourCtl(t, m.Endpoint())
			if got := c.must(t, "get", "key99"); got != "key99\n99\n" {
				t.Errorf("%s: %q", m.Endpoint(), got)
			}
			if got := c.must(t, "get", "after", "-w", "fields"); !strings.Contains(got, `"ModRevision" : 1102`) {
				t.Errorf("%s:\n%s", m.Endpoint(), got)
			}
		}
	})
}

// restoreThree restores a snapshot for three members, with the revision raised by 1000.
func restoreThree(t *testing.T, file string) (members []*process.Server) {
	t.Helper()
	var peers, cluster []string
	for i := range 3 {
		peers = append(peers, freeport.Address(t))
		cluster = append(cluster, fmt.Sprintf("m%d=http://%s", i, peers[i]))
	}
	for i, peer := range peers {
		dir, name := filepath.Join(process.MemoryDir(t), "data"), fmt.Sprint("m", i)
		ourUtl(t).must(t, "snapshot", "restore", file, "--data-dir", dir, "--name", name, "--initial-cluster", strings.Join(cluster, ","),
			"--initial-advertise-peer-urls", "http://"+peer, "--bump-revision", "1000", "--mark-compacted")
		members = append(members, process.Prepare(t, process.Config{
			Program: process.Quoin(), Builder: builder, DataDir: dir, Peer: peer, Name: name, Cluster: strings.Join(cluster, ","),
			Flags: []string{"--unsafe-no-fsync"},
		}))
	}
	return members
}

// downgradeTime bounds each step of a downgrade; the version of a cluster is looked at every few seconds.
const downgradeTime = 60 * time.Second

// TestDowngradeTo36: a cluster of Quoin members goes down and is replaced, one member at a time and on the same directories, by etcd 3.6;
// then it comes up again.
func TestDowngradeTo36(t *testing.T) {
	t.Parallel()
	members := process.StartCluster(
		t, process.Config{Builder: builder, Volatile: true, Flags: []string{"--downgrade-check-time=200ms"}}, process.Quoin(), process.Quoin(), process.Quoin(),
	)
	ctl := ourCtl(t, members[0].Endpoint())
	for i := range 50 {
		ctl.must(t, "put", fmt.Sprint("key", i), fmt.Sprint(i))
	}
	eventually(t, "the cluster to be of version 3.7", func() bool { return ctl.run(t, "downgrade", "validate", "3.6").code == 0 })
	ctl.must(t, "downgrade", "enable", "3.6")
	for _, m := range members {
		wantStorage(t, m, "3.6.0")
	}
	replaceAll(t, members, process.Etcd36())
	eventually(t, "the downgrade to end by itself", func() bool {
		return strings.Contains(ctl.run(t, "endpoint", "status", "-w", "fields").out, `"DowngradeEnabled" : false`)
	})
	replaceAll(t, members, process.Quoin())
	for _, m := range members {
		wantStorage(t, m, "3.7.0")
	}
}

// replaceAll replaces one member after the other by another program on the same directory.
func replaceAll(t *testing.T, members []*process.Server, program process.Program) {
	t.Helper()
	for _, m := range members {
		m.Stop()
		m.Become(program)
		m.Restart()
		if got := ourCtl(t, m.Endpoint()).must(t, "get", "key49"); got != "key49\n49\n" {
			t.Errorf("%s: %q", program.Name, got)
		}
	}
}

// wantStorage waits until a member has marked its storage.
func wantStorage(t *testing.T, m *process.Server, version string) {
	t.Helper()
	c := ourCtl(t, m.Endpoint())
	eventually(t, "storage version "+version, func() bool {
		return strings.Contains(c.run(t, "endpoint", "status", "-w", "fields").out, fmt.Sprintf(`"StorageVersion" : %q`, version))
	})
}

// eventually waits until something holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(downgradeTime)
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
