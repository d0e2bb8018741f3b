package join

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quoin-kv/quoin/internal/membership"
)

func records(texts ...string) (out []*net.SRV) {
	for _, text := range texts {
		host, port, _ := strings.Cut(text, ":")
		r := &net.SRV{Target: host}
		_, _ = fmt.Sscan(port, &r.Port)
		out = append(out, r)
	}
	return out
}

func TestSRV(t *testing.T) {
	const ssl, plain = "_etcd-server-ssl._tcp.example.com", "_etcd-server._tcp.example.com"
	hosts := map[string]string{"a.example.com": "127.0.0.1", "b.example.com": "127.0.0.2", "c.example.com": "127.0.0.3"}
	for _, tc := range []struct {
		name   string
		srv    map[string][]*net.SRV
		change func(*Config)
		want   string // the initial cluster, or an error
	}{
		{"plain", map[string][]*net.SRV{plain: records("a.example.com.:1", "b.example.com.:2")}, nil, "0=http://b.example.com:2,a=http://a.example.com:1"},
		{"self last", map[string][]*net.SRV{plain: records("c.example.com.:1", "b.example.com.:1", "a.example.com.:1")}, nil, "0=http://c.example.com:1,1=http://b.example.com:1,a=http://a.example.com:1"},
		{"TLS", map[string][]*net.SRV{ssl: records("a.example.com.:1", "b.example.com.:2")}, func(c *Config) { c.PeerURLs = []string{"https://a.example.com:1"} }, "0=https://b.example.com:2,a=https://a.example.com:1"},
		{"both", map[string][]*net.SRV{ssl: records("b.example.com.:1"), plain: records("a.example.com.:1")}, nil, "0=https://b.example.com:1,a=http://a.example.com:1"},
		{"both, this one under either", map[string][]*net.SRV{ssl: records("a.example.com.:1", "b.example.com.:1"), plain: records("a.example.com.:1")}, nil, "0=https://b.example.com:1,a=http://a.example.com:1"},
		{"only under the other scheme", map[string][]*net.SRV{ssl: records("a.example.com.:1", "b.example.com.:1")}, nil, `cannot find local etcd member "a" in SRV records`},
		{"other port", map[string][]*net.SRV{plain: records("a.example.com.:2")}, nil, `cannot find local etcd member "a" in SRV records`},
		{"two URLs", map[string][]*net.SRV{plain: records("a.example.com:1", "a.example.com:2")}, func(c *Config) { c.PeerURLs = append(c.PeerURLs, "http://127.0.0.1:2") }, "a=http://a.example.com:1,a=http://a.example.com:2"},
		{"named as advertised", map[string][]*net.SRV{plain: records("x.example.com.:1")}, func(c *Config) { c.PeerURLs = []string{"http://x.example.com:1"} }, "a=http://x.example.com:1"},
		{"suffix", map[string][]*net.SRV{"_etcd-server-blue._tcp.example.com": records("a.example.com:1")}, func(c *Config) { c.SRV.Name = "blue" }, "a=http://a.example.com:1"},
		{"a member with a number", map[string][]*net.SRV{plain: records("b.example.com.:1", "a.example.com.:1")}, func(c *Config) { c.Name = "0" }, "0=http://a.example.com:1,1=http://b.example.com:1"},
		{"names that nobody has", map[string][]*net.SRV{plain: records("nobody.:1", "a.example.com.:1")}, nil, "0=http://nobody:1,a=http://a.example.com:1"},
		{"nothing", nil, nil, "error setting up initial cluster: error querying DNS SRV records for _etcd-server-ssl lookup " + ssl + ": no such host\nerror querying DNS SRV records for _etcd-server lookup " + plain + ": no such host"},
		{"empty", map[string][]*net.SRV{plain: {}, ssl: {}}, nil, "error setting up initial cluster: no DNS SRV records of example.com"},
		{"others only", map[string][]*net.SRV{plain: records("b.example.com.:1")}, nil, `error setting up initial cluster: cannot find local etcd member "a" in SRV records`},
		{"twice the same", map[string][]*net.SRV{plain: records("a.example.com.:1", "b.example.com.:1", "b.example.com.:1")}, nil, "has duplicate url"},
		{"not a host", map[string][]*net.SRV{plain: records("a b.:1")}, nil, "SRV record of example.com"},
		{"a path", map[string][]*net.SRV{plain: records("a/b:1")}, nil, "SRV record of example.com"},
		{"port 0", map[string][]*net.SRV{plain: records("a.example.com.:0")}, nil, "SRV record of example.com: no target"},
		{"no target", map[string][]*net.SRV{plain: records(".:1")}, nil, "SRV record of example.com: no target"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				c, err := Find(t.Context(), local(func(c *Config) {
					c.InitialCluster, c.SRV = "", SRV{Domain: "example.com"}
					c.Resolver = &names{hosts: hosts, srv: tc.srv}
					if tc.change != nil {
						tc.change(c)
					}
				}))
				if err != nil {
					if !strings.Contains(err.Error(), tc.want) {
						t.Errorf("error %v, want %s", err, tc.want)
					}
					return
				}
				got := membership.InitialCluster{}
				for _, m := range c.Members {
					got[m.Name] = m.PeerURLs
				}
				if got.String() != tc.want || !c.Founding {
					t.Errorf("cluster %s, want %s", got, tc.want)
				}
				if took := time.Since(begin); took != 0 {
					t.Errorf("took %s", took)
				}
			})
		})
	}
}

