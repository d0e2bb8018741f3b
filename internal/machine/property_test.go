package machine_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/quoin-kv/quoin/internal/backend"
	"github.com/quoin-kv/quoin/internal/machine"
	"github.com/quoin-kv/quoin/internal/membership"
	"github.com/quoin-kv/quoin/internal/mvcc"
	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/raft/wire"
)

// twin is one of two machines that are fed with the same commands.
type twin struct {
	t       testing.TB
	disk    *backend.MemoryDisk
	backend *backend.Backend
	machine *machine.Machine
	index   uint64
	wanted  bool // whether somebody waits for the replies
	full    func(cost int64) bool
	id      uint64
}

func newTwin(t testing.TB, id uint64, wanted bool) *twin {
	w := &twin{t: t, disk: backend.NewMemoryDisk(), wanted: wanted, id: id}
	w.open()
	return w
}

func (w *twin) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *twin) isFull(cost int64) bool { return w.full != nil && w.full(cost) }

func (w *twin) open() {
	var err error
	w.backend, err = backend.OpenMemory(backend.Config{}, w.disk)
	w.check(err)
	w.machine, err = machine.Restore(machine.Config{ClusterID: 3, MemberID: w.id, MinLeaseTTL: 2, MaxLearners: 2, Full: w.isFull},
		w.backend, w.backend, func() mvcc.Reader { return w.backend.Reader() })
	w.check(err)
}

// restart brings everything to the disk and begins anew from there.
func (w *twin) restart() {
	w.flush()
	disk := w.disk.Crash()
	w.check(w.backend.Close())
	w.disk = disk
	w.open()
}

func (w *twin) flush() {
	_, err := w.backend.Flush(w.index)
	w.check(err)
}

// apply applies an entry and returns everything of the outcome that members must agree on.
func (w *twin) apply(e wire.Entry) string {
	w.index++
	var out machine.Outcome
	if e.Type == wire.EntryConfChange {
		var cc wire.ConfChange
		w.check(cc.Unmarshal(e.Data))
		out.Err = w.machine.ApplyConfChange(cc)
	} else {
		out = w.machine.Apply(machine.Command{Term: 1, Data: e.Data, Wanted: func(uint64) bool { return w.wanted }})
		if (out.Reply != nil) != (w.wanted && out.Err == nil) {
			w.t.Fatalf("command %d: wanted %v, error %v, reply %q", w.index, w.wanted, out.Err, out.Reply)
		}
		out.Reply = nil
		if out.OverQuota {
			out.OverQuota, out.Err = false, nil
		}
	}
	w.backend.Commit(schema.Applied{Index: w.index, Term: 1})
	return fmt.Sprintf("%+v %+v", out, w.machine.ConfState())
}

// finish ends the compaction that is under way, if any, in steps of a size of its own.
func (w *twin) finish(budget int) {
	for more := true; more; {
		var err error
		more, err = w.machine.CompactStep(budget)
		w.check(err)
		w.backend.Commit(schema.Applied{Index: w.index, Term: 1})
	}
}

// content is everything in the file.
func (w *twin) content() string {
	w.flush()
	var s strings.Builder
	for b := range schema.NumBuckets {
		w.check(w.backend.ForEach(b, func(key, value []byte) error {
			fmt.Fprintf(&s, "%s %q %q\n", b.Name(), key, value)
			return nil
		}))
	}
	return s.String()
}

// hash is the hash of the whole history.
func (w *twin) hash() string {
	v := w.machine.View(w.backend.Reader())
	defer v.Release()
	h, err := v.HashKV(0)
	return fmt.Sprintf("%+v %v", h, err)
}

// TestMachinesAgree feeds two machines with the same random commands. One of them is restarted at random points, moves its compactions on
// at another pace, is asked for no replies, and is over its quota now and then. They must agree on every outcome and, to the byte, on
// what is stored.
func TestMachinesAgree(t *testing.T) {
	first := rand.Uint64() >> 1
	for i := range uint64(30) {
		seed := first + i
		t.Run(fmt.Sprint(seed), func(t *testing.T) { runTwins(t, seed) })
	}
}

