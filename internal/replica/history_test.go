package replica_test

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/quoin-kv/quoin/internal/backend"
	"github.com/quoin-kv/quoin/internal/machine"
	"github.com/quoin-kv/quoin/internal/membership"
	"github.com/quoin-kv/quoin/internal/mvcc"
	"github.com/quoin-kv/quoin/internal/replica"
	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/internal/wal"
	"github.com/quoin-kv/quoin/raft/wire"
)

// history is what the whole cluster has committed, as far as anybody has applied it, and what was promised to clients.
type history struct {
	t        testing.TB
	entries  []wire.Entry
	revs     []int64           // revision of the view that a batch ending with this entry published; 0 if none ended here
	answered map[uint64]uint64 // index by proposal that was answered
	acked    uint64            // highest index of an answered write
	read     uint64            // highest index that an answered read has shown
}

func newHistory(t testing.TB) *history { return &history{t: t, answered: map[uint64]uint64{}} }

// applied notes that a member has applied entries, after which its view is at rev. All members apply the same.
func (h *history) applied(member uint64, entries []wire.Entry, rev int64) {
	h.t.Helper()
	for _, e := range entries {
		switch at := int(e.Index) - 1; {
		case at > len(h.entries):
			h.t.Fatalf("member %d applied %d, others are at %d", member, e.Index, len(h.entries))
		case at == len(h.entries):
			h.entries, h.revs = append(h.entries, e), append(h.revs, 0)
		default:
			if old := h.entries[at]; old.Term != e.Term || old.Type != e.Type || !bytes.Equal(old.Data, e.Data) {
				h.t.Fatalf("member %d applied %+v, but before it was %+v", member, e, old)
			}
		}
	}
	last := &h.revs[entries[len(entries)-1].Index-1]
	if *last != 0 && *last != rev {
		h.t.Fatalf("member %d publishes revision %d after entry %d, another one %d", member, rev, entries[len(entries)-1].Index, *last)
	}
	*last = rev
}

// checkState compares a member's state with that of a machine which is fed with the same entries from the first on, and never compacts,
// flushes or restarts.
func (h *history) checkState(m *member) {
	h.t.Helper()
	index := m.index()
	b, err := backend.OpenMemory(backend.Config{}, backend.NewMemoryDisk())
	m.check(err)
	naive := restore(h.t, b)
	for i := range h.entries[:index] {
		applyNaively(naive, &h.entries[i])
		b.Commit(schema.Applied{Index: uint64(i + 1), Term: h.entries[i].Term})
	}
	want, got := describe(h.t, naive, b), describe(h.t, m.machine, m.backend)
	if got != want {
		h.t.Fatalf("member %d at index %d is\n%s\nwant\n%s", m.id, index, got, want)
	}
	m.check(b.Close())
}

func applyNaively(m *machine.Machine, e *wire.Entry) {
	switch {
	case e.Type == wire.EntryConfChange:
		var cc wire.ConfChange
		if err := cc.Unmarshal(e.Data); err != nil {
			panic(err)
		}
		_ = m.ApplyConfChange(cc) // a refused change changes nothing
	case len(e.Data) > 0:
		m.Apply(machine.Command{Index: e.Index, Term: e.Term, Data: e.Data, Wanted: func(uint64) bool { return false }})
	}
}

// describe is all that clients can see of a state.
func describe(t testing.TB, m *machine.Machine, b *backend.Backend) string {
	v := m.View(b.Reader())
	defer v.Release()
	hash, err := v.HashKV(0)
	if err != nil {
		t.Fatal(err)
	}
	var s strings.Builder
	fmt.Fprintf(&s, "revision %d compacted %d hash %+v\n", v.Rev(), v.CompactRev(), hash)
	v.Items([]byte{0}, []byte{0}, func(key []byte, it mvcc.Item) bool {
		fmt.Fprintf(&s, "%s %+v\n", key, it)
		return true
	})
	for _, l := range m.Leases().Leases() {
		fmt.Fprintf(&s, "%+v %s\n", l, m.Leases().Keys(l.ID))
	}
	fmt.Fprintf(&s, "%+v\n%+v\n%+v\n", m.Members().Members(), m.Members().Removed(), m.ConfState())
	return s.String()
}

// checkMember verifies the relations between the parts of a running member.
func (h *history) checkMember(m *member) {
	h.t.Helper()
	m.check(m.consensus.Check())
	flushed, applied := m.backend.Flushed().Index, m.index()
	durable := max(m.consensus.Durable(), m.installable) // consensus may not have heard of the mark yet
	if flushed > applied || flushed > durable && !m.installing() || m.consensus.Marked() > flushed {
		h.t.Fatalf("member %d: marked %d, flushed %d, applied %d, durable %d", m.id, m.consensus.Marked(), flushed, applied, durable)
	}
	if at := slices.IndexFunc(m.tasks, func(t task) bool { return t.entry.Index > m.consensus.Commit() }); at >= 0 {
		h.t.Fatalf("member %d: entry %d waits for the machine, committed is %d", m.id, m.tasks[at].entry.Index, m.consensus.Commit())
	}
	if have, want := fmt.Sprint(m.consensus.Status().ConfState), fmt.Sprint(m.machine.ConfState()); len(m.applied) == 0 && !m.installing() && have != want {
		h.t.Fatalf("member %d: consensus counts on %s, the machine on %s", m.id, have, want)
	}
	if m.view.Rev() != m.machine.Rev() {
		h.t.Fatalf("member %d publishes revision %d, the machine is at %d", m.id, m.view.Rev(), m.machine.Rev())
	}
}

// checkMarks verifies that marks say what the history says.
func (h *history) checkMarks(m *member, outs []replica.Output) {
	h.t.Helper()
	for _, out := range outs {
		mark := out.Log.Mark
		if mark == nil {
			continue
		}
		members := membership.New()
		for _, e := range h.entries[:mark.Index] {
			if e.Type == wire.EntryConfChange {
				var cc wire.ConfChange
				m.check(cc.Unmarshal(e.Data))
				_, _ = members.Apply(cc, maxLearners) // a refused change changes nothing
			}
		}
		want := wal.Mark{Index: mark.Index, Term: h.entries[mark.Index-1].Term, ConfState: new(members.ConfState())}
		if !reflect.DeepEqual(*mark, want) {
			h.t.Fatalf("member %d marks %+v with %+v, want %+v with %+v", m.id, *mark, mark.ConfState, want, want.ConfState)
		}
	}
}
