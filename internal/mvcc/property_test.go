package mvcc

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/quoin-kv/quoin/internal/ordtree"
	"github.com/quoin-kv/quoin/internal/schema"
)

// check panics if an invariant of the store is broken.
func (s *Store) check(m *memStore) {
	expect(s.finished <= s.scheduled && s.scheduled <= s.rev, "%d <= %d <= %d", s.finished, s.scheduled, s.rev)
	expect((s.job != nil) == (s.finished < s.scheduled), "a running compaction exactly between %d and %d", s.finished, s.scheduled)
	indexed := map[schema.Rev]bool{}
	live := 0
	s.tree.Ascend(ordtree.All, nil, nil, func(_ ordtree.Key, it item) bool {
		it.check()
		expect(it.main <= s.rev, "revision at most %d, found %v", s.rev, it.main)
		for i := range it.len() {
			indexed[it.version(i).rev] = it.version(i).tombstone()
		}
		if it.live() {
			live++
		}
		return true
	})
	expect(live == s.tree.Len(ordtree.Counted), "%d live keys, found %d", s.tree.Len(ordtree.Counted), live)
	if s.job != nil {
		for _, d := range slices.Concat(s.job.drops.heap, s.job.drops.ahead) {
			indexed[d.rev] = d.tombstone
		}
		s.job.drops.check()
	}
	expect(len(indexed) == len(m.records), "%d records, found %d", len(indexed), len(m.records))
	for _, r := range m.records {
		tombstone, ok := indexed[r.rev]
		expect(ok && tombstone == r.tombstone, "record %v in the index", r.rev)
	}
}

func (d *drops) check() {
	for i := 1; i < len(d.heap); i++ {
		expect(d.heap[(i-1)/2].rev.Compare(d.heap[i].rev) < 0, "a heap, found %v above %v", d.heap[(i-1)/2], d.heap[i])
	}
	for i := 1; i < len(d.ahead); i++ {
		expect(d.ahead[i-1].rev.Compare(d.ahead[i].rev) < 0, "ascending drops, found %v", d.ahead)
	}
	expect(len(d.heap) == 0 || len(d.ahead) == 0 || d.ahead[len(d.ahead)-1].rev.Compare(d.heap[0].rev) < 0, "%v below %v", d.ahead, d.heap)
}

func (it *item) check() {
	head := it.head()
	expect(head.tombstone() == !it.live(), "a tombstone exactly if dead, found %+v", head)
	plain := len(it.past()) == 0 && it.lease() == 0 && (!it.live() || head.number == 1 && head.created == it.main)
	expect(plain == (it.more == nil), "more exactly if needed, found %+v", it)
	for i := 1; i < it.len(); i++ {
		a, b := it.version(i-1), it.version(i)
		expect(a.rev.Compare(b.rev) < 0, "a revision above %v, found %v", a.rev, b.rev)
		if !a.tombstone() && !b.tombstone() {
			expect(a.created == b.created && a.number+1 == b.number, "%+v to follow %+v", b, a)
		}
		if a.tombstone() && !b.tombstone() {
			expect(b.created == b.rev.Main && b.number == 1, "a creation after %+v, found %+v", a, b)
		}
	}
}

func expect(ok bool, format string, args ...any) {
	if !ok {
		panic("mvcc: expected " + fmt.Sprintf(format, args...))
	}
}

// run is one random history, in the store and in the model.
type run struct {
	t      *testing.T
	r      *rand.Rand
	s      *Store
	m      *memStore
	model  *model
	opts   func() Options
	pinned []pinned
	attach map[string]int64
}

// pinned is a view with what must be seen through it.
type pinned struct {
	v *View
	m model
}

func newRun(t *testing.T, seed uint64, byKey bool) *run {
	m := newMemStore()
	u := &run{t: t, r: rand.New(rand.NewPCG(seed, 17)), m: m, model: newModel(), attach: map[string]int64{}}
	u.opts = func() Options {
		opts := m.options()
		if byKey {
			opts.OpenReader = nil
		}
		u.attach = map[string]int64{}
		opts.Attach = func(key []byte, lease int64) { u.attach[string(key)] = lease }
		return opts
	}
	u.s = restore(t, m, u.opts())
	return u
}

func (u *run) key() string { return fmt.Sprintf("k%02d", u.r.IntN(24)) }

// span is a random key and range end of every kind.
func (u *run) span() (key, end string) {
	switch u.r.IntN(5) {
	case 0:
		return u.key(), ""
	case 1:
		return u.key(), "\x00"
	case 2:
		return "\x00", "\x00"
	default:
		return u.key(), u.key()
	}
}