func runTwins(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 3))
	g := &generator{rng: rng}
	steady, shaken := newTwin(t, 1, true), newTwin(t, 2, false)
	shaken.full = func(cost int64) bool { return cost <= 0 || rng.IntN(10) == 0 }
	for n := range 400 {
		g.rev = steady.machine.Rev()
		entry := g.entry()
		if want, got := steady.apply(entry), shaken.apply(entry); got != want {
			t.Fatalf("command %d of seed %d, %q: outcome\n%s\nof the other\n%s", n, seed, entry.Data, want, got)
		}
		shake(shaken, rng)
		if rng.IntN(40) == 0 {
			steady.finish(1000)
			shaken.finish(1 + rng.IntN(30))
			compareTwins(t, seed, steady, shaken)
		}
	}
	steady.check(steady.backend.Close())
	shaken.check(shaken.backend.Close())
}

func shake(w *twin, rng *rand.Rand) {
	switch rng.IntN(12) {
	case 0:
		w.restart()
	case 1, 2:
		_, err := w.machine.CompactStep(1 + rng.IntN(10))
		w.check(err)
		w.backend.Commit(schema.Applied{Index: w.index, Term: 1})
	case 3:
		w.flush()
	}
}

func compareTwins(t *testing.T, seed uint64, a, b *twin) {
	t.Helper()
	if want, got := a.content(), b.content(); got != want {
		t.Fatalf("seed %d, entry %d: the file holds\n%s\nthat of the other\n%s", seed, a.index, want, got)
	}
	if want, got := a.hash(), b.hash(); got != want {
		t.Fatalf("seed %d, entry %d: hashes %s and %s", seed, a.index, want, got)
	}
	if want, got := describe(a.machine), describe(b.machine); got != want {
		t.Fatalf("seed %d, entry %d: in memory\n%s\nof the other\n%s", seed, a.index, want, got)
	}
}

// describe is what a machine holds beside the key space.
func describe(m *machine.Machine) string {
	var s strings.Builder
	for _, l := range m.Leases().Leases() {
		fmt.Fprintf(&s, "%+v %q\n", l, m.Leases().Keys(l.ID))
	}
	members := m.Members()
	fmt.Fprintf(&s, "%+v\n%+v\n%+v\n%s %+v %s\n", m.Alarms(), members.Members(), members.Removed(), members.Version(), members.Downgrade(), m.StorageVersion())
	return s.String()
}

// generator makes random entries that often concern each other.
type generator struct {
	rng *rand.Rand
	rev int64 // about the current revision
	id  uint64
}

func (g *generator) key() []byte { return fmt.Appendf(nil, "k%d", g.rng.IntN(8)) }

func (g *generator) flag() bool { return g.rng.IntN(4) == 0 }

// leaseID is 0 more often than not.
func (g *generator) leaseID() int64 { return max(0, int64(g.rng.IntN(10))-5) }

func (g *generator) end() []byte {
	return [][]byte{nil, nil, {0}, []byte("k4"), []byte("k9")}[g.rng.IntN(5)]
}

func (g *generator) entry() wire.Entry {
	g.id++
	if g.rng.IntN(25) == 0 {
		cc := g.confChange()
		return wire.Entry{Type: wire.EntryConfChange, Data: cc.Append(nil)}
	}
	field, r := g.request()
	return wire.Entry{Data: request.AppendInternal(nil, request.Header{ID: g.id}, field, r.Append(nil))}
}

