package cluster

import (
	"math/rand/v2"

	"github.com/quoin-kv/quoin/raft/wire"
	"github.com/quoin-kv/quoin/sim/engine"
	"github.com/quoin-kv/quoin/sim/plan"
)

// network carries messages between hosts.
type network struct {
	w      *world
	rng    *rand.Rand
	config plan.Network
	links  map[[2]int]*link // by the indexes of sender and receiver
}

// link is one way between two hosts.
type link struct {
	cuts  int   // faults that cut it; it carries nothing unless there are none
	since int64 // when it was cut last
	slow  int64 // what a slow link adds
	last  int64 // arrival of the latest message that kept its order
}

func newNetwork(w *world) *network {
	return &network{w: w, rng: engine.Random(w.plan.Seed, "network", 0), config: w.plan.Network, links: map[[2]int]*link{}}
}

func (n *network) link(from, to int) *link {
	l := n.links[[2]int{from, to}]
	if l == nil {
		l = &link{}
		n.links[[2]int{from, to}] = l
	}
	return l
}

// chance is true in so many of a thousand cases.
func (n *network) chance(permille int) bool { return permille > 0 && n.rng.IntN(1000) < permille }

func (n *network) delay() int64 { return n.config.Delay + n.rng.Int64N(n.config.Jitter+1) }

// send takes messages from a host.
func (n *network) send(from *host, ms []wire.Message) {
	for i := range ms {
		to := n.w.byID[ms[i].To]
		n.w.judge.sent(from, &ms[i])
		if to == nil {
			continue
		}
		n.carry(from, to, ms[i])
		// What clients want is not repeated: it would happen twice, and the streams between members do not repeat anything either.
		if ms[i].Type != wire.MsgProp && n.chance(n.config.Duplicate) {
			n.carry(from, to, ms[i])
		}
	}
}

// One of so many messages that do not keep their order is on its way for up to so many nanoseconds; it arrives even if the link is cut by then.
const (
	stragglers = 8
	longestWay = 4e9
)

// carry lets a message arrive after a while, or never.
func (n *network) carry(from, to *host, m wire.Message) {
	l := n.link(from.index, to.index)
	arrival := n.w.engine.Now() + n.delay() + l.slow
	lost := n.chance(n.config.Loss)
	late := false
	if n.chance(n.config.Reorder) {
		if late = n.rng.IntN(stragglers) == 0; late {
			arrival += n.rng.Int64N(longestWay)
		}
	} else {
		arrival = max(arrival, l.last)
		l.last = arrival
	}
	told := n.rng.IntN(2) == 0
	if lost || l.cuts > 0 {
		if told {
			n.unreachable(from, m.To)
		}
		return
	}
	n.w.engine.At(arrival, func() {
		if l.cuts > 0 && !late || !to.receive(m) {
			n.unreachable(from, m.To)
		}
	})
}

// unreachable tells a sender that its message did not arrive.
func (n *network) unreachable(from *host, id uint64) {
	if m := from.member; m != nil {
		m.proc.Exec(func() { m.later(func() { m.consensus.ReportUnreachable(id) }) })
	}
}

// gone tells the others that a host's process has ended, as far as their connections to it were up: soon, or not at all.
func (n *network) gone(h *host) {
	for _, other := range n.w.hosts {
		if other == h || other.member == nil || n.link(h.index, other.index).cuts > 0 || n.rng.IntN(2) == 0 {
			continue
		}
		m := other.member
		n.w.engine.At(n.w.engine.Now()+n.delay(), func() {
			if other.member == m {
				m.proc.Exec(func() { m.later(func() { m.consensus.ReportGone(h.id) }) })
			}
		})
	}
}

// connected reports whether messages get from one host to another and back.
func (n *network) connected(a, b *host) bool {
	return n.link(a.index, b.index).cuts == 0 && n.link(b.index, a.index).cuts == 0 && b.member != nil
}

// heal ends all trouble.
func (n *network) heal() {
	n.config = plan.Network{Delay: min(n.config.Delay, 5e6), Jitter: min(n.config.Jitter, 5e6)}
	for _, l := range n.links {
		l.cuts, l.slow, l.since = 0, 0, n.w.engine.Now()
	}
}
