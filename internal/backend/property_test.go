package backend

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/quoin-kv/quoin/internal/schema"
)

var seedFlag = flag.Uint64("seed", 0, "repeat the property test of this seed")

// model is the backend as simple as it gets: what the file holds, and the
// batches on top of it.
type model struct {
	file    modelState
	batches []modelBatch
	open    modelBatch
}

type modelState struct {
	records map[deletion][]byte
	small   map[string]string // "bucket/key"
	applied schema.Applied
}

type modelBatch struct {
	applied schema.Applied
	puts    []record
	deletes []deletion
	small   []change
}

func newModel() *model {
	return &model{file: modelState{records: map[deletion][]byte{}, small: map[string]string{}}}
}

func (m *model) flush(durable uint64) {
	for len(m.batches) > 0 && m.batches[0].applied.Index <= durable {
		m.file.apply(m.batches[0])
		m.batches = m.batches[1:]
	}
}

func (s *modelState) apply(b modelBatch) {
	for _, r := range b.puts {
		s.records[deletion{r.rev, r.tombstone}] = r.bytes
	}
	for _, d := range b.deletes {
		delete(s.records, d)
	}
	for _, c := range b.small {
		name := c.bucket.Name() + "/" + string(c.key)
		s.small[name] = string(c.value)
		if c.remove {
			delete(s.small, name)
		}
	}
	confState := s.applied.ConfState
	if b.applied.ConfState != nil {
		confState = b.applied.ConfState
	}
	s.applied = b.applied
	s.applied.ConfState = confState
}

// visible is what a new Reader must see: deletions only once they are flushed.
func (m *model) visible() string {
	var all []record
	for d, b := range m.file.records {
		all = append(all, record{d.rev, d.tombstone, b})
	}
	for _, b := range m.batches {
		all = append(all, b.puts...)
	}
	slices.SortFunc(all, func(a, b record) int { return a.rev.Compare(b.rev) })
	var out bytes.Buffer
	for _, r := range all {
		fmt.Fprintf(&out, "%v %t %s\n", r.rev, r.tombstone, r.bytes)
	}
	return out.String()
}

func (m *model) clone() *model {
	c := newModel()
	c.file.records, c.file.small = maps.Clone(m.file.records), maps.Clone(m.file.small)
	c.file.applied = m.file.applied
	return c
}

