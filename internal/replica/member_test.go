package replica_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/quoin-kv/quoin/internal/backend"
	"github.com/quoin-kv/quoin/internal/machine"
	"github.com/quoin-kv/quoin/internal/membership"
	"github.com/quoin-kv/quoin/internal/mvcc"
	"github.com/quoin-kv/quoin/internal/replica"
	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/internal/vfs"
	"github.com/quoin-kv/quoin/internal/wal"
	"github.com/quoin-kv/quoin/raft"
	"github.com/quoin-kv/quoin/raft/wire"
)

const maxLearners = 2

// errPower is what a disk call meets when the power goes in the middle of it.
var errPower = errors.New("power failure")

// member is one simulated member: its disks, and what runs on them, each part of which moves only when the scheduler says so.
type member struct {
	t    testing.TB
	id   uint64
	rng  *rand.Rand
	opts replica.ConsensusOptions
	fs   *vfs.Mem
	disk *backend.MemoryDisk

	running bool
	power   int // changes to the log's files until the power fails, -1 is never

	log       *wal.Log
	backend   *backend.Backend
	machine   *machine.Machine
	consensus *replica.Consensus
	applier   *replica.Applier
	batcher   replica.Batcher
	view      *mvcc.View
	hash      *mvcc.HashTask // taken out of the machine

	writes    []replica.Output
	tasks     []task
	persisted []uint64
	applied   []func() // completions of the applier on their way to consensus
	flushed   []func()
	events    []func()                        // others
	written   *schema.Applied                 // what the flusher has flushed, of which it has not asked the configuration yet
	seen      struct{ applied, limit uint64 } // by the flusher, one after the other

	received    map[uint64]*backend.MemoryDisk // files that came from others; they survive crashes
	installable uint64
	orders      []wire.Message // snapshots to be sent
	sending     map[uint64]bool
	runs        int // how many times it was started

	waiting  map[uint64]bool       // proposals that wait for their answer
	reads    map[uint64]readBounds // open reads
	lastDrop string                // why the last message was not taken, for traces
}

// readBounds is what a linearizable read must show at least.
type readBounds struct{ index uint64 }

func founders(voters int) []schema.Member {
	var all []schema.Member
	for id := range voters {
		all = append(all, schema.Member{ID: uint64(id + 1), PeerURLs: []string{fmt.Sprintf("http://m%d:1", id+1)}})
	}
	return all
}

// newMember makes the log of a founder, or of one that joins later.
func newMember(t testing.TB, id uint64, voters int, rng *rand.Rand, opts replica.ConsensusOptions) *member {
	m := &member{
		t: t, id: id, rng: rng, opts: opts, fs: vfs.NewMem(), disk: backend.NewMemoryDisk(), power: -1,
		received: map[uint64]*backend.MemoryDisk{},
	}
	log, err := wal.Create(m.walConfig(m.fs), wal.Metadata{NodeID: id, ClusterID: 2})
	m.check(err)
	if id > uint64(voters) {
		m.check(log.Close())
		return m
	}
	var entries []wire.Entry
	for i, cc := range membership.BootstrapChanges(founders(voters)) {
		entries = append(entries, wire.Entry{Type: wire.EntryConfChange, Term: 1, Index: uint64(i + 1), Data: cc.Append(nil)})
	}
	m.check(log.Write(wal.Batch{Entries: entries, HardState: wire.HardState{Term: 1, Commit: uint64(voters)}, Sync: true}))
	m.check(log.Close())
	return m
}

func (m *member) check(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatalf("member %d: %v", m.id, err)
	}
}

// walConfig has segments so small that a run sees many.
func (m *member) walConfig(fs vfs.FS) wal.Config {
	return wal.Config{FS: fs, Dir: "/wal", SegmentBytes: 8 << 10}
}

// beforeDisk lets the power fail at the call that was drawn.
func (m *member) beforeDisk(op vfs.Op) error {
	switch op.Kind {
	case vfs.OpWrite, vfs.OpSync, vfs.OpRename, vfs.OpTruncate, vfs.OpCreate, vfs.OpRemove, vfs.OpSyncDir:
		switch m.power {
		case -1:
		case 0:
			return errPower
		default:
			m.power--
		}
	}
	return nil
}

