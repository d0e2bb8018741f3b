package node_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quoin-kv/quoin/internal/backend"
	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/machine"
	"github.com/quoin-kv/quoin/internal/membership"
	"github.com/quoin-kv/quoin/internal/mvcc"
	"github.com/quoin-kv/quoin/internal/node"
	"github.com/quoin-kv/quoin/internal/replica"
	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/internal/vfs"
	"github.com/quoin-kv/quoin/internal/wal"
	"github.com/quoin-kv/quoin/raft"
	"github.com/quoin-kv/quoin/raft/wire"
)

// cluster is members in one process that are connected by function calls.
type cluster struct {
	t       testing.TB
	members []*clusterMember
}

// clusterMember is a node, what survives its crash, and its line to the others.
type clusterMember struct {
	c    *cluster
	id   uint64
	fs   *vfs.Mem
	disk *backend.MemoryDisk
	node atomic.Pointer[node.Node]
	cut  atomic.Bool // from all others

	opts replica.ConsensusOptions

	mu       sync.Mutex
	received map[uint64]*backend.MemoryDisk
	observed atomic.Int64 // batches with Installed

	change   func(*node.Config)
	applying *gate                       // which the observer passes, nil is none
	sending  func(w io.Writer) io.Writer // wraps what a snapshot is written to
}

// newCluster makes founders and members that have not joined; none of them runs.
func newCluster(t testing.TB, founders, others int) *cluster {
	c := &cluster{t: t}
	for id := range uint64(founders + others) {
		m := &clusterMember{
			c: c, id: id + 1, fs: vfs.NewMem(), disk: backend.NewMemoryDisk(), received: map[uint64]*backend.MemoryDisk{},
			opts: replica.ConsensusOptions{MarkEvery: 100, CatchupEntries: 20, HoldTicks: 20},
		}
		m.found(founders)
		c.members = append(c.members, m)
	}
	t.Cleanup(c.stop)
	return c
}

// startCluster returns three members that run.
func startCluster(t testing.TB) *cluster {
	c := newCluster(t, 3, 0)
	for _, m := range c.members {
		m.start()
	}
	return c
}

func (m *clusterMember) found(founders int) {
	log, err := wal.Create(disks{}.wal(m.fs), wal.Metadata{NodeID: m.id, ClusterID: 2})
	check(m.c.t, err)
	if m.id <= uint64(founders) {
		var members []schema.Member
		for id := range uint64(founders) {
			members = append(members, schema.Member{ID: id + 1, PeerURLs: []string{fmt.Sprintf("http://m%d:1", id+1)}})
		}
		var entries []wire.Entry
		for i, cc := range membership.BootstrapChanges(members) {
			entries = append(entries, wire.Entry{Type: wire.EntryConfChange, Term: 1, Index: uint64(i + 1), Data: cc.Append(nil)})
		}
		check(m.c.t, log.Write(wal.Batch{Entries: entries, HardState: wire.HardState{Term: 1, Commit: uint64(founders)}, Sync: true}))
	}
	check(m.c.t, log.Close())
}

// start runs a member on its disks.
func (m *clusterMember) start() *node.Node {
	t := m.c.t
	t.Helper()
	b, err := backend.OpenMemory(backend.Config{FlushBytes: 16 << 10}, m.disk)
	check(t, err)
	log, rec, err := wal.Open(disks{}.wal(m.fs))
	check(t, err)
	if m.received[rec.Mark.Index] != nil && rec.Mark.Index > b.Flushed().Index {
		check(t, b.Replace(func() error { return m.adopt(rec.Mark.Index) }))
	}
	applied := b.Flushed()
	check(t, m.dropReceived(applied.Index+1))
	made, err := m.restore(b)
	check(t, err)
	core, err := raft.New(raft.Config{
		ID: m.id, ElectionTicks: 10, HeartbeatTicks: 1, PreVote: true, CheckQuorum: true, MaxMessageBytes: 1 << 20, MaxInflightMessages: 64,
		MaxUncommittedBytes: 64 << 20, Jitter: func(n int) int { return int(m.id) % n },
	}, raft.Boot{
		HardState: rec.HardState, Entries: rec.Entries, Applied: applied.Index,
		Snapshot: wire.SnapshotMeta{Index: rec.Mark.Index, Term: rec.Mark.Term, ConfState: made.ConfState()},
	})
	check(t, err)
	nc := quietConfig()
	nc.Consensus = replica.NewConsensus(core, m.opts, applied.Index, rec.Mark.Index)
	nc.Applier = replica.NewApplier(made, b, applied)
	nc.Log, nc.Backend, nc.Observer = log, b, m
	nc.Send, nc.SendSnapshot, nc.Adopt, nc.Restore, nc.DropReceived = m.send, m.sendSnapshot, m.adopt, m.restore, m.dropReceived
	nc.Connected = func(id uint64) bool { return !m.cut.Load() && !m.c.members[id-1].cut.Load() }
	if m.change != nil {
		m.change(&nc)
	}
	n := node.Start(nc)
	m.node.Store(n)
	return n
}

