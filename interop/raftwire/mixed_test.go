package raftwire

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/quoin-kv/quoin/raft/wire"
)

var (
	seedFlag = flag.Uint64("seed", 0, "run the mixed cluster with this seed only")
	runsFlag = flag.Int("runs", 60, "how many mixed clusters to run")
)

// TestMixedCluster runs clusters of our cores and etcd's on a bad network, with leadership transfers, learners,
// promotions and snapshots in all directions, and demands that all apply the same and make progress when it heals.
func TestMixedCluster(t *testing.T) {
	if *seedFlag != 0 {
		runMixed(t, *seedFlag)
		return
	}
	first := rand.Uint64() >> 1
	for i := range uint64(*runsFlag) {
		if !t.Run(fmt.Sprint(first+i), func(t *testing.T) { runMixed(t, first+i) }) {
			t.Fatalf("reproduce with: go test ./raftwire -run TestMixedCluster -seed %d", first+i)
		}
	}
}

// mixed is a cluster of peers and the network between them.
type mixed struct {
	t       *testing.T
	rng     *rand.Rand
	ids     []uint64
	peers   map[uint64]peer
	network []envelope
	sums    map[uint64]uint64  // of the machine, by index
	leaders map[uint64]uint64  // by term
	last    uint64             // highest index applied anywhere
	reads   map[uint64]uint64  // id to last when it was asked
	cut     map[[2]uint64]bool // nothing gets from the first to the second
	nextID  uint64
	lose    float64
	reorder float64
	ours    int // elections won by ours
	theirs  int
}

func runMixed(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 3))
	c := &mixed{
		t: t, rng: rng, peers: map[uint64]peer{}, sums: map[uint64]uint64{}, leaders: map[uint64]uint64{},
		reads: map[uint64]uint64{}, cut: map[[2]uint64]bool{}, lose: 0.15 * rng.Float64(), reorder: rng.Float64(),
	}
	log := founders([]uint64{1, 2, 3})
	for id := range uint64(3) {
		c.add(id+1, log)
	}
	for range 2500 {
		c.step()
	}
	c.heal()
}

// add brings up a member of either kind: the first is ours, the second theirs.
func (c *mixed) add(id uint64, log []wire.Entry) {
	var p peer
	if id == 1 || id != 2 && c.rng.IntN(2) == 0 {
		p = newOurPeer(id, slices.Clone(log), c.rng)
	} else {
		p = newTheirPeer(id, log)
	}
	p.state().onApply = func(index, sum uint64) {
		if known, ok := c.sums[index]; ok && known != sum {
			c.t.Fatalf("member %d (%T) applied something else at %d", id, p, index)
		}
		c.sums[index] = sum
		c.last = max(c.last, index)
	}
	c.ids = append(c.ids, id)
	c.peers[id] = p
	c.settle(id)
}

func (c *mixed) settle(id uint64) {
	p := c.peers[id]
	out := p.drain()
	if c.rng.IntN(3) == 0 {
		slices.Reverse(out) // as etcd 3.7 sends a batch
	}
	c.network = append(c.network, out...)
	if term, leads := p.leads(); leads {
		c.observeLeader(id, term)
	}
	for _, answer := range p.state().answers {
		if before, asked := c.reads[answer.ID]; asked && answer.Index < before {
			c.t.Fatalf("read %d at %d, but %d was applied before", answer.ID, answer.Index, before)
		}
	}
	p.state().answers = nil
}

func (c *mixed) observeLeader(id, term uint64) {
	known, ok := c.leaders[term]
	if ok && known != id {
		c.t.Fatalf("%d and %d lead term %d", known, id, term)
	}
	if !ok {
		c.leaders[term] = id
		if _, ours := c.peers[id].(*ourPeer); ours {
			c.ours++
		} else {
			c.theirs++
		}
	}
}

// step lets one thing happen.
func (c *mixed) step() {
	id := c.ids[c.rng.IntN(len(c.ids))]
	p := c.peers[id]
	switch c.rng.IntN(12) {
	case 0, 1:
		p.tick()
	case 2:
		p.propose(fmt.Appendf(nil, "%d", c.rng.IntN(1000)))
	case 3:
		c.nextID++
		c.reads[c.nextID] = c.last
		p.read(c.nextID)
	case 4:
		c.disturb(p)
	default:
		c.oneMessage()
	}
	c.settle(id)
}