func seen(t testing.TB, r *Reader) string {
	t.Helper()
	var out bytes.Buffer
	var revs []schema.Rev
	var records [][]byte
	err := r.Scan(schema.Rev{}, schema.Rev{Main: 1 << 62}, func(rev schema.Rev, tombstone bool, rec []byte) bool {
		fmt.Fprintf(&out, "%v %t %s\n", rev, tombstone, rec)
		if got, err := r.Record(rev); err != nil || !bytes.Equal(got, rec) {
			t.Fatalf("Record(%v) = %q, %v; Scan says %q", rev, got, err, rec)
		}
		revs, records = append(revs, rev), append(records, rec)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	seenTogether(t, r, revs, records)
	return out.String()
}

// seenTogether makes sure that many records at once are what each is alone: in order, with gaps, and in no order; and that one which does
// not exist is noticed among them.
func seenTogether(t testing.TB, r *Reader, revs []schema.Rev, records [][]byte) {
	t.Helper()
	for _, step := range []int{1, 2, 3, len(revs)/2 + 1, len(revs) - 1} {
		var some []schema.Rev
		var want [][]byte
		for n := range revs {
			i := max(step, 1) * n % len(revs)
			some, want = append(some, revs[i]), append(want, records[i])
		}
		got, err := r.Records([][]byte{[]byte("before")}, some)
		if err != nil || !slices.EqualFunc(got[1:], want, bytes.Equal) || string(got[0]) != "before" {
			t.Fatalf("Records(%v) = %q, %v; each alone is %q", some, got, err, want)
		}
		sizes, err := r.Sizes(nil, some)
		if err != nil || !slices.EqualFunc(sizes, want, func(size int, record []byte) bool { return size == len(record) }) {
			t.Fatalf("Sizes(%v) = %v, %v, of %q", some, sizes, err, want)
		}
		for i := 1; i < len(some); i++ {
			if none := (schema.Rev{Main: some[i].Main, Sub: 1 << 20}); some[i].Sub < none.Sub {
				if _, err := r.Records(nil, slices.Insert(slices.Clone(some), i, none)); !errors.Is(err, ErrNoRecord) {
					t.Fatalf("Records with %v, which does not exist: %v", none, err)
				}
				break
			}
		}
	}
}

// history drives a backend and its model through the same random steps.
type history struct {
	t     testing.TB
	r     *rand.Rand
	place place
	b     *Backend
	m     *model
	rev   schema.Rev
	index uint64
	known []deletion // every record ever written
	pins  map[*Reader]string
	saved *savedFile
}

// savedFile is a copy of the file from earlier, with what it holds.
type savedFile struct {
	place place
	model *model
}

func (h *history) step() {
	switch n := h.r.IntN(100); {
	case n < 40:
		h.appendRecord()
	case n < 48:
		h.deleteRecord()
	case n < 58:
		h.changeSmall()
	case n < 78:
		h.commit()
	case n < 86:
		h.flush()
	case n < 91:
		h.pin()
	case n < 96:
		h.unpin()
	case n < 97:
		h.defragment()
	case n < 99:
		h.replace()
	default:
		h.crash()
	}
}

func (h *history) appendRecord() {
	for range 1 + h.r.IntN(40)*h.r.IntN(8) {
		if h.r.IntN(3) == 0 {
			h.rev.Sub++
		} else {
			h.rev = schema.Rev{Main: h.rev.Main + 1 + int64(h.r.IntN(2))}
		}
		rec := record{h.rev, h.r.IntN(5) == 0, bytes.Repeat([]byte{byte('a' + h.r.IntN(26))}, h.r.IntN(200)*h.r.IntN(2))}
		h.b.Append(rec.rev, rec.tombstone, rec.bytes)
		h.m.open.puts = append(h.m.open.puts, rec)
		h.known = append(h.known, deletion{rec.rev, rec.tombstone})
	}
	rec := h.m.open.puts[len(h.m.open.puts)-1]
	if got, err := h.b.Record(rec.rev); err != nil || !bytes.Equal(got, rec.bytes) {
		h.t.Fatalf("the writer does not see %v: %v", rec.rev, err)
	}
}

func (h *history) deleteRecord() {
	for range h.r.IntN(30) {
		if len(h.known) == 0 {
			return
		}
		d := h.known[h.r.IntN(len(h.known))]
		h.b.DeleteRecord(d.rev, d.tombstone)
		h.m.open.deletes = append(h.m.open.deletes, d)
	}
}

func (h *history) changeSmall() {
	for range h.r.IntN(5) {
		c := change{
			bucket: []schema.Bucket{schema.Lease, schema.Auth, schema.AuthRoles}[h.r.IntN(3)],
			key:    fmt.Appendf(nil, "key%d", h.r.IntN(20)),
			value:  fmt.Appendf(nil, "%d", h.r.IntN(1000)),
			remove: h.r.IntN(3) == 0,
		}
		if c.remove {
			h.b.Delete(c.bucket, c.key)
		} else {
			h.b.Put(c.bucket, c.key, c.value)
		}
		h.m.open.small = append(h.m.open.small, c)
	}
}

func (h *history) commit() {
	h.index += uint64(h.r.IntN(3))
	a := schema.Applied{Index: h.index, Term: (h.index + 49) / 50} // before the first entry there is no term
	if h.r.IntN(10) == 0 {
		a.ConfState = fmt.Appendf(nil, `{"voters":[%d]}`, h.index)
	}
	h.b.Commit(a)
	h.m.open.applied = a
	h.m.batches = append(h.m.batches, h.m.open)
	h.m.open = modelBatch{}
}

func (h *history) flush() {
	durable := h.index - min(h.index, uint64(h.r.IntN(8)))
	if _, err := h.b.Flush(durable); err != nil {
		h.t.Fatal(err)
	}
	h.m.flush(durable)
}

func (h *history) pin() {
	if len(h.pins) < 4 {
		h.pins[h.b.Reader()] = h.m.visible()
	}
}

func (h *history) unpin() {
	for r, want := range h.pins {
		if got := seen(h.t, r); got != want {
			h.t.Fatalf("pinned reader sees %d bytes, pinned %d:\n%s", len(got), len(want), firstDifference(got, want))
		}
		r.Release()
		delete(h.pins, r)
		return
	}
}

func (h *history) unpinAll() {
	for len(h.pins) > 0 {
		h.unpin()
	}
}

func (h *history) defragment() {
	if err := h.b.Defragment(context.Background(), nil); err != nil {
		h.t.Fatal(err)
	}
}

// replace goes back to a copy of the file, or makes one. Pinned readers must not notice.
func (h *history) replace() {
	if h.saved == nil {
		h.saved = &savedFile{h.place.fromSnapshot(h.t, snapshotOf(h.t, h.b)), h.m.clone()}
		return
	}
	if len(h.m.open.puts)+len(h.m.open.deletes)+len(h.m.open.small) > 0 {
		return // the writer is in the middle of a batch
	}
	if err := h.b.Replace(func() error { return h.place.adopt(h.saved.place) }); err != nil {
		h.t.Fatal(err)
	}
	h.m, h.saved = h.saved.model, nil
	h.index = h.m.file.applied.Index
}

// crash loses what is not flushed. The old backend is closed only afterwards.
func (h *history) crash() {
	h.unpinAll()
	old := h.b
	h.place = h.place.crash(h.t)
	if err := old.Close(); err != nil {
		h.t.Fatal(err)
	}
	h.b = h.open()
	h.m = h.m.clone()
	h.index = h.m.file.applied.Index
}

func (h *history) open() *Backend {
	b, err := h.place.open(Config{FreelistType: []string{"map", "array"}[h.r.IntN(2)]})
	if err != nil {
		h.t.Fatal(err)
	}
	return b
}

func (h *history) check() {
	h.b.check(h.t)
	r := h.b.Reader()
	defer r.Release()
	if got, want := seen(h.t, r), h.m.visible(); got != want {
		h.t.Fatalf("a new reader is wrong: %s", firstDifference(got, want))
	}
	small := map[string]string{}
	for _, bucket := range []schema.Bucket{schema.Lease, schema.Auth, schema.AuthRoles} {
		_ = h.b.ForEach(bucket, func(k, v []byte) error {
			small[bucket.Name()+"/"+string(k)] = string(v)
			return nil
		})
	}
	if !maps.Equal(small, h.m.file.small) {
		h.t.Fatalf("small buckets %v, want %v", small, h.m.file.small)
	}
	got, want := h.b.Flushed(), h.m.file.applied
	if got.Index != want.Index || got.Term != want.Term || !bytes.Equal(got.ConfState, want.ConfState) {
		h.t.Fatalf("flushed %v, want %v", got, want)
	}
}

func firstDifference(got, want string) string {
	g, w := bytes.Split([]byte(got), []byte("\n")), bytes.Split([]byte(want), []byte("\n"))
	for i := range min(len(g), len(w)) {
		if !bytes.Equal(g[i], w[i]) {
			return fmt.Sprintf("line %d: %.80q, want %.80q", i, g[i], w[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(g), len(w))
}

func TestRandomHistory(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("repeat with: go test ./internal/backend -run TestRandomHistory -seed %d", seed)
	inEveryPlace(t, func(t *testing.T, p place) {
		h := &history{t: t, r: rand.New(rand.NewPCG(seed, 7)), place: p, m: newModel(), pins: map[*Reader]string{}}
		h.b = h.open()
		for range 300 {
			h.step()
			h.b.check(t)
			if h.r.IntN(15) == 0 {
				h.check()
			}
		}
		h.check()
		h.unpinAll()
		if err := h.b.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