func (g *generator) request() (request.Field, request.Request) {
	switch g.rng.IntN(20) {
	case 0:
		return request.FieldCompaction, &request.Compaction{Revision: g.rev - int64(g.rng.IntN(30)) + 2}
	case 1, 2:
		return request.FieldLeaseGrant, &request.LeaseGrant{ID: g.leaseID(), TTL: int64(g.rng.IntN(9))}
	case 3:
		return request.FieldLeaseRevoke, &request.LeaseRevoke{ID: g.leaseID()}
	case 4:
		return request.FieldLeaseCheckpoint, &request.LeaseCheckpoint{Checkpoints: []request.Checkpoint{{ID: g.leaseID(), RemainingTTL: 3}}}
	case 5:
		return g.rare()
	case 6, 7:
		return request.FieldDeleteRange, g.deleteRange()
	case 8, 9, 10, 11:
		return request.FieldTxn, g.txn(2)
	default:
		return request.FieldPut, g.put()
	}
}

func (g *generator) rare() (request.Field, request.Request) {
	switch g.rng.IntN(8) {
	case 0:
		kind := request.AlarmNoSpace
		if g.flag() {
			kind = request.AlarmCorrupt
		}
		return request.FieldAlarm, &request.Alarm{Action: request.AlarmActivate, MemberID: 1, Kind: kind}
	case 1:
		return request.FieldClusterVersionSet, &request.ClusterVersionSet{Version: []string{"3.5.0", "3.6.0", "3.7.0", "x"}[g.rng.IntN(4)]}
	case 2:
		return request.FieldMemberAttrSet, &request.MemberAttrSet{MemberID: uint64(g.rng.IntN(6)), Attributes: &request.MemberAttributes{Name: "n"}}
	case 3:
		return request.FieldDowngradeInfoSet, &request.DowngradeInfoSet{Enabled: g.flag(), Version: "3.6.0"}
	default:
		kind := []int32{request.AlarmNoSpace, request.AlarmCorrupt}[g.rng.IntN(2)]
		return request.FieldAlarm, &request.Alarm{Action: request.AlarmDeactivate, MemberID: 1, Kind: kind}
	}
}

func (g *generator) put() *request.Put {
	p := &request.Put{Key: g.key(), PrevKV: g.flag()}
	if p.IgnoreValue = g.flag(); !p.IgnoreValue {
		p.Value = fmt.Appendf(nil, "v%d", g.id)
	}
	if p.IgnoreLease = g.flag(); !p.IgnoreLease {
		p.Lease = g.leaseID()
	}
	return p
}

func (g *generator) deleteRange() *request.DeleteRange {
	return &request.DeleteRange{Key: g.key(), RangeEnd: g.end(), PrevKV: g.flag()}
}

// txn is a transaction with others in it up to some depth. It may put a key twice, which service refuses but a log may hold.
func (g *generator) txn(depth int) *request.Txn {
	t := &request.Txn{}
	for range g.rng.IntN(3) {
		t.Compare = append(t.Compare, g.compare())
	}
	for range g.rng.IntN(4) {
		t.Success = append(t.Success, g.op(depth))
		t.Failure = append(t.Failure, g.op(depth))
	}
	return t
}

func (g *generator) op(depth int) request.Op {
	switch g.rng.IntN(6) {
	case 0:
		revision := int64(0)
		if g.flag() {
			revision = g.rev - int64(g.rng.IntN(10))
		}
		return request.Op{Range: &request.Range{Key: g.key(), RangeEnd: g.end(), Revision: revision, Limit: int64(g.rng.IntN(3))}}
	case 1:
		return request.Op{DeleteRange: g.deleteRange()}
	case 2:
		if depth > 0 {
			return request.Op{Txn: g.txn(depth - 1)}
		}
	}
	return request.Op{Put: g.put()}
}

