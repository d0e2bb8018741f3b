package membership

import (
	"slices"
	"strings"
	"testing"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/schema"
)

func TestIDs(t *testing.T) {
	id := MemberID([]string{"http://localhost:2380"}, "etcd-cluster", nil)
	if got := FormatID(id); got != "8e9e05c52164694d" {
		t.Errorf("member id %s", got)
	}
	if got := FormatID(ClusterID([]uint64{id})); got != "cdf818194e3a8c32" {
		t.Errorf("cluster id %s", got)
	}
	if ClusterID([]uint64{1, 2}) != ClusterID([]uint64{2, 1}) {
		t.Error("the cluster id depends on the order of members")
	}
	a := MemberID([]string{"http://b:1", "http://a:1"}, "", nil)
	if a != MemberID([]string{"http://a:1", "http://b:1"}, "", nil) {
		t.Error("the member id depends on the order of URLs")
	}
	now := int64(1700000000)
	if b := MemberID([]string{"http://a:1", "http://b:1"}, "", &now); b == a || b != MemberID([]string{"http://a:1http://b:1"}, "1700000000", nil) {
		t.Error("the time is not part of the id, or not as decimal seconds")
	}
	if FormatID(0xab) != "ab" {
		t.Error("ids are padded")
	}
}

func TestParseURLs(t *testing.T) {
	for _, c := range []struct{ in, want, err string }{
		{in: "http://b:1, https://a:2", want: "http://b:1,https://a:2"},
		{in: " http://[::1]:2380 ", want: "http://[::1]:2380"},
		{in: "unix://socket:0,unixs:///var/run/x", want: "unix://socket:0,unixs:///var/run/x"},
		{in: "http://a", err: `URL address does not have the form "host:port": http://a`},
		{in: "http://a:1/", err: "URL must not contain a path: http://a:1/"},
		{in: "ftp://a:1", err: "URL scheme must be http, https, unix, or unixs: ftp://a:1"},
		{in: "localhost:2380", err: "URL scheme must be http, https, unix, or unixs: localhost:2380"},
		{in: "", err: "URL scheme must be http, https, unix, or unixs: "},
		{in: "http://a:1,%", err: `parse "%": invalid URL escape "%"`},
	} {
		got, err := ParseURLs(strings.Split(c.in, ","))
		if text(err) != c.err || strings.Join(got, ",") != c.want {
			t.Errorf("%q: %q, %v; want %q, %s", c.in, got, err, c.want, c.err)
		}
	}
	if _, err := ParseURLs(nil); text(err) != "no valid URLs given" {
		t.Errorf("no URLs: %v", err)
	}
	if _, err := AddedURLs([]string{"http://a"}); err != kverr.MemberBadURLs {
		t.Errorf("AddedURLs: %v", err)
	}
	if got, err := AddedURLs([]string{"http://b:1", "http://a:1"}); err != nil || !slices.IsSorted(got) {
		t.Errorf("AddedURLs: %v, %v", got, err)
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestInitialCluster(t *testing.T) {
	c, err := ParseInitialCluster("n2=http://b:2,n1=http://a:2,,n1=http://a:1")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.String(), "n1=http://a:1,n1=http://a:2,n2=http://b:2"; got != want {
		t.Errorf("read %s, want %s", got, want)
	}
	if err := c.Check("n1"); err != nil {
		t.Error(err)
	}
	members := c.Members("token")
	if len(members) != 2 || members[0].ID > members[1].ID {
		t.Fatalf("members %+v", members)
	}
	for _, m := range members {
		if m.ID != MemberID(c[m.Name], "token", nil) || !slices.Equal(m.PeerURLs, c[m.Name]) {
			t.Errorf("member %+v", m)
		}
	}
	if InitialClusterID(members) != ClusterID([]uint64{members[1].ID, members[0].ID}) {
		t.Error("cluster id")
	}
	for i, cc := range BootstrapChanges(members) {
		if want := string(members[i].Append(nil)); cc.ID != 0 || cc.NodeID != members[i].ID || string(cc.Context) != want {
			t.Errorf("change %+v with context %s, want %s", cc, cc.Context, want)
		}
	}
}

func TestInitialClusterErrors(t *testing.T) {
	for _, c := range []struct{ cluster, local, advertised, want string }{
		{"n1=http://a:1", "n1", "http://a:1", ""},
		{"n1=a:1", "n1", "", "URL scheme must be http, https, unix, or unixs: a:1"},
		{"n1", "n1", "", "URL scheme must be http, https, unix, or unixs: "},
		{"", "n1", "", `couldn't find local name "n1" in the initial cluster configuration`},
		{"n2=http://a:1", "n1", "", `couldn't find local name "n1" in the initial cluster configuration`},
		{"n2=http://a:1,n1=http://a:1", "n1", "", "initial cluster n1=http://a:1,n2=http://a:1 has duplicate url"},
		{"n1=http://a:1,n1=http://a:2", "n1", "http://a:2", "--initial-cluster has n1=http://a:1 but missing from --initial-advertise-peer-urls=http://a:2"},
		{"n1=http://a:1", "n1", "http://a:1,http://a:2", "--initial-advertise-peer-urls has http://a:2 but missing from --initial-cluster=n1=http://a:1"},
	} {
		cluster, err := ParseInitialCluster(c.cluster)
		if err == nil {
			err = cluster.Check(c.local)
		}
		if err == nil {
			err = cluster.CheckAdvertised(c.local, strings.Split(c.advertised, ","))
		}
		if text(err) != c.want {
			t.Errorf("%s for %s: %v, want %s", c.cluster, c.local, err, c.want)
		}
	}
}

func TestAdoptIDs(t *testing.T) {
	configured := []schema.Member{{ID: 1, Name: "a", PeerURLs: []string{"http://a:1", "http://a:2"}}, {ID: 2, Name: "b", PeerURLs: []string{"http://b:1"}}}
	existing := []schema.Member{{ID: 7, PeerURLs: []string{"http://b:1"}}, {ID: 9, PeerURLs: []string{"http://a:2", "http://a:1"}}}
	got, err := AdoptIDs(configured, existing)
	if err != nil || got[0].ID != 7 || got[0].Name != "b" || got[1].ID != 9 || got[1].Name != "a" {
		t.Errorf("adopted %+v, %v", got, err)
	}
	if configured[0].ID != 1 {
		t.Error("the argument was changed")
	}
	if _, err := AdoptIDs(configured, existing[:1]); text(err) != "member count is unequal" {
		t.Errorf("unequal count: %v", err)
	}
	if _, err := AdoptIDs(configured, []schema.Member{existing[0], existing[0]}); err == nil || !strings.HasPrefix(err.Error(), "PeerURLs: no match found for existing member (1, ") {
		t.Errorf("no match: %v", err)
	}
}

func TestAdoptIDsUsesEachMemberOnce(t *testing.T) {
	twice := []schema.Member{{ID: 1, PeerURLs: []string{"http://b:1"}}, {ID: 2, PeerURLs: []string{"http://b:1"}}}
	existing := []schema.Member{{ID: 7, PeerURLs: []string{"http://b:1"}}, {ID: 9, PeerURLs: []string{"http://a:1"}}}
	if got, err := AdoptIDs(twice, existing); err == nil {
		t.Errorf("one existing member was adopted twice: %+v", got)
	}
}

func FuzzParseInitialCluster(f *testing.F) {
	for _, s := range []string{"", "n1=http://a:1", "a=http://b:1,,a=unix://x", "=http://a:1", "%=,"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseInitialCluster(s)
		if err != nil {
			return
		}
		for name := range c {
			_ = c.Check(name)
		}
		if again, err := ParseInitialCluster(c.String()); err == nil && again.String() != c.String() {
			t.Fatalf("%q is read as %q, that as %q", s, c, again)
		}
	})
}