func (u *run) step() {
	switch n := u.r.IntN(100); {
	case n < 60:
		u.transaction()
	case n < 68:
		u.compaction()
	case n < 80:
		if task := u.s.TakeHashTask(); task != nil && u.r.IntN(2) == 0 {
			defer u.s.ReturnHashTask(task)
			if _, err := task.Step(u.r.IntN(30)); err != nil {
				u.t.Fatal(err)
			}
			u.transaction()
		} else if task != nil {
			u.s.ReturnHashTask(task)
		}
		if _, err := u.s.CompactStep(1 + u.r.IntN(9)); err != nil {
			u.t.Fatal(err)
		}
	case n < 85:
		u.pin()
	case n < 88:
		u.restart()
	default:
		u.read()
	}
	u.s.check(u.m)
}

func (u *run) transaction() {
	tx, mt := u.s.Begin(), u.model.begin()
	first := len(u.model.history)
	for range u.r.IntN(4) {
		if u.r.IntN(3) > 0 {
			key, value, lease := u.key(), fmt.Sprint(u.r.IntN(50)), int64(u.r.IntN(3))
			tx.Put([]byte(key), []byte(value), lease)
			mt.put(key, value, lease)
		} else {
			u.deletion(tx, mt)
		}
		u.readInside(tx, mt)
	}
	events := tx.End()
	mt.end()
	u.sameEvents("events of a transaction", events, u.model.changesFrom(first), u.model.history[first:])
	if u.s.Rev() != u.model.rev() {
		u.t.Fatalf("revision %d, want %d", u.s.Rev(), u.model.rev())
	}
}

// changesFrom are the history's changes with prev hidden where compacted.
func (m *model) changesFrom(first int) []modelChange {
	out := slices.Clone(m.history[first:])
	for i := range out {
		if out[i].rev.Main-1 < m.compacted {
			out[i].prev = schema.Rev{}
		}
	}
	return out
}

func (u *run) deletion(tx *Tx, mt *modelTx) {
	key, end := u.span()
	if u.r.IntN(3) > 0 {
		end = ""
	}
	var got []string
	for _, d := range tx.DeleteRange([]byte(key), []byte(end)) {
		got = append(got, string(d.Key))
	}
	if want := mt.deleteRange(key, end); !slices.Equal(got, want) {
		u.t.Fatalf("DeleteRange(%q, %q) deleted %q, want %q", key, end, got, want)
	}
}

// readInside reads in the open transaction the latest state and the state
// before it.
func (u *run) readInside(tx *Tx, mt *modelTx) {
	inside := &model{states: append(slices.Clone(u.model.states), mt.state), compacted: u.model.compacted}
	if !mt.wrote {
		inside.states = u.model.states
	}
	q := u.query(0)
	u.sameAnswer(q, inside, tx.Range)
	q.Revision = u.model.rev()
	u.sameAnswer(q, u.model, tx.Range)
	key := u.key()
	it, ok := tx.Get([]byte(key))
	want, found := mt.state[key]
	if ok != found || ok && (it.Rev != want.rev || it.Version != want.kv.Version || it.Create != want.kv.CreateRevision || it.Lease != want.kv.Lease) {
		u.t.Fatalf("Get(%q) = %+v %v, want %+v", key, it, ok, want)
	}
}

func (u *run) compaction() {
	rev := u.model.compacted + int64(u.r.IntN(12))
	if err := u.s.Compact(rev); err == nil {
		u.model.compacted = rev
	} else if rev > u.model.compacted && rev <= u.model.rev() {
		u.t.Fatalf("Compact(%d) between %d and %d: %v", rev, u.model.compacted, u.model.rev(), err)
	}
	if u.s.CompactRev() != u.model.compacted {
		u.t.Fatalf("compacted %d, want %d", u.s.CompactRev(), u.model.compacted)
	}
}

func (u *run) pin() {
	frozen := *u.model
	u.pinned = append(u.pinned, pinned{u.s.View(u.m.reader()), frozen})
	if len(u.pinned) > 5 {
		u.pinned[0].v.Release()
		u.pinned = u.pinned[1:]
	}
}

func (u *run) restart() {
	u.s = restore(u.t, u.m, u.opts())
	leases := map[string]int64{}
	for k, v := range u.model.states[u.model.rev()] {
		if v.kv.Lease != 0 {
			leases[k] = v.kv.Lease
		}
	}
	if !maps.Equal(leases, u.attach) {
		u.t.Fatalf("leases attached at restore: %v, want %v", u.attach, leases)
	}
	if u.s.Rev() != u.model.rev() || u.s.CompactRev() != u.model.compacted {
		u.t.Fatalf("restored at %d/%d, want %d/%d", u.s.Rev(), u.s.CompactRev(), u.model.rev(), u.model.compacted)
	}
}

