package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
)

// A cluster is the members of one test and what they share.
type cluster struct {
	network  network
	dir      string
	token    string
	members  []*member // those that are meant to be in the cluster
	last     int       // index of the newest member
	program  string    // empty: the one under test
	programs []string  // of the first members, in order, if they differ
	users    bool      // connections log in when that is asked for
	extra    []string  // flags of every member, behind the usual ones
	mount    bool      // every member must have a small file system of its own
}

// newCluster starts n members and waits until each serves. Small gives each a
// small disk of its own, where namespaces are allowed, too.
func newCluster(t *testing.T, kind string, n int, small bool) *cluster {
	t.Helper()
	return newClusterOf(t, &cluster{}, kind, n, small)
}

// newClusterOf is newCluster with some of its fields given.
func newClusterOf(t *testing.T, c *cluster, kind string, n int, small bool) *cluster {
	t.Helper()
	dir, err := os.MkdirTemp("", "quoin-cluster-data-")
	if err != nil {
		t.Fatal(err)
	}
	c.dir, c.token = dir, filepath.Base(dir)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	c.network = newNetwork(t, kind)
	t.Cleanup(func() { c.close(t) })
	for range n {
		m := c.newMember(t)
		if _, alone := c.network.(*namespaces); small && (alone || c.mount) {
			m.mountSmall(t)
		}
	}
	for _, m := range c.members {
		m.start(t, c.founding(), "new")
	}
	c.awaitServing(t)
	c.identify(t)
	return c
}

// close ends everything; the logs of a failed test are kept. Once is enough, more do no harm.
func (c *cluster) close(t *testing.T) {
	if t.Failed() && len(c.members) > 0 {
		c.keepLogs(t)
	}
	for _, m := range c.members {
		m.discard()
	}
	c.members = nil
	c.network.close()
}

func (c *cluster) keepLogs(t *testing.T) {
	dir := keepDir(t)
	logs, _ := filepath.Glob(filepath.Join(c.dir, "*.log"))
	for _, name := range logs {
		if err := copyFile(filepath.Join(dir, filepath.Base(name)), name); err != nil {
			t.Log(err)
		}
	}
	t.Logf("the members' logs are in %s", dir)
}

// keepDir is where a failed test leaves things.
func keepDir(t *testing.T) string {
	dir := filepath.Join(flags.out, "quoin-failed", strings.ReplaceAll(t.Name(), "/", "-"))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// founding is the --initial-cluster of the members as they are.
func (c *cluster) founding() string {
	var all []string
	for _, m := range c.members {
		all = append(all, m.name+"="+m.peerURL())
	}
	return strings.Join(all, ",")
}

// patience is how long anything may take before a test gives up.
const patience = 60 * time.Second

// pause waits, unless ctx ends first.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// eventually tries until it works, and fails the test if that takes too long.
func eventually(t *testing.T, what string, try func(ctx context.Context) error) {
	t.Helper()
	limit := patience
	if flags.long {
		limit *= 20
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for {
		err := try(ctx)
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("%s: not in %v: %v", what, limit, err)
		}
		pause(ctx, 20*time.Millisecond)
	}
}

func (c *cluster) awaitServing(t *testing.T) {
	t.Helper()
	for _, m := range c.members {
		eventually(t, "serving", m.serves)
	}
}

// identify learns the members' ids.
func (c *cluster) identify(t *testing.T) {
	t.Helper()
	for _, m := range c.members {
		eventually(t, "learning the id of "+m.name, func(ctx context.Context) error {
			status, err := m.status(ctx)
			if err != nil {
				return err
			}
			m.id = status.Header.MemberId
			c.network.identify(m.index, m.id)
			return nil
		})
	}
}

// leader returns the member that the newest term calls leader.
func (c *cluster) leader(t *testing.T) *member {
	t.Helper()
	var leader *member
	eventually(t, "finding the leader", func(ctx context.Context) error {
		var term uint64
		leader = nil
		for _, m := range c.members {
			status, err := m.status(ctx)
			if err != nil || status.RaftTerm < term || status.Leader == 0 {
				continue
			}
			term, leader = status.RaftTerm, c.byID(status.Leader)
		}
		if leader == nil {
			return errors.New("no member knows a leader")
		}
		return nil
	})
	return leader
}

func (c *cluster) others(but *member) []*member {
	var all []*member
	for _, m := range c.members {
		if m != but {
			all = append(all, m)
		}
	}
	return all
}

func (c *cluster) byID(id uint64) *member {
	for _, m := range c.members {
		if m.id == id {
			return m
		}
	}
	return nil
}

// sameHash waits until every member has the same hash of the store at a revision.
func (c *cluster) sameHash(t *testing.T, revision int64) {
	t.Helper()
	eventually(t, "equal hashes", func(ctx context.Context) error {
		var first *etcdserverpb.HashKVResponse
		for _, m := range c.members {
			hash, err := m.hash(ctx, revision)
			if err != nil {
				return err
			}
			if first == nil {
				first = hash
			}
			if hash.Hash != first.Hash || hash.CompactRevision != first.CompactRevision {
				return fmt.Errorf("%s has hash %x compacted at %d, %s has %x at %d",
					c.members[0].name, first.Hash, first.CompactRevision, m.name, hash.Hash, hash.CompactRevision)
			}
		}
		return nil
	})
}

func (m *member) hash(ctx context.Context, revision int64) (*etcdserverpb.HashKVResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	hash, err := etcdserverpb.NewMaintenanceClient(m.conn).HashKV(ctx, &etcdserverpb.HashKVRequest{Revision: revision})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.name, err)
	}
	return hash, nil
}
