package replica_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/quoin-kv/quoin/internal/backend"
	"github.com/quoin-kv/quoin/internal/membership"
	"github.com/quoin-kv/quoin/internal/replica"
	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/internal/vfs"
	"github.com/quoin-kv/quoin/raft/wire"
)

const snapshotIndex, snapshotTerm = 40, 3

// source is what the leader of three members has applied: its log up to length, of which a few entries are of term 1 and the rest of
// snapshotTerm, and the file of snapshotIndex.
func source(t *testing.T, length uint64) (entries []wire.Entry, file []byte, meta wire.SnapshotMeta) {
	t.Helper()
	for i, cc := range membership.BootstrapChanges(founders(3)) {
		entries = append(entries, wire.Entry{Type: wire.EntryConfChange, Term: 1, Index: uint64(i + 1), Data: cc.Append(nil)})
	}
	for index := uint64(len(entries) + 1); index <= length; index++ {
		raw := (&request.Put{Key: fmt.Appendf(nil, "k%d", index%7), Value: fmt.Append(nil, index)}).Append(nil)
		data := request.AppendInternal(nil, request.Header{ID: index}, request.FieldPut, raw)
		e := wire.Entry{Term: 1, Index: index, Data: data}
		if index > 10 {
			e.Term = snapshotTerm
		}
		entries = append(entries, e)
	}
	b, err := backend.OpenMemory(backend.Config{}, backend.NewMemoryDisk())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	a := replica.NewApplier(restore(t, b), b, schema.Applied{})
	batch, err := a.Apply(entries[:snapshotIndex], func(uint64) bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	batch.View.Release()
	if _, err := b.Flush(snapshotIndex); err != nil {
		t.Fatal(err)
	}
	pinned := b.PinFile()
	defer pinned.Release()
	var out bytes.Buffer
	if _, err := pinned.WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	if meta, err = replica.MetaOf(pinned.Applied()); err != nil {
		t.Fatal(err)
	}
	return entries, out.Bytes(), meta
}

// lagging is member 2 in the course of installing a snapshot: it has applied the log's beginning, and holds entries of an old leader, some
// of them beyond the snapshot, that nobody has committed.
type lagging struct {
	*simulation
	*member
	message wire.Message
	file    []byte
	noFlush bool
}

func newLagging(t *testing.T, noFlush bool) *lagging {
	entries, file, meta := source(t, snapshotIndex)
	rng := rand.New(rand.NewPCG(1, 1))
	s := &simulation{t: t, rng: rng, history: newHistory(t)}
	s.history.applied(1, entries, 0)
	m := newMember(t, 2, 3, rng, replica.ConsensusOptions{MarkEvery: 8, CatchupEntries: 5})
	m.start()
	s.members = []*member{nil, m, nil}
	l := &lagging{s, m, wire.Message{Type: wire.MsgSnap, From: 1, To: 2, Term: snapshotTerm, Snapshot: &wire.Snapshot{Meta: meta}}, file, noFlush}
	l.hear(wire.Message{Type: wire.MsgApp, From: 3, To: 2, Term: 1, Index: 3, LogTerm: 1, Entries: entries[3:8], Commit: 8})
	stale := entries[8:10:10]
	for index := uint64(11); index <= snapshotIndex+10; index++ {
		stale = append(stale, wire.Entry{Term: 2, Index: index, Data: []byte("never committed")})
	}
	l.hear(wire.Message{Type: wire.MsgApp, From: 3, To: 2, Term: 2, Index: 8, LogTerm: 1, Entries: stale, Commit: 8})
	if l.index() != 8 {
		t.Fatalf("applied to %d", l.index())
	}
	return l
}

// hear takes in a message and does everything that follows, but what a snapshot brings.
func (l *lagging) hear(one wire.Message) {
	l.check(l.consensus.Step(one))
	for range 20 {
		l.emit()
		l.write(len(l.writes))
		if len(l.tasks) > 0 && l.tasks[0].install == nil {
			l.member.apply(len(l.tasks))
		}
		l.seen.applied = l.member.index()
		if !l.noFlush {
			l.look()
			l.flush()
		}
		for range 10 {
			l.complete()
		}
	}
}

// emit drops what is sent.
func (l *lagging) emit() { l.member.emit() }

// write drops what may be sent then.
func (l *lagging) write(k int) bool {
	_, ok := l.member.write(k)
	return ok
}

// offer stores the file and hands in the message.
func (l *lagging) offer() {
	disk, err := backend.ReadMemoryDisk(bytes.NewReader(l.file))
	l.check(err)
	l.received[snapshotIndex] = disk
	l.check(l.consensus.Step(l.message))
	l.emit()
}

// restart cuts the power and starts again. What is found must be what was applied, and go on to the same end.
func (l *lagging) restart(t *testing.T, seed uint64, want ...uint64) {
	t.Helper()
	l.member.crash(vfs.CrashOptions{Seed: seed, KeepUnsynced: []float64{0, 0.5, 1}[seed%3]})
	l.simulation.start(l.member)
	if st := l.consensus.Status(); l.index() == snapshotIndex && st.Last != snapshotIndex {
		t.Fatalf("behind the snapshot of %d the log goes on to %d", snapshotIndex, st.Last)
	}
	found := false
	for _, index := range want {
		found = found || l.index() == index
	}
	if !found {
		t.Fatalf("restarted at %d, want one of %d", l.index(), want)
	}
	l.finish(t)
}

// finish offers the snapshot again and then the entry behind it.
func (l *lagging) finish(t *testing.T) {
	t.Helper()
	if l.index() < snapshotIndex {
		l.offer()
		l.write(len(l.writes))
		l.install(l.member)
	}
	next := wire.Entry{Term: snapshotTerm, Index: snapshotIndex + 1}
	l.history.applied(1, []wire.Entry{next}, 0)
	l.hear(wire.Message{
		Type: wire.MsgApp, From: 1, To: 2, Term: snapshotTerm, Index: snapshotIndex, LogTerm: snapshotTerm, Entries: []wire.Entry{next}, Commit: next.Index,
	})
	if l.index() != next.Index {
		t.Fatalf("applied to %d, want %d", l.index(), next.Index)
	}
	l.history.checkState(l.member)
	l.history.checkMember(l.member)
	l.member.crash(vfs.CrashOptions{})
	l.simulation.start(l.member)
	if st := l.consensus.Status(); st.Last != next.Index {
		t.Fatalf("the log ends at %d, want %d", st.Last, next.Index)
	}
}

// TestCrashAtEveryWrite takes a member down in the middle of each call to the disk with which the log gets the mark of a snapshot, and
// then at each step that follows. At any time the member comes back as it was or as the snapshot has it, and goes on.
func TestCrashAtEveryWrite(t *testing.T) {
	for calls := 0; ; calls++ {
		written := false
		for seed := range uint64(12) {
			l := newLagging(t, false)
			l.offer()
			l.power = calls
			written = l.write(len(l.writes))
			if written {
				l.power = -1
				l.restart(t, seed, snapshotIndex)
			} else {
				l.restart(t, seed, 8, snapshotIndex)
			}
			l.close()
		}
		if written {
			break
		}
	}
	steps := []struct {
		name string
		do   func(l *lagging)
	}{
		{"the core has it", func(l *lagging) { l.offer() }},
		{"the mark is durable", func(l *lagging) { l.write(len(l.writes)) }},
		{"installed", func(l *lagging) { l.install(l.member) }},
		{"consensus is told", func(l *lagging) { l.member.applied[0]() }},
	}
	for n := range steps {
		t.Run(steps[n].name, func(t *testing.T) {
			l := newLagging(t, false)
			for _, step := range steps[:n+1] {
				step.do(l)
			}
			want := uint64(snapshotIndex)
			if n == 0 {
				want = 8
			}
			l.restart(t, 0, want)
			l.close()
		})
	}
}

// TestOldCompletionsDoNotCount: what the old machine and file report late changes nothing of what the snapshot has brought.
func TestOldCompletionsDoNotCount(t *testing.T) {
	l := newLagging(t, true)
	l.offer()
	add := membership.AddChange(1, schema.Member{ID: 9, PeerURLs: []string{"http://x:1"}})
	late := func() {
		l.consensus.Flushed(schema.Applied{Index: 8, Term: 1}, wire.ConfState{Voters: []uint64{2}})
		if mark := l.consensus.Output().Log.Mark; mark != nil {
			t.Errorf("mark %+v", mark)
		}
		l.check(l.consensus.Check())
	}
	l.consensus.Applied(8, []wire.ConfChange{add})
	late()
	l.write(len(l.writes))
	l.install(l.member)
	l.member.applied[0]()
	l.member.applied = nil
	late()
	if got := fmt.Sprint(l.consensus.Status().ConfState.Voters); got != "[1 2 3]" || l.consensus.Marked() != snapshotIndex {
		t.Errorf("voters %s, marked %d", got, l.consensus.Marked())
	}
	l.noFlush = false
	var more []wire.Entry
	for index := uint64(snapshotIndex + 1); index <= snapshotIndex+7; index++ {
		more = append(more, wire.Entry{Term: snapshotTerm, Index: index})
	}
	l.hear(wire.Message{
		Type: wire.MsgApp, From: 1, To: 2, Term: snapshotTerm, Index: snapshotIndex, LogTerm: snapshotTerm, Entries: more, Commit: snapshotIndex + 7,
	})
	if first := l.consensus.Status().First; first > snapshotIndex+7-5+1 {
		t.Errorf("the log is remembered from %d on, as if nobody else needed it", first)
	}
	l.close()
}

func TestMetaOfAFile(t *testing.T) {
	state := []byte(`{"voters":[1,2],"learners":[3],"auto_leave":false}`)
	meta := wire.SnapshotMeta{Index: 5, Term: 2, ConfState: wire.ConfState{Voters: []uint64{1}}}
	for _, c := range []struct {
		name string
		at   schema.Applied
		want string // of the result, empty for an error
	}{
		{"exact", schema.Applied{Index: 5, Term: 2, ConfState: state}, fmt.Sprint(meta)},
		{"exact, without a configuration", schema.Applied{Index: 5, Term: 2}, fmt.Sprint(meta)},
		{"newer", schema.Applied{Index: 7, Term: 3, ConfState: state}, fmt.Sprint(wire.SnapshotMeta{
			Index: 7, Term: 3, ConfState: wire.ConfState{Voters: []uint64{1, 2}, Learners: []uint64{3}},
		})},
		{"older", schema.Applied{Index: 4, Term: 2, ConfState: state}, ""},
		{"of another term", schema.Applied{Index: 5, Term: 3, ConfState: state}, ""},
		{"newer, without a configuration", schema.Applied{Index: 7, Term: 3}, ""},
		{"newer, without a term", schema.Applied{Index: 7, ConfState: state}, ""},
		{"newer, with nonsense", schema.Applied{Index: 7, Term: 3, ConfState: []byte("x")}, ""},
	} {
		got, err := replica.ExactMeta(meta, c.at)
		if (err != nil) != (c.want == "") || err == nil && fmt.Sprint(got) != c.want {
			t.Errorf("%s: %v, %v", c.name, got, err)
		}
	}
}
