// Package servicetest runs a service over a real node whose disks are in memory, for the tests of the service and of the edges above it.
// Everything in it works under the fake time of testing/synctest.
package servicetest

import (
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/quoin-kv/quoin/internal/backend"
	"github.com/quoin-kv/quoin/internal/machine"
	"github.com/quoin-kv/quoin/internal/membership"
	"github.com/quoin-kv/quoin/internal/mvcc"
	"github.com/quoin-kv/quoin/internal/node"
	"github.com/quoin-kv/quoin/internal/replica"
	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/internal/service"
	"github.com/quoin-kv/quoin/internal/vfs"
	"github.com/quoin-kv/quoin/internal/wal"
	"github.com/quoin-kv/quoin/raft"
	"github.com/quoin-kv/quoin/raft/wire"
)

// What every member of these tests is called, and how it measures time.
const (
	MemberID        = 1
	ClusterID       = 0xc
	Tick            = 100 * time.Millisecond
	ElectionTicks   = 10
	ElectionTimeout = ElectionTicks * Tick
	MinLeaseTTL     = 2 // seconds
	Name            = "one"
	ClientURL       = "http://one:2379"
)

// Disks is what survives a stop.
type Disks struct {
	FS *vfs.Mem
	DB *backend.MemoryDisk
}

// NewDisks returns the disks of a member that founds a cluster with so many voters. The others do not exist: with more than one the member
// never leads.
func NewDisks(t testing.TB, voters int) Disks {
	t.Helper()
	var members []schema.Member
	for i := range voters {
		members = append(members, schema.Member{ID: MemberID + uint64(i), PeerURLs: []string{fmt.Sprintf("http://peer%d:2380", i+1)}})
	}
	return found(t, members)
}

// NewLearnerDisks returns the disks of a member without a vote in a cluster whose only voter does not exist.
func NewLearnerDisks(t testing.TB) Disks {
	t.Helper()
	return found(t, []schema.Member{
		{ID: MemberID + 1, PeerURLs: []string{"http://peer2:2380"}},
		{ID: MemberID, PeerURLs: []string{"http://peer1:2380"}, IsLearner: true},
	})
}

// found makes the disks of a member of a new cluster.
func found(t testing.TB, members []schema.Member) Disks {
	t.Helper()
	d := Disks{FS: vfs.NewMem(), DB: backend.NewMemoryDisk()}
	var entries []wire.Entry
	for i, cc := range membership.BootstrapChanges(members) {
		entries = append(entries, wire.Entry{Type: wire.EntryConfChange, Term: 1, Index: uint64(i) + 1, Data: cc.Append(nil)})
	}
	log, err := wal.Create(walConfig(d.FS), wal.Metadata{NodeID: MemberID, ClusterID: ClusterID})
	check(t, err)
	check(t, log.Write(wal.Batch{Entries: entries, HardState: wire.HardState{Term: 1, Commit: uint64(len(members))}, Sync: true}))
	check(t, log.Close())
	return d
}

func walConfig(fs vfs.FS) wal.Config { return wal.Config{FS: fs, Dir: "/wal", SegmentBytes: 1 << 20} }

// Crash returns the disks that a restart would find if the member lost its power now.
func (d Disks) Crash() Disks {
	db := d.DB.Crash()
	return Disks{FS: d.FS.Crash(vfs.CrashOptions{}), DB: db}
}

// Options may be changed before a member starts.
type Options struct {
	Service service.Config
	Node    node.Config // what it runs on is filled in later
	FS      vfs.FS      // the log's file system, if it is not the disks' own
}

// Member is a running service with its node.
type Member struct {
	*service.Service
	Node    *node.Node
	Machine *machine.Machine // to be read through Node.Inspect only
	stop    func() error
}

// Start runs a member on d. It is stopped at the end of the test unless it was before.
func Start(t testing.TB, d Disks, change ...func(*Options)) *Member {
	t.Helper()
	o := defaults(d)
	for _, fn := range change {
		fn(&o)
	}
	b, err := backend.OpenMemory(backend.Config{}, d.DB)
	check(t, err)
	applied := b.Flushed()
	m, err := machine.Restore(
		machine.Config{ClusterID: ClusterID, MemberID: MemberID, MinLeaseTTL: MinLeaseTTL, MaxLearners: 1},
		b, b, func() mvcc.Reader { return b.Reader() },
	)
	check(t, err)
	consensus := openLog(t, &o, m, applied)
	one := &Member{Service: service.New(o.Service, m), Machine: m}
	o.Node.Consensus, o.Node.Applier, o.Node.Backend = consensus, replica.NewApplier(m, b, applied), b
	o.Node.Observer = one.Service
	one.Node = node.Start(o.Node)
	one.Bind(one.Node, b)
	one.stop = sync.OnceValue(func() error {
		one.Close()
		return one.Node.Stop()
	})
	t.Cleanup(func() { one.Stop(t) })
	return one
}

// Stop closes the service and stops the node. Stopping again does nothing.
func (m *Member) Stop(t testing.TB) {
	t.Helper()
	check(t, m.stop())
}

func defaults(d Disks) Options {
	logger := slog.New(slog.NewTextHandler(io.Discard, nil))
	return Options{
		FS: d.FS,
		Service: service.Config{
			Logger: logger, ClusterID: ClusterID, MemberID: MemberID, Name: Name, ClientURLs: []string{ClientURL},
			Version: "3.7.1", ClusterVersion: "3.7.0", MaxRequestBytes: 1536 << 10, MaxTxnOps: 128, QuotaBytes: 2 << 30,
			ElectionTimeout: ElectionTimeout, MinLeaseTTL: MinLeaseTTL, ProgressInterval: 10 * time.Minute, StrictReconfig: true,
		},
		Node: node.Config{
			Logger: logger, Tick: Tick, FlushInterval: Tick, CompactionBatch: 1000, CompactionPause: 10 * time.Millisecond,
			SlowApply: time.Minute, MaxPending: 20000, MaxBacklog: 5000,
		},
	}
}

// openLog opens the log and makes consensus of what it holds.
func openLog(t testing.TB, o *Options, m *machine.Machine, applied schema.Applied) *replica.Consensus {
	t.Helper()
	log, rec, err := wal.Open(walConfig(o.FS))
	check(t, err)
	o.Node.Log = log
	core, err := raft.New(raft.Config{
		ID: MemberID, ElectionTicks: ElectionTicks, HeartbeatTicks: 1, PreVote: true, CheckQuorum: true,
		MaxMessageBytes: 1 << 20, MaxInflightMessages: 16, Jitter: func(int) int { return 0 },
	}, raft.Boot{
		HardState: rec.HardState, Entries: rec.Entries, Applied: applied.Index,
		Snapshot: wire.SnapshotMeta{Index: rec.Mark.Index, Term: rec.Mark.Term, ConfState: m.ConfState()},
	})
	check(t, err)
	return replica.NewConsensus(core, replica.ConsensusOptions{MarkEvery: 10000, CatchupEntries: 5000}, applied.Index, rec.Mark.Index)
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
