package interval

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

var seed = flag.Uint64("seed", 0, "seed of the property tests; 0 draws one")

func newRand(t *testing.T) *rand.Rand {
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("reproduce with -seed=%d", s)
	return rand.New(rand.NewPCG(s, 0))
}

func TestRange(t *testing.T) {
	for _, c := range []struct {
		key, end string
		in, out  []string
		empty    bool
	}{
		{"b", "", []string{"b"}, []string{"a", "b\x00", "c", ""}, false},
		{"b", "\x00", []string{"b", "b\x00", "\xff"}, []string{"a", "a\xff"}, false},
		{"\x00", "\x00", []string{"\x00", "a", "\xff\xff"}, nil, false},
		{"b", "d", []string{"b", "c", "c\xff"}, []string{"a", "d", "e"}, false},
		{"b", "b", nil, []string{"a", "b", "c"}, true},
		{"d", "b", nil, []string{"b", "c", "d", "e"}, true},
	} {
		r := Make([]byte(c.key), []byte(c.end))
		for _, k := range c.in {
			if !r.Contains([]byte(k)) {
				t.Errorf("%q does not contain %q", r, k)
			}
		}
		for _, k := range c.out {
			if r.Contains([]byte(k)) {
				t.Errorf("%q contains %q", r, k)
			}
		}
		if r.Empty() != c.empty {
			t.Errorf("%q: Empty() = %v", r, r.Empty())
		}
	}
}

func TestCovers(t *testing.T) {
	var s Set[int]
	for i, r := range []Range{{"a", "c"}, {"c", "e"}, {"e", ""}, {"e\x00", "g"}, {"m", ""}, {"x", "\x00"}, {"z", "b"}} {
		s.Insert(r, i)
	}
	for _, c := range []struct {
		key, end string
		want     bool
	}{
		{"a", "c", true},
		{"a", "e", true}, // adjacent ranges join
		{"a", "g", true}, // over the single key e
		{"b", "f", true},
		{"a", "g\x00", false},
		{"0", "b", false}, // begins before the union
		{"m", "", true},
		{"m", "m\x00", true},
		{"m", "n", false},
		{"n", "", false},
		{"x", "\x00", true},
		{"y", "\x00", true},
		{"w", "\x00", false},
		{"a", "\x00", false},
		{"x", "y", true},
		{"b", "b", false}, // nothing is covered by nothing
		{"c", "b", false},
	} {
		if got := s.Covers(Range{c.key, c.end}); got != c.want {
			t.Errorf("Covers(%q, %q) = %v", c.key, c.end, got)
		}
	}
	if (&Set[int]{}).Covers(Range{"a", "b"}) {
		t.Error("the empty set covers something")
	}
}

func TestRemoveTwicePanics(t *testing.T) {
	var s Set[int]
	e := s.Insert(Range{"a", "b"}, 1)
	s.Insert(Range{"a", "b"}, 2)
	s.Remove(e)
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	s.Remove(e)
}

// naive is the second algorithm for every answer.
type naive []*Entry[int]

func (l naive) stab(key string) (values []int) {
	for _, e := range l {
		if e.Range().Contains([]byte(key)) {
			values = append(values, e.Value)
		}
	}
	slices.Sort(values)
	return values
}

// covers checks every point at which a gap of the union can begin: the range's first key and the ends of all ranges.
func (l naive) covers(r Range) bool {
	points := []string{r.Key}
	for _, e := range l {
		switch er := e.Range(); {
		case er.Single():
			points = append(points, er.Key+"\x00")
		case !er.Open():
			points = append(points, er.End)
		}
	}
	for _, p := range points {
		if r.Contains([]byte(p)) && len(l.stab(p)) == 0 {
			return false
		}
	}
	return !r.Empty()
}

func randomKey(r *rand.Rand) string {
	b := make([]byte, 1+r.IntN(2))
	for i := range b {
		b[i] = "\x00abcdefghijk\xff"[r.IntN(13)]
	}
	return string(b)
}

func randomRange(r *rand.Rand) Range {
	switch r.IntN(8) {
	case 0, 1, 2:
		return Range{Key: randomKey(r)}
	case 3:
		if r.IntN(4) == 0 {
			return Range{randomKey(r), open}
		}
	}
	return Range{randomKey(r), randomKey(r)}
}

func TestSetAgainstList(t *testing.T) {
	r := newRand(t)
	for round := range 40 {
		var s Set[int]
		var list naive
		limit := 1 + r.IntN(60)
		for step := range 250 {
			if len(list) > 0 && (len(list) >= limit || r.IntN(3) == 0) {
				i := r.IntN(len(list))
				s.Remove(list[i])
				list = slices.Delete(list, i, i+1)
			} else {
				list = append(list, s.Insert(randomRange(r), step))
			}
			check(t, &s)
			compareAnswers(t, r, &s, list)
			if t.Failed() {
				t.Fatalf("round %d step %d", round, step)
			}
		}
	}
}

