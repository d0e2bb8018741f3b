package join

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quoin-kv/quoin/internal/membership"
	"github.com/quoin-kv/quoin/internal/schema"
)

const three = "a=http://127.0.0.1:1,b=http://127.0.0.1:2,c=http://127.0.0.1:3"

// TestIDs: a cluster of etcd 3.7.3 with the same flags had these ids.
func TestIDs(t *testing.T) {
	c, err := Find(t.Context(), local(func(c *Config) {
		c.Name, c.PeerURLs, c.Token = "m1", []string{"http://127.0.0.1:21180"}, "b7"
		c.InitialCluster = "m1=http://127.0.0.1:21180,m2=http://127.0.0.1:22180,m3=http://127.0.0.1:23180"
	}))
	if err != nil {
		t.Fatal(err)
	}
	if c.ID != 0x55e7d9dac8894f3 || c.Self.ID != 0x262ad9958cc5c98c || !c.Founding || c.Self.Name != "m1" {
		t.Errorf("cluster %x, member %+v", c.ID, c.Self)
	}
	for i, want := range []uint64{0x262ad9958cc5c98c, 0x41110c2ea099faec, 0x45045c07f6e25122} {
		if c.Members[i].ID != want {
			t.Errorf("member %d is %x, want %x", i, c.Members[i].ID, want)
		}
	}
}

func TestFounding(t *testing.T) {
	own := membership.MemberID([]string{"http://127.0.0.1:1"}, "etcd-cluster", nil)
	started := []schema.Member{{ID: own, PeerURLs: []string{"http://127.0.0.1:1"}, ClientURLs: []string{"http://127.0.0.1:9"}}}
	for _, tc := range []struct {
		name   string
		change func(*Config)
		want   string // error
	}{
		{"alone", nil, ""},
		{"others not there", func(c *Config) { c.InitialCluster = three }, ""},
		{"others do not know it", func(c *Config) {
			c.InitialCluster = three
			c.Client = world{"http://127.0.0.1:2": {members: listed("http://127.0.0.1:1")}}
		}, ""},
		{"others do not know it as started", func(c *Config) {
			c.InitialCluster = three
			c.Client = world{"http://127.0.0.1:2": {members: []schema.Member{{ID: own}}}}
		}, ""},
		{"others know it", func(c *Config) {
			c.InitialCluster = three
			c.Client = world{"http://127.0.0.1:3": {members: started}, "http://127.0.0.1:2": {silent: true}}
		}, "member " + membership.FormatID(own) + " has already been bootstrapped"},
		{"it does not ask itself", func(c *Config) { c.Client = world{"http://127.0.0.1:1": {members: started}} }, ""},
		{"nothing said", func(c *Config) { c.InitialCluster = "" }, "initial cluster unset and no discovery endpoints found"},
		{"not a cluster", func(c *Config) { c.InitialCluster = "=" }, "error setting up initial cluster: URL scheme must be http, https, unix, or unixs: "},
		{"not a URL", func(c *Config) { c.InitialCluster = "a=foo" }, "error setting up initial cluster: URL scheme must be http, https, unix, or unixs: foo"},
		{"others only", func(c *Config) { c.InitialCluster = "y=http://127.0.0.1:1" }, `couldn't find local name "a" in the initial cluster configuration`},
		{"twice", func(c *Config) { c.InitialCluster = "a=http://127.0.0.1:1,y=http://127.0.0.1:1" }, "initial cluster a=http://127.0.0.1:1,y=http://127.0.0.1:1 has duplicate url"},
		{"other URL", func(c *Config) { c.InitialCluster = "a=http://127.0.0.1:5" }, `--initial-cluster has a=http://127.0.0.1:5 but missing from --initial-advertise-peer-urls=http://127.0.0.1:1 (resolved urls: "http://127.0.0.1:1" != "http://127.0.0.1:5")`},
		{"more URLs", func(c *Config) { c.InitialCluster += ",a=http://127.0.0.1:5" }, `--initial-cluster has a=http://127.0.0.1:5 but missing from --initial-advertise-peer-urls=http://127.0.0.1:1 (len(["http://127.0.0.1:1"]) != len(["http://127.0.0.1:1" "http://127.0.0.1:5"]))`},
		{"fewer URLs", func(c *Config) { c.PeerURLs = append(c.PeerURLs, "http://127.0.0.1:5") }, "--initial-advertise-peer-urls has http://127.0.0.1:5 but missing from --initial-cluster=a=http://127.0.0.1:1"},
		{"other name of the host", func(c *Config) {
			c.PeerURLs = []string{"http://localhost:1"}
			c.Resolver = &names{hosts: map[string]string{"localhost": "::1,::ffff:127.0.0.1"}}
		}, ""},
		{"version 6 as version 4", func(c *Config) { c.PeerURLs = []string{"http://[::ffff:127.0.0.1]:1"} }, ""},
		{"two names of a host", func(c *Config) {
			c.PeerURLs, c.InitialCluster = []string{"http://x:1", "http://y:2"}, "a=http://y.example:2,a=http://x.example:1"
			c.Resolver = &names{hosts: map[string]string{"x": "10.0.0.1", "x.example": "10.0.0.1", "y": "10.0.0.2", "y.example": "10.0.0.2"}}
		}, ""},
		{"other scheme", func(c *Config) { c.PeerURLs = []string{"https://127.0.0.1:1"} }, `resolved urls: "https://127.0.0.1:1" != "http://127.0.0.1:1"`},
		{"sockets", func(c *Config) { c.PeerURLs, c.InitialCluster = []string{"unix://s:1"}, "a=unix://s:1" }, ""},
		{"other socket", func(c *Config) { c.PeerURLs, c.InitialCluster = []string{"unix://s:1"}, "a=unix://s:2" }, `resolved urls: "unix://s:1" != "unix://s:2"`},
		{"other socket file", func(c *Config) { c.PeerURLs, c.InitialCluster = []string{"unix:///s"}, "a=unix:///t" }, `resolved urls: "unix:///s" != "unix:///t"`},
		{"two names of one host for two hosts", func(c *Config) {
			c.PeerURLs, c.InitialCluster = []string{"http://x:1", "http://xx:1"}, "a=http://y:1,a=http://z:1"
			c.Resolver = &names{hosts: map[string]string{"x": "10.0.0.1", "xx": "10.0.0.1", "y": "10.0.0.1", "z": "10.0.0.2"}}
		}, `resolved urls: "http://xx:1" != "http://z:1"`},
		{"unknown host", func(c *Config) { c.PeerURLs = []string{"http://nope.invalid:1"} }, `--initial-cluster has a=http://127.0.0.1:1 but missing from --initial-advertise-peer-urls=http://nope.invalid:1 (failed to resolve "http://nope.invalid:1" (lookup nope.invalid: no such host))`},
		{"unknown host that nobody has to look up", func(c *Config) { c.PeerURLs, c.InitialCluster = []string{"http://nope:1"}, "a=http://nope:1" }, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				cfg := local(tc.change)
				c, err := Find(t.Context(), cfg)
				if took := time.Since(begin); took > resolveTimeout+resolvePause {
					t.Errorf("took %s", took)
				}
				if tc.want != "" {
					if err == nil || !strings.Contains(err.Error(), tc.want) {
						t.Errorf("error %v, want %s", err, tc.want)
					}
					return
				}
				if err != nil || !c.Founding || c.Self.Name != "a" || c.ID != membership.InitialClusterID(c.Members) {
					t.Errorf("cluster %+v, %v", c, err)
				}
			})
		})
	}
}

