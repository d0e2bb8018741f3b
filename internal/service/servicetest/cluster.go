package servicetest

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/quoin-kv/quoin/internal/backend"
	"github.com/quoin-kv/quoin/internal/schema"
)

// Cluster is members that are connected in memory. It belongs to one test, which must run under fake time: messages take none.
type Cluster struct {
	t      testing.TB
	change []func(*Options)
	net    *network
	disks  map[uint64]Disks
}

// NewCluster founds a cluster and starts its members, 1 to voters. Each change is applied to the options of each member.
func NewCluster(t testing.TB, voters int, change ...func(*Options)) *Cluster {
	t.Helper()
	c := &Cluster{t: t, change: change, net: newNetwork(t), disks: map[uint64]Disks{}}
	members := founders(voters)
	for _, m := range members {
		c.disks[m.ID] = found(t, m.ID, members)
	}
	for _, m := range members {
		c.Start(m.ID)
	}
	return c
}

// Start starts a member that was stopped, or one that was added and has nothing yet.
func (c *Cluster) Start(id uint64, change ...func(*Options)) *Member {
	c.t.Helper()
	d, ok := c.disks[id]
	if !ok {
		d = found(c.t, id, nil)
		c.disks[id] = d
	}
	here := &station{net: c.net, id: id}
	wire := func(o *Options) {
		o.Service.MemberID, o.Service.Name = id, fmt.Sprintf("m%d", id)
		o.Service.ClientURLs = []string{fmt.Sprintf("http://m%d:2379", id)}
		o.Service.Peers = here
		o.Service.MembersChanged = func(members []schema.Member, _ []uint64) { c.net.addresses(members) }
		o.Node.Send, o.Node.SendSnapshot = here.send, here.sendSnapshot
		o.Node.Adopt = func(index uint64) error { return d.DB.Adopt(c.net.received(id, index)) }
		o.Node.Connected = func(other uint64) bool { return c.net.connected(id, other) }
	}
	m := Start(c.t, d, slices.Concat([]func(*Options){wire}, c.change, change)...)
	c.net.join(m)
	return m
}

// Stop stops a member in order.
func (c *Cluster) Stop(id uint64) {
	c.t.Helper()
	m := c.Member(id)
	c.net.leave(id)
	m.Stop(c.t)
}

// Kill stops a member as a loss of power would: what was not synced is gone.
func (c *Cluster) Kill(id uint64) {
	c.t.Helper()
	m := c.Member(id)
	c.net.leave(id)
	c.disks[id] = c.disks[id].Crash()
	m.Stop(c.t)
}

// Wipe makes a stopped member forget everything.
func (c *Cluster) Wipe(id uint64) { delete(c.disks, id) }

// Member is a running member.
func (c *Cluster) Member(id uint64) *Member {
	c.t.Helper()
	m := c.net.member(id)
	if m == nil {
		c.t.Fatalf("member %d does not run", id)
	}
	return m
}

// Runs reports whether a member runs.
func (c *Cluster) Runs(id uint64) bool { return c.net.member(id) != nil }

// Leader waits until one member leads all that run and are not cut off, and returns it.
func (c *Cluster) Leader() *Member {
	c.t.Helper()
	for range 300 {
		if m := c.leader(); m != nil {
			return m
		}
		<-time.After(Tick)
	}
	c.t.Fatal("no leader")
	return nil
}

// leader is the leader that reaches a quorum and is followed by all that it reaches, nil if there is none.
func (c *Cluster) leader() *Member {
	for _, m := range c.net.running() {
		if m.IsLeader() && c.follows(m) {
			return m
		}
	}
	return nil
}

func (c *Cluster) follows(leader *Member) bool {
	members, err := leader.Members(c.t.Context(), false)
	check(c.t, err)
	voters, reached := 0, 0
	for _, m := range members {
		if !m.IsLearner {
			voters++
		}
		one := c.net.member(m.ID)
		switch {
		case one == nil, m.ID != leader.ID && !c.net.connected(leader.ID, m.ID):
		case one.Status().Leader != leader.ID:
			return false
		case !m.IsLearner:
			reached++
		}
	}
	return reached > voters/2
}

