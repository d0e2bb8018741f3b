package raft_test

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/quoin-kv/quoin/raft"
	"github.com/quoin-kv/quoin/raft/wire"
)

var (
	seedFlag = flag.Uint64("seed", 0, "run the random cluster with this seed only, and trace it")
	runsFlag = flag.Int("runs", 70, "how many random clusters to run")
)

// TestRandomCluster runs clusters with a network that loses, repeats and reorders, disks that are slow, and members that
// crash and lose what they had not written; then it heals everything and demands progress.
func TestRandomCluster(t *testing.T) {
	if *seedFlag != 0 {
		runRandom(t, *seedFlag)
		return
	}
	first := rand.Uint64() >> 1
	for i := range uint64(*runsFlag) {
		seed := first + i
		if !t.Run(fmt.Sprint(seed), func(t *testing.T) { runRandom(t, seed) }) {
			t.Fatalf("reproduce with: go test ./raft -run TestRandomCluster -seed %d", seed)
		}
	}
}

// weather is how bad a run is; each run draws its own, so that some runs do little of one thing and much of another.
type weather struct {
	lose, repeat, reorder, crash, confChange, flush, skew float64
	transfer, cut, stall, joint                           float64
}

type randomRun struct {
	*cluster
	rng     *rand.Rand
	weather weather
	nextID  uint64
	reads   map[uint64]openRead // by id
	readID  uint64
	cut     map[[2]uint64]bool // nothing gets from the first to the second
	stuck   map[uint64]bool    // disks that write nothing
	clocks  map[uint64]int     // how much faster than others a clock goes, in quarters
}

// openRead is a read that was asked for and neither answered nor lost.
type openRead struct {
	member uint64
	before int // what had been applied anywhere when it was asked
}

func runRandom(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	cfg := defaults
	cfg.PreVote, cfg.CheckQuorum = rng.IntN(4) > 0, rng.IntN(4) > 0
	cfg.MaxMessageBytes = uint64(1 + rng.IntN(200))
	cfg.MaxInflightMessages = 1 + rng.IntN(5)
	cfg.MaxInflightBytes = uint64(rng.IntN(2) * 150)
	voters := []uint64{1, 2, 3, 4, 5}[:[]int{1, 2, 3, 3, 5}[rng.IntN(5)]]
	part := func(most float64) float64 { return most * rng.Float64() * float64(rng.IntN(2)) }
	r := &randomRun{
		cluster: newCluster(t, cfg, voters, nil), rng: rng, nextID: 6, reads: map[uint64]openRead{},
		cut: map[[2]uint64]bool{}, stuck: map[uint64]bool{}, clocks: map[uint64]int{},
		weather: weather{
			lose: part(0.3), repeat: part(0.2), reorder: part(1), crash: part(0.02),
			confChange: part(0.02), flush: part(0.1), skew: part(0.5), transfer: part(0.01),
			cut: part(0.04), stall: part(0.03), joint: part(0.5),
		},
	}
	if *seedFlag != 0 {
		r.trace = t.Logf
	}
	r.lazy = rng.IntN(2) == 0
	if gather := part(0.8); gather > 0 {
		r.gather = func() bool { return rng.Float64() < gather }
	}
	r.jitter = func(_ uint64, n int) int { return rng.IntN(n) }
	if drift := rng.IntN(3); drift > 0 {
		for _, id := range voters {
			r.clocks[id] = rng.IntN(3 * drift)
		}
	}
	for range 1500 {
		r.step()
	}
	r.heal()
}

// step lets one thing happen.
func (r *randomRun) step() {
	r.t.Helper()
	n := r.members[r.ids[r.rng.IntN(len(r.ids))]]
	if n.core == nil {
		if r.rng.IntN(10) == 0 {
			r.start(n)
		}
		return
	}
	switch r.rng.IntN(10) {
	case 0, 1:
		r.tick(n.id, 1+r.rng.IntN(2)+(r.clocks[n.id]+r.rng.IntN(4))/4)
	case 2, 3:
		if !r.stuck[n.id] {
			r.sync(n, 1+r.rng.IntN(3))
		}
		if r.rng.IntN(2) == 0 {
			r.apply(n, 1+r.rng.IntN(5))
			r.settle(n)
		}
	case 4:
		r.ask(n)
	case 5:
		r.disturb(n)
	default:
		r.oneMessage()
	}
	r.checkReads(n)
	if err := r.logsMatch(); err != nil {
		r.t.Fatal(err)
	}
}