// TestNamesThatComeLate: a name that cannot be resolved yet is waited for, for half a minute at most.
func TestNamesThatComeLate(t *testing.T) {
	for _, tc := range []struct {
		fails int
		took  time.Duration
		ok    bool
	}{{0, 0, true}, {3, 3 * time.Second, true}, {29, 29 * time.Second, true}, {1000, 30 * time.Second, false}} {
		synctest.Test(t, func(t *testing.T) {
			begin := time.Now()
			_, err := Find(t.Context(), local(func(c *Config) {
				c.PeerURLs = []string{"http://late:1"}
				c.Resolver = &names{hosts: map[string]string{"late": "127.0.0.1"}, fails: map[string]int{"late": tc.fails}}
			}))
			if took := time.Since(begin); (err == nil) != tc.ok || took != tc.took {
				t.Errorf("%d failures: %v after %s", tc.fails, err, took)
			}
		})
	}
}

// TestNamesAreAskedForOnce: what a name stands for does not change during a start.
func TestNamesAreAskedForOnce(t *testing.T) {
	n := &names{hosts: map[string]string{"x": "127.0.0.1"}}
	_, err := Find(t.Context(), local(func(c *Config) {
		c.PeerURLs, c.Resolver = []string{"http://x:1", "http://x:2"}, n
		c.InitialCluster = "a=http://127.0.0.1:1,a=http://127.0.0.1:2"
	}))
	if err != nil || n.asked["x"] != 1 {
		t.Errorf("asked %d times, %v", n.asked["x"], err)
	}
}