// read compares everything a view can be asked, on a new one or a pinned one.
func (u *run) read() {
	p := pinned{u.s.View(u.m.reader()), *u.model}
	defer p.v.Release()
	if len(u.pinned) > 0 && u.r.IntN(2) == 0 {
		p = u.pinned[u.r.IntN(len(u.pinned))]
	}
	for range 4 {
		q := u.query(p.v.Rev())
		u.sameAnswer(q, &p.m, p.v.Range)
		u.samePages(q, &p)
	}
	u.sameChanges(&p)
	u.sameHash(&p)
}

func (u *run) query(rev int64) Query {
	key, end := u.span()
	q := Query{Key: []byte(key), End: []byte(end), Limit: int64(u.r.IntN(8) - 1)}
	q.Order, q.Target = Order(u.r.IntN(3)), Target(u.r.IntN(5))
	q.KeysOnly, q.CountOnly = u.r.IntN(3) == 0, u.r.IntN(8) == 0
	if u.r.IntN(2) == 0 {
		q.Order, q.Target = OrderNone, ByKey
	}
	if rev > 0 && u.r.IntN(2) == 0 {
		q.Revision = max(rev+2-int64(u.r.IntN(20)), -1)
	}
	if u.r.IntN(4) == 0 {
		q.MinMod, q.MaxCreate = int64(u.r.IntN(30)), rev-int64(u.r.IntN(10))
	}
	if u.r.IntN(8) == 0 {
		q.MaxMod, q.MinCreate = rev-int64(u.r.IntN(5)), int64(u.r.IntN(30))
	}
	return q
}

func (u *run) sameAnswer(q Query, m *model, ask func(Query) (Result, error)) {
	u.t.Helper()
	want, more, count, wantErr := m.answer(q)
	got, err := ask(q)
	if !errors.Is(err, wantErr) || err == nil && wantErr != nil {
		u.t.Fatalf("query %+v at revision %d, compacted %d: error %v, want %v", q, m.rev(), m.compacted, err, wantErr)
	}
	if err != nil {
		return
	}
	if got.Count != count || got.More != more || got.Rev != m.rev() && !q.InTxn && u.s.tx.open == false {
		u.t.Fatalf("query %+v: count %d more %v revision %d, want %d %v %d", q, got.Count, got.More, got.Rev, count, more, m.rev())
	}
	if !slices.EqualFunc(got.Records, want, func(a []byte, b string) bool { return string(a) == b }) {
		u.t.Fatalf("query %+v:\nfound %q\nwant  %q", q, got.Records, want)
	}
}

// samePages reads a query in pieces, which together are the answer; the root
// of a pinned view must not change anything.
func (u *run) samePages(q Query, p *pinned) {
	u.t.Helper()
	q.Order, q.Target = OrderNone, ByKey
	q.MinMod, q.MaxMod, q.MinCreate, q.MaxCreate = 0, 0, 0, 0
	if len(u.pinned) > 0 {
		q.Root = u.pinned[0].v.Root()
	}
	pager, err := p.v.Pager(q)
	whole := Result{Rev: p.m.rev()}
	for err == nil {
		n := 1 + u.r.IntN(4)
		measured := pager.Clone()
		var piece [][]byte
		piece, err = pager.Next(n)
		sizes, sizesErr := measured.Sizes(n)
		if !errors.Is(sizesErr, err) || !slices.EqualFunc(sizes, piece, func(size int, record []byte) bool { return size == len(record) }) {
			u.t.Fatalf("query %+v: sizes %v (%v) of %q (%v)", q, sizes, sizesErr, piece, err)
		}
		if len(piece) == 0 {
			whole.Count, whole.More = pager.Count(), pager.More()
			break
		}
		whole.Records = append(whole.Records, piece...)
	}
	u.sameAnswer(q, &p.m, func(Query) (Result, error) { return whole, err })
	u.sameAnswer(q, &p.m, p.v.Range)
}

