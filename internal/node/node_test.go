package node_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

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

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// disks is what survives a crash.
type disks struct {
	fs *vfs.Mem
	db *backend.MemoryDisk
}

func newDisks(t testing.TB) disks { return newDisksOf(t, 1) }

// newDisksOf is what the first founder of a cluster of some voters begins with.
func newDisksOf(t testing.TB, voters int) disks {
	t.Helper()
	d := disks{fs: vfs.NewMem(), db: backend.NewMemoryDisk()}
	log, err := wal.Create(d.wal(d.fs), wal.Metadata{NodeID: 1, ClusterID: 2})
	check(t, err)
	var members []schema.Member
	for id := range voters {
		members = append(members, schema.Member{ID: uint64(id + 1), PeerURLs: []string{fmt.Sprintf("http://m%d:1", id+1)}})
	}
	var entries []wire.Entry
	for i, cc := range membership.BootstrapChanges(members) {
		entries = append(entries, wire.Entry{Type: wire.EntryConfChange, Term: 1, Index: uint64(i + 1), Data: cc.Append(nil)})
	}
	check(t, log.Write(wal.Batch{Entries: entries, HardState: wire.HardState{Term: 1, Commit: uint64(voters)}, Sync: true}))
	check(t, log.Close())
	return d
}

// wal is the log's configuration, with segments small enough that a test sees several.
func (d disks) wal(fs vfs.FS) wal.Config {
	return wal.Config{FS: fs, Dir: "/wal", SegmentBytes: 64 << 10}
}

