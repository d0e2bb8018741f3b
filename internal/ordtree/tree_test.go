package ordtree

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"
)

// check panics if an invariant of the tree is broken.
func (t *Tree[V]) check() {
	if t.root == nil {
		expect(t.total == counts{}, "an empty tree to count nothing, found %v", t.total)
		return
	}
	if r, ok := t.root.(*inner[V]); ok {
		expect(r.n >= 2, "an inner root with two children, found %d", r.n)
	}
	c := checker[V]{depth: -1}
	expect(c.node(t.root, "", 0, true) == t.total, "the root's counts to be %v", t.total)
}

type checker[V any] struct {
	last  []byte // greatest key so far
	any   bool
	depth int // of the leaves
}

func (c *checker[V]) node(n node[V], low string, depth int, root bool) counts {
	if x, ok := n.(*inner[V]); ok {
		expect(x.n <= innerWidth, "at most %d entries, found %d", innerWidth, x.n)
		expect(root || x.n >= innerMinFill, "at least %d entries, found %d", innerMinFill, x.n)
		return c.inner(x, low, depth)
	}
	return c.leaf(n.(*leaf[V]), depth)
}

func (c *checker[V]) inner(x *inner[V], low string, depth int) counts {
	expect(x.subs[0].low == low, "first bound %q, found %q", low, x.subs[0].low)
	var sum counts
	for i, s := range x.subs {
		if i >= x.n {
			expect(s.node == nil && s.low == "" && s.counts == counts{}, "entry %d to be zero", i)
			continue
		}
		expect(i == 0 || !c.any || string(c.last) < s.low, "bound %q above %q", s.low, c.last)
		first, _, _ := (&Tree[V]{root: s.node, total: s.counts}).Select(All, 0)
		expect(i == 0 || s.low <= string(first.Clone()), "bound %q not above %q", s.low, first.Clone())
		got := c.node(s.node, s.low, depth+1, false)
		expect(got == s.counts, "child %d to count %v, found %v", i, s.counts, got)
		sum = sum.plus(got)
	}
	return sum
}

func (c *checker[V]) leaf(l *leaf[V], depth int) counts {
	expect(c.depth < 0 || c.depth == depth, "leaves at depth %d, found %d", c.depth, depth)
	c.depth = depth
	expect(l.len() >= 1 && l.len() <= leafWidth, "1 to %d items, found %d", leafWidth, l.len())
	expect(l.keys.len() == l.len(), "%d keys, found %d", l.len(), l.keys.len())
	l.keys.check()
	for _, k := range l.keys.all(nil) {
		key := k.Clone()
		expect(!c.any || bytes.Compare(c.last, key) < 0, "key above %q, found %q", c.last, key)
		c.last, c.any = key, true
	}
	expect(l.marks>>l.len() == 0, "no marks from %d on, found %b", l.len(), l.marks)
	return l.counts()
}

// check panics if an invariant of the list is broken.
func (ks *keys) check() {
	last := uint32(ks.prefix)
	for _, end := range ks.ends {
		expect(end >= last, "ends to ascend from %d on, found %v", ks.prefix, ks.ends)
		last = end
	}
	expect(int(last) == len(ks.text), "the last end to be %d, found %d", len(ks.text), last)
}

func expect(ok bool, format string, args ...any) {
	if !ok {
		panic("ordtree: expected " + fmt.Sprintf(format, args...))
	}
}

// model is the same map as a sorted slice.
type model []entry

type entry struct {
	key     string
	val     int
	counted bool
}

func (m model) find(key string) (int, bool) {
	return slices.BinarySearchFunc(m, key, func(e entry, k string) int { return bytes.Compare([]byte(e.key), []byte(k)) })
}

func (m *model) set(key string, val int, counted bool) {
	i, ok := m.find(key)
	if !ok {
		*m = slices.Insert(*m, i, entry{})
	}
	(*m)[i] = entry{key, val, counted}
}

func (m *model) remove(key string) bool {
	i, ok := m.find(key)
	if ok {
		*m = slices.Delete(*m, i, i+1)
	}
	return ok
}

func (m model) of(k Kind) model {
	if k == All {
		return m
	}
	var some model
	for _, e := range m {
		if e.counted {
			some = append(some, e)
		}
	}
	return some
}

func (m model) rank(key string) int {
	return sort.Search(len(m), func(i int) bool { return m[i].key >= key })
}

func compareAll(t *testing.T, tree *Tree[int], m model) {
	t.Helper()
	for _, k := range []Kind{All, Counted} {
		want, i := m.of(k), 0
		tree.Ascend(k, nil, nil, func(key Key, v int) bool {
			if i >= len(want) || want[i].key != string(key.Clone()) || want[i].val != v {
				t.Fatalf("kind %d item %d: found %q=%d, model has %d items", k, i, key.Clone(), v, len(want))
			}
			i++
			return true
		})
		if i != len(want) || tree.Len(k) != len(want) {
			t.Fatalf("kind %d: %d items ascended, Len %d, want %d", k, i, tree.Len(k), len(want))
		}
	}
}