// start opens what the disks hold. The hard state is handed to the core as it was found.
func (m *member) start() {
	var err error
	m.backend, err = backend.OpenMemory(backend.Config{}, m.disk)
	m.check(err)
	log, rec, err := wal.Open(m.walConfig(vfs.Intercept(m.fs, m.beforeDisk)))
	m.check(err)
	m.log = log
	m.adoptAtStart(rec.Mark.Index)
	at := m.backend.Flushed()
	last := rec.Mark.Index + uint64(len(rec.Entries))
	if rec.Mark.Index > at.Index || at.Index > last {
		m.t.Fatalf("member %d: the file is at %d, the log goes from %d to %d", m.id, at.Index, rec.Mark.Index, last)
	}
	m.machine = restore(m.t, m.backend)
	core, err := raft.New(raft.Config{
		ID: m.id, ElectionTicks: 6, HeartbeatTicks: 1, PreVote: true, CheckQuorum: true, MaxMessageBytes: 500, MaxInflightMessages: 4,
		MaxUncommittedBytes: 2000, Jitter: m.rng.IntN,
	}, raft.Boot{
		HardState: rec.HardState, Entries: rec.Entries, Applied: at.Index,
		Snapshot: wire.SnapshotMeta{Index: rec.Mark.Index, Term: rec.Mark.Term, ConfState: m.machine.ConfState()},
	})
	m.check(err)
	m.consensus = replica.NewConsensus(core, m.opts, at.Index, rec.Mark.Index)
	m.applier = replica.NewApplier(m.machine, m.backend, at)
	m.view = m.applier.View()
	m.waiting, m.reads, m.sending = map[uint64]bool{}, map[uint64]readBounds{}, map[uint64]bool{}
	m.running = true
	m.runs++
}