// TestJoiningBelievesWhoKnowsBetter: the answer that fits is taken, whether it comes first or last, and ends the questions.
func TestJoiningBelievesWhoKnowsBetter(t *testing.T) {
	members := listed("http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3")
	named := listed("http://host:1", "http://127.0.0.1:2", "http://127.0.0.1:3")
	for _, tc := range []struct {
		name        string
		early, late []schema.Member
		took        time.Duration
	}{
		{"late", members[:2], members, 3 * time.Second},  // two of them for its version
		{"early", members, members[:2], 2 * time.Second}, // the late one is broken off
		{"late, other name", members[:2], named, 3 * time.Second},
		{"early, other name", named, members[:2], 3 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				c, err := Find(t.Context(), local(func(c *Config) {
					c.InitialCluster, c.Existing = three, true
					c.Resolver = &names{hosts: map[string]string{"host": "127.0.0.1"}}
					c.Client = world{
						"http://127.0.0.1:2": {clusterID: 7, members: tc.early, version: "3.7.0"},
						"http://127.0.0.1:3": {clusterID: 7, members: tc.late, version: "3.7.0", after: time.Second},
					}
				}))
				if err != nil || c.Self.ID != 101 {
					t.Errorf("cluster %+v, %v", c, err)
				}
				if took := time.Since(begin); took != tc.took {
					t.Errorf("took %s, want %s", took, tc.took)
				}
			})
		})
	}
}

func TestFoundingDoesNotWaitForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		_, err := Find(t.Context(), local(func(c *Config) {
			c.InitialCluster = three
			c.Client = world{"http://127.0.0.1:2": {silent: true}, "http://127.0.0.1:3": {silent: true}}
		}))
		if took := time.Since(begin); err != nil || took != bootstrappedTimeout {
			t.Errorf("%v after %s", err, took)
		}
	})
}

func TestFindEndsWithItsContext(t *testing.T) {
	silent := world{"http://127.0.0.1:2": {silent: true}, "http://127.0.0.1:3": {silent: true}}
	for name, change := range map[string]func(*Config){
		"founding": func(c *Config) { c.InitialCluster, c.Client = three, silent },
		"joining":  func(c *Config) { c.InitialCluster, c.Client, c.Existing = three, silent, true },
		"names":    func(c *Config) { c.PeerURLs = []string{"http://nope:1"} },
		"discovery": func(c *Config) {
			c.InitialCluster = ""
			c.Discovery = newRegistry("t", "2").discovery("t")
		},
		"deaf discovery": func(c *Config) {
			r := newRegistry("t", "1")
			for range 1000 {
				r.fail["open"] = append(r.fail["open"], errRefusedConnection)
			}
			c.InitialCluster = ""
			c.Discovery = r.discovery("t")
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(500*time.Millisecond, cancel)
				begin := time.Now()
				if _, err := Find(ctx, local(change)); err == nil || name != "names" && !errors.Is(err, context.Canceled) {
					t.Errorf("error %v", err)
				}
				if took := time.Since(begin); took != 500*time.Millisecond {
					t.Errorf("took %s", took)
				}
			})
		})
	}
}