func compareQueries(t *testing.T, tree *Tree[int], m model, from, to string) {
	t.Helper()
	i, found := m.find(from)
	key, v, ok := tree.Find([]byte(from))
	if ok != found || ok && (string(key.Clone()) != from || key.Len() != len(from) || v != m[i].val) {
		t.Fatalf("Find(%q) = %d %v", from, v, ok)
	}
	for _, k := range []Kind{All, Counted} {
		want := m.of(k)
		lo, hi := want.rank(from), want.rank(to)
		if got := tree.Rank(k, []byte(from)); got != lo {
			t.Fatalf("Rank(%d, %q) = %d, want %d", k, from, got, lo)
		}
		if got := tree.Count(k, []byte(from), []byte(to)); got != max(0, hi-lo) {
			t.Fatalf("Count(%d, %q, %q) = %d, want %d", k, from, to, got, max(0, hi-lo))
		}
		if got := tree.Count(k, []byte(from), nil); got != len(want)-lo {
			t.Fatalf("Count(%d, %q, nil) = %d, want %d", k, from, got, len(want)-lo)
		}
		compareFrom(t, tree, k, want, lo, from)
		compareBetween(t, tree, k, want[lo:max(lo, hi)], from, to)
	}
}

func compareFrom(t *testing.T, tree *Tree[int], k Kind, want model, lo int, from string) {
	t.Helper()
	key, _, ok := tree.Select(k, lo)
	if ok != (lo < len(want)) || ok && string(key.Clone()) != want[lo].key {
		t.Fatalf("Select(%d, %d) = %v", k, lo, ok)
	}
	n := 0
	tree.Ascend(k, []byte(from), nil, func(key Key, v int) bool {
		if lo+n >= len(want) || string(key.Clone()) != want[lo+n].key {
			t.Fatalf("Ascend(%d, %q) item %d = %q", k, from, n, key.Clone())
		}
		n++
		return n < 3
	})
	if n != min(3, len(want)-lo) {
		t.Fatalf("Ascend(%d, %q) gave %d items, want %d", k, from, n, min(3, len(want)-lo))
	}
}

func compareBetween(t *testing.T, tree *Tree[int], k Kind, want model, from, to string) {
	t.Helper()
	n := 0
	var last Key
	tree.Ascend(k, []byte(from), []byte(to), func(key Key, v int) bool {
		if n >= len(want) || string(key.Clone()) != want[n].key || v != want[n].val {
			t.Fatalf("Ascend(%d, %q, %q) item %d = %q", k, from, to, n, key.Clone())
		}
		if n > 0 && (last.Compare(key) >= 0 || key.Compare(last) <= 0 || key.Compare(key) != 0) {
			t.Fatalf("%q is not below %q", last.Clone(), key.Clone())
		}
		last = key
		n++
		return true
	})
	if n != len(want) {
		t.Fatalf("Ascend(%d, %q, %q) gave %d items, want %d", k, from, to, n, len(want))
	}
}

// randomKey returns one out of about so many keys. The spaces are of different
// kinds: short keys, long common beginnings, long and very long differences, and
// all of that mixed.
func randomKey(r *rand.Rand, kind, space int) string {
	i := r.IntN(space)
	switch kind % 6 {
	case 0, 1:
		return fmt.Sprintf("k%0*d", r.IntN(3)+2, i)
	case 2:
		return strings.Repeat("common/", 35+i%5) + fmt.Sprint(i)
	case 3:
		return fmt.Sprintf("%04d", i) + strings.Repeat("x", i%400)
	case 4:
		return strings.Repeat("y", i%7) + strings.Repeat(string(rune('a'+i%26)), i%8/7*(i*4%6000)) + fmt.Sprint(i)
	default:
		return randomKey(r, 1+r.IntN(4), space)
	}
}

func TestAgainstSortedSlice(t *testing.T) {
	for seed := uint64(1); seed <= 6; seed++ {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			var tree Tree[int]
			var m model
			type frozen struct {
				tree *Tree[int]
				m    model
			}
			var clones []frozen
			for i := range 6000 {
				key := randomKey(r, int(seed), 1500)
				growing := (i/1500)%2 == 0
				if r.IntN(10) < 7 == growing {
					counted := r.IntN(3) > 0
					old, replaced := tree.Set([]byte(key), i, counted)
					if at, found := m.find(key); replaced != found || found && old != m[at].val {
						t.Fatalf("step %d: Set(%q) replaced %d %v", i, key, old, replaced)
					}
					m.set(key, i, counted)
				} else if got, want := tree.Delete([]byte(key)), m.remove(key); got != want {
					t.Fatalf("step %d: Delete(%q) = %v, want %v", i, key, got, want)
				}
				if i%23 == 0 {
					tree.check()
					compareQueries(t, &tree, m, key, randomKey(r, int(seed), 1500))
				}
				if i%500 == 0 {
					clones = append(clones, frozen{tree.Clone(), slices.Clone(m)})
				}
			}
			compareAll(t, &tree, m)
			for _, c := range clones {
				c.tree.check()
				compareAll(t, c.tree, c.m)
			}
		})
	}
}