func (c *mixed) disturb(p peer) {
	switch c.rng.IntN(8) {
	case 0:
		p.transfer(c.ids[c.rng.IntN(len(c.ids))])
	case 1:
		p.compact(c.rng.Uint64N(4))
	case 2:
		for range 8 {
			p.tick()
		}
	case 3, 4:
		c.changeMembers(p)
	case 5:
		c.cutLine()
	}
}

// cutLine lets nothing through from one member to another, or repairs all lines.
func (c *mixed) cutLine() {
	if c.rng.IntN(2) == 0 {
		clear(c.cut)
		return
	}
	c.cut[[2]uint64{c.ids[c.rng.IntN(len(c.ids))], c.ids[c.rng.IntN(len(c.ids))]}] = true
}

// changeMembers adds a learner, or changes one or several of those that did not found the cluster.
func (c *mixed) changeMembers(p peer) {
	if c.rng.IntN(2) == 0 {
		c.grow(p)
		return
	}
	cc := wire.ConfChangeV2{Transition: wire.ConfChangeTransition(c.rng.IntN(2))}
	for _, id := range c.ids[3:] {
		if kind := wire.ConfChangeType(c.rng.IntN(4)); kind != wire.ConfChangeUpdateNode {
			cc.Changes = append(cc.Changes, wire.ConfChangeSingle{Type: kind, NodeID: id})
		}
	}
	switch {
	case len(cc.Changes) == 1 && c.rng.IntN(2) == 0:
		p.change(wire.ConfChange{ID: c.rng.Uint64(), Type: cc.Changes[0].Type, NodeID: cc.Changes[0].NodeID})
	case len(cc.Changes) > 0:
		p.changeJointly(cc)
	}
}

// grow adds a learner, or promotes the last one.
func (c *mixed) grow(p peer) {
	if c.rng.IntN(2) == 0 && len(c.ids) < 5 {
		id := uint64(len(c.ids)) + 1
		c.add(id, nil)
		p.change(wire.ConfChange{ID: id, Type: wire.ConfChangeAddLearnerNode, NodeID: id})
		return
	}
	if id := c.ids[len(c.ids)-1]; id > 3 {
		p.change(wire.ConfChange{ID: id, Type: wire.ConfChangeAddNode, NodeID: id})
	}
}

func (c *mixed) oneMessage() {
	if len(c.network) == 0 {
		return
	}
	at := 0
	if c.rng.Float64() < c.reorder {
		at = c.rng.IntN(len(c.network))
	}
	m := c.network[at]
	c.network = slices.Delete(c.network, at, at+1)
	lost := c.rng.Float64() < c.lose || c.cut[[2]uint64{m.from, m.to}]
	if !lost && c.peers[m.to] != nil {
		c.peers[m.to].step(m.data)
		c.settle(m.to)
	}
	if m.kind == wire.MsgSnap {
		c.peers[m.from].snapshotSent(m.to, !lost)
		c.settle(m.from)
	}
}

// heal makes the network good and demands that a proposal is applied by everybody.
func (c *mixed) heal() {
	c.lose, c.reorder = 0, 0
	clear(c.cut)
	target := c.last + 3
	for range 300 {
		for _, id := range c.ids {
			c.peers[id].tick()
			c.settle(id)
		}
		c.peers[c.ids[c.rng.IntN(3)]].propose([]byte("healed"))
		for range 300 {
			for _, id := range c.ids {
				c.settle(id)
			}
			c.oneMessage()
		}
		if c.last >= target && c.allApplied() {
			c.t.Logf("%d members, %d applied, elections won: %d by ours, %d by theirs", len(c.ids), c.last, c.ours, c.theirs)
			return
		}
	}
	for _, id := range c.ids {
		c.t.Logf("%d %T applied %d of %d", id, c.peers[id], c.peers[id].state().applied, c.last)
	}
	c.t.Fatal("no progress after everything was repaired")
}

// allApplied reports whether the voters that founded the cluster have all applied the same.
func (c *mixed) allApplied() bool {
	for _, id := range c.ids[:3] {
		if c.peers[id].state().applied != c.last {
			return false
		}
	}
	return true
}