func (m *clusterMember) restore(b *backend.Backend) (*machine.Machine, error) {
	return machine.Restore(machine.Config{MemberID: m.id, MinLeaseTTL: 1, MaxLearners: 1}, b, b, func() mvcc.Reader { return b.Reader() })
}

// stop ends a member; it may be started again.
func (m *clusterMember) stop() {
	m.c.t.Helper()
	check(m.c.t, m.node.Swap(nil).Stop())
}

// Applying implements node.Observer.
func (m *clusterMember) Applying(*replica.Batch) {}

// Applied implements node.Observer.
func (m *clusterMember) Applied(b *replica.Batch) {
	if b.Installed != nil {
		m.observed.Add(1)
	}
	if m.applying != nil {
		m.applying.pass()
	}
}

func (m *clusterMember) send(ms []wire.Message) {
	for _, one := range ms {
		if one.Type == wire.MsgSnap {
			m.c.t.Error("a snapshot is sent as a message")
		}
		m.deliver(one)
	}
}

// deliver hands a message to whom it is for, unless a line is cut.
func (m *clusterMember) deliver(one wire.Message) bool {
	to := m.c.members[one.To-1]
	n := to.node.Load()
	if n == nil || to.cut.Load() || m.cut.Load() {
		return false
	}
	n.Step(one)
	return true
}

var errCut = errors.New("connection lost")

func (m *clusterMember) sendSnapshot(ctx context.Context, one wire.Message, body func(io.Writer) error) error {
	to := m.c.members[one.To-1]
	if m.cut.Load() || to.cut.Load() {
		return errCut
	}
	var file bytes.Buffer
	w := io.Writer(&file)
	if m.sending != nil {
		w = m.sending(w)
	}
	if err := errors.Join(body(w), ctx.Err()); err != nil {
		return err
	}
	disk, err := backend.ReadMemoryDisk(&file)
	if err != nil {
		return err
	}
	to.mu.Lock()
	to.received[one.Snapshot.Meta.Index] = disk
	to.mu.Unlock()
	if !m.deliver(one) {
		return errCut
	}
	return nil
}

// adopt demands that the log has the snapshot's mark durably before the file is exchanged.
func (m *clusterMember) adopt(index uint64) error {
	rec, err := wal.Read(disks{}.wal(m.fs.Crash(vfs.CrashOptions{})))
	if err != nil || rec.Mark.Index < index {
		m.c.t.Errorf("member %d adopts the file of %d, but a crash would find mark %d, %v", m.id, index, rec.Mark.Index, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	from := m.received[index]
	if from == nil {
		return fmt.Errorf("no file of index %d", index)
	}
	delete(m.received, index)
	return m.disk.Adopt(from)
}

func (m *clusterMember) dropReceived(before uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for index := range m.received {
		if index < before {
			delete(m.received, index)
		}
	}
	return nil
}

// leader waits until the members that are not cut off agree on one of them.
func (c *cluster) leader() *clusterMember {
	c.t.Helper()
	var lead *clusterMember
	eventually(c.t, "a leader", func() bool {
		lead = nil
		for _, m := range c.members {
			if n := m.node.Load(); n != nil && !m.cut.Load() && n.Status().Role == raft.Leader {
				lead = m
			}
		}
		return lead != nil
	})
	return lead
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	late := time.After(20 * time.Second)
	for !holds() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%s: not within 20 s", what)
		}
	}
}

// same demands that members hold the same.
func (c *cluster) same(members ...*clusterMember) {
	c.t.Helper()
	var all []string
	for _, m := range members {
		n := m.node.Load()
		check(c.t, n.ReadIndex(c.t.Context()))
		v, err := n.View()
		check(c.t, err)
		h, err := v.HashKV(0)
		check(c.t, err)
		all = append(all, fmt.Sprint(v.Rev(), h.Hash, h.Rev))
		v.Release()
	}
	if len(slices.Compact(all)) > 1 {
		c.t.Errorf("members differ: %v", all)
	}
}