// crash returns what a restart at this moment would find. The file is cloned before the log: it may be behind the log, never ahead.
func (d disks) crash(seed uint64) disks {
	db := d.db.Crash()
	return disks{fs: d.fs.Crash(vfs.CrashOptions{Seed: seed, KeepUnsynced: 0.5}), db: db}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// start runs a node on d; fs is d.fs or a wrapper around it.
func start(t testing.TB, d disks, fs vfs.FS) *node.Node {
	t.Helper()
	return options{fs: fs}.start(t, d)
}

// options are what a test wants to be otherwise. Nil fields change nothing.
type options struct {
	fs      vfs.FS
	backend func(*backend.Config)
	core    func(*raft.Config)
	node    func(*node.Config)
}

func (o options) start(t testing.TB, d disks) *node.Node {
	t.Helper()
	bc := backend.Config{FlushBytes: 16 << 10}
	rc := raft.Config{
		ID: 1, ElectionTicks: 10, HeartbeatTicks: 1, MaxMessageBytes: 1 << 20, MaxInflightMessages: 16, Jitter: func(int) int { return 0 },
	}
	nc := quietConfig()
	if o.backend != nil {
		o.backend(&bc)
	}
	if o.core != nil {
		o.core(&rc)
	}
	if o.fs == nil {
		o.fs = d.fs
	}
	o.open(t, d, bc, rc, &nc)
	if o.node != nil {
		o.node(&nc)
	}
	return node.Start(nc)
}

// quietConfig is the configuration of a node that has nothing to run on yet.
func quietConfig() node.Config {
	return node.Config{
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Tick:   10 * time.Millisecond, FlushInterval: 5 * time.Millisecond, CompactionBatch: 10, CompactionPause: time.Millisecond,
		SlowApply: time.Minute, KeepSegments: 1, MaxPending: 1000, MaxBacklog: 5000,
	}
}

// open fills in what a node runs on.
func (o options) open(t testing.TB, d disks, bc backend.Config, rc raft.Config, nc *node.Config) {
	t.Helper()
	b, err := backend.OpenMemory(bc, d.db)
	check(t, err)
	log, rec, err := wal.Open(d.wal(o.fs))
	check(t, err)
	applied := b.Flushed()
	m, err := machine.Restore(machine.Config{MemberID: 1, MinLeaseTTL: 1, MaxLearners: 1}, b, b, func() mvcc.Reader { return b.Reader() })
	check(t, err)
	core, err := raft.New(rc, raft.Boot{
		HardState: rec.HardState, Entries: rec.Entries, Applied: applied.Index,
		Snapshot: wire.SnapshotMeta{Index: rec.Mark.Index, Term: rec.Mark.Term, ConfState: m.ConfState()},
	})
	check(t, err)
	nc.Consensus = replica.NewConsensus(core, replica.ConsensusOptions{MarkEvery: 100, CatchupEntries: 50}, applied.Index, rec.Mark.Index)
	nc.Applier = replica.NewApplier(m, b, applied)
	nc.Log, nc.Backend = log, b
}

var ids atomic.Uint64 // of proposals, unique over all tests

// put proposes key=value.
func put(ctx context.Context, n *node.Node, key, value string) error {
	id := ids.Add(1)
	raw := (&request.Put{Key: []byte(key), Value: []byte(value)}).Append(nil)
	_, err := n.Propose(ctx, id, request.AppendInternal(nil, request.Header{ID: id}, request.FieldPut, raw))
	return err
}

// get reads a key from the published view, linearizably.
func get(t testing.TB, n *node.Node, key string) string {
	t.Helper()
	check(t, n.ReadIndex(t.Context()))
	v, err := n.View()
	check(t, err)
	defer v.Release()
	r, err := v.Range(mvcc.Query{Key: []byte(key)})
	check(t, err)
	if len(r.Records) == 0 {
		return ""
	}
	var kv schema.KeyValue
	check(t, kv.Unmarshal(r.Records[0]))
	return string(kv.Value)
}

func TestPutThenGetSurvivesRestart(t *testing.T) {
	d := newDisks(t)
	n := start(t, d, d.fs)
	check(t, put(t.Context(), n, "a", "1"))
	if got := get(t, n, "a"); got != "1" {
		t.Errorf("a is %q, want 1", got)
	}
	check(t, n.Stop())
	n = start(t, d, d.fs)
	if got := get(t, n, "a"); got != "1" {
		t.Errorf("after a restart a is %q, want 1", got)
	}
	check(t, n.Stop())
	if err := put(t.Context(), n, "a", "2"); !errors.Is(err, kverr.Stopped) {
		t.Errorf("a put after the stop gives %v", err)
	}
}

// TestNothingAcknowledgedIsLost crashes a member again and again under concurrent writers: every acknowledged value, or one that was
// being written after it, is there after the restart.
func TestNothingAcknowledgedIsLost(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("seed %d (set SEED to repeat)", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	d := newDisks(t)
	var last [8]atomic.Int64 // value that is acknowledged, by writer
	for round := range 20 {
		n := start(t, d, d.fs)
		for w := range last {
			got, want := get(t, n, fmt.Sprint("key", w)), last[w].Load()
			if value, _ := strconv.ParseInt(got, 10, 64); value < want {
				t.Fatalf("round %d: key%d is %q, but %d was acknowledged", round, w, got, want)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		var writers sync.WaitGroup
		crashAt := int64(50 + rng.IntN(400))
		var puts atomic.Int64
		crash := make(chan struct{})
		for w := range last {
			writers.Go(func() { write(ctx, n, w, &last[w], &puts, crashAt, crash) })
		}
		<-crash
		acknowledged := snapshot(&last)
		crashed := d.crash(rng.Uint64()) // while writers go on
		cancel()
		writers.Wait()
		check(t, n.Stop())
		d = crashed
		restore(&last, acknowledged) // what was acknowledged after the crash never happened
	}
}

// write counts up the value of one key until ctx ends. The put number crashAt of all writers closes crash.
func write(ctx context.Context, n *node.Node, w int, last, puts *atomic.Int64, crashAt int64, crash chan struct{}) {
	for value := last.Load() + 1; ctx.Err() == nil; value++ {
		if put(ctx, n, fmt.Sprint("key", w), fmt.Sprint(value)) == nil {
			last.Store(value)
		}
		if puts.Add(1) == crashAt {
			close(crash)
		}
	}
}

func snapshot(last *[8]atomic.Int64) (values [8]int64) {
	for i := range last {
		values[i] = last[i].Load()
	}
	return values
}

func restore(last *[8]atomic.Int64, values [8]int64) {
	for i := range last {
		last[i].Store(values[i])
	}
}

// TestNothingIsAcknowledgedAfterAFailedSync lets one sync of the log fail: from then on no put may succeed, and the member stops with
// the error.
func TestNothingIsAcknowledgedAfterAFailedSync(t *testing.T) {
	for range 30 {
		failOneSync(t)
	}
}

func failOneSync(t *testing.T) {
	t.Helper()
	d := newDisks(t)
	var broken atomic.Bool
	fs := vfs.Intercept(d.fs, func(op vfs.Op) error {
		if op.Kind == vfs.OpSync && broken.Load() {
			return syscall.EIO
		}
		return nil
	})
	n := start(t, d, fs)
	check(t, put(t.Context(), n, "a", "before"))
	applied := n.Status().Applied
	broken.Store(true)
	var calls sync.WaitGroup
	for range 20 {
		calls.Go(func() {
			if err := put(t.Context(), n, "a", "after"); !errors.Is(err, kverr.Stopped) {
				t.Errorf("a put whose sync failed gives %v", err)
			}
		})
	}
	<-n.Done()
	broken.Store(false) // a disk that works again does not make up for it
	calls.Wait()
	if err := put(t.Context(), n, "a", "later"); !errors.Is(err, kverr.Stopped) {
		t.Errorf("a put after the failed sync gives %v", err)
	}
	var failed *wal.FailedError
	if err := n.Stop(); !errors.As(err, &failed) || !errors.Is(err, syscall.EIO) {
		t.Errorf("the member stops with %v, want the log's failure", err)
	}
	if now := n.Status().Applied; now != applied {
		t.Errorf("applied to %d, but what was synced ends at %d", now, applied)
	}
}

// witness looks, when it is told of a batch, at what others see of it at that moment.
type witness struct {
	node   atomic.Pointer[node.Node]
	before atomic.Int64
	failed atomic.Pointer[string]
	rev    atomic.Int64
}

func (w *witness) Applying(b *replica.Batch) {
	w.before.Store(b.View.Rev())
	n := w.node.Load()
	if n == nil || len(b.Events) == 0 {
		return
	}
	if v, err := n.View(); err == nil {
		if v.Rev() >= b.View.Rev() {
			w.failed.Store(new(fmt.Sprintf("batch up to %d: already visible", b.Index)))
		}
		v.Release()
	}
}

func (w *witness) Applied(b *replica.Batch) {
	w.rev.Store(b.View.Rev())
	n := w.node.Load()
	if n == nil || len(b.Events) == 0 {
		return
	}
	v, err := n.View()
	if err == nil {
		defer v.Release()
	}
	if err != nil || v.Rev() != b.View.Rev() || n.Status().Applied != b.Index || n.Pending() != 1 {
		w.failed.Store(new(fmt.Sprintf("batch up to %d: view %v, status %+v, %d wait", b.Index, err, n.Status(), n.Pending())))
	}
}

// TestAnswersComeLast: first the observer is told, then the view is published, then the observer is told again, then the put is answered.
func TestAnswersComeLast(t *testing.T) {
	var w witness
	n := options{node: func(c *node.Config) { c.Observer = &w }}.start(t, newDisks(t))
	w.node.Store(n)
	for i := range int64(100) {
		check(t, put(t.Context(), n, "a", "1"))
		if w.rev.Load() != i+2 || w.before.Load() != i+2 {
			t.Fatalf("put %d is answered, the observer is at revisions %d and %d", i, w.before.Load(), w.rev.Load())
		}
	}
	if what := w.failed.Load(); what != nil {
		t.Error(*what)
	}
	check(t, n.Stop())
}

// TestLogIsReleased checks that old segments go once the file holds their entries, and that the rest is enough for a restart.
func TestLogIsReleased(t *testing.T) {
	d := newDisks(t)
	n := start(t, d, d.fs)
	value := string(make([]byte, 1000))
	for i := range 1000 {
		check(t, put(t.Context(), n, "k", value))
		if i%100 == 0 {
			check(t, n.Flush(t.Context()))
		}
	}
	check(t, put(t.Context(), n, "k", "last"))
	check(t, n.Stop())
	segments, err := d.fs.List("/wal")
	check(t, err)
	if len(segments) > 8 { // 1 MB of entries makes 16
		t.Errorf("%d segments are left: %v", len(segments), segments)
	}
	n = start(t, d, d.fs)
	if got := get(t, n, "k"); got != "last" {
		t.Errorf("k is %q after the restart", got)
	}
	check(t, n.Stop())
}

func TestOverloadIsRefused(t *testing.T) {
	d := newDisks(t)
	blocked := make(chan struct{})
	var block atomic.Bool
	fs := vfs.Intercept(d.fs, func(op vfs.Op) error {
		if op.Kind == vfs.OpSync && block.Load() {
			<-blocked
		}
		return nil
	})
	n := start(t, d, fs)
	check(t, put(t.Context(), n, "a", "1"))
	block.Store(true)
	var calls sync.WaitGroup
	var refused atomic.Int64
	for range 1100 {
		calls.Go(func() {
			if errors.Is(put(t.Context(), n, "a", "2"), kverr.TooManyRequests) {
				if refused.Add(1) == 100 {
					close(blocked)
				}
			}
		})
	}
	calls.Wait()
	if refused.Load() != 100 {
		t.Errorf("%d of 1100 proposals were refused, want those above 1000", refused.Load())
	}
	check(t, n.Stop())
}

func TestCompactionFinishes(t *testing.T) {
	d := newDisks(t)
	n := start(t, d, d.fs)
	for i := range 100 {
		check(t, put(t.Context(), n, "k", fmt.Sprint(i)))
	}
	check(t, compact(t.Context(), n, 90))
	check(t, n.WaitCompacted(t.Context()))
	v, err := n.View()
	check(t, err)
	h, err := v.HashKV(90)
	check(t, err)
	if h.CompactRev != -1 {
		t.Errorf("the hash at the compacted revision is %+v, want the one taken before anything was removed", h)
	}
	v.Release()
	check(t, n.Flush(t.Context()))
	check(t, n.Stop())
	if records := d.records(t); records != 12 { // revisions 90 to 101
		t.Errorf("%d records are left, want 12", records)
	}
}

// records is the number of records in the file.
func (d disks) records(t testing.TB) (n int) {
	t.Helper()
	b, err := backend.OpenMemory(backend.Config{}, d.db)
	check(t, err)
	check(t, b.ForEach(schema.Key, func(_, _ []byte) error { n++; return nil }))
	check(t, b.Close())
	return n
}

// compact proposes a compaction.
func compact(ctx context.Context, n *node.Node, rev int64) error {
	id := ids.Add(1)
	raw := (&request.Compaction{Revision: rev}).Append(nil)
	_, err := n.Propose(ctx, id, request.AppendInternal(nil, request.Header{ID: id}, request.FieldCompaction, raw))
	return err
}