// Both sides of a clone may change.
func TestClonesAreIndependent(t *testing.T) {
	var a Tree[int]
	var ma model
	for i := range 3000 {
		key := fmt.Sprintf("%06d", i)
		a.Set([]byte(key), i, i%2 == 0)
		ma.set(key, i, i%2 == 0)
	}
	b, mb := a.Clone(), slices.Clone(ma)
	for i := range 3000 {
		key := fmt.Sprintf("%06d", i)
		if i%3 == 0 {
			a.Delete([]byte(key))
			ma.remove(key)
		} else {
			b.Set([]byte(key), -i, true)
			mb.set(key, -i, true)
		}
	}
	a.check()
	b.check()
	compareAll(t, &a, ma)
	compareAll(t, b, mb)
}

func TestDrainToEmpty(t *testing.T) {
	for name, order := range map[string]func(i, n int) int{
		"ascending":  func(i, n int) int { return i },
		"descending": func(i, n int) int { return n - 1 - i },
		"middle":     func(i, n int) int { return (i + n/2) % n },
	} {
		t.Run(name, func(t *testing.T) {
			const n = 2000
			var tree Tree[int]
			for i := range n {
				tree.Set(fmt.Appendf(nil, "%05d", order(i, n)), i, true)
			}
			tree.check()
			for i := range n {
				if !tree.Delete(fmt.Appendf(nil, "%05d", order(i, n))) {
					t.Fatalf("item %d is missing", i)
				}
				if i%50 == 0 {
					tree.check()
				}
			}
			tree.check()
			if tree.Len(All) != 0 || tree.root != nil {
				t.Fatalf("%d items remain", tree.Len(All))
			}
		})
	}
}

func TestEmpty(t *testing.T) {
	var tree Tree[int]
	if _, ok := tree.Get([]byte("a")); ok || tree.Delete([]byte("a")) || tree.Rank(All, []byte("a")) != 0 {
		t.Fatal("an empty tree found something")
	}
	if _, _, ok := tree.Select(All, 0); ok || tree.Count(Counted, nil, nil) != 0 {
		t.Fatal("an empty tree counted something")
	}
	tree.Ascend(All, nil, nil, func(Key, int) bool { t.Fatal("an empty tree ascended"); return false })
}

// The tree keeps copies of keys.
func TestKeysAreCopied(t *testing.T) {
	var tree Tree[int]
	key := []byte("key")
	tree.Set(key, 1, true)
	key[0] = 'X'
	tree.Set([]byte("key"), 2, false)
	if v, ok := tree.Get([]byte("key")); !ok || v != 2 || tree.Len(All) != 1 || tree.Len(Counted) != 0 {
		t.Fatalf("found %d, %d counted of %d", v, tree.Len(Counted), tree.Len(All))
	}
}

// Keys of a clone stay good while the tree that it was taken from moves on.
func TestKeysOfClonesStay(t *testing.T) {
	var tree Tree[int]
	for i := range 200 {
		tree.Set(fmt.Appendf(nil, "common/%05d", 2*i), i, true)
	}
	var keys []Key
	tree.Clone().Ascend(All, nil, nil, func(key Key, _ int) bool { keys = append(keys, key); return true })
	for i := range 400 {
		tree.Set(fmt.Appendf(nil, "%05d", i), i, true)
		tree.Set(fmt.Appendf(nil, "common/%05d", i), i, true)
	}
	for i := range 200 {
		tree.Delete(fmt.Appendf(nil, "common/%05d", 2*i))
	}
	for i, k := range keys {
		if want := fmt.Sprintf("common/%05d", 2*i); string(k.Clone()) != want {
			t.Fatalf("key %d turned into %q, want %q", i, k.Clone(), want)
		}
	}
}

// Readers of clones run beside the writer; the race detector is the judge.
func TestClonesAreReadConcurrently(t *testing.T) {
	const n = 2000
	var tree Tree[int]
	for i := range n {
		tree.Set(fmt.Appendf(nil, "%05d", i), 0, true)
	}
	var wg sync.WaitGroup
	for round := 1; round <= 8; round++ {
		c := tree.Clone()
		wg.Go(func() {
			c.Ascend(All, nil, nil, func(key Key, v int) bool {
				if v >= round {
					t.Errorf("clone %d sees the later value %d of %s", round, v, key.Clone())
				}
				return true
			})
			if c.Count(Counted, []byte("00500"), []byte("01000")) != 500 {
				t.Errorf("clone %d counts a later state", round)
			}
		})
		for i := round % 3; i < n; i += 3 {
			tree.Set(fmt.Appendf(nil, "%05d", i), round, true)
		}
		tree.Set(fmt.Appendf(nil, "00700x%d", round), round, false)
	}
	wg.Wait()
	tree.check()
}