// Follower is a member that runs, is connected to the leader and does not lead: the one with the smallest id.
func (c *Cluster) Follower() *Member {
	c.t.Helper()
	leader := c.Leader()
	members, err := leader.Members(c.t.Context(), false)
	check(c.t, err)
	for _, m := range members {
		if one := c.net.member(m.ID); one != nil && one != leader && c.net.connected(leader.ID, m.ID) {
			return one
		}
	}
	c.t.Fatal("no follower")
	return nil
}

// Cut severs the link between two members, in both directions.
func (c *Cluster) Cut(a, b uint64) { c.net.cut(true, link{a, b}, link{b, a}) }

// Block severs the link from one member to another, in this direction alone.
func (c *Cluster) Block(from, to uint64) { c.net.cut(true, link{from, to}) }

// Heal restores the link between two members.
func (c *Cluster) Heal(a, b uint64) { c.net.cut(false, link{a, b}, link{b, a}) }

// Isolate cuts a member off from all others that run.
func (c *Cluster) Isolate(id uint64) {
	for _, m := range c.net.running() {
		if m.ID != id {
			c.Cut(id, m.ID)
		}
	}
}

// Rejoin ends what Isolate did.
func (c *Cluster) Rejoin(id uint64) {
	for _, m := range c.net.running() {
		if m.ID != id {
			c.Heal(id, m.ID)
		}
	}
}

// network is what connects the members.
type network struct {
	t    testing.TB
	done chan struct{} // closed at the end of the test
	mu   struct {
		sync.Mutex
		members map[uint64]*Member
		ids     map[string]uint64 // by peer URL
		severed map[link]bool
		since   map[link]time.Time // when a link, or a member at one end, came up
		queues  map[link]chan []byte
		files   map[file]*backend.MemoryDisk
	}
}

// link is a way between members.
type link struct{ from, to uint64 }

// file is a database file that was sent to a member.
type file struct{ to, index uint64 }

func newNetwork(t testing.TB) *network {
	n := &network{t: t, done: make(chan struct{})}
	n.mu.members, n.mu.ids = map[uint64]*Member{}, map[string]uint64{}
	n.mu.severed, n.mu.since = map[link]bool{}, map[link]time.Time{}
	n.mu.queues, n.mu.files = map[link]chan []byte{}, map[file]*backend.MemoryDisk{}
	t.Cleanup(func() { close(n.done) })
	return n
}

func (n *network) join(m *Member) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.members[m.ID] = m
	for id := range n.mu.members {
		n.mu.since[link{m.ID, id}], n.mu.since[link{id, m.ID}] = time.Now(), time.Now()
	}
}

func (n *network) leave(id uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.mu.members, id)
}

func (n *network) member(id uint64) *Member {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mu.members[id]
}

// running is the members that run, by id.
func (n *network) running() []*Member {
	n.mu.Lock()
	defer n.mu.Unlock()
	var list []*Member
	for _, m := range n.mu.members {
		list = append(list, m)
	}
	slices.SortFunc(list, func(a, b *Member) int { return int(a.ID) - int(b.ID) })
	return list
}

// addresses takes note of peer URLs.
func (n *network) addresses(members []schema.Member) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, m := range members {
		for _, u := range m.PeerURLs {
			n.mu.ids[u] = m.ID
		}
	}
}

func (n *network) cut(severed bool, links ...link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range links {
		n.mu.severed[l] = severed
		n.mu.since[l] = time.Now()
	}
}

func (n *network) connected(from, to uint64) bool {
	_, ok := n.stood(from, to)
	return ok
}

// stood is how long a link has been up.
func (n *network) stood(from, to uint64) (time.Duration, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := link{from, to}
	if n.mu.members[to] == nil || n.mu.severed[l] {
		return 0, false
	}
	return time.Since(n.mu.since[l]), true
}
