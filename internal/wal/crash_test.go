package wal

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/quoin-kv/quoin/internal/vfs"
	"github.com/quoin-kv/quoin/raft/wire"
)

// item is one record in the model: exactly one field is set.
type item struct {
	entry *wire.Entry
	state *wire.HardState
	mark  *Mark
}

func items(b Batch) (list []item) {
	if b.Mark != nil {
		list = append(list, item{mark: b.Mark})
	}
	for i := range b.Entries {
		list = append(list, item{entry: &b.Entries[i]})
	}
	if !b.HardState.IsZero() {
		list = append(list, item{state: &b.HardState})
	}
	return list
}

// expected says, as text, what a log of these records recovers to. It keeps entries in a map and looks at everything
// twice, as slowly and plainly as possible.
func expected(list []item) string {
	var hard wire.HardState
	var best Mark
	for _, it := range list {
		if it.state != nil {
			hard = *it.state
		}
	}
	for _, it := range list {
		if it.mark != nil && it.mark.Index <= hard.Commit {
			best = *it.mark
		}
	}
	log := map[uint64]wire.Entry{}
	for _, it := range list {
		if it.entry != nil {
			maps.DeleteFunc(log, func(i uint64, _ wire.Entry) bool { return i >= it.entry.Index })
			log[it.entry.Index] = *it.entry
		}
		if it.mark != nil && it.mark.Index == best.Index && log[best.Index].Term != it.mark.Term {
			clear(log)
			log[best.Index] = wire.Entry{Term: it.mark.Term}
		}
	}
	var after []wire.Entry
	for _, i := range slices.Sorted(maps.Keys(log)) {
		if i > best.Index {
			after = append(after, log[i])
		}
	}
	return recoveredText(&Recovered{HardState: hard, Mark: best, Entries: after})
}

func recoveredText(r *Recovered) string {
	return fmt.Sprintf("%v mark %d@%d: %s", r.HardState, r.Mark.Index, r.Mark.Term, describe(r.Entries))
}

// author invents the batches of one member's life.
type author struct {
	rng                *rand.Rand
	term, last, commit uint64
	terms              map[uint64]uint64
	marked             uint64
}

func newAuthor(seed uint64) *author {
	return &author{rng: rand.New(rand.NewPCG(seed, 0)), term: 1, terms: map[uint64]uint64{}}
}

func (a *author) next() Batch {
	switch n := a.rng.IntN(20); {
	case n < 4:
		a.commit += a.rng.Uint64N(a.last - a.commit + 1)
		return Batch{HardState: state(a.term, a.commit)}
	case n < 6 && a.commit > a.marked:
		a.marked = a.commit
		return Batch{Mark: &Mark{Index: a.commit, Term: a.terms[a.commit]}}
	case n == 6:
		a.term++
		a.last += 1 + a.rng.Uint64N(20)
		a.commit, a.marked, a.terms[a.last] = a.last, a.last, a.term
		return Batch{Mark: &Mark{Index: a.last, Term: a.term}, HardState: state(a.term, a.last), Sync: true}
	case n == 7:
		a.term++
		a.last = a.commit + a.rng.Uint64N(a.last-a.commit+1)
	}
	return a.append()
}

func (a *author) append() (b Batch) {
	for range 1 + a.rng.IntN(5) {
		a.last++
		a.terms[a.last] = a.term
		data := strings.Repeat(string(rune('a'+a.rng.IntN(26))), a.rng.IntN(1100))
		b.Entries = append(b.Entries, entry(a.last, a.term, data))
	}
	b.HardState, b.Sync = state(a.term, a.commit), true
	return b
}

// ledger knows what was handed to the log and what of it was acknowledged as durable.
type ledger struct {
	issued []item
	acked  int
	exists bool // Create has returned
}

// judge opens what a crash left, calls opened and compares it with the ledger.
func (g *ledger) judge(c Config, opened func()) error {
	l, r, err := Open(c)
	opened()
	if errors.Is(err, ErrNotExist) && !g.exists {
		if l, err = Create(c, testMeta); err == nil {
			err = l.Close()
		}
		return err
	}
	if err != nil {
		return err
	}
	got := recoveredText(r)
	for n := g.acked; n <= len(g.issued); n++ {
		if got == expected(g.issued[:n]) {
			return goesOn(l, c, r)
		}
	}
	return fmt.Errorf("%d of %d records were acknowledged, recovered\n%s\nwant\n%s\nor more, up to\n%s",
		g.acked, len(g.issued), got, expected(g.issued[:g.acked]), expected(g.issued))
}

// goesOn writes one entry behind what was recovered and reads everything back.
func goesOn(l *Log, c Config, r *Recovered) error {
	more := entry(l.lastIndex+1, r.HardState.Term+100, "on")
	hard := wire.HardState{Term: more.Term, Vote: vote, Commit: r.HardState.Commit}
	if err := errors.Join(l.Write(Batch{Entries: []wire.Entry{more}, HardState: hard, Sync: true}), l.Close()); err != nil {
		return err
	}
	again, err := Read(c)
	if err != nil {
		return fmt.Errorf("after one more batch: %w", err)
	}
	want := Recovered{HardState: hard, Mark: r.Mark, Entries: append(r.Entries, more)}
	if recoveredText(again) != recoveredText(&want) {
		return fmt.Errorf("after one more batch %s, want %s", recoveredText(again), recoveredText(&want))
	}
	return nil
}