// forgets waits until the log in memory begins at an index or later.
func (m *clusterMember) forgets(index uint64) {
	m.c.t.Helper()
	n := m.node.Load()
	eventually(m.c.t, "the log is forgotten", func() bool {
		check(m.c.t, n.Flush(m.c.t.Context()))
		return n.Status().First >= index
	})
}

func (m *clusterMember) put(key, value string) error {
	return put(m.c.t.Context(), m.node.Load(), key, value)
}

// TestSnapshotBringsAMemberUpToDate cuts a member off until the others have forgotten what it needs, under writes; it catches up by a
// snapshot, while the writes go on, and finds the same after a restart.
func TestSnapshotBringsAMemberUpToDate(t *testing.T) {
	c := startCluster(t)
	lead := c.leader()
	late := c.members[lead.id%3]
	check(t, lead.put("k", "0"))
	check(t, late.node.Load().ReadIndex(t.Context()))
	late.cut.Store(true)
	for i := range 500 {
		check(t, lead.put(fmt.Sprint("k", i%50), fmt.Sprint(i)))
	}
	lead.forgets(100)
	late.received[3] = backend.NewMemoryDisk() // from an earlier try
	old, err := late.node.Load().View()
	check(t, err)
	waiting := make(chan error, 1)
	go func() { waiting <- late.node.Load().WaitApplied(t.Context(), 400) }()
	late.cut.Store(false)
	check(t, <-waiting)
	if rev := old.Rev(); rev != 2 {
		t.Errorf("a view from before is at revision %d", rev)
	}
	old.Release()
	if n := late.observed.Load(); n == 0 {
		t.Error("no snapshot was installed, or the observer was not told")
	}
	for i := range 100 {
		check(t, lead.put(fmt.Sprint("k", i%50), fmt.Sprint(i)))
	}
	c.same(c.members...)
	eventually(t, "received files are deleted", func() bool {
		late.mu.Lock()
		defer late.mu.Unlock()
		return len(late.received) == 0
	})
	late.stop()
	late.start()
	c.same(c.members...)
}

// TestMemberJoins adds a member that has nothing, first as a learner.
func TestMemberJoins(t *testing.T) {
	c := newCluster(t, 1, 1)
	lead, joins := c.members[0], c.members[1]
	lead.start()
	joins.start()
	for i := range 300 {
		check(t, lead.put(fmt.Sprint("k", i%50), fmt.Sprint(i)))
	}
	check(t, lead.node.Load().Flush(t.Context()))
	member := schema.Member{ID: 2, PeerURLs: []string{"http://m2:1"}, IsLearner: true}
	check(t, lead.node.Load().ProposeConfChange(t.Context(), membership.AddChange(ids.Add(1), member)))
	eventually(t, "the learner catches up", func() bool { return joins.node.Load().Status().Applied >= lead.node.Load().Status().Commit })
	check(t, lead.node.Load().ProposeConfChange(t.Context(), membership.PromoteChange(ids.Add(1), 2)))
	check(t, lead.put("a", "b"))
	c.same(c.members...)
	if joins.observed.Load() == 0 {
		t.Error("the log of 300 entries was sent instead of a snapshot")
	}
	lead.node.Load().TransferLeader(2)
	eventually(t, "the new member leads", func() bool { return joins.node.Load().Status().Role == raft.Leader })
	check(t, joins.put("a", "c"))
	c.same(c.members...)
}

// TestSnapshotEndsACompaction: what waits for a compaction that the old machine never finishes is answered when the new one has none.
func TestSnapshotEndsACompaction(t *testing.T) {
	c := newCluster(t, 3, 0)
	late := c.members[2] // its election timeout is the longest
	late.change = func(nc *node.Config) { nc.CompactionPause = time.Hour }
	for _, m := range c.members {
		m.start()
	}
	lead := c.leader()
	if lead == late {
		t.Fatal("the member that is to be late leads")
	}
	for i := range 300 {
		check(t, lead.put(fmt.Sprint("k", i%100), fmt.Sprint(i)))
	}
	check(t, compact(t.Context(), lead.node.Load(), 250))
	check(t, lead.node.Load().WaitCompacted(t.Context()))
	check(t, late.node.Load().ReadIndex(t.Context()))
	waiting := make(chan error, 1)
	go func() { waiting <- late.node.Load().WaitCompacted(t.Context()) }()
	late.cut.Store(true)
	for i := range 300 {
		check(t, lead.put("k", fmt.Sprint(i)))
	}
	lead.forgets(400)
	select {
	case <-waiting:
		t.Error("the compaction is done already")
	default:
	}
	late.cut.Store(false)
	check(t, <-waiting)
	c.same(c.members...)
	check(t, compact(t.Context(), lead.node.Load(), 500))
	check(t, late.node.Load().ReadIndex(t.Context()))
	c.same(c.members...)
}

