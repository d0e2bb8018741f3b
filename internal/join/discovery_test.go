package join

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quoin-kv/quoin/internal/membership"
)

// candidate is a member that is to find others through a discovery service.
func candidate(name string, port int, r *registry) Config {
	return local(func(c *Config) {
		c.Name, c.PeerURLs, c.InitialCluster = name, []string{fmt.Sprintf("http://127.0.0.1:%d", port)}, ""
		c.Discovery = r.discovery("tok")
	})
}

// TestDiscoveryKeys: the keys and ids are those that etcd 3.7.3 used with the same flags.
func TestDiscoveryKeys(t *testing.T) {
	r := newRegistry("tok", "1")
	c, err := Find(t.Context(), candidate("n1", 31180, r))
	if err != nil || c.Self.ID != 0x39d6979f93b4f7df || !c.Founding {
		t.Errorf("cluster %+v, %v", c, err)
	}
	if got := r.keys["/_etcd/registry/tok/members/39d6979f93b4f7df"].value; got != "n1=http://127.0.0.1:31180" {
		t.Errorf("keys %v", r.keys)
	}
	if r.closed != 1 {
		t.Errorf("closed %d times", r.closed)
	}
	two := candidate("mu", 1, newRegistry("tok", "1"))
	two.PeerURLs = []string{"http://localhost:29180", "http://127.0.0.1:29180"}
	if c, err = Find(t.Context(), two); err != nil || strings.Join(c.Self.PeerURLs, ",") != "http://127.0.0.1:29180,http://localhost:29180" {
		t.Errorf("cluster %+v, %v", c, err)
	}
}

// TestGathering: the first members to come found the cluster, all see the same one, and later ones are told that it is full.
func TestGathering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRegistry("tok", "3")
		results := make([]Cluster, 5)
		errs := make([]error, 5)
		var wg sync.WaitGroup
		for i := range 5 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * time.Minute)
				results[i], errs[i] = Find(t.Context(), candidate(fmt.Sprintf("n%d", i), i+1, r))
			})
		}
		wg.Wait()
		for i := range 3 {
			if errs[i] != nil || results[i].ID != results[0].ID || len(results[i].Members) != 3 || results[i].Self.Name != fmt.Sprintf("n%d", i) {
				t.Errorf("member %d: %+v, %v", i, results[i], errs[i])
			}
		}
		for i := 3; i < 5; i++ {
			if !errors.Is(errs[i], errFull) || errs[i].Error() != "failed to join discovery cluster (discovery: cluster is full)" {
				t.Errorf("member %d: %v", i, errs[i])
			}
		}
		if again, err := Find(t.Context(), candidate("n1", 2, r)); err != nil || again.ID != results[0].ID {
			t.Errorf("the same member again: %+v, %v", again, err)
		}
	})
}

// TestNewsIsNotMissed: a member that registers between a listing and the waiting for changes is seen at once.
func TestNewsIsNotMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRegistry("tok", "2")
		r.latency = time.Second
		begin := time.Now()
		time.AfterFunc(4500*time.Millisecond, func() { // size, list, put and list have taken four seconds
			r.mu.Lock()
			defer r.mu.Unlock()
			r.store("/_etcd/registry/tok/members/9", "x=http://127.0.0.1:9")
		})
		c, err := Find(t.Context(), candidate("a", 1, r))
		if took := time.Since(begin); err != nil || len(c.Members) != 2 || took > 10*time.Second {
			t.Errorf("%+v, %v after %s", c, err, took)
		}
	})
}

// TestGatheringCrowd: of many that come at once, as many as there is room for found the same cluster.
func TestGatheringCrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRegistry("tok", "3")
		r.latency = time.Millisecond // so that all look, then all register
		begin := time.Now()
		var mu sync.Mutex
		founded := map[uint64]int{}
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				c, err := Find(t.Context(), candidate(fmt.Sprintf("n%d", i), i+1, r))
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					founded[c.ID]++
				} else if !errors.Is(err, errFull) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for id, members := range founded {
			if len(founded) != 1 || members != 3 {
				t.Errorf("cluster %x has %d members", id, members)
			}
		}
		if took := time.Since(begin); took > 2*bootstrappedTimeout {
			t.Errorf("took %s", took)
		}
	})
}

