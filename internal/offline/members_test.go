package offline

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/quoin-kv/quoin/internal/datadir"
	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/internal/vfs"
)

// haunted returns a restored data directory whose database file has a member that the log does not know.
func haunted(t *testing.T) string {
	t.Helper()
	dir, db := restored(t)
	zombie := schema.Member{ID: 0xbee, Name: "gone", PeerURLs: []string{"http://gone:1"}}
	must(t, change(db, func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte(schema.Members.Name())).Put(schema.MemberKey(zombie.ID), zombie.Append(nil))
	}))
	return dir
}

func problems(t *testing.T, dir string) string {
	t.Helper()
	list, err := Members(MembersOptions{DataDir: dir})
	must(t, err)
	var texts []string
	for _, m := range list {
		if m.Problem != "" {
			texts = append(texts, m.ID+" "+m.Problem)
		}
	}
	return strings.Join(texts, ", ")
}

const zombieProblem = "bee is in the database file, but not a member any more"

func TestMembers(t *testing.T) {
	dir := haunted(t)
	if got := problems(t, dir); got != zombieProblem {
		t.Fatalf("problems %q", got)
	}
	list, err := Members(MembersOptions{DataDir: dir, Mend: true})
	must(t, err)
	if got := problems(t, dir); got != "" {
		t.Errorf("mended, but %q", got)
	}
	after, err := Members(MembersOptions{DataDir: dir})
	must(t, err)
	if len(after) != len(list)-1 {
		t.Errorf("%d members before, %d after", len(list), len(after))
	}
	must(t, read(datadir.NewPaths(dir, "").DB, func(tx *bbolt.Tx) error {
		if tx.Bucket([]byte(schema.MembersRemoved.Name())).Get(schema.MemberKey(0xbee)) == nil {
			t.Error("the zombie may come back")
		}
		return nil
	}))
}

// TestMembersByFile: beside a mark, a file says who the members were; without it the mark has only their ids.
func TestMembersByFile(t *testing.T) {
	dir := haunted(t)
	files, err := filepath.Glob(filepath.Join(datadir.NewPaths(dir, "").Snap, "*.snap"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	must(t, os.Remove(files[0]))
	if got := problems(t, dir); got != zombieProblem {
		t.Errorf("problems %q", got)
	}
}

func TestRemoveMembers(t *testing.T) {
	dir := haunted(t)
	var self string
	list, err := Members(MembersOptions{DataDir: dir})
	must(t, err)
	for _, m := range list {
		if m.Self {
			self = m.ID
		}
	}
	for _, id := range []string{self, "77", "xyz"} {
		if _, err := Members(MembersOptions{DataDir: dir, Remove: []string{id}}); err == nil {
			t.Errorf("%s was removed", id)
		}
	}
	if got := problems(t, dir); got != zombieProblem {
		t.Errorf("something has changed: %q", got)
	}
	_, err = Members(MembersOptions{DataDir: dir, Remove: []string{"bee"}})
	must(t, err)
	if got := problems(t, dir); got != "" {
		t.Errorf("removed, but %q", got)
	}
}

func TestMembersOfNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	for _, mend := range []bool{false, true} {
		if _, err := Members(MembersOptions{DataDir: dir, Mend: mend}); err == nil {
			t.Error("no error")
		}
		if there, _ := vfs.Exists(vfs.OS{}, dir); there {
			t.Error("the directory was made")
		}
	}
}