// TestSRVIDs: etcd 3.7.3 founded this cluster with the same records.
func TestSRVIDs(t *testing.T) {
	c, err := Find(t.Context(), local(func(c *Config) {
		c.InitialCluster, c.PeerURLs, c.SRV = "", []string{"http://127.0.0.1:26180"}, SRV{Domain: "ex.test"}
		c.Resolver = &names{
			hosts: map[string]string{"a.ex.test": "127.0.0.1", "b.ex.test": "127.0.0.2"},
			srv:   map[string][]*net.SRV{"_etcd-server._tcp.ex.test": records("a.ex.test.:26180", "b.ex.test.:26280")},
		}
	}))
	if err != nil || c.ID != 0xea388054bd782dbe || c.Self.ID != 0x30582bef5bf74ef5 || c.Members[1].ID != 0xe9c0cf79f790bf35 || c.Members[1].Name != "0" {
		t.Errorf("cluster %+v, %v", c, err)
	}
}

// TestSRVToJoin: a member joins a cluster that DNS names, its own name in it being the only one that is known.
func TestSRVToJoin(t *testing.T) {
	c, err := Find(t.Context(), local(func(c *Config) {
		c.InitialCluster, c.Existing, c.SRV = "", true, SRV{Domain: "example.com"}
		c.Client = world{"http://b:2": {clusterID: 7, members: listed("http://127.0.0.1:1", "http://b:2"), version: "3.7.0"}}
		c.Resolver = &names{
			hosts: map[string]string{"a": "127.0.0.1"},
			srv:   map[string][]*net.SRV{"_etcd-server._tcp.example.com": records("a:1", "b:2")},
		}
	}))
	if err != nil || c.Self.ID != 101 || c.Self.Name != "a" || c.Members[1].Name != "m2" {
		t.Errorf("cluster %+v, %v", c, err)
	}
}

// FuzzSRV: whatever DNS answers becomes URLs that membership takes, or an error.
func FuzzSRV(f *testing.F) {
	f.Add("a.example.com.", uint16(1), "b.example.com.", uint16(2))
	f.Add("a=b,c", uint16(0), "[::1]", uint16(65535))
	f.Add("127.0.0.1", uint16(1), "b,c=d.", uint16(2))
	f.Fuzz(func(t *testing.T, host1 string, port1 uint16, host2 string, port2 uint16) {
		cfg := local(nil)
		cfg.SRV.Domain = "d"
		cfg.Resolver = &names{srv: map[string][]*net.SRV{"_etcd-server._tcp.d": {{Target: "127.0.0.1", Port: 1}, {Target: host1, Port: port1}, {Target: host2, Port: port2}}}}
		finder := &finder{Config: cfg, hosts: newHosts(cfg.Resolver, cfg.Logger)}
		cluster, err := finder.fromSRV(t.Context())
		if err != nil {
			return
		}
		if again, err := membership.ParseInitialCluster(cluster.String()); err != nil || again.String() != cluster.String() {
			t.Errorf("cluster %q reads back as %q, %v", cluster, again, err)
		}
	})
}
