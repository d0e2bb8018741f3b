// Package servicetest runs services over real nodes whose disks are in memory, for the tests of the service and of the edges above it: one
// by itself, or a cluster of several that are connected in memory. Everything in it works under the fake time of testing/synctest.
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
	"github.com/quoin-kv/quoin/internal/token"
	"github.com/quoin-kv/quoin/internal/vfs"
	"github.com/quoin-kv/quoin/internal/wal"
	"github.com/quoin-kv/quoin/raft"
	"github.com/quoin-kv/quoin/raft/wire"
)

// What the members of these tests are called, and how they measure time.
const (
	MemberID        = 1 // of a member by itself
	ClusterID       = 0xc
	Tick            = 100 * time.Millisecond
	ElectionTicks   = 10
	ElectionTimeout = ElectionTicks * Tick
	MinLeaseTTL     = 2 // seconds
	MaxLearners     = 1
	Name            = "one"
	ClientURL       = "http://one:2379"
	TokenTTL        = 5 * time.Minute
	BcryptCost      = 4 // the least there is
)

// PeerURL is where other members reach a member.
func PeerURL(id uint64) string { return fmt.Sprintf("http://peer%d:2380", id) }

// Disks is what survives a stop.
type Disks struct {
	FS *vfs.Mem
	DB *backend.MemoryDisk
}

// NewDisks returns the disks of a member that founds a cluster with so many voters. The others do not exist: with more than one the member
// never leads.
func NewDisks(t testing.TB, voters int) Disks {
	t.Helper()
	return found(t, MemberID, founders(voters))
}

func founders(voters int) (members []schema.Member) {
	for i := range voters {
		id := MemberID + uint64(i)
		members = append(members, schema.Member{ID: id, PeerURLs: []string{PeerURL(id)}})
	}
	return members
}

// NewLearnerDisks returns the disks of a member without a vote in a cluster whose only voter does not exist.
func NewLearnerDisks(t testing.TB) Disks {
	t.Helper()
	return found(t, MemberID, []schema.Member{
		{ID: MemberID + 1, PeerURLs: []string{PeerURL(MemberID + 1)}},
		{ID: MemberID, PeerURLs: []string{PeerURL(MemberID)}, IsLearner: true},
	})
}

// found makes the disks of a member of a new cluster. Without members they are those of one that joins a cluster.
func found(t testing.TB, self uint64, members []schema.Member) Disks {
	t.Helper()
	d := Disks{FS: vfs.NewMem(), DB: backend.NewMemoryDisk()}
	log, err := wal.Create(walConfig(d.FS), wal.Metadata{NodeID: self, ClusterID: ClusterID})
	check(t, err)
	if len(members) > 0 {
		var entries []wire.Entry
		for i, cc := range membership.BootstrapChanges(members) {
			entries = append(entries, wire.Entry{Type: wire.EntryConfChange, Term: 1, Index: uint64(i) + 1, Data: cc.Append(nil)})
		}
		check(t, log.Write(wal.Batch{Entries: entries, HardState: wire.HardState{Term: 1, Commit: uint64(len(members))}, Sync: true}))
	}
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
	Service   service.Config
	Node      node.Config // what it runs on is filled in later
	Consensus replica.ConsensusOptions
	FS        vfs.FS // the log's file system, if it is not the disks' own
}

// Member is a running service with its node.
type Member struct {
	*service.Service
	ID      uint64
	Node    *node.Node
	Machine *machine.Machine // as of the start; to be read through Node.Inspect only
	stop    func() error
}

// Start runs a member on d. It is stopped at the end of the test unless it was before.
func Start(t testing.TB, d Disks, change ...func(*Options)) *Member {
	t.Helper()
	o := defaults(d)
	for _, fn := range change {
		fn(&o)
	}
	id := o.Service.MemberID
	b, err := backend.OpenMemory(backend.Config{}, d.DB)
	check(t, err)
	applied := b.Flushed()
	restore := func(b *backend.Backend) (*machine.Machine, error) { return restore(&o, b) }
	m, err := restore(b)
	check(t, err)
	consensus := openLog(t, &o, m, applied)
	one := &Member{Service: service.New(o.Service, m), ID: id, Machine: m}
	o.Node.Consensus, o.Node.Applier, o.Node.Backend = consensus, replica.NewApplier(m, b, applied), b
	o.Node.Restore = restore
	o.Node.Observer = one.Service
	one.Node = node.Start(o.Node)
	one.Bind(one.Node, b)
	one.stop = sync.OnceValue(func() error {
		one.Close()
		one.DropAnswers()
		return one.Node.Stop()
	})
	t.Cleanup(func() { one.Stop(t) })
	return one
}

func restore(o *Options, b *backend.Backend) (*machine.Machine, error) {
	cfg := machine.Config{
		ClusterID: ClusterID, MemberID: o.Service.MemberID, MinLeaseTTL: MinLeaseTTL, MaxLearners: MaxLearners,
		Full: service.OverQuota(b, o.Service.QuotaBytes),
	}
	return machine.Restore(cfg, b, b, func() mvcc.Reader { return b.Reader() })
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
			Access:          service.Access{Of: shown, Tokens: token.Kind{Simple: true}, TokenTTL: TokenTTL, BcryptCost: BcryptCost},
			ElectionTimeout: ElectionTimeout, MinLeaseTTL: MinLeaseTTL, ProgressInterval: 10 * time.Minute, StrictReconfig: true,
		},
		Node: node.Config{
			Logger: logger, Tick: Tick, FlushInterval: Tick, CompactionBatch: 1000, CompactionPause: 10 * time.Millisecond,
			SlowApply: time.Minute, MaxPending: 20000, MaxBacklog: 5000,
		},
		Consensus: replica.ConsensusOptions{MarkEvery: 10000, CatchupEntries: 5000},
	}
}

// openLog opens the log and makes consensus of what it holds. Members differ in how long they wait before an election.
func openLog(t testing.TB, o *Options, m *machine.Machine, applied schema.Applied) *replica.Consensus {
	t.Helper()
	log, rec, err := wal.Open(walConfig(o.FS))
	check(t, err)
	o.Node.Log = log
	id := o.Service.MemberID
	core, err := raft.New(raft.Config{
		ID: id, ElectionTicks: ElectionTicks, HeartbeatTicks: 1, PreVote: true, CheckQuorum: true,
		MaxMessageBytes: 1 << 20, MaxInflightMessages: 16, Jitter: func(n int) int { return int(id-MemberID) * 2 % n },
	}, raft.Boot{
		HardState: rec.HardState, Entries: rec.Entries, Applied: applied.Index,
		Snapshot: wire.SnapshotMeta{Index: rec.Mark.Index, Term: rec.Mark.Term, ConfState: m.ConfState()},
	})
	check(t, err)
	return replica.NewConsensus(core, o.Consensus, applied.Index, rec.Mark.Index)
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Allocations is how often serve allocates. Of some measurements the least counts: a flush that falls into one is not what is asked for.
func Allocations(serve func()) float64 {
	least := testing.AllocsPerRun(50, serve)
	for range 4 {
		least = min(least, testing.AllocsPerRun(50, serve))
	}
	return least
}
