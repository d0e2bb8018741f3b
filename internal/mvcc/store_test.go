package mvcc

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/schema"
)

func appendRecord(m *memStore, rev schema.Rev, kv schema.KeyValue) {
	m.Append(rev, kv.CreateRevision == 0 && len(kv.Key) > 0, kv.Append(nil))
}

func compactRev(main int64) []byte { return schema.AppendRev(nil, schema.Rev{Main: main}, false) }

// What a snapshot restored with a raised revision looks like: an empty record
// at the new revision and a scheduled compaction there.
func TestRestoreRaisedRevision(t *testing.T) {
	m := newMemStore()
	appendRecord(m, schema.Rev{Main: 2}, schema.KeyValue{Key: []byte("a"), CreateRevision: 2, ModRevision: 2, Version: 1})
	m.Append(schema.Rev{Main: 100}, false, nil)
	m.meta[schema.MetaScheduledCompact] = compactRev(100)
	s := restore(t, m, m.options())
	if s.Rev() != 100 || s.CompactRev() != 100 || !s.Compacting() {
		t.Fatalf("restored at %d/%d", s.Rev(), s.CompactRev())
	}
	finishCompaction(t, s, 10)
	s.check(m)
	v := view(t, s, m)
	all, err := v.Range(Query{Key: []byte{0}, End: []byte{0}})
	if err != nil || all.Count != 1 || len(all.Records) != 1 {
		t.Fatalf("range after restore: %+v %v", all, err)
	}
	if _, err := v.Range(Query{Key: []byte("a"), Revision: 99}); !errors.Is(err, kverr.Compacted) {
		t.Fatalf("below the raised revision: %v", err)
	}
	if put(s, "a", "2", 0); s.Rev() != 101 {
		t.Fatalf("revision %d after a put", s.Rev())
	}
}

// The compaction knows a revision whose records it removed.
func TestRestoreRevisionFromCompaction(t *testing.T) {
	s, m := newStore(t)
	put(s, "a", "1", 0)
	remove(s, "a", "")
	put(s, "b", "1", 0)
	remove(s, "b", "")
	put(s, "c", "1", 0)
	remove(s, "c", "")
	compact(t, s, 6)
	m.records = m.records[:0] // as etcd before 3.5.16, which removed that tombstone too
	m.meta[schema.MetaFinishedCompact] = compactRev(7)
	again := restore(t, m, m.options())
	if again.Rev() != 7 || again.CompactRev() != 7 || again.Compacting() {
		t.Fatalf("restored at %d/%d", again.Rev(), again.CompactRev())
	}
}

// Records that a finished compaction left behind are removed by the next one.
func TestRestoreLeftovers(t *testing.T) {
	s, m := newStore(t)
	for i := range 5 {
		put(s, "a", fmt.Sprint(i), 0)
	}
	put(s, "b", "1", 0)
	m.meta[schema.MetaScheduledCompact] = compactRev(7)
	m.meta[schema.MetaFinishedCompact] = compactRev(7)
	again := restore(t, m, m.options())
	put(again, "c", "1", 0)
	compact(t, again, 8)
	again.check(m)
	if len(m.records) != 3 {
		t.Fatalf("%d records left, want 3", len(m.records))
	}
}