func compareAnswers(t *testing.T, r *rand.Rand, s *Set[int], list naive) {
	t.Helper()
	for range 5 {
		key := randomKey(r)
		var got []int
		s.Visit([]byte(key), func(v int) bool { got = append(got, v); return true })
		slices.Sort(got)
		if want := list.stab(key); !slices.Equal(got, want) {
			t.Errorf("stab %q: got %v, want %v", key, got, want)
		}
		rng := randomRange(r)
		if got, want := s.Covers(rng), list.covers(rng); got != want {
			t.Errorf("covers %q: got %v, want %v", rng, got, want)
		}
	}
}

// check panics or fails if an invariant of the set is broken.
func check(t *testing.T, s *Set[int]) {
	t.Helper()
	n := 0
	for key, sl := range s.exact {
		if sl.rng != (Range{Key: key}) {
			t.Errorf("invariant 2: %q under key %q", sl.rng, key)
		}
		n += checkSlot(t, sl)
	}
	n += checkNode(t, s.root, nil, nil)
	if n != s.Len() {
		t.Errorf("Len() = %d, found %d entries", s.Len(), n)
	}
}

func checkSlot(t *testing.T, sl *slot[int]) int {
	t.Helper()
	if len(sl.entries) == 0 {
		t.Errorf("invariant 1: slot %q is empty", sl.rng)
	}
	for i, e := range sl.entries {
		if e.slot != sl || e.index != i {
			t.Errorf("invariant 1: entry %d of %q", i, sl.rng)
		}
	}
	return len(sl.entries)
}

func checkNode(t *testing.T, n *node[int], above, below *Range) int {
	t.Helper()
	if n == nil {
		return 0
	}
	rng := n.slot.rng
	if rng.Single() {
		t.Errorf("invariant 2: single key %q in the tree", rng)
	}
	if above != nil && compare(rng, *above) <= 0 || below != nil && compare(rng, *below) >= 0 {
		t.Errorf("invariant 3: %q out of order", rng)
	}
	if d := n.left.tall() - n.right.tall(); d < -1 || d > 1 {
		t.Errorf("invariant 3: unbalanced by %d at %q", d, rng)
	}
	was := *n
	if n.update(); was.height != n.height || was.end != n.end {
		t.Errorf("invariants 3, 4: stale height or end at %q", rng)
	}
	return checkSlot(t, n.slot) + checkNode(t, n.left, above, &rng) + checkNode(t, n.right, &rng, below)
}

func TestVisitStops(t *testing.T) {
	var s Set[int]
	for i := range 5 {
		s.Insert(Range{Key: "k"}, i)
		s.Insert(Range{"a", "z"}, i)
		s.Insert(Range{"b", "\x00"}, i)
	}
	for stop := 1; stop <= 15; stop++ {
		seen := 0
		s.Visit([]byte("k"), func(int) bool { seen++; return seen < stop })
		if seen != stop {
			t.Errorf("asked to stop after %d, saw %d", stop, seen)
		}
	}
}

func TestVisitDoesNotAllocate(t *testing.T) {
	var s Set[int]
	s.Insert(Range{Key: "key"}, 1)
	s.Insert(Range{"a", "z"}, 2)
	key, sum := []byte("key"), 0
	visit := func(v int) bool { sum += v; return true }
	if n := testing.AllocsPerRun(100, func() { s.Visit(key, visit) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkVisit(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		var s Set[int]
		for i := range n {
			s.Insert(Range{Key: fmt.Sprintf("key/%06d", i)}, i)
			s.Insert(Range{fmt.Sprintf("dir/%06d/", i), fmt.Sprintf("dir/%06d0", i)}, i)
		}
		visit := func(int) bool { return true }
		for _, key := range []string{"key/000050", "dir/000050/x", "none"} {
			b.Run(fmt.Sprintf("n=%d/%s", n, key[:3]), func(b *testing.B) {
				b.ReportAllocs()
				k := []byte(key)
				for b.Loop() {
					s.Visit(k, visit)
				}
			})
		}
	}
}

func BenchmarkInsertRemove(b *testing.B) {
	var s Set[int]
	for i := range 10_000 {
		s.Insert(Range{fmt.Sprintf("dir/%06d/", i), fmt.Sprintf("dir/%06d0", i)}, i)
	}
	b.ReportAllocs()
	for b.Loop() {
		s.Remove(s.Insert(Range{"dir/005000/a", "dir/005000/b"}, 1))
	}
}