func TestJoining(t *testing.T) {
	const u1, u2, u3 = "http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3"
	good := remote{clusterID: 7, members: listed(u1, u2, u3), version: "3.7.0"}
	with := func(change func(*remote)) remote {
		r := good
		r.members = append([]schema.Member(nil), good.members...)
		change(&r)
		return r
	}
	for _, tc := range []struct {
		name   string
		world  world
		change func(*Config)
		want   string
	}{
		{"both there", world{u2: good, u3: good}, nil, ""},
		{"one there", world{u3: good}, nil, ""},
		{"one silent", world{u2: {silent: true}, u3: good}, nil, ""},
		{"one has not heard yet", world{u2: with(func(r *remote) { r.members = r.members[1:] }), u3: good}, nil, ""},
		{"nobody there", world{}, nil, "cannot fetch cluster info from peer urls: could not retrieve cluster information from the given URLs"},
		{"nobody else", world{}, func(c *Config) { c.InitialCluster = "a=" + u1 }, "cannot fetch cluster info from peer urls: could not retrieve cluster information from the given URLs"},
		{"only itself there", world{u1: good}, nil, "cannot fetch cluster info"},
		{"fewer", world{u2: with(func(r *remote) { r.members = r.members[:2] })}, nil, "error validating peerURLs {ClusterID:7 Members:[{ID:65 Name:m1 PeerURLs:[http://127.0.0.1:1]} {ID:66 Name:m2 PeerURLs:[http://127.0.0.1:2]}]}: member count is unequal"},
		{"more", world{u2: with(func(r *remote) { r.members = listed(u1, u2, u3, "http://127.0.0.1:4") })}, nil, "member count is unequal"},
		{"others", world{u2: with(func(r *remote) { r.members = listed(u1, u2, "http://127.0.0.1:4") })}, nil, `PeerURLs: no match found for existing member (67, [http://127.0.0.1:4]), last resolver error (resolved urls: "http://127.0.0.1:4" != "http://127.0.0.1:3")`},
		{"two of the same", world{u2: with(func(r *remote) { r.members = listed(u1, u2, u2) })}, nil, "no match found for existing member (67"},
		{"other name", world{u2: with(func(r *remote) { r.members = listed("http://host:1", u2, u3) })}, func(c *Config) { c.Resolver = &names{hosts: map[string]string{"host": "127.0.0.1"}} }, ""},
		{"other name, both", world{u2: with(func(r *remote) { r.members = listed("http://host:1", u2, u3) })}, func(c *Config) {
			c.Resolver = &names{hosts: map[string]string{"host": "10.1.1.1", "a.example": "10.1.1.1"}}
			c.InitialCluster, c.PeerURLs = strings.Replace(three, "127.0.0.1:1", "a.example:1", 1), []string{"http://a.example:1"}
		}, ""},
		{"unresolvable", world{u2: with(func(r *remote) { r.members = listed("http://host:1", u2, u3) })}, nil, `last resolver error (failed to resolve "http://host:1" (lookup host: no such host))`},
		{"learner", world{u2: with(func(r *remote) { r.members[0].IsLearner = true })}, nil, ""},
		{"too many learners", world{u2: with(func(r *remote) { r.members[0].IsLearner, r.members[1].IsLearner = true, true })}, nil, "membership: too many learner members in cluster"},
		{"older cluster", world{u2: with(func(r *remote) { r.version = "3.5.0" })}, nil, ""},
		{"newer cluster", world{u2: with(func(r *remote) { r.version = "3.8.0" })}, nil, "incompatible with current running cluster"},
		{"one is newer", world{u2: with(func(r *remote) { r.version = "3.8.0" }), u3: good}, nil, "incompatible with current running cluster"},
		{"much older cluster", world{u2: with(func(r *remote) { r.version = "2.3.0" })}, nil, "incompatible with current running cluster"},
		{"undecided", world{u2: with(func(r *remote) { r.version = "" })}, nil, "incompatible with current running cluster: no member tells the cluster's version"},
		{"one is undecided", world{u2: with(func(r *remote) { r.version = "" }), u3: good}, nil, ""},
		{"no version", world{u2: with(func(r *remote) { r.noVersion = true })}, nil, "incompatible with current running cluster"},
		{"going down to us", world{u2: with(func(r *remote) { r.version, r.downgrade = "3.8.0", true })}, nil, ""},
		{"going down below us", world{u2: with(func(r *remote) { r.downgrade = true })}, nil, "incompatible with current running cluster"},
		{"other advertised", world{u2: good}, func(c *Config) { c.PeerURLs = []string{u2} }, "but missing from --initial-advertise-peer-urls"},
		{"with discovery", world{u2: good}, func(c *Config) { c.Discovery = newRegistry("t", "1").discovery("t") }, "discovery URL should not be set when joining existing initial cluster"},
		{"bad own version", world{u2: good}, func(c *Config) { c.Version = "three" }, `version "three"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := local(func(c *Config) { c.InitialCluster, c.Existing, c.Client = three, true, tc.world })
				if tc.change != nil {
					tc.change(&cfg)
				}
				c, err := Find(t.Context(), cfg)
				if tc.want != "" {
					if err == nil || !strings.Contains(err.Error(), tc.want) {
						t.Errorf("error %v, want %s", err, tc.want)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if c.ID != 7 || c.Founding || c.Self.ID != 101 || c.Self.Name != "a" || len(c.Members) != 3 || c.Members[1].Name != "m2" {
					t.Errorf("cluster %+v", c)
				}
			})
		})
	}
}

// TestJoiningWhatWasFetchedStays: the answer of another member is not written to.
func TestJoiningWhatWasFetchedStays(t *testing.T) {
	members := listed("http://127.0.0.1:1", "http://127.0.0.1:2")
	w := world{"http://127.0.0.1:2": {clusterID: 7, members: members, version: "3.7.0"}}
	_, err := Find(t.Context(), local(func(c *Config) {
		c.InitialCluster, c.Existing, c.Client = "a=http://127.0.0.1:1,b=http://127.0.0.1:2", true, w
	}))
	if err != nil || members[0].Name != "m1" {
		t.Errorf("%v, %v", members, err)
	}
}
