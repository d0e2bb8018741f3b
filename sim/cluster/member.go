package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/quoin-kv/quoin/internal/backend"
	"github.com/quoin-kv/quoin/internal/lease"
	"github.com/quoin-kv/quoin/internal/machine"
	"github.com/quoin-kv/quoin/internal/mvcc"
	"github.com/quoin-kv/quoin/internal/replica"
	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/internal/service"
	"github.com/quoin-kv/quoin/internal/vfs"
	"github.com/quoin-kv/quoin/internal/wal"
	"github.com/quoin-kv/quoin/raft"
	"github.com/quoin-kv/quoin/raft/wire"
	"github.com/quoin-kv/quoin/sim/engine"
)

// member is one run of a member. It does what package node does with four goroutines, each of its steps being an event of its own: the loop,
// the log writer, the applier and the flusher.
//
// Invariants:
//  1. Of each of log writer, applier and flusher at most one step is under way.
//  2. Whoever waits in calls or reads is answered once, or gone.
type member struct {
	host    *host
	w       *world
	started int64
	epoch   time.Time // origin of age
	ready   bool      // it has read through a leader, and serves clients
	proc    *engine.Process

	log       *wal.Log
	backend   *backend.Backend
	machine   *machine.Machine
	consensus *replica.Consensus
	applier   *replica.Applier
	service   *service.Service
	batcher   replica.Batcher

	// The loop.
	turning   bool // a turn is on its way
	turns     int
	messages  []wire.Message
	events    []func() // completions and requests of the other parts
	proposals []*replica.Proposal
	calls     *replica.Proposals
	direct    []service.Direct // calls that have come together
	rounds    *replica.Rounds
	sole      replica.Sole
	solely    uint64 // what it found last
	status    raft.Status
	outdated  bool
	terms     logTerms

	// The log writer.
	writes  []replica.Output
	writing bool
	written replica.Joined // what is being written

	installable uint64          // index of the newest snapshot whose mark the log holds durably
	sends       map[uint64]bool // snapshots under way, by the member that they are for

	// The applier.
	full      bool // its NOSPACE alarm is raised
	works     []work
	applying  bool
	view      *mvcc.View
	hash      *mvcc.HashTask
	compacted []*bool // set when no compaction is left to do
	stepping  bool    // a step of a compaction is on its way

	// The room on the disk.
	reserve *vfs.Reserve
	short   bool
	told    map[uint64]bool // others that have said that they are short of room

	// The flusher.
	flushing bool
	flushes  []*bool // set when the next flush is done
	flushed  uint64  // as the loop was told
}

// start makes a member from what the disks hold.
func (h *host) start() error {
	m := &member{host: h, w: h.w, started: h.w.engine.Now(), calls: replica.NewProposals(replica.Bound{Requests: maxCalls, Bytes: 1 << 30}), sends: map[uint64]bool{}, told: map[uint64]bool{}}
	var err error
	if m.reserve, err = vfs.NewReserve(h.disk(), reserveName, reserveBytes, "/"); err != nil {
		return err
	}
	if m.backend, err = backend.OpenMemory(backend.Config{}, h.file); err != nil {
		return err
	}
	log, rec, err := wal.Open(h.walConfig())
	if err != nil {
		return err
	}
	m.log = log
	if err := m.adoptAtStart(rec); err != nil {
		return err
	}
	at := m.backend.Flushed()
	if err := h.remembers(rec, at); err != nil {
		return err
	}
	h.w.engine.Note("remembers", h.index, rec.Mark.Index, uint64(len(rec.Entries)), rec.HardState.Term, rec.HardState.Vote, at.Index)
	return m.assemble(rec, at)
}

