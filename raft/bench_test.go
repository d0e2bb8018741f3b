package raft_test

import (
	"testing"

	"github.com/quoin-kv/quoin/raft"
	"github.com/quoin-kv/quoin/raft/wire"
)

// trio is three cores whose disks and network take no time.
type trio struct {
	b     testing.TB
	cores [3]*raft.Core
	mail  []wire.Message
}

func newTrio(b testing.TB) *trio {
	tr := &trio{b: b}
	founding := foundingDisk([]uint64{1, 2, 3}, nil)
	for i := range tr.cores {
		cfg := defaults
		cfg.ID, cfg.MaxInflightMessages, cfg.Jitter = uint64(i+1), 512, func(int) int { return i }
		core, err := raft.New(cfg, raft.Boot{HardState: founding.state, Entries: founding.entries})
		if err != nil {
			b.Fatal(err)
		}
		tr.cores[i] = core
		for _, e := range core.Effects().Committed {
			tr.apply(core, e)
		}
	}
	tr.cores[0].Campaign()
	tr.settle()
	return tr
}

func (tr *trio) apply(core *raft.Core, e wire.Entry) {
	if e.Type == wire.EntryConfChange {
		var cc wire.ConfChange
		if err := cc.Unmarshal(e.Data); err != nil {
			tr.b.Fatal(err)
		}
		core.ApplyConfChange(cc)
	}
	core.Applied(e.Index)
}

// settle lets everything happen that follows from what was asked for.
func (tr *trio) settle() {
	for busy := true; busy; {
		busy = false
		for _, core := range tr.cores {
			e := core.Effects()
			if e.Seq == 0 {
				continue
			}
			busy = true
			core.Persisted(e.Seq)
			if n := len(e.Committed); n > 0 {
				core.Applied(e.Committed[n-1].Index)
			}
			tr.mail = append(append(tr.mail, e.Messages...), e.AfterSync...)
		}
		for _, m := range tr.mail {
			if err := tr.cores[m.To-1].Step(m); err != nil {
				tr.b.Fatal(err)
			}
		}
		clear(tr.mail)
		tr.mail = tr.mail[:0]
	}
}

// BenchmarkRound is what consensus costs three members together for an entry, when 64 are proposed at once: append, acknowledgement and the
// news that it is committed.
func BenchmarkRound(b *testing.B) {
	const together = 64
	tr := newTrio(b)
	data := make([][]byte, together)
	for i := range data {
		data[i] = make([]byte, 128)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i += together {
		if err := tr.cores[0].Propose(data...); err != nil {
			b.Fatal(err)
		}
		tr.settle()
		if i%(together*128) == 0 {
			for _, core := range tr.cores {
				core.Compact(core.Status().Applied)
			}
		}
	}
	if st := tr.cores[2].Status(); st.Applied < uint64(b.N) {
		b.Fatalf("applied to %d, want at least %d", st.Applied, b.N)
	}
}

// TestRoundAllocations: a round allocates for itself, not for each of its entries.
func TestRoundAllocations(t *testing.T) {
	const together, most = 64, 16
	tr := newTrio(t)
	data := make([][]byte, together)
	for i := range data {
		data[i] = make([]byte, 128)
	}
	allocs := testing.AllocsPerRun(100, func() {
		if err := tr.cores[0].Propose(data...); err != nil {
			t.Fatal(err)
		}
		tr.settle()
	})
	if allocs > most {
		t.Errorf("a round of %d entries takes %v allocations, at most %d are expected", together, allocs, most)
	}
	t.Logf("%v allocations", allocs)
}
