package embed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/quoin-kv/quoin/test/freeport"
)

// testCluster is several members in this process.
type testCluster struct {
	t       *testing.T
	scheme  string
	dir     string
	peers   []string // host:port
	initial string
}

func newTestCluster(t *testing.T, scheme string, members int) *testCluster {
	t.Helper()
	c := &testCluster{t: t, scheme: scheme, dir: t.TempDir()}
	for range members {
		c.add()
	}
	return c
}

// add makes room for one more member and returns its number.
func (c *testCluster) add() int {
	c.t.Helper()
	c.peers = append(c.peers, freeport.Address(c.t))
	var list []string
	for i := range c.peers {
		list = append(list, fmt.Sprintf("m%d=%s", i, c.peerURL(i)))
	}
	c.initial = strings.Join(list, ",")
	return len(c.peers) - 1
}

func (c *testCluster) peerURL(i int) string { return c.scheme + "://" + c.peers[i] }

func (c *testCluster) config(i int) *Config {
	c.t.Helper()
	cfg := testConfig(c.t, filepath.Join(c.dir, fmt.Sprint(i)))
	cfg.Name = fmt.Sprintf("m%d", i)
	cfg.InitialCluster = c.initial
	cfg.HeartbeatMs, cfg.ElectionMs = 20, 200
	cfg.PeerTLS.AutoTLS = true
	for _, err := range []error{cfg.ListenPeerURLs.Set(c.peerURL(i)), cfg.AdvertisePeerURLs.Set(c.peerURL(i))} {
		if err != nil {
			c.t.Fatal(err)
		}
	}
	return cfg
}

// launch starts a member without waiting for it to be ready.
func (c *testCluster) launch(i int, change ...func(*Config)) *Member {
	c.t.Helper()
	cfg := c.config(i)
	for _, fn := range change {
		fn(cfg)
	}
	m, err := Start(c.t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = m.Close() })
	return m
}

// all starts every member and waits until all are ready.
func (c *testCluster) all() (members []*Member) {
	c.t.Helper()
	for i := range c.peers {
		members = append(members, c.launch(i))
	}
	for _, m := range members {
		awaitReady(c.t, m)
	}
	return members
}

func awaitReady(t *testing.T, m *Member) {
	t.Helper()
	select {
	case <-m.Ready():
	case <-m.Done():
		t.Fatalf("ended before it was ready: %v", m.Close())
	case <-t.Context().Done():
		t.Fatal("not ready")
	}
}

func clientOf(t *testing.T, m *Member) *clientv3.Client {
	t.Helper()
	return dial(t, m.ClientAddrs()[0].String())
}

// leads reports whether m leads its cluster.
func leads(t *testing.T, m *Member) bool {
	t.Helper()
	st, err := clientOf(t, m).Status(t.Context(), m.ClientAddrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	return st.Leader == st.Header.MemberId
}

func TestCluster(t *testing.T) {
	for _, scheme := range []string{"http", "https"} {
		t.Run(scheme, func(t *testing.T) {
			members := newTestCluster(t, scheme, 3).all()
			for i, m := range members {
				put(t, clientOf(t, m), fmt.Sprint(i), "1")
			}
			for _, m := range members {
				for i := range members {
					if got := get(t, clientOf(t, m), fmt.Sprint(i)); got != "1" {
						t.Errorf("%d is %q", i, got)
					}
				}
			}
		})
	}
}

// TestLeaderHandsOver: when the leader is closed the others go on at once.
func TestLeaderHandsOver(t *testing.T) {
	members := newTestCluster(t, "http", 3).all()
	put(t, clientOf(t, members[0]), "a", "1")
	for i, m := range members {
		if leads(t, m) {
			stop(t, m)
			members = append(members[:i], members[i+1:]...)
			break
		}
	}
	if !leads(t, members[0]) && !leads(t, members[1]) {
		t.Error("the leader left without a successor")
	}
	put(t, clientOf(t, members[0]), "a", "2")
}

// TestJoinAndLeave: a cluster of one grows by a learner that gets the database, and the founder is removed.
func TestJoinAndLeave(t *testing.T) {
	c := newTestCluster(t, "http", 1)
	founder := c.all()[0]
	for range 50 {
		put(t, clientOf(t, founder), "a", "1")
	}
	i := c.add()
	added, err := clientOf(t, founder).MemberAddAsLearner(t.Context(), []string{c.peerURL(i)})
	if err != nil {
		t.Fatal(err)
	}
	joined := c.launch(i, func(cfg *Config) { cfg.InitialClusterState = "existing" })
	awaitReady(t, joined)
	until(t, func() error {
		_, err := clientOf(t, founder).MemberPromote(t.Context(), added.Member.ID)
		return err
	})
	put(t, clientOf(t, joined), "b", "2")
	list, err := clientOf(t, joined).MemberList(t.Context())
	if err != nil || len(list.Members) != 2 {
		t.Fatalf("members %v, %v", list, err)
	}
	until(t, func() error { // which needs the two to have been connected for a while
		_, err := clientOf(t, joined).MemberRemove(t.Context(), list.Header.MemberId^list.Members[0].ID^list.Members[1].ID)
		return err
	})
	select {
	case <-founder.Done():
	case <-t.Context().Done():
	}
	if err := founder.Close(); !errors.Is(err, ErrRemoved) {
		t.Errorf("the removed member ended with %v", err)
	}
	until(t, func() error { // what was on its way to the removed leader is lost
		_, err := clientOf(t, joined).Put(t.Context(), "c", "3")
		return err
	})
	if got := get(t, clientOf(t, joined), "a"); got != "1" {
		t.Errorf("a is %q", got)
	}
}

// TestForceNewCluster: what is left of a cluster that lost its majority goes on as a cluster of one.
func TestForceNewCluster(t *testing.T) {
	c := newTestCluster(t, "http", 3)
	members := c.all()
	put(t, clientOf(t, members[1]), "a", "1")
	if got := get(t, clientOf(t, members[0]), "a"); got != "1" {
		t.Fatalf("a is %q", got)
	}
	for _, m := range members {
		stop(t, m)
	}
	forced := c.launch(0, func(cfg *Config) { cfg.ForceNewCluster = true })
	awaitReady(t, forced)
	if got := get(t, clientOf(t, forced), "a"); got != "1" {
		t.Errorf("a is %q", got)
	}
	put(t, clientOf(t, forced), "a", "2")
	list, err := clientOf(t, forced).MemberList(t.Context())
	if err != nil || len(list.Members) != 1 || list.Members[0].Name != "m0" {
		t.Errorf("members %v, %v", list, err)
	}
	stop(t, forced)
	awaitReady(t, c.launch(0)) // it stays one
}

// TestStartGivesUp: a start that waits for others ends with its context.
func TestStartGivesUp(t *testing.T) {
	c := newTestCluster(t, "http", 2)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	cfg := c.config(0)
	cfg.InitialClusterState = "existing"
	if m, err := Start(ctx, cfg, slog.New(slog.DiscardHandler)); err == nil {
		stop(t, m)
		t.Fatal("started")
	}
}

// until tries until it succeeds.
func until(t *testing.T, try func() error) {
	t.Helper()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for err := try(); err != nil; err = try() {
		select {
		case <-again.C:
		case <-t.Context().Done():
			t.Fatal(err)
		}
	}
}
