package replica_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/quoin-kv/quoin/internal/backend"
	"github.com/quoin-kv/quoin/internal/machine"
	"github.com/quoin-kv/quoin/internal/mvcc"
	"github.com/quoin-kv/quoin/internal/replica"
	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/vfs"
	"github.com/quoin-kv/quoin/internal/wal"
	"github.com/quoin-kv/quoin/raft"
	"github.com/quoin-kv/quoin/raft/wire"
)

// lone is a cluster of one on real files that are not synced, all of it on one goroutine: what a put costs below the node but for waiting.
type lone struct {
	log       *wal.Log
	backend   *backend.Backend
	consensus *replica.Consensus
	applier   *replica.Applier
	batcher   replica.Batcher
	view      *mvcc.View
}

// flushEvery is how many puts a benchmark lets pending layers grow to.
const flushEvery = 10_000

func newLone(b testing.TB) *lone {
	dir := b.TempDir()
	m := newMember(b, 1, 1, rand.New(rand.NewPCG(1, 1)), replica.ConsensusOptions{})
	founded, err := wal.Read(m.walConfig(m.fs))
	check(b, err)
	l := &lone{}
	l.log, err = wal.Create(wal.Config{FS: vfs.OS{}, Dir: filepath.Join(dir, "wal"), NoSync: true}, wal.Metadata{NodeID: 1, ClusterID: 2})
	check(b, err)
	check(b, l.log.Write(wal.Batch{Entries: founded.Entries, HardState: founded.HardState, Sync: true}))
	l.backend, err = backend.Open(backend.Config{Path: filepath.Join(dir, "db"), NoSync: true, SumsPath: filepath.Join(dir, "db.sums")})
	check(b, err)
	state, err := machine.Restore(machine.Config{ClusterID: 2, MemberID: 1, MinLeaseTTL: 1, MaxLearners: 1}, l.backend, l.backend, func() mvcc.Reader { return l.backend.Reader() })
	check(b, err)
	core, err := raft.New(raft.Config{
		ID: 1, ElectionTicks: 10, HeartbeatTicks: 1, MaxMessageBytes: 1 << 20, MaxInflightMessages: 512, Jitter: func(int) int { return 0 },
	}, raft.Boot{HardState: founded.HardState, Entries: founded.Entries})
	check(b, err)
	l.consensus = replica.NewConsensus(core, replica.ConsensusOptions{MarkEvery: flushEvery, CatchupEntries: 5000}, 0, 0)
	l.applier = replica.NewApplier(state, l.backend, l.backend.Flushed())
	l.view = l.applier.View()
	b.Cleanup(func() {
		l.view.Release()
		check(b, l.log.Close())
		check(b, l.backend.Close())
	})
	for l.turn(b) {
	}
	for l.consensus.Lead() == 0 {
		l.consensus.Tick()
		l.turn(b)
	}
	return l
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// turn does what an output asks for and reports whether there was anything to do.
func (l *lone) turn(b testing.TB) bool {
	out := l.consensus.Output()
	if out.Writes() {
		joined := l.batcher.Join([]replica.Output{out})
		if joined.Write {
			check(b, l.log.Write(joined.Log))
		}
		if joined.Persisted > 0 {
			l.consensus.Persisted(joined.Persisted)
		}
	}
	if len(out.Apply) > 0 {
		l.apply(b, out.Apply)
	}
	return out.Seq > 0
}

func (l *lone) apply(b testing.TB, entries []wire.Entry) {
	batch, err := l.applier.Apply(entries, func(uint64) bool { return true })
	check(b, err)
	l.view.Release()
	l.view = batch.View
	l.consensus.Applied(batch.Index, batch.ConfChanges)
}

func (l *lone) flush(b testing.TB) {
	at, err := l.backend.Flush(l.consensus.Durable())
	check(b, err)
	l.consensus.Flushed(at, l.applier.ConfStateAt(at.Index))
}

// BenchmarkPut is puts of 128 bytes to 10,000 keys, so many in one batch, from proposal to reply, flushes included.
func BenchmarkPut(b *testing.B) {
	for _, together := range []int{1, 64} {
		b.Run(strconv.Itoa(together), func(b *testing.B) { benchmarkPut(b, together) })
	}
}

func benchmarkPut(b *testing.B, together int) {
	l := newLone(b)
	raw := make([][]byte, 10_000)
	for i := range raw {
		raw[i] = (&request.Put{Key: fmt.Appendf(nil, "bench/%08d", i), Value: make([]byte, 128)}).Append(nil)
	}
	data := make([][]byte, 0, together)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		data = append(data, request.AppendInternal(nil, request.Header{ID: uint64(i + 1)}, request.FieldPut, raw[(i*7919)%len(raw)]))
		if len(data) == together || i == b.N-1 {
			check(b, l.consensus.Propose(data...))
			for l.turn(b) {
			}
			data = data[:0]
		}
		if i%flushEvery == flushEvery-1 {
			l.flush(b)
		}
	}
}

// TestPutAllocations: what a put allocates on its way from proposal to reply, the flush left out, as a batch of 64 has it. It is the copying of
// the index, most of all.
func TestPutAllocations(t *testing.T) {
	const together, most = 64, 5.0
	l := newLone(t)
	data := make([][]byte, together)
	next := uint64(0)
	batch := func() {
		for i := range data {
			next++
			raw := (&request.Put{Key: fmt.Appendf(nil, "bench/%08d", next*7919%10_000), Value: make([]byte, 128)}).Append(nil)
			data[i] = request.AppendInternal(nil, request.Header{ID: next}, request.FieldPut, raw)
		}
	}
	measured := func() {
		check(t, l.consensus.Propose(data...))
		for l.turn(t) {
		}
	}
	for range 200 { // the keys are there
		batch()
		measured()
	}
	prepared := testing.AllocsPerRun(50, batch)
	all := testing.AllocsPerRun(50, func() {
		batch()
		measured()
	})
	if each := (all - prepared) / together; each > most {
		t.Errorf("a put takes %.2f allocations, at most %v are expected", each, most)
	} else {
		t.Logf("%.2f allocations for a put", each)
	}
}