func (g *generator) compare() request.Compare {
	c := request.Compare{Key: g.key(), RangeEnd: g.end(), Result: int32(g.rng.IntN(4)), Target: int32(g.rng.IntN(5))}
	switch c.Target {
	case request.TargetVersion:
		c.Arm, c.Version = request.ArmVersion, int64(g.rng.IntN(4))
	case request.TargetCreate:
		c.Arm, c.CreateRevision = request.ArmCreate, g.rev-int64(g.rng.IntN(20))
	case request.TargetMod:
		c.Arm, c.ModRevision = request.ArmMod, g.rev-int64(g.rng.IntN(20))
	case request.TargetLease:
		c.Arm, c.Lease = request.ArmLease, g.leaseID()
	case request.TargetValue:
		c.Arm, c.Value = request.ArmValue, fmt.Appendf(nil, "v%d", g.id/2)
	}
	return c
}

func (g *generator) confChange() wire.ConfChange {
	m := schema.Member{ID: uint64(1 + g.rng.IntN(6)), PeerURLs: []string{fmt.Sprintf("http://m%d:1", g.rng.IntN(8))}, IsLearner: g.flag()}
	switch g.rng.IntN(5) {
	case 0:
		return membership.RemoveChange(g.id, m.ID)
	case 1:
		return membership.UpdateChange(g.id, m)
	case 2:
		return membership.PromoteChange(g.id, m.ID)
	default:
		return membership.AddChange(g.id, m)
	}
}

// FuzzApply: whatever decodes as a request is applied, or refused by a panic of which the package says that it comes; and again the same
// on a machine that is not asked for replies.
func FuzzApply(f *testing.F) {
	g := &generator{rng: rand.New(rand.NewPCG(1, 2)), rev: 5}
	for range 300 {
		if e := g.entry(); e.Type == wire.EntryNormal {
			f.Add(e.Data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		a, b := newTwin(t, 1, true), newTwin(t, 2, false)
		defer func() { _, _ = a.backend.Close(), b.backend.Close() }()
		g := &generator{rng: rand.New(rand.NewPCG(7, 7))}
		for range 20 {
			entry := g.entry()
			a.apply(entry)
			b.apply(entry)
		}
		panicA, panicB := applyRaw(a, data), applyRaw(b, data)
		if panicA != panicB {
			t.Fatalf("one machine says %q, the other %q", panicA, panicB)
		}
		if !bytes.Equal(data, before) {
			t.Error("the entry was changed")
		}
		if panicA == "" {
			compareTwins(t, 0, a, b)
			a.restart()
			compareTwins(t, 0, a, b)
		}
	})
}

// declared are the panics that Apply promises.
func declared() []string {
	return []string{"machine: committed entry that cannot be applied", "which this version cannot apply"}
}

// applyRaw returns the declared panic with which a machine refuses an entry. Any other panic goes on.
func applyRaw(w *twin, data []byte) (refusal string) {
	defer func() {
		if r := recover(); r != nil {
			refusal = fmt.Sprint(r)
			if !slices.ContainsFunc(declared(), func(s string) bool { return strings.Contains(refusal, s) }) {
				panic(r)
			}
		}
	}()
	w.apply(wire.Entry{Data: data})
	return ""
}

func BenchmarkApplyPut(b *testing.B) {
	w := newTwin(b, 1, true)
	entries := make([][]byte, 1000)
	for i := range entries {
		raw := (&request.Put{Key: fmt.Appendf(nil, "key%06d", i), Value: make([]byte, 100)}).Append(nil)
		entries[i] = request.AppendInternal(nil, request.Header{ID: uint64(i)}, request.FieldPut, raw)
	}
	wanted := func(uint64) bool { return true }
	b.ReportAllocs()
	for i := range b.N {
		w.machine.Apply(machine.Command{Term: 1, Data: entries[i%len(entries)], Wanted: wanted})
		if i%100 == 99 {
			w.backend.Commit(schema.Applied{Index: uint64(i), Term: 1})
		}
		if i%10000 == 9999 {
			b.StopTimer()
			_, err := w.backend.Flush(uint64(i))
			w.check(err)
			b.StartTimer()
		}
	}
}