// remembers compares what a log holds with what was promised, and with the database file.
func (h *host) remembers(rec *wal.Recovered, at schema.Applied) error {
	last := rec.Mark.Index + uint64(len(rec.Entries))
	term := rec.Mark.Term
	if n := len(rec.Entries); n > 0 {
		term = rec.Entries[n-1].Term
	}
	p := &h.promised
	switch {
	case h.flipped && rec.Repaired != nil:
		return fmt.Errorf("%s was cut at %d", rec.Repaired.File, rec.Repaired.Offset)
	case rec.Mark.Index > at.Index || at.Index > last:
		return fmt.Errorf("the file is at %d, the log goes from %d to %d", at.Index, rec.Mark.Index, last)
	case rec.HardState.Term < p.state.Term:
		return h.forgot("term %d, promised was %d", rec.HardState.Term, p.state.Term)
	case rec.HardState.Term == p.state.Term && p.state.Vote != 0 && rec.HardState.Vote != p.state.Vote:
		return h.forgot("vote %d of term %d, promised was %d", rec.HardState.Vote, p.state.Term, p.state.Vote)
	case (term == p.term || p.term == 0) && last < p.index, term < p.term:
		return h.forgot("entries up to %d of term %d, promised were %d of %d", last, term, p.index, p.term)
	}
	return nil
}

// forgot reports what is missing; if bits were flipped that has to be noticed by the log itself.
func (h *host) forgot(format string, args ...any) error {
	err := fmt.Errorf("forgot: "+format, args...)
	h.w.fail("durability", "member %d %v", h.index, err)
	return err
}

// assemble builds the parts of the member and starts them.
func (m *member) assemble(rec *wal.Recovered, at schema.Applied) error {
	h, t := m.host, &m.w.plan.Tuning
	m.proc = m.w.engine.NewProcess(h.localTime(), h.rate)
	mach, err := m.restore()
	if err != nil {
		return err
	}
	m.machine = mach
	core, err := raft.New(raft.Config{
		ID: h.id, ElectionTicks: t.ElectionTicks, HeartbeatTicks: 1, PreVote: t.PreVote, CheckQuorum: true,
		MaxMessageBytes: t.MessageBytes, MaxInflightMessages: t.InflightMax, MaxInflightBytes: 1 << 20, MaxUncommittedBytes: 1 << 20,
		Jitter: h.rng.IntN,
	}, raft.Boot{
		HardState: rec.HardState, Entries: rec.Entries, Applied: at.Index,
		Snapshot: wire.SnapshotMeta{Index: rec.Mark.Index, Term: rec.Mark.Term, ConfState: mach.ConfState()},
	})
	if err != nil {
		return err
	}
	m.terms.reset(rec)
	opts := replica.ConsensusOptions{MarkEvery: t.MarkEvery, CatchupEntries: t.CatchupEntries}
	m.consensus = replica.NewConsensus(core, opts, at.Index, rec.Mark.Index)
	m.applier = replica.NewApplier(mach, m.backend, at)
	m.run()
	return nil
}

// restore builds the machine on the database file.
func (m *member) restore() (*machine.Machine, error) {
	return machine.Restore(machine.Config{
		ClusterID: clusterID, MemberID: m.host.id, MinLeaseTTL: m.w.minLeaseTTL(), MaxLearners: maxLearners,
		Full: service.OverQuota(m.backend, m.w.plan.Tuning.Quota),
	}, m.backend, m.backend, func() mvcc.Reader { return m.backend.Reader() })
}

// run starts what a member does by itself.
func (m *member) run() {
	m.host.member = m
	m.view = m.applier.View()
	m.status = m.consensus.Status()
	m.epoch = m.proc.Now()
	m.rounds = replica.NewRounds(uint64(m.epoch.UnixNano()))
	m.flushed = m.backend.Flushed().Index
	m.proc.Exec(func() {
		m.service = service.New(m.serviceConfig(), m.machine)
		m.service.Bind(m, m.backend)
		m.afterTick()
		m.afterFlush()
		m.afterLook()
		m.stepCompaction()
		m.proc.Go(m.awaitReady)
		m.poke()
	})
}

// awaitReady lets the member serve clients once it has seen all that the cluster had decided when it started.
func (m *member) awaitReady() {
	for m.ReadIndex(context.Background()) != nil {
		if m.proc.Wait(context.Background(), nil, 50*time.Millisecond) != nil {
			return
		}
	}
	m.ready = true
}

const (
	maxLearners = 2
	maxCalls    = 10_000 // proposals that may wait at once
)

func (m *member) electionTimeout() time.Duration {
	return time.Duration(m.w.plan.Tuning.ElectionTicks) * time.Duration(m.w.plan.Tuning.Tick)
}

