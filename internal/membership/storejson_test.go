package membership

import (
	"encoding/json"
	"testing"

	"github.com/quoin-kv/quoin/internal/schema"
)

// TestStoreJSON compares the tree with one that etcd 3.7 wrote for the same membership.
func TestStoreJSON(t *testing.T) {
	c := New()
	for i, m := range []schema.Member{
		{ID: 0xa490416cac197e88, PeerURLs: []string{"http://127.0.0.1:9380"}, Name: "default", ClientURLs: []string{"http://127.0.0.1:9379"}},
		{ID: 0xb, PeerURLs: []string{"http://b:1"}, IsLearner: true},
		{ID: 0xc, PeerURLs: []string{"http://c:1"}},
	} {
		if _, err := c.Apply(AddChange(uint64(i)+1, m), 1); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Apply(RemoveChange(9, 0xc), 1); err != nil {
		t.Fatal(err)
	}
	if _, err := c.SetVersion("3.7.0"); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Root       treeNode
		WatcherHub struct{ EventHistory eventHistory }
	}
	if err := json.Unmarshal(c.StoreJSON(), &got); err != nil {
		t.Fatal(err)
	}
	values := map[string]string{}
	collect(t, &got.Root, values)
	want := map[string]string{
		"/0/members/a490416cac197e88/raftAttributes": `{"peerURLs":["http://127.0.0.1:9380"]}`,
		"/0/members/a490416cac197e88/attributes":     `{"name":"default","clientURLs":["http://127.0.0.1:9379"]}`,
		"/0/members/b/raftAttributes":                `{"peerURLs":["http://b:1"],"isLearner":true}`,
		"/0/removed_members/c":                       "removed",
		"/0/version":                                 "3.7.0",
	}
	for path, value := range want {
		if values[path] != value {
			t.Errorf("%s: %q, expected %q", path, values[path], value)
		}
	}
	if len(values) != len(want) {
		t.Errorf("the tree holds %q", values)
	}
	if n := len(got.WatcherHub.EventHistory.Queue.Events); n != historyPlaces {
		t.Errorf("%d places for events, expected %d", n, historyPlaces)
	}
}

// collect gathers the files of a tree and checks that each lies where its path says.
func collect(t *testing.T, n *treeNode, values map[string]string) {
	t.Helper()
	if n.Children == nil {
		values[n.Path] = n.Value
		return
	}
	for name, child := range n.Children {
		if path := n.Path; child.Path != path+"/"+name && (path != "/" || child.Path != "/"+name) {
			t.Errorf("%s lies in %s as %s", child.Path, path, name)
		}
		collect(t, child, values)
	}
}