const slowBytes = 64 << 10

// TestASlowMachineIsNotFlooded stops the machine of a follower for a while: it takes in no more than it has room for, the others go on, and
// afterwards it gets all the rest from the leader's log, whose other followers are long past it.
func TestASlowMachineIsNotFlooded(t *testing.T) {
	const value = 4 << 10
	c := newCluster(t, 3, 0)
	c.members[2].applying = newGate() // its election timeout is the longest
	c.members[2].change = func(nc *node.Config) { nc.MaxPendingBytes = slowBytes }
	for _, m := range c.members {
		m.opts.HoldTicks = 3000
		m.start()
	}
	lead, slow := c.leader(), c.members[2]
	if lead == slow {
		t.Fatal("the member that is to be slow leads")
	}
	check(t, slow.node.Load().ReadIndex(t.Context()))
	before, term := slow.node.Load().Status().Applied, lead.node.Load().Status().Term
	slow.applying.shut.Store(true)
	for i := range 1000 {
		check(t, lead.put(fmt.Sprint("k", i%10), string(make([]byte, value))))
	}
	st := slow.node.Load().Status()
	if waiting := (st.Durable - before) * value; waiting > 4*slowBytes+64*value { // 64 messages may be unanswered
		t.Errorf("%d bytes wait for the machine", waiting)
	}
	slow.applying.shut.Store(false)
	close(slow.applying.open)
	check(t, slow.node.Load().WaitApplied(t.Context(), 1000))
	if slow.observed.Load() != 0 && lead.node.Load().Status().Term == term { // another leader need not have what it lacks
		t.Error("a snapshot was needed")
	}
	c.same(c.members...)
}

// errUpload is how a sending ends in tests.
var errUpload = errors.New("upload failed")

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errUpload }

// TestFailedSendingIsTriedAgain lets the first uploads break off.
func TestFailedSendingIsTriedAgain(t *testing.T) {
	c := newCluster(t, 3, 0)
	var tries atomic.Int64
	for _, m := range c.members {
		m.sending = func(w io.Writer) io.Writer {
			if tries.Add(1) <= 3 {
				return failingWriter{}
			}
			return w
		}
		m.start()
	}
	lead := c.leader()
	late := c.members[lead.id%3]
	late.cut.Store(true)
	for i := range 300 {
		check(t, lead.put("k", fmt.Sprint(i)))
	}
	lead.forgets(100)
	late.cut.Store(false)
	check(t, late.node.Load().WaitApplied(t.Context(), 200))
	if n := tries.Load(); n < 4 {
		t.Errorf("%d tries", n)
	}
	c.same(c.members...)
}

// TestEntriesStayForWhomASnapshotIsSent: during a slow upload more is written than the log keeps for the slow; one snapshot is enough.
func TestEntriesStayForWhomASnapshotIsSent(t *testing.T) {
	c := newCluster(t, 3, 0)
	held, goOn := make(chan struct{}), make(chan struct{})
	var sent atomic.Int64
	for _, m := range c.members {
		m.opts.HoldTicks = 300
		m.sending = func(w io.Writer) io.Writer {
			if sent.Add(1) == 1 {
				close(held)
				<-goOn
			}
			return w
		}
		m.start()
	}
	lead := c.leader()
	late := c.members[lead.id%3]
	late.cut.Store(true)
	for i := range 300 {
		check(t, lead.put("k", fmt.Sprint(i)))
	}
	lead.forgets(100)
	late.cut.Store(false)
	<-held
	for i := range 600 { // nobody waits for the upload
		check(t, lead.put("k", fmt.Sprint(i)))
	}
	check(t, lead.node.Load().Flush(t.Context()))
	close(goOn)
	check(t, late.node.Load().WaitApplied(t.Context(), 900))
	if n := sent.Load(); n != 1 {
		t.Errorf("%d snapshots were sent", n)
	}
	c.same(c.members...)
	eventually(t, "the log is forgotten once the member has caught up", func() bool {
		check(t, lead.put("k", "v"))
		st := lead.node.Load().Status()
		return st.Last-st.First < 200
	})
}

