package interop

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/quoin-kv/quoin/internal/backend"
	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/interop/process"
)

// TestZombieMember: a member that a directory of etcd 3.5 still has in its database file is back with etcd 3.6, and would be with 3.7 and here.
// The offline command shows it, and takes it out, after which all go on without it.
func TestZombieMember(t *testing.T) {
	t.Parallel()
	s := process.Start(t, process.Config{Program: process.Etcd35(), Builder: builder, Volatile: true})
	ctl := theirCtl(t, s.Endpoint())
	ctl.must(t, "put", "key", "value")
	s.Stop()
	haunt(t, s.DataDir())
	utl := ourUtl(t)
	const problem = "bee, gone, http://127.0.0.1:1, , true, is in the database file, but not a member any more"
	if list := utl.must(t, "members", "--data-dir", s.DataDir()); !strings.Contains(list, problem) {
		t.Errorf("the command shows\n%s", list)
	}
	before := filepath.Join(process.MemoryDir(t), "before")
	copyDir(t, s.DataDir(), before)
	haunted := process.Start(t, process.Config{Program: process.Etcd36(), Builder: builder, Volatile: true, DataDir: before, Peer: s.Peer()})
	if list := theirCtl(t, haunted.Endpoint()).must(t, "member", "list"); !strings.Contains(list, "bee, started, gone") {
		t.Errorf("etcd 3.6 goes by something else:\n%s", list)
	}
	haunted.Kill()

	utl.must(t, "members", "--data-dir", s.DataDir(), "--mend")
	for _, p := range []process.Program{process.Etcd36(), process.Quoin(), process.Etcd()} {
		s.Become(p)
		s.Restart()
		if list := ctl.must(t, "member", "list"); strings.Count(list, "\n") != 1 {
			t.Errorf("%s: members\n%s", p.Name, list)
		}
		if got := ctl.must(t, "get", "key"); got != "key\nvalue\n" {
			t.Errorf("%s: %q", p.Name, got)
		}
		s.Kill()
	}
}

// haunt puts a learner into a database file of which the log knows nothing.
func haunt(t *testing.T, dataDir string) {
	t.Helper()
	b, err := backend.Open(backend.Config{Path: filepath.Join(dataDir, "member", "snap", "db")})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	zombie := schema.Member{ID: 0xbee, Name: "gone", PeerURLs: []string{"http://127.0.0.1:1"}, IsLearner: true}
	at := b.Flushed()
	b.Put(schema.Members, schema.MemberKey(zombie.ID), zombie.Append(nil))
	b.Commit(at)
	if _, err := b.Flush(at.Index); err != nil {
		t.Fatal(err)
	}
}