func TestRestoreRefusesDamage(t *testing.T) {
	good := schema.KeyValue{Key: []byte("a"), CreateRevision: 2, ModRevision: 2, Version: 1}
	cases := map[string]struct {
		records []memRecord
		opts    Options
		want    string
	}{
		"record": {
			records: []memRecord{{schema.Rev{Main: 2, Sub: 1}, false, []byte{0x0a, 9}}},
			want:    "revision 2/1",
		},
		"order": {
			records: []memRecord{{schema.Rev{Main: 3}, false, good.Append(nil)}, {schema.Rev{Main: 2}, false, good.Append(nil)}},
			want:    "above 3/0, found 2/0",
		},
		"scheduled": {opts: Options{ScheduledCompact: []byte("x")}, want: schema.MetaScheduledCompact},
		"revision": {
			records: []memRecord{{schema.Rev{Main: 1 << 62}, false, good.Append(nil)}},
			want:    "found 4611686018427387904/0",
		},
		"huge":     {opts: Options{FinishedCompact: compactRev(1 << 62)}, want: "found 4611686018427387904/0"},
		"finished": {opts: Options{FinishedCompact: []byte{}}, want: schema.MetaFinishedCompact},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			m := newMemStore()
			m.records = c.records
			r := m.reader()
			defer r.Release()
			_, err := Restore(m, r, c.opts)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

// broken is a reader that fails.
type broken struct{ *memReader }

var errBroken = errors.New("broken disk")

func (broken) Record(schema.Rev) ([]byte, error)                { return nil, errBroken }
func (broken) Records([][]byte, []schema.Rev) ([][]byte, error) { return nil, errBroken }
func (broken) Sizes([]int, []schema.Rev) ([]int, error)         { return nil, errBroken }
func (broken) Scan(schema.Rev, schema.Rev, func(schema.Rev, bool, []byte) bool) error {
	return errBroken
}

func TestReaderErrorsGoUp(t *testing.T) {
	s, m := newStore(t)
	put(s, "a", "1", 0)
	put(s, "a", "2", 0)
	v := s.View(broken{m.reader()})
	defer v.Release()
	s.opts.OpenReader = func() Reader { return broken{m.reader()} }
	if err := s.Compact(3); err != nil {
		t.Fatal(err)
	}
	all := ChangesQuery{Key: []byte{0}, End: []byte{0}, From: 2}
	for name, do := range map[string]func() error{
		"Range":         func() error { _, err := v.Range(Query{Key: []byte("a")}); return err },
		"Range ByValue": func() error { _, err := v.Range(Query{Key: []byte("a"), Target: ByValue}); return err },
		"HashKV":        func() error { _, err := v.HashKV(0); return err },
		"Changes":       func() error { _, err := v.Changes(all); return err },
		"Changes scan":  func() error { c := collector{v: v, q: all}; _, err := c.byScan(); return err },
		"CompactStep":   func() error { _, err := s.CompactStep(10); return err },
		"Restore":       func() error { _, err := Restore(m, broken{m.reader()}, Options{}); return err },
	} {
		if err := do(); !errors.Is(err, errBroken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestViewReferences(t *testing.T) {
	s, m := newStore(t)
	v := s.View(m.reader())
	if !v.Retain() {
		t.Fatal("Retain of a held view failed")
	}
	v.Release()
	if m.open.Load() != 1 {
		t.Fatal("the reader was released early")
	}
	v.Release()
	if m.open.Load() != 0 {
		t.Fatal("the reader was not released")
	}
	if v.Retain() {
		t.Fatal("Retain of a released view succeeded")
	}
	mustPanic(t, "one release too many", v.Release)
}

func TestMisusePanics(t *testing.T) {
	s, m := newStore(t)
	tx := s.Begin()
	mustPanic(t, "second Begin", func() { s.Begin() })
	mustPanic(t, "View inside a transaction", func() { s.View(m.reader()) })
	tx.End()
	mustPanic(t, "Put after End", func() { tx.Put([]byte("a"), nil, 0) })
	mustPanic(t, "second End", func() { tx.End() })
}

func mustPanic(t *testing.T, what string, fn func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s did not panic", what)
		}
	}()
	fn()
}

// Inside transactions negative revisions count, but for -1 while that is the
// compacted revision.
func TestRevisionRuleInTxn(t *testing.T) {
	s, m := newStore(t)
	put(s, "a", "1", 0)
	put(s, "a", "2", 0)
	expect := func(compacted string, want map[int64]error) {
		t.Helper()
		v := view(t, s, m)
		tx := s.Begin()
		defer tx.End()
		for rev, err := range want {
			_, viewErr := v.Range(Query{Key: []byte("a"), Revision: rev, InTxn: true})
			for _, got := range []error{v.CheckRevision(rev), tx.CheckRevision(rev), viewErr} {
				if got != err {
					t.Errorf("%s, revision %d: %v, want %v", compacted, rev, got, err)
				}
			}
		}
	}
	expect("never compacted", map[int64]error{-2: kverr.Compacted, -1: nil, 0: nil, 1: nil, 3: nil, 4: kverr.FutureRev})
	compact(t, s, 2)
	expect("compacted at 2", map[int64]error{-2: kverr.Compacted, -1: kverr.Compacted, 0: nil, 1: kverr.Compacted, 2: nil, 3: nil, 4: kverr.FutureRev})
}

func TestPutInfo(t *testing.T) {
	s, _ := newStore(t)
	tx := s.Begin()
	first := tx.Put([]byte("a"), []byte("1"), 7)
	second := tx.Put([]byte("a"), []byte("2"), 0)
	record, err := tx.Record(second.Prev.Rev)
	tx.End()
	if !first.Created || first.Prev != (Item{}) || second.Created {
		t.Fatalf("first %+v, second %+v", first, second)
	}
	want := Item{Rev: schema.Rev{Main: 2}, Create: 2, Version: 1, Lease: 7}
	if second.Prev != want || err != nil || !strings.Contains(string(record), "1") {
		t.Fatalf("before the second put: %+v %q %v, want %+v", second.Prev, record, err, want)
	}
}

func TestItems(t *testing.T) {
	s, m := newStore(t)
	for i, key := range []string{"a", "b", "c", "d"} {
		put(s, key, "v", int64(i))
	}
	remove(s, "b", "")
	v := view(t, s, m)
	tx := s.Begin()
	tx.Put([]byte("c"), nil, 9)
	list := func(items func(key, end []byte, fn func([]byte, Item) bool)) (out string) {
		items([]byte("a"), []byte("d"), func(key []byte, it Item) bool {
			out += fmt.Sprintf("%s@%d/%d ", key, it.Rev.Main, it.Lease)
			return true
		})
		return out
	}
	if got := list(v.Items); got != "a@2/0 c@4/2 " {
		t.Errorf("in the view: %s", got)
	}
	if got := list(tx.Items); got != "a@2/0 c@7/9 " {
		t.Errorf("in the transaction: %s", got)
	}
	v.Items([]byte("a"), []byte{0}, func(key []byte, _ Item) bool {
		if string(key) != "a" {
			t.Errorf("went on to %s", key)
		}
		return false
	})
	tx.End()
}

// The store keeps nothing that belongs to the caller.
func TestArgumentsAreCopied(t *testing.T) {
	s, m := newStore(t)
	key, value := []byte("key"), []byte("value")
	tx := s.Begin()
	tx.Put(key, value, 0)
	tx.End()
	copy(key, "XXX")
	copy(value, "XXXXX")
	res, err := view(t, s, m).Range(Query{Key: []byte("key")})
	if err != nil || len(res.Records) != 1 || !strings.Contains(showRecord(res.Records[0]), `key="value"`) {
		t.Fatalf("found %+v %v", res, err)
	}
}

func TestPagerMovesToNewerView(t *testing.T) {
	s, m := newStore(t)
	for i := range 20 {
		put(s, fmt.Sprintf("k%02d", i), "old", 0)
	}
	first := view(t, s, m)
	p, err := first.Pager(Query{Key: []byte("k"), End: []byte("l"), Limit: 15})
	if err != nil {
		t.Fatal(err)
	}
	n := takePage(t, p, 4)
	remove(s, "k05", "")
	put(s, "k06", "new", 0)
	compact(t, s, first.Rev())
	if err := p.Move(view(t, s, m)); err != nil {
		t.Fatal(err)
	}
	for {
		got := takePage(t, p, 4)
		if n += got; got == 0 {
			break
		}
	}
	if n != 15 || !p.More() || p.Count() != 20 || p.Rev() != first.Rev() {
		t.Fatalf("%d records, more %v, count %d, revision %d", n, p.More(), p.Count(), p.Rev())
	}
	compact(t, s, s.Rev())
	if err := p.Move(view(t, s, m)); !errors.Is(err, kverr.Compacted) {
		t.Fatalf("Move behind a compaction: %v", err)
	}
}

func takePage(t *testing.T, p *Pager, n int) int {
	t.Helper()
	records, err := p.Next(n)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		if !strings.Contains(showRecord(r), `"old"`) {
			t.Fatalf("page has a later record: %s", showRecord(r))
		}
	}
	return len(records)
}

func TestRoots(t *testing.T) {
	s, m := newStore(t)
	roots := NewRoots(2)
	for i := range 3 {
		put(s, "a", fmt.Sprint(i), 0)
		roots.Add(view(t, s, m).Root())
		roots.Get(2) // keep the first in use
	}
	for rev, want := range map[int64]bool{2: true, 3: false, 4: true, 5: false} {
		if r := roots.Get(rev); (r != nil) != want || r != nil && r.Rev() != rev {
			t.Errorf("root of revision %d: %v, want %v", rev, r, want)
		}
	}
	roots.Forget(3)
	if roots.Get(2) != nil || roots.Get(4) == nil {
		t.Error("Forget(3) dropped the wrong root")
	}
}

// Readers use views of their own while the writer writes and compacts; the
// race detector and the frozen sums are the judges.
func TestViewsAreReadConcurrently(t *testing.T) {
	s, m := newStore(t)
	const keys = 50
	var wg sync.WaitGroup
	for round := range 20 {
		for i := range keys {
			put(s, fmt.Sprintf("k%02d", i), fmt.Sprint(round), 0)
		}
		if round%3 == 2 {
			if err := s.Compact(s.Rev() - keys); err != nil {
				t.Fatal(err)
			}
		}
		v := s.View(m.reader())
		hash, err := v.HashKV(0)
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			defer v.Release()
			readRound(t, v, keys, fmt.Sprintf("%q", fmt.Sprint(round)), hash)
		})
		if _, err := s.CompactStep(70); err != nil {
			t.Fatal(err)
		}
	}
	wg.Wait()
	if n := m.open.Load(); n != 0 {
		t.Fatalf("%d readers were not released", n)
	}
}

func readRound(t *testing.T, v *View, keys int, value string, hash Hash) {
	for range 5 {
		res, err := v.Range(Query{Key: []byte("k"), End: []byte("l")})
		if err != nil || res.Count != int64(keys) {
			t.Errorf("range: count %d, %v", res.Count, err)
			return
		}
		for _, r := range res.Records {
			if !strings.Contains(showRecord(r), value) {
				t.Errorf("view of value %s has %s", value, showRecord(r))
			}
		}
		if got, err := v.HashKV(0); err != nil || got != hash {
			t.Errorf("hash %+v %v, want %+v", got, err, hash)
		}
		if _, err := v.Changes(ChangesQuery{Key: []byte("k0"), End: []byte("k3"), From: max(1, v.CompactRev())}); err != nil {
			t.Error(err)
		}
	}
}