func changes(o vfs.Op) bool {
	switch o.Kind {
	case vfs.OpWrite, vfs.OpTruncate, vfs.OpPreallocate, vfs.OpSync, vfs.OpSyncDir, vfs.OpRename, vfs.OpRemove, vfs.OpCreate, vfs.OpMkdir:
		return true
	}
	return false
}

// crasher lets the power fail ahead of every change of the file system.
type crasher struct {
	t       *testing.T
	mem     *vfs.Mem
	ledger  *ledger
	crashes uint64
}

func (x *crasher) before(o vfs.Op) error {
	if !changes(o) {
		return nil
	}
	x.crashes++
	for i, keep := range []float64{0, 0.5, 0.9} {
		options := vfs.CrashOptions{Seed: x.crashes*3 + uint64(i), KeepUnsynced: keep}
		x.restart(o, options)
	}
	return nil
}

// restart judges one crash and, at some, a second crash at each step of the start that follows.
func (x *crasher) restart(o vfs.Op, options vfs.CrashOptions) {
	config := Config{Dir: "/m/wal", SegmentBytes: 4096}
	after := x.mem.Crash(options)
	inner := after.Crash(vfs.CrashOptions{})
	config.FS = after
	opening := true
	opened := func() { opening = false }
	if options.Seed%7 == 0 {
		config.FS = vfs.Intercept(after, func(second vfs.Op) error {
			if !opening || !changes(second) {
				return nil
			}
			again := config
			again.FS = after.Crash(vfs.CrashOptions{Seed: options.Seed, KeepUnsynced: 0.5})
			if err := x.ledger.judge(again, func() {}); err != nil {
				x.t.Fatalf("crash %+v before %q, then again before %q: %v", options, o, second, err)
			}
			return nil
		})
	}
	if err := x.ledger.judge(config, opened); err != nil {
		dump(x.t, inner)
		x.t.Fatalf("crash %+v before %q: %v", options, o, err)
	}
}

func dump(t *testing.T, fsys vfs.FS) {
	err := walk(fsys, "/m/wal", func(r Record) error {
		t.Logf("%s %d type %d, %d bytes", r.File, r.Offset, r.Type, len(r.Data))
		return nil
	})
	t.Logf("walk: %v", err)
}

// TestCrashAnywhere runs random lives and lets the power fail before each change of the file system: what was
// acknowledged is always there, and what else is there is the beginning of what was not.
func TestCrashAnywhere(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			mem, c := memConfig(t)
			x := &crasher{t: t, mem: mem, ledger: new(ledger)}
			c.FS = vfs.Intercept(mem, x.before)
			l := createLog(t, c)
			x.ledger.exists = true
			live(t, l, c, newAuthor(seed), x.ledger)
			t.Logf("%d crashes, %d records", x.crashes, len(x.ledger.issued))
		})
	}
}

// live writes a life's batches, with all that happens between them.
func live(t *testing.T, l *Log, c Config, a *author, g *ledger) {
	for range 40 {
		b := a.next()
		g.issued = append(g.issued, items(b)...)
		must(t, l.Write(b))
		if b.Sync || b.Mark != nil {
			g.acked = len(g.issued)
		}
		switch a.rng.IntN(10) {
		case 0:
			must(t, l.Prepare())
		case 1:
			must(t, l.Release(a.marked))
			must(t, l.Purge(1+a.rng.IntN(4)))
		case 2:
			must(t, l.Close())
			g.acked = len(g.issued)
			l, _ = openLog(t, c)
		}
	}
	must(t, l.Close())
}

// TestTornSector: a sector that was written in part is more than disks do to us. Then the damage may be an error, but
// never a wrong answer.
func TestTornSector(t *testing.T) {
	repaired, refused := 0, 0
	for seed := range uint64(300) {
		mem, c := memConfig(t)
		g := &ledger{exists: true}
		a := newAuthor(seed)
		l := createLog(t, c)
		fails := vfs.Intercept(mem, vfs.FailNth(vfs.OpSync, 4, errors.New("power failure")))
		must(t, l.Close())
		c.FS = fails
		l, _ = openLog(t, c)
		for {
			b := a.append()
			g.issued = append(g.issued, items(b)...)
			if l.Write(b) != nil {
				break
			}
			g.acked = len(g.issued)
		}
		c.FS = mem.Crash(vfs.CrashOptions{Seed: seed, KeepUnsynced: 0.95, TearLast: true})
		var corrupt *CorruptionError
		switch err := g.judge(c, func() {}); {
		case errors.As(err, &corrupt):
			refused++
		case err != nil:
			t.Fatalf("seed %d: %v", seed, err)
		default:
			repaired++
		}
	}
	if t.Logf("%d recovered, %d refused", repaired, refused); repaired == 0 || refused == 0 {
		t.Fatal("the test does not show both outcomes")
	}
}