func restore(t testing.TB, b *backend.Backend) *machine.Machine {
	made, err := machine.Restore(machine.Config{ClusterID: 2, MemberID: 1, MinLeaseTTL: 1, MaxLearners: maxLearners}, b, b, func() mvcc.Reader { return b.Reader() })
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// crash ends everything that runs and leaves what the disks would hold.
func (m *member) crash(o vfs.CrashOptions) {
	fs, disk := m.fs.Crash(o), m.disk.Crash()
	m.close()
	m.fs, m.disk = fs, disk
}

// close gives the memory of a running member back; what it does to the old disks matters no more.
func (m *member) close() {
	m.view.Release()
	_ = m.log.Close() // may have failed
	m.check(m.backend.Close())
	*m = member{t: m.t, id: m.id, rng: m.rng, opts: m.opts, fs: m.fs, disk: m.disk, power: -1, received: m.received, runs: m.runs}
}

// emit takes an output and puts its parts where they belong. It returns what leaves at once.
func (m *member) emit() (send []wire.Message, answered, refused []uint64) {
	out := m.consensus.Output()
	if out.Writes() {
		m.writes = append(m.writes, out)
	}
	if out.Install != nil {
		m.tasks = append(m.tasks, task{install: out.Install})
	}
	for _, e := range out.Apply {
		m.tasks = append(m.tasks, task{entry: e})
	}
	return m.order(out.Send), out.Answer, out.Refuse
}

// write writes the first k waiting outputs to the log. It returns what may leave then; ok is false if the power failed.
func (m *member) write(k int) (send []wire.Message, ok bool) {
	for ok = true; k > 0 && ok; {
		outs := m.writes[:replica.Together(m.writes[:k])]
		m.writes, k = m.writes[len(outs):], k-len(outs)
		var more []wire.Message
		more, ok = m.writeBatch(m.batcher.Join(outs))
		send = append(send, more...)
	}
	return send, ok
}

func (m *member) writeBatch(j replica.Joined) (send []wire.Message, ok bool) {
	mark := j.Log.Mark
	if j.Write {
		m.checkMark(&j)
		if err := m.log.Write(j.Log); err != nil {
			if !errors.Is(err, errPower) {
				m.check(err)
			}
			return nil, false
		}
	}
	if mark != nil && !j.Write {
		m.t.Fatalf("member %d: mark %+v is not written", m.id, mark)
	}
	if j.Persisted > 0 {
		m.persisted = append(m.persisted, j.Persisted)
	}
	switch {
	case j.Installed > 0:
		m.installable = j.Installed
	case mark != nil:
		return j.AfterSync, m.releaseLog(mark.Index)
	}
	return j.AfterSync, true
}

// checkMark demands that a restart which finds a mark can begin at it.
func (m *member) checkMark(j *replica.Joined) {
	mark := j.Log.Mark
	switch {
	case mark == nil:
	case j.Installed > 0 && (j.Installed != mark.Index || m.received[mark.Index] == nil || j.Log.HardState.Commit < mark.Index):
		m.t.Fatalf("member %d: mark of the snapshot %d at %d, commit %d", m.id, j.Installed, mark.Index, j.Log.HardState.Commit)
	case j.Installed == 0 && mark.Index > m.backend.Flushed().Index:
		m.t.Fatalf("member %d: mark at %d, the file is at %d", m.id, mark.Index, m.backend.Flushed().Index)
	}
}

// releaseLog lets go of segments, and returns false if the power failed.
func (m *member) releaseLog(index uint64) bool {
	err := errors.Join(m.log.Release(index), m.log.Purge(1))
	if err != nil && !errors.Is(err, errPower) {
		m.check(err)
	}
	return err == nil
}

// apply applies the first k waiting entries, up to a snapshot.
func (m *member) apply(k int) (*replica.Batch, []wire.Entry) {
	var entries []wire.Entry
	for len(entries) < k && m.tasks[0].install == nil {
		entries = append(entries, m.tasks[0].entry)
		if m.tasks = m.tasks[1:]; len(m.tasks) == 0 {
			break
		}
	}
	batch, err := m.applier.Apply(entries, func(id uint64) bool { return m.waiting[id] })
	m.check(err)
	m.view.Release()
	m.view = batch.View
	index, changes := batch.Index, batch.ConfChanges
	m.applied = append(m.applied, func() { m.consensus.Applied(index, changes) })
	return batch, entries
}

// look is what the flusher does before it flushes, with time in between: see how far the machine is, then how far the log is.
func (m *member) look() {
	m.seen.limit = min(m.seen.applied, m.consensus.Durable())
}

// flush writes to the file what look has allowed, and later asks for the configuration.
func (m *member) flush() {
	if m.written == nil {
		at, err := m.backend.Flush(m.seen.limit)
		m.check(err)
		m.written = &at
		return
	}
	at := *m.written
	m.written = nil
	conf := m.applier.ConfStateAt(at.Index)
	if at.Index > 0 {
		m.flushed = append(m.flushed, func() { m.consensus.Flushed(at, conf) })
	}
	m.dropReceived()
}

// compact moves a compaction on, or its hash, which may be on the way for long.
func (m *member) compact() {
	switch {
	case m.hash != nil:
		done, err := m.hash.Step(1 + m.rng.IntN(20))
		m.check(err)
		if done {
			m.machine.ReturnHashTask(m.hash)
			m.hash = nil
		}
	case !m.machine.Compacting():
	default:
		if m.rng.IntN(2) == 0 {
			m.hash = m.machine.TakeHashTask()
		}
		if m.hash == nil {
			_, err := m.applier.CompactStep(1 + m.rng.IntN(20))
			m.check(err)
		}
	}
}

// complete tells consensus of one completion, of a kind that has one.
func (m *member) complete() {
	switch kind := m.rng.IntN(4); {
	case kind == 3 && len(m.events) > 0:
		m.events[0]()
		m.events = m.events[1:]
	case kind == 0 && len(m.persisted) > 0:
		m.consensus.Persisted(m.persisted[0])
		m.persisted = m.persisted[1:]
	case kind == 1 && len(m.applied) > 0:
		m.applied[0]()
		m.applied = m.applied[1:]
	case kind == 2 && len(m.flushed) > 0:
		m.flushed[0]()
		m.flushed = m.flushed[1:]
	}
}

// index is how far the machine is.
func (m *member) index() uint64 { return m.applier.Applied().Index }

// idle reports whether nothing waits for anything in here.
func (m *member) idle() bool {
	return len(m.writes)+len(m.tasks)+len(m.persisted)+len(m.applied)+len(m.flushed)+len(m.events) == 0 && m.hash == nil && !m.machine.Compacting()
}

// installing reports whether a snapshot is on its way from consensus to the machine or back.
func (m *member) installing() bool {
	return slices.ContainsFunc(m.tasks, func(t task) bool { return t.install != nil })
}