// ask proposes or reads.
func (r *randomRun) ask(n *member) {
	if r.rng.IntN(3) == 0 {
		r.readID++
		id := r.readID
		r.do(n.id, func(core *raft.Core) {
			if core.ReadIndex(id) == nil {
				r.reads[id] = openRead{n.id, len(r.history.committed)}
			}
		})
		return
	}
	r.do(n.id, func(core *raft.Core) {
		_ = core.Propose(fmt.Appendf(nil, "%d", r.rng.IntN(1000)), []byte("more"))
	})
}

// checkReads: the answer to a read covers everything that was applied anywhere when it was asked.
func (r *randomRun) checkReads(n *member) {
	for _, read := range n.reads {
		open, asked := r.reads[read.ID]
		if !asked {
			r.t.Fatalf("read %d was answered twice, or never asked", read.ID)
		}
		if read.Index < uint64(open.before) {
			r.t.Fatalf("read %d may be served at %d, but %d had been applied when it was asked", read.ID, read.Index, open.before)
		}
		delete(r.reads, read.ID)
	}
	for _, id := range n.lost {
		if _, asked := r.reads[id]; !asked {
			r.t.Fatalf("read %d was lost after it was answered, or never asked", id)
		}
		delete(r.reads, id)
	}
	n.reads, n.lost = nil, nil
}

// disturb makes something go wrong, or change.
func (r *randomRun) disturb(n *member) {
	w := r.weather
	switch x := r.rng.Float64() * 0.2; {
	case x < w.crash:
		r.crash(n, r.rng.IntN(3), r.rng.IntN(8))
		maps.DeleteFunc(r.reads, func(_ uint64, o openRead) bool { return o.member == n.id })
	case x < w.crash+w.confChange:
		r.changeMembers(n)
	case x < w.crash+w.confChange+w.flush:
		r.flush(n, r.rng.Uint64N(5))
	case x < w.crash+w.confChange+w.flush+w.transfer:
		to := r.ids[r.rng.IntN(len(r.ids))]
		r.do(n.id, func(core *raft.Core) { core.TransferLeader(to) })
	case x < w.crash+w.confChange+w.flush+w.transfer+w.stall:
		r.stuck[n.id] = !r.stuck[n.id]
	case x < w.crash+w.confChange+w.flush+w.transfer+w.stall+w.cut:
		r.cutLines(n.id)
	case r.rng.IntN(4) == 0:
		other := r.ids[r.rng.IntN(len(r.ids))]
		r.do(n.id, func(core *raft.Core) { core.ReportUnreachable(other) })
	case r.rng.IntN(4) == 0:
		other := r.ids[r.rng.IntN(len(r.ids))]
		r.do(n.id, func(core *raft.Core) { core.ReportGone(other) })
	case r.rng.Float64() < w.skew:
		r.tick(n.id, 8)
	}
}

// cutLines cuts a member off, or one direction to it, or one from it; or repairs every line.
func (r *randomRun) cutLines(id uint64) {
	if len(r.cut) > 0 && r.rng.IntN(2) == 0 {
		clear(r.cut)
		return
	}
	kind := r.rng.IntN(4)
	one := r.ids[r.rng.IntN(len(r.ids))]
	for _, other := range r.ids {
		if kind == 3 && other != one {
			continue
		}
		if kind != 1 {
			r.cut[[2]uint64{id, other}] = true
		}
		if kind != 2 {
			r.cut[[2]uint64{other, id}] = true
		}
	}
}

// changeJointly proposes several changes at once, or to leave a joint configuration.
func (r *randomRun) changeJointly(n *member) {
	cc := wire.ConfChangeV2{Transition: wire.ConfChangeTransition(r.rng.IntN(3))}
	for range r.rng.IntN(4) {
		change := wire.ConfChangeSingle{Type: wire.ConfChangeType(r.rng.IntN(4)), NodeID: r.ids[r.rng.IntN(len(r.ids))]}
		cc.Changes = append(cc.Changes, change)
	}
	r.do(n.id, func(core *raft.Core) { _ = core.ProposeConfChangeV2(cc) })
}