func (u *run) sameChanges(p *pinned) {
	u.t.Helper()
	key, end := u.span()
	from := max(1, p.m.compacted) + int64(u.r.IntN(10))
	q := ChangesQuery{Key: []byte(key), End: []byte(end), From: from, To: p.v.Rev() - int64(u.r.IntN(4))}
	q.MaxRevisions, q.MaxBytes = u.r.IntN(4), u.r.IntN(2)*(10+u.r.IntN(100))
	if q.To < q.From {
		return
	}
	c := collector{v: p.v, q: q, sp: makeSpan(q.Key, q.End)}
	d := c
	a, errA := c.byKey()
	b, errB := d.byScan()
	if errA != nil || errB != nil {
		u.t.Fatalf("changes %+v: %v, %v", q, errA, errB)
	}
	equal := func(x, y Event) bool {
		return x.Rev == y.Rev && x.Prev == y.Prev && x.Delete == y.Delete && x.Version == y.Version &&
			bytes.Equal(x.Key, y.Key) && bytes.Equal(x.Record, y.Record)
	}
	if a.Next != b.Next || !slices.EqualFunc(a.Events, b.Events, equal) {
		u.t.Fatalf("changes %+v:\nby key  %+v\nby scan %+v", q, a, b)
	}
	u.allChanges(p, q)
}

// allChanges follows Next through the whole span and compares with the model.
func (u *run) allChanges(p *pinned, q ChangesQuery) {
	u.t.Helper()
	want := p.m.changes(string(q.Key), string(q.End), q.From, q.To)
	var got []Event
	for to := q.To; q.From <= to; {
		c, err := p.v.Changes(q)
		if err != nil {
			u.t.Fatal(err)
		}
		if c.Next <= q.From {
			u.t.Fatalf("changes %+v: no progress, next is %d", q, c.Next)
		}
		u.withinBounds(q, c)
		got = append(got, c.Events...)
		q.From = c.Next
	}
	u.sameEvents("changes", got, want, nil)
}

func (u *run) withinBounds(q ChangesQuery, c Changes) {
	u.t.Helper()
	mains := map[int64]bool{}
	for _, e := range c.Events {
		mains[e.Rev.Main] = true
		if e.Rev.Main < q.From || e.Rev.Main >= c.Next {
			u.t.Fatalf("changes %+v: event at %v, next %d", q, e.Rev, c.Next)
		}
	}
	if q.MaxRevisions > 0 && len(mains) > q.MaxRevisions {
		u.t.Fatalf("changes %+v: %d revisions", q, len(mains))
	}
}

func (u *run) sameEvents(what string, got []Event, want, live []modelChange) {
	u.t.Helper()
	if len(got) != len(want) {
		u.t.Fatalf("%s: %d events, want %d\n%+v\n%+v", what, len(got), len(want), got, want)
	}
	for i, e := range got {
		w := want[i]
		if e.Rev != w.rev || e.Delete != w.delete || e.Prev != w.prev || string(e.Key) != string(w.kv.Key) ||
			!bytes.Equal(e.Record, w.kv.Append(nil)) || e.Version != w.kv.Version {
			u.t.Fatalf("%s: event %d is %+v, want %+v", what, i, e, w)
		}
		if live != nil && e.Lease != live[i].kv.Lease {
			u.t.Fatalf("%s: event %d has lease %d, want %d", what, i, e.Lease, live[i].kv.Lease)
		}
	}
}

func (u *run) sameHash(p *pinned) {
	u.t.Helper()
	rev := max(1, p.m.compacted) + int64(u.r.IntN(6))
	if rev > p.v.Rev() {
		return
	}
	prev := p.m.compacted
	h, cached := p.v.compactHash(rev)
	if cached {
		prev = h.CompactRev
	}
	got, err := p.v.HashKV(rev)
	if want := p.m.hash(rev, prev, cached); err != nil || got.Hash != want || got.CompactRev != prev {
		u.t.Fatalf("HashKV(%d) = %+v %v, want %d at compacted %d", rev, got, err, want, prev)
	}
}

// stored compares what is left in the storage after all compaction.
func (u *run) stored() {
	finishCompaction(u.t, u.s, 7)
	u.s.check(u.m)
	want := u.model.retained(u.model.compacted)
	if len(want) != len(u.m.records) {
		u.t.Fatalf("%d records stored, want %d", len(u.m.records), len(want))
	}
	for i, r := range u.m.records {
		if r.rev != want[i].rev || r.tombstone != want[i].delete || !bytes.Equal(r.record, want[i].kv.Append(nil)) {
			u.t.Fatalf("record %d is %+v, want %+v", i, r, want[i])
		}
	}
}

func TestAgainstModel(t *testing.T) {
	for seed := uint64(1); seed <= 40; seed++ {
		for _, byKey := range []bool{false, true} {
			t.Run(fmt.Sprintf("seed=%d/byKey=%v", seed, byKey), func(t *testing.T) {
				u := newRun(t, seed, byKey)
				for range 250 {
					u.step()
				}
				for range 10 {
					u.read()
				}
				for _, p := range u.pinned {
					p.v.Release()
				}
				u.stored()
				if n := u.m.open.Load(); n != 0 {
					t.Fatalf("%d readers were not released", n)
				}
			})
		}
	}
}