// minLeaseTTL is the shortest time that a lease gets, in seconds.
func (w *world) minLeaseTTL() int64 {
	return lease.MinTTL(w.plan.Tuning.ElectionTicks, time.Duration(w.plan.Tuning.Tick))
}

// keepAlive renews a lease for a client.
func (m *member) keepAlive(raw []byte) ([]byte, error) {
	return m.service.LeaseKeepAlive(context.Background(), raw)
}

func (m *member) serviceConfig() service.Config {
	return service.Config{
		Logger: slog.New(slog.DiscardHandler), ClusterID: clusterID, MemberID: m.host.id,
		Name: fmt.Sprintf("m%d", m.host.index+1), ClientURLs: []string{fmt.Sprintf("http://m%d:2379", m.host.index+1)},
		Version: "3.7.3", ClusterVersion: "3.7.0",
		MaxRequestBytes: 1 << 20, MaxTxnOps: 128, ElectionTimeout: m.electionTimeout(), MinLeaseTTL: m.w.minLeaseTTL(),
		ProgressInterval: 10 * time.Second, WatchRing: m.w.plan.Tuning.WatchRing, WatchBatch: m.w.plan.Tuning.WatchBatch, StrictReconfig: true,
		Clock: m.proc, Random: m.host.rng.Int64N, Peers: peers{m}, Short: m.saidShort,
		SelfRemoved: m.removed, QuotaBytes: m.w.plan.Tuning.Quota,
	}
}

// removed ends a member that learns of its removal, once another one that knows of it can tell it so, or after a while.
func (m *member) removed() {
	m.w.engine.Note("removed", m.host.index)
	m.linger(m.w.engine.Now() + lingerTime)
}

// How long a removed member still answers others, and how often it asks them whether they know, in virtual nanoseconds.
const (
	lingerTime  = 60e9
	lingerPause = 200e6
)

func (m *member) linger(until int64) {
	if m.host.member != m {
		return // it ended otherwise, and comes to know again when it starts
	}
	if m.w.engine.Now() < until && !m.toldOfRemoval() {
		m.w.engine.After(lingerPause, func() { m.linger(until) })
		return
	}
	m.host.retired = true
	m.stop()
}

// toldOfRemoval reports whether a voter that can be reached has applied the removal of this one.
func (m *member) toldOfRemoval() bool {
	return slices.ContainsFunc(m.w.running(), func(other *member) bool {
		self, is := other.machine.Members().Member(other.host.id)
		return other != m && is && !self.IsLearner && other.machine.Members().IsRemoved(m.host.id) && m.w.network.connected(m.host, other.host)
	})
}

// fail ends a member whose disk has failed, and starts it again after a while, as a supervisor does. Damage on a disk that nobody has damaged is
// the member's own.
func (m *member) fail(what string, err error) {
	if errors.As(err, new(*backend.CorruptError)) && !m.host.flipped {
		m.w.fail("damage", "member %d: %s: %v", m.host.index, what, err)
	}
	m.w.engine.Note("fails", m.host.index)
	m.w.engine.Comment(m.host.index, "%s: %v", what, err)
	m.stop()
	m.host.bootAfter(1e9 + m.host.rng.Int64N(2e9))
}

// stop ends the process once what happens now has happened.
func (m *member) stop() {
	m.w.engine.After(0, func() {
		if m.host.member == m {
			m.host.crashUnlessRemoved()
		}
	})
}

// crashUnlessRemoved ends a process that stopped itself. After a failed write nobody knows what the disk holds.
func (h *host) crashUnlessRemoved() {
	if h.retired {
		h.exit()
		return
	}
	h.end(h.crashOptions())
}

// think is how long a part of the member takes to react.
func (m *member) think() int64 { return 1 + m.host.rng.Int64N(m.w.plan.Tuning.Think) }

// alarmLingers reports whether the member's NOSPACE alarm is raised although there is much space, which it notices itself after a while.
func (m *member) alarmLingers() bool {
	quota := m.w.plan.Tuning.Quota
	own := machine.Alarm{MemberID: m.host.id, Kind: request.AlarmNoSpace}
	return quota > 0 && m.backend.Used() < quota/2 && slices.Contains(m.machine.Alarms(), own)
}

// leads reports whether the member thinks that it leads.
func (m *member) leads() bool { return m.consensus.Role() == raft.Leader }