// TestTimeoutSaysWhy looks at what proposals are told that wait in vain.
func TestTimeoutSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startCluster(t)
		defer c.stop()
		lead := c.leader()
		check(t, lead.put("k", "v"))
		other := c.members[lead.id%3]
		check(t, other.node.Load().ReadIndex(t.Context()))
		try := func(m *clusterMember, d time.Duration) error {
			ctx, cancel := context.WithTimeout(t.Context(), d)
			defer cancel()
			return put(ctx, m.node.Load(), "k", "lost")
		}
		lead.cut.Store(true)
		if err := try(other, 15*time.Millisecond); !errors.Is(err, kverr.Timeout) {
			t.Errorf("passed on to a leader that is gone: %v", err)
		}
		start := time.Now()
		if err := try(other, time.Second); !errors.Is(err, kverr.TimeoutDueToLeaderFail) {
			t.Errorf("after a change of the leader: %v", err)
		}
		if took := time.Since(start); took > 800*time.Millisecond {
			t.Errorf("what a lost leader had was waited for longer than it took to find the next one: %v", took)
		}
		time.Sleep(time.Second) // until the one that is cut off has noticed
		if err := try(lead, time.Second); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("without a leader: %v", err)
		}
		lead.cut.Store(false)
		next := c.leader()
		check(t, next.put("k", "v"))
		next.cut.Store(true)
		if err := try(next, 20*time.Millisecond); !errors.Is(err, kverr.TimeoutDueToConnectionLost) {
			t.Errorf("cut off: %v", err)
		}
	})
}

// TestProposeInTerm: what only the leader of a term may ask for never reaches the next one.
func TestProposeInTerm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startCluster(t)
		defer c.stop()
		lead := c.leader()
		check(t, lead.put("k", "v"))
		try := func(m *clusterMember, term uint64) error {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			id := ids.Add(1)
			raw := (&request.Put{Key: []byte("k"), Value: []byte("w")}).Append(nil)
			_, err := m.node.Load().ProposeInTerm(ctx, term, id, request.AppendInternal(nil, request.Header{ID: id}, request.FieldPut, raw))
			return err
		}
		term := lead.node.Load().Status().Term
		if err := try(lead, term); err != nil {
			t.Errorf("the leader, in its term: %v", err)
		}
		for name, err := range map[string]error{
			"the leader, in an earlier term": try(lead, term-1), "another member": try(c.members[lead.id%3], term),
		} {
			if !errors.Is(err, kverr.LeaderChanged) {
				t.Errorf("%s: %v", name, err)
			}
		}
		lead.cut.Store(true)
		time.Sleep(time.Second)
		if err := try(lead, term); !errors.Is(err, kverr.LeaderChanged) {
			t.Errorf("a leader that was: %v", err)
		}
	})
}

// TestHandingOverLosesNothing: what members pass on to a leader that hands over arrives at the next one.
func TestHandingOverLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startCluster(t)
		defer c.stop()
		check(t, c.leader().put("k", "v"))
		for round := range 30 {
			lead := c.leader()
			lead.node.Load().TransferLeader(1 + lead.id%3)
			var writers sync.WaitGroup
			for _, m := range c.members {
				writers.Go(func() {
					for range 5 {
						ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
						if err := put(ctx, m.node.Load(), "k", "v"); err != nil {
							t.Errorf("round %d, through %d: %v", round, m.id, err)
						}
						cancel()
					}
				})
			}
			writers.Wait()
		}
	})
}

// TestReadsAcrossLeaders: a read whose leader goes while it waits is told so within an election timeout, or served by the next leader. One
// that comes without a leader is served as soon as there is one.
func TestReadsAcrossLeaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startCluster(t)
		defer c.stop()
		lead := c.leader()
		check(t, lead.put("k", "v"))
		other := c.members[lead.id%3]
		lead.cut.Store(true)
		start := time.Now()
		if err := other.node.Load().ReadIndex(t.Context()); err != nil && !errors.Is(err, kverr.LeaderChanged) {
			t.Error(err)
		}
		check(t, other.node.Load().ReadIndex(t.Context()))
		if took := time.Since(start); took > 400*time.Millisecond { // twice the longest election timeout
			t.Errorf("it took %v", took)
		}
	})
}

// stop ends the members that run.
func (c *cluster) stop() {
	for _, m := range c.members {
		if m.node.Load() != nil {
			m.stop()
		}
	}
}