func TestDiscoveryRefusals(t *testing.T) {
	with := func(size string, entries ...string) *registry {
		r := newRegistry("tok", size)
		for i, e := range entries {
			_ = r.Put(context.Background(), fmt.Sprintf("/_etcd/registry/tok/members/%d", i), e)
		}
		return r
	}
	for _, tc := range []struct {
		name string
		r    *registry
		want string
	}{
		{"no size", with(""), "failed to join discovery cluster (discovery: size key not found)"},
		{"size words", with("three"), "discovery: size key is bad"},
		{"size 0", with("0"), "discovery: size key is bad"},
		{"negative size", with("-1"), "discovery: size key is bad"},
		{"enormous size", with("1001"), "discovery: size key is bad"},
		{"full", with("1", "x=http://127.0.0.1:9"), "discovery: cluster is full"},
		{"same name", with("2", "a=http://127.0.0.1:9"), "discovery: two members have the same name: a"},
		{"same URL", with("2", "x=http://127.0.0.1:1"), "has duplicate url"},
		{"garbage does not count", with("2", "garbage", "x=foo", "", "=", "x=http://h:1,y=http://h:2", "x=http://127.0.0.1:9"), ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Find(t.Context(), candidate("a", 1, tc.r))
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
	full := with("1", "x=http://127.0.0.1:9")
	if _, err := Find(t.Context(), candidate("a", 1, full)); !errors.Is(err, errFull) || len(full.keys) != 2 {
		t.Errorf("a full cluster was written to: %v, %v", full.keys, err)
	}
	lossy := with("2")
	lossy.fail["put"] = []error{errLost}
	if _, err := Find(t.Context(), candidate("a", 1, lossy)); !errors.Is(err, errFull) {
		t.Errorf("a member whose registration was lost: %v", err)
	}
	bad := candidate("a", 1, with("1"))
	bad.PeerURLs = nil
	if _, err := Find(t.Context(), bad); err == nil {
		t.Error("a member without URLs registered")
	}
	known := candidate("a", 1, with("2", "x=http://127.0.0.1:9"))
	id := membership.MemberID(known.PeerURLs, "tok", nil)
	known.Client = world{"http://127.0.0.1:9": {members: listed("http://127.0.0.1:1")}}
	known.Client.(world)["http://127.0.0.1:9"].members[0].ID = id
	known.Client.(world)["http://127.0.0.1:9"].members[0].ClientURLs = []string{"http://127.0.0.1:2"}
	if _, err := Find(t.Context(), known); err == nil || !strings.Contains(err.Error(), "has already been bootstrapped") {
		t.Errorf("a founder that lost its data: %v", err)
	}
}

// TestDiscoveryRetries: what may pass is tried again with growing pauses, what is refused is not.
func TestDiscoveryRetries(t *testing.T) {
	for _, call := range []string{"open", "get", "list", "put"} {
		synctest.Test(t, func(t *testing.T) {
			r := newRegistry("tok", "1")
			r.fail[call] = []error{errRefusedConnection, errRefusedConnection, errRefusedConnection}
			begin := time.Now()
			_, err := Find(t.Context(), candidate("a", 1, r))
			if took := time.Since(begin); err != nil || took != 14*time.Second {
				t.Errorf("%s: %v after %s", call, err, took)
			}
			r.fail[call] = []error{fmt.Errorf("%w: no", ErrRefused)}
			if _, err := Find(t.Context(), candidate("a", 1, r)); !errors.Is(err, ErrRefused) {
				t.Errorf("%s: %v", call, err)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		r := newRegistry("tok", "2")
		r.fail["wait"] = []error{errRefusedConnection}
		time.AfterFunc(10*time.Minute, func() {
			_ = r.Put(context.Background(), "/_etcd/registry/tok/members/9", "x=http://127.0.0.1:9")
		})
		if c, err := Find(t.Context(), candidate("a", 1, r)); err != nil || len(c.Members) != 2 {
			t.Errorf("cluster %+v, %v", c, err)
		}
	})
}

// FuzzDiscoveryValues: whatever others have written, a member founds a cluster in which it is itself, or says why not.
func FuzzDiscoveryValues(f *testing.F) {
	f.Add("2", "x=http://127.0.0.1:9")
	f.Add("1", "a=http://127.0.0.1:1,a=http://127.0.0.1:2")
	f.Add("99999999999999999999", "=,=")
	f.Fuzz(func(t *testing.T, size, value string) {
		ctx := t.Context()
		r := newRegistry("tok", size)
		_ = r.Put(ctx, "/_etcd/registry/tok/members/1", value)
		g := &gathering{finder: &finder{Config: local(nil)}, registry: r, prefix: "/_etcd/registry/tok/", key: "self", value: "a=http://127.0.0.1:1"}
		r.fail["wait"] = []error{ErrRefused} // nobody else will come
		n, err := g.size(ctx)
		if err != nil {
			return
		}
		cluster, err := g.gather(ctx)
		if err == nil && (len(cluster) != n || cluster["a"] == nil) {
			t.Errorf("size %d: cluster %s", n, cluster)
		}
		if err == nil {
			cluster.Members("tok")
		}
	})
}