func (r *randomRun) changeMembers(n *member) {
	if r.rng.Float64() < r.weather.joint {
		r.changeJointly(n)
		return
	}
	cc := wire.ConfChange{ID: r.rng.Uint64(), Type: wire.ConfChangeType(r.rng.IntN(4)), NodeID: r.ids[r.rng.IntN(len(r.ids))]}
	if r.rng.IntN(3) == 0 && len(r.ids) < 8 {
		cc.NodeID = r.nextID
		cc.Type = []wire.ConfChangeType{wire.ConfChangeAddNode, wire.ConfChangeAddLearnerNode}[r.rng.IntN(2)]
		r.nextID++
		r.add(cc.NodeID, disk{})
	}
	r.do(n.id, func(core *raft.Core) { _ = core.ProposeConfChange(cc) })
}

func (r *randomRun) oneMessage() {
	if len(r.network) == 0 {
		return
	}
	at := 0
	if r.rng.Float64() < r.weather.reorder {
		at = r.rng.IntN(len(r.network))
	}
	if r.rng.Float64() < r.weather.repeat {
		r.network = append(r.network, r.network[at])
	}
	m := r.network[at]
	if r.rng.Float64() < r.weather.lose || r.cut[[2]uint64{m.From, m.To}] {
		r.network = append(r.network[:at], r.network[at+1:]...)
		if m.Type == wire.MsgSnap {
			r.reportSnapshot(m, false)
		}
		return
	}
	r.deliver(at)
	if m.Type == wire.MsgSnap {
		r.reportSnapshot(m, true)
	}
}

func (r *randomRun) reportSnapshot(m wire.Message, ok bool) {
	if from := r.members[m.From]; from.core != nil {
		r.do(m.From, func(core *raft.Core) { core.ReportSnapshot(m.To, ok) })
	}
}

// heal repairs everything and demands that a leader emerges and a proposal gets applied by all members.
func (r *randomRun) heal() {
	r.weather, r.lazy, r.gather = weather{}, false, nil
	clear(r.cut)
	clear(r.stuck)
	clear(r.clocks)
	r.each(func(n *member) {
		r.apply(n, len(n.waiting))
		r.settle(n)
	})
	for _, id := range r.ids {
		if r.members[id].core == nil {
			r.start(r.members[id])
		}
	}
	target := len(r.history.committed) + 1
	for range 400 {
		for _, id := range r.ids {
			r.tick(id, 1)
		}
		r.runReporting()
		lead := r.leader()
		if lead == nil {
			continue
		}
		r.do(lead.id, func(core *raft.Core) { _ = core.Propose([]byte("healed")) })
		r.runReporting()
		if len(r.history.committed) > target+2 && r.allApplied(lead) {
			return
		}
	}
	for _, id := range r.ids {
		r.t.Logf("%+v", r.members[id].core.Status())
	}
	r.t.Fatal("no progress after everything was repaired")
}

// runReporting runs until quiet, with snapshots reported as sent.
func (r *randomRun) runReporting() {
	for range 10_000 {
		if len(r.network) == 0 {
			busy := false
			r.each(func(n *member) {
				busy = busy || len(n.pending) > 0
				r.sync(n, len(n.pending))
			})
			if !busy {
				return
			}
			continue
		}
		r.oneMessage()
	}
	r.t.Fatal("the cluster does not come to rest")
}

func (r *randomRun) leader() (lead *member) {
	r.each(func(n *member) {
		if n.core.Role() == raft.Leader && (lead == nil || n.core.Term() > lead.core.Term()) {
			lead = n
		}
	})
	return lead
}

func (r *randomRun) allApplied(lead *member) bool {
	s := lead.core.Status()
	for _, p := range s.Peers {
		if r.members[p.ID].machine.applied != s.Commit || s.Commit != s.Last {
			return false
		}
	}
	return true
}
