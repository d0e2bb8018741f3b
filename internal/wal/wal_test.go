package wal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/quoin-kv/quoin/internal/vfs"
	"github.com/quoin-kv/quoin/raft/wire"
)

var (
	testMeta = Metadata{NodeID: 0x8e9e05c52164694d, ClusterID: 0xcdf818194e3a8c32}
	vote     = testMeta.NodeID
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// memConfig is a log in memory whose segments end after a few batches.
func memConfig(t testing.TB) (*vfs.Mem, Config) {
	t.Helper()
	mem := vfs.NewMem()
	must(t, vfs.MkdirAll(mem, "/m"))
	return mem, Config{FS: mem, Dir: "/m/wal", SegmentBytes: 4096}
}

func createLog(t testing.TB, c Config) *Log {
	t.Helper()
	l, err := Create(c, testMeta)
	must(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

func openLog(t testing.TB, c Config) (*Log, *Recovered) {
	t.Helper()
	l, r, err := Open(c)
	must(t, err)
	t.Cleanup(func() { l.Close() })
	l.check(t)
	return l, r
}

// write appends a batch and checks the invariants of Log.
func write(t testing.TB, l *Log, b Batch) {
	t.Helper()
	must(t, l.Write(b))
	l.check(t)
}

func (l *Log) check(t testing.TB) {
	t.Helper()
	held := l.mu.held
	if len(held) == 0 || held[len(held)-1] != l.tail {
		t.Fatal("invariant 1: tail is not the last held segment")
	}
	must(t, checkSequence(held))
	if held[0].index > l.mu.mark {
		t.Fatalf("invariant 3: oldest segment begins at %d, mark is at %d", held[0].index, l.mu.mark)
	}
	if len(l.encoder.frames) != 0 {
		t.Fatal("frames were left unwritten")
	}
	var s scanner
	for i, seg := range held {
		must(t, s.start(seg, i == len(held)-1))
		for {
			if _, err := s.next(); err != nil {
				break
			}
		}
	}
	if s.offset != l.offset || s.crc != l.encoder.crc {
		t.Fatalf("invariants 1 and 2: read up to %d with checksum %08x, log says %d and %08x",
			s.offset, s.crc, l.offset, l.encoder.crc)
	}
}

func entry(index, term uint64, data string) wire.Entry {
	return wire.Entry{Index: index, Term: term, Data: []byte(data)}
}

func entries(from, to, term uint64, size int) (list []wire.Entry) {
	for i := from; i <= to; i++ {
		data := strings.Repeat(string(rune('a'+i%26)), size)
		list = append(list, entry(i, term, data))
	}
	return list
}

func state(term, commit uint64) wire.HardState {
	return wire.HardState{Term: term, Vote: vote, Commit: commit}
}

func describe(list []wire.Entry) string {
	var b strings.Builder
	for _, e := range list {
		fmt.Fprintf(&b, "%d@%d:%d:%.8q ", e.Index, e.Term, len(e.Data), e.Data)
	}
	return strings.TrimSpace(b.String())
}

func wantEntries(t testing.TB, got, want []wire.Entry) {
	t.Helper()
	if describe(got) != describe(want) {
		t.Fatalf("entries\n%s\nwant\n%s", describe(got), describe(want))
	}
	for i := range got {
		if !bytes.Equal(got[i].Data, want[i].Data) {
			t.Fatalf("entry %d differs", got[i].Index)
		}
	}
}

func segmentsIn(t testing.TB, c Config) string {
	t.Helper()
	names, err := segmentNames(c.FS, c.Dir)
	must(t, err)
	return strings.Join(names, " ")
}

func TestCreateThenOpen(t *testing.T) {
	_, c := memConfig(t)
	l := createLog(t, c)
	write(t, l, Batch{Entries: entries(1, 3, 1, 10), HardState: state(1, 2), Sync: true})
	must(t, l.Close())
	_, r := openLog(t, c)
	wantEntries(t, r.Entries, entries(1, 3, 1, 10))
	if r.Metadata != testMeta || r.HardState != state(1, 2) || r.Mark != (Mark{}) || r.Repaired != nil {
		t.Fatalf("recovered %+v", r)
	}
}

// TestCreateWith: a log appears with what it begins with, or not at all, wherever a crash comes in between.
func TestCreateWith(t *testing.T) {
	first := Batch{Entries: entries(1, 3, 1, 10), HardState: state(1, 3), Sync: true}
	for n := 1; ; n++ {
		mem, c := memConfig(t)
		calls := 0
		c.FS = vfs.Intercept(mem, func(vfs.Op) error {
			if calls++; calls >= n {
				return errors.New("crash")
			}
			return nil
		})
		l, err := CreateWith(c, testMeta, first)
		c.FS = mem.Crash(vfs.CrashOptions{})
		if there, _ := Exists(c.FS, c.Dir); there {
			_, r := openLog(t, c)
			wantEntries(t, r.Entries, first.Entries)
			if r.HardState != first.HardState {
				t.Fatalf("call %d failed: hard state %+v", n, r.HardState)
			}
		} else if err == nil {
			t.Fatalf("the log is not there")
		}
		if err == nil {
			calls = math.MinInt
			must(t, l.Close())
			return
		}
	}
}

func TestOpenContinues(t *testing.T) {
	_, c := memConfig(t)
	l := createLog(t, c)
	for i := uint64(1); i <= 60; i++ {
		write(t, l, Batch{Entries: entries(i, i, 1, 300), HardState: state(1, i), Sync: true})
		must(t, l.Close())
		var r *Recovered
		l, r = openLog(t, c)
		wantEntries(t, r.Entries, entries(1, i, 1, 300))
	}
}

func TestCreateRefusesExisting(t *testing.T) {
	_, c := memConfig(t)
	createLog(t, c)
	if _, err := Create(c, testMeta); !errors.Is(err, ErrExist) {
		t.Fatalf("error = %v", err)
	}
}

func TestCreateInExistingDirectory(t *testing.T) {
	mem, c := memConfig(t)
	must(t, mem.Mkdir(c.Dir))
	must(t, mem.Mkdir(c.Dir+"/lost+found"))
	l := createLog(t, c)
	write(t, l, Batch{Entries: entries(1, 1, 1, 1), HardState: state(1, 0), Sync: true})
	must(t, l.Close())
	_, r := openLog(t, c)
	wantEntries(t, r.Entries, entries(1, 1, 1, 1))
}

func TestOpenMissing(t *testing.T) {
	_, c := memConfig(t)
	if _, _, err := Open(c); !errors.Is(err, ErrNotExist) {
		t.Fatalf("error = %v", err)
	}
	there, err := Exists(c.FS, c.Dir)
	must(t, err)
	if there {
		t.Fatal("a log that is not there exists")
	}
}

func TestOpenLocked(t *testing.T) {
	for name, c := range map[string]Config{
		"mem": func() Config { _, c := memConfig(t); return c }(),
		"os":  {FS: vfs.OS{}, Dir: filepath.Join(t.TempDir(), "wal"), SegmentBytes: 4096},
	} {
		t.Run(name, func(t *testing.T) {
			createLog(t, c)
			if _, _, err := Open(c); !errors.Is(err, vfs.ErrLocked) {
				t.Fatalf("error = %v", err)
			}
		})
	}
}

func TestOverride(t *testing.T) {
	_, c := memConfig(t)
	l := createLog(t, c)
	write(t, l, Batch{Entries: entries(1, 9, 1, 4), HardState: state(1, 3), Sync: true})
	write(t, l, Batch{Entries: entries(5, 6, 2, 5), HardState: state(2, 3), Sync: true})
	must(t, l.Close())
	l, r := openLog(t, c)
	wantEntries(t, r.Entries, append(entries(1, 4, 1, 4), entries(5, 6, 2, 5)...))
	write(t, l, Batch{Entries: entries(7, 7, 2, 5), Sync: true})
}

func TestGapPanics(t *testing.T) {
	for name, list := range map[string][]wire.Entry{
		"after the log": {entry(3, 1, "")},
		"in the batch":  {entry(1, 1, ""), entry(3, 1, "")},
		"index 0":       {entry(0, 1, "")},
	} {
		t.Run(name, func(t *testing.T) {
			_, c := memConfig(t)
			l := createLog(t, c)
			defer func() {
				if recover() == nil {
					t.Fatal("no panic")
				}
			}()
			l.Write(Batch{Entries: list})
		})
	}
}

func TestMarks(t *testing.T) {
	conf := &wire.ConfState{Voters: []uint64{1, 2, 3}, Learners: []uint64{4}}
	local := Mark{Index: 5, Term: 1, ConfState: conf}
	ahead := Mark{Index: 9, Term: 1, ConfState: conf}
	_, c := memConfig(t)
	l := createLog(t, c)
	write(t, l, Batch{Entries: entries(1, 10, 1, 4), HardState: state(1, 6), Sync: true})
	write(t, l, Batch{Mark: &local})
	write(t, l, Batch{Mark: &ahead})
	must(t, l.Close())

	l, r := openLog(t, c)
	if got := fmt.Sprint(r.Mark.Index, r.Mark.Term, r.Mark.ConfState); got != fmt.Sprint(5, 1, conf) {
		t.Fatalf("mark = %s", got)
	}
	wantEntries(t, r.Entries, entries(6, 10, 1, 4))

	write(t, l, Batch{HardState: state(1, 9)})
	must(t, l.Close())
	_, r = openLog(t, c)
	if r.Mark.Index != 9 {
		t.Fatalf("mark is at %d although 9 is committed", r.Mark.Index)
	}
	wantEntries(t, r.Entries, entries(10, 10, 1, 4))
}

// TestReceivedSnapshot: the log jumps, and what lay beyond the snapshot's index before it came belongs to a history that
// is no more.
func TestReceivedSnapshot(t *testing.T) {
	for _, jump := range []uint64{5, 131} {
		_, c := memConfig(t)
		l := createLog(t, c)
		write(t, l, Batch{Entries: entries(1, 11, 1, 4), HardState: state(1, 3), Sync: true})
		write(t, l, Batch{Mark: &Mark{Index: jump, Term: 3}, HardState: state(3, jump), Sync: true})
		must(t, l.Close())
		l, r := openLog(t, c)
		wantEntries(t, r.Entries, nil)
		write(t, l, Batch{Entries: entries(jump+1, jump+2, 3, 4), Sync: true})
		must(t, l.Close())
		_, r = openLog(t, c)
		if r.Mark.Index != jump {
			t.Fatalf("mark = %+v", r.Mark)
		}
		wantEntries(t, r.Entries, entries(jump+1, jump+2, 3, 4))
	}
}

func TestOverrideAtMarkDropsWhatFollowed(t *testing.T) {
	_, c := memConfig(t)
	l := createLog(t, c)
	write(t, l, Batch{Entries: entries(1, 9, 1, 4), HardState: state(1, 2), Sync: true})
	write(t, l, Batch{Entries: entries(3, 5, 2, 4), HardState: state(2, 5), Sync: true})
	write(t, l, Batch{Mark: &Mark{Index: 5, Term: 2}})
	must(t, l.Close())
	_, r := openLog(t, c)
	wantEntries(t, r.Entries, nil)
}

func TestCutNamesAndHeaders(t *testing.T) {
	_, c := memConfig(t)
	l := createLog(t, c)
	write(t, l, Batch{Entries: entries(1, 10, 1, 500), HardState: state(1, 9), Sync: true})
	write(t, l, Batch{Entries: entries(11, 18, 1, 600), Sync: true})
	want := "0000000000000000-0000000000000000.wal 0000000000000001-000000000000000b.wal " +
		"0000000000000002-0000000000000013.wal"
	if got := segmentsIn(t, c); got != want {
		t.Fatalf("segments %s", got)
	}
	var trace []string
	must(t, walk(c.FS, c.Dir, func(r Record) error {
		if r.Type != RecordEntry {
			trace = append(trace, fmt.Sprintf("%s %d type %d", filepath.Base(r.File)[15:16], r.Number, r.Type))
		}
		return nil
	}))
	wantTrace := "0 0 type 4, 0 1 type 1, 0 2 type 5, 0 13 type 3, 1 0 type 4, 1 1 type 1, 1 2 type 3, " +
		"2 0 type 4, 2 1 type 1, 2 2 type 3"
	if got := strings.Join(trace, ", "); got != wantTrace {
		t.Fatalf("records %s", got)
	}
}

func TestBigEntries(t *testing.T) {
	_, c := memConfig(t)
	l := createLog(t, c)
	var want []wire.Entry
	for i, size := range []int{0, 1, 4095, 4096, 4097, 8192, 1 << 20, 3<<20 + 1, 5 << 20} {
		want = append(want, entry(uint64(i+1), 1, strings.Repeat("x", size)))
		write(t, l, Batch{Entries: want[i:], HardState: state(1, 0), Sync: true})
	}
	must(t, l.Close())
	_, r := openLog(t, c)
	wantEntries(t, r.Entries, want)
}

func TestReleaseAndPurge(t *testing.T) {
	_, c := memConfig(t)
	l := createLog(t, c)
	for i := uint64(1); i <= 40; i++ {
		write(t, l, Batch{Entries: entries(i, i, 1, 1000), HardState: state(1, i), Sync: true})
	}
	all := segmentsIn(t, c)
	must(t, l.Release(40))
	must(t, l.Purge(1))
	if got := segmentsIn(t, c); got != all {
		t.Fatalf("without a mark nothing may go, but left are %s", got)
	}
	write(t, l, Batch{Mark: &Mark{Index: 30, Term: 1}})
	must(t, l.Purge(1))
	if got := segmentsIn(t, c); got != all {
		t.Fatalf("nothing was released, but left are %s", got)
	}
	must(t, l.Release(18))
	must(t, l.Purge(8))
	must(t, l.Release(40))
	l.check(t)
	before := strings.Fields(segmentsIn(t, c))
	if len(before) != 8 {
		t.Fatalf("%d segments left, want 8", len(before))
	}
	must(t, l.Purge(1))
	for _, name := range strings.Fields(segmentsIn(t, c))[1:] {
		if _, index, _ := parseSegmentName(name); index <= 30 {
			t.Fatalf("%s could have gone too", name)
		}
	}
	must(t, l.Close())
	_, r := openLog(t, c)
	if r.Mark.Index != 30 {
		t.Fatalf("mark = %+v", r.Mark)
	}
	wantEntries(t, r.Entries, entries(31, 40, 1, 1000))
}

func TestUncommittedMarkReleasesNothing(t *testing.T) {
	_, c := memConfig(t)
	l := createLog(t, c)
	write(t, l, Batch{Entries: entries(1, 20, 1, 1000), HardState: state(1, 5), Sync: true})
	write(t, l, Batch{Entries: entries(21, 25, 1, 1000), Mark: &Mark{Index: 19, Term: 1}})
	must(t, l.Release(19))
	must(t, l.Purge(1))
	must(t, l.Close())
	_, r := openLog(t, c)
	wantEntries(t, r.Entries, entries(1, 25, 1, 1000))
}

func TestPurgeSparesLockedSegments(t *testing.T) {
	mem, c := memConfig(t)
	l := createLog(t, c)
	write(t, l, Batch{Entries: entries(1, 5, 1, 1000), HardState: state(1, 5), Sync: true})
	write(t, l, Batch{Mark: &Mark{Index: 5, Term: 1}, Entries: entries(6, 10, 1, 1000)})
	write(t, l, Batch{Mark: &Mark{Index: 5, Term: 1}})
	must(t, l.Release(5))
	write(t, l, Batch{HardState: state(1, 10), Mark: &Mark{Index: 10, Term: 1}})
	must(t, l.Release(10))
	first := filepath.Join(c.Dir, segmentName(0, 0))
	reader, err := mem.OpenWrite(first)
	must(t, err)
	must(t, reader.Lock(vfs.LockOFD))
	all := segmentsIn(t, c)
	must(t, l.Purge(1))
	if got := segmentsIn(t, c); got != all {
		t.Fatalf("left are %s", got)
	}
	must(t, reader.Close())
	must(t, l.Purge(1))
	if got := segmentsIn(t, c); got == all {
		t.Fatal("nothing was purged")
	}
}

func TestPoisonedAfterFailure(t *testing.T) {
	broken := errors.New("input/output error")
	cases := map[string]struct {
		fail func(vfs.Op) error
		want error
	}{
		"sync":              {vfs.FailNth(vfs.OpSync, 4, broken), broken},
		"write":             {vfs.FailNth(vfs.OpWrite, 3, broken), broken},
		"cut: truncate":     {vfs.FailNth(vfs.OpTruncate, 1, broken), broken},
		"cut: create":       {vfs.FailNth(vfs.OpCreate, 2, broken), broken},
		"grow: preallocate": {vfs.FailNth(vfs.OpPreallocate, 2, broken), broken},
		"cut: preallocate":  {vfs.FailNth(vfs.OpPreallocate, 3, broken), broken},
		"sync without room": {vfs.FailNth(vfs.OpSync, 4, syscall.ENOSPC), syscall.ENOSPC},
		"cut: rename":       {vfs.FailNth(vfs.OpRename, 3, broken), broken},
		"cut: sync of name": {vfs.FailNth(vfs.OpSyncDir, 3, broken), broken},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			mem, c := memConfig(t)
			c.FS = vfs.Intercept(mem, test.fail)
			l := createLog(t, c)
			var first error
			for i := uint64(1); first == nil && i < 20; i++ {
				first = l.Write(Batch{Entries: entries(i, i, 1, 500), HardState: state(1, i), Sync: true})
			}
			var failed *FailedError
			if !errors.As(first, &failed) || !errors.Is(first, test.want) {
				t.Fatalf("error = %v", first)
			}
			calls := []func() error{
				func() error { return l.Write(Batch{Sync: true}) },
				func() error { return l.Release(1) },
				func() error { return l.Purge(1) },
				l.Prepare, l.Close, l.Close,
			}
			for i, call := range calls {
				if err := call(); err != first {
					t.Fatalf("call %d: error = %v, want the first one again", i, err)
				}
			}
		})
	}
}

func TestClosedLog(t *testing.T) {
	_, c := memConfig(t)
	l := createLog(t, c)
	must(t, l.Prepare())
	must(t, l.Write(Batch{Entries: entries(1, 1, 1, 1), HardState: state(1, 0)}))
	must(t, l.Close())
	for i, err := range []error{l.Write(Batch{}), l.Prepare(), l.Release(1), l.Purge(1), l.Close()} {
		if !errors.Is(err, ErrClosed) {
			t.Fatalf("call %d: error = %v", i, err)
		}
	}
	if _, err := c.FS.Stat(c.Dir + "/0.tmp"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("the unused segment was left: %v", err)
	}
	openLog(t, c)
}

func TestPrepare(t *testing.T) {
	mem, c := memConfig(t)
	created := 0
	c.FS = vfs.Intercept(mem, func(o vfs.Op) error {
		if o.Kind == vfs.OpCreate {
			created++
		}
		return nil
	})
	l := createLog(t, c)
	next := uint64(0)
	for range 5 {
		select {
		case <-l.PrepareWanted():
		default:
			t.Fatal("no segment is wanted")
		}
		must(t, l.Prepare())
		must(t, l.Prepare())
		before := created
		tail := l.tail
		for l.tail == tail {
			next++
			write(t, l, Batch{Entries: entries(next, next, 1, 900), HardState: state(1, 0), Sync: true})
		}
		if created != before {
			t.Fatal("Write made a file although one was prepared")
		}
	}
}

// TestPrepareBesideWrite runs both at once; the race detector and the file system's locks judge.
func TestPrepareBesideWrite(t *testing.T) {
	_, c := memConfig(t)
	l := createLog(t, c)
	stop := make(chan struct{})
	done := make(chan error)
	go func() {
		for {
			select {
			case <-stop:
				done <- nil
				return
			case <-l.PrepareWanted():
				if err := l.Prepare(); err != nil {
					done <- err
					return
				}
			}
		}
	}()
	for i := uint64(1); i <= 200; i++ {
		must(t, l.Write(Batch{Entries: entries(i, i, 1, 900), HardState: state(1, i), Sync: true}))
		if i%50 == 0 {
			must(t, l.Write(Batch{Mark: &Mark{Index: i, Term: 1}}))
			must(t, l.Release(i))
			must(t, l.Purge(3))
		}
	}
	close(stop)
	must(t, <-done)
	must(t, l.Close())
	openLog(t, c)
}

func TestObservers(t *testing.T) {
	_, c := memConfig(t)
	syncs, written := 0, 0
	c.OnSync = func(time.Duration) { syncs++ }
	c.OnWrite = func(_ time.Duration, bytes int) { written += bytes }
	l := createLog(t, c)
	before := l.offset
	write(t, l, Batch{Entries: entries(1, 2, 1, 10), HardState: state(1, 0), Sync: true})
	write(t, l, Batch{HardState: state(1, 1)})
	if syncs != 1 || int64(written) != l.offset-before {
		t.Fatalf("%d syncs, %d bytes", syncs, written)
	}
}

// TestForgets: what is forgotten is durable, follows what was forgotten before, and nothing large is left.
func TestForgets(t *testing.T) {
	mem, c := memConfig(t)
	c.SegmentBytes = 3 << 20
	var written, synced, forgotten int64 // ends in the present segment
	c.FS = vfs.Intercept(mem, func(o vfs.Op) error {
		switch o.Kind {
		case vfs.OpWrite:
			if o.Offset == 0 {
				written, synced, forgotten = 0, 0, 0
			}
			written = o.Offset + o.Bytes
		case vfs.OpSync:
			synced = written
		case vfs.OpForget:
			if o.Offset%4096 != 0 || o.Offset > forgotten || o.Offset+4096 <= forgotten || o.Offset+o.Bytes > synced {
				t.Errorf("forgets %v, of which %d are durable and %d are forgotten", o, synced, forgotten)
			}
			forgotten = o.Offset + o.Bytes
		}
		return nil
	})
	l := createLog(t, c)
	for i := range uint64(24) {
		write(t, l, Batch{Entries: entries(i+1, i+1, 1, 250_000), HardState: state(1, i), Sync: i%3 > 0})
		if synced-forgotten > 1<<20 {
			t.Fatalf("after entry %d: %d bytes are durable, %d forgotten", i+1, synced, forgotten)
		}
	}
	must(t, l.Close())
	if l, _ = openLog(t, c); l.cached > l.offset || l.offset-l.cached >= 4096 {
		t.Fatalf("opened with %d of %d bytes forgotten", l.cached, l.offset)
	}
}

func TestNoSync(t *testing.T) {
	mem, c := memConfig(t)
	c.NoSync = true
	c.FS = vfs.Intercept(mem, func(o vfs.Op) error {
		if o.Kind == vfs.OpSync || o.Kind == vfs.OpSyncDir {
			return errors.New("a sync")
		}
		return nil
	})
	l := createLog(t, c)
	write(t, l, Batch{Entries: entries(1, 20, 1, 1000), HardState: state(1, 0), Sync: true})
	must(t, l.Close())
	openLog(t, c)
}

func TestReadLeavesTheLogAlone(t *testing.T) {
	mem, c := memConfig(t)
	l := createLog(t, c)
	write(t, l, Batch{Entries: entries(1, 20, 1, 1000), HardState: state(1, 4), Sync: true})
	looking := c
	looking.FS = vfs.Intercept(mem, func(o vfs.Op) error {
		switch o.Kind {
		case vfs.OpOpen, vfs.OpList, vfs.OpRead, vfs.OpClose:
			return nil
		}
		return fmt.Errorf("unexpected %s", o)
	})
	r, err := Read(looking)
	must(t, err)
	wantEntries(t, r.Entries, entries(1, 20, 1, 1000))
	meta, err := ReadMetadata(looking.FS, c.Dir)
	must(t, err)
	if meta != testMeta || r.Metadata != testMeta {
		t.Fatalf("metadata %+v and %+v", meta, r.Metadata)
	}
}

func TestWalkReturnsVisitorsError(t *testing.T) {
	_, c := memConfig(t)
	createLog(t, c)
	enough := errors.New("enough")
	if err := walk(c.FS, c.Dir, func(Record) error { return enough }); err != enough {
		t.Fatalf("error = %v", err)
	}
}

func TestSegmentNames(t *testing.T) {
	for _, seq := range []uint64{0, 1, 0xabc, 1<<64 - 1} {
		name := segmentName(seq, seq/3)
		if s, i, ok := parseSegmentName(name); !ok || s != seq || i != seq/3 {
			t.Errorf("%s parsed as %d, %d, %t", name, s, i, ok)
		}
	}
	for _, name := range []string{
		"0.tmp", "0000000000000000-0000000000000000.wal.broken", "0-0.wal", "+000000000000000-0000000000000000.wal",
		"000000000000000A-0000000000000000.wal", "0000000000000000-0000000000000000.wal ", "",
	} {
		if _, _, ok := parseSegmentName(name); ok {
			t.Errorf("%q passes for a segment", name)
		}
	}
}
