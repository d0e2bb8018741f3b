package interval

import "fmt"

// Set holds ranges with a value each. Equal ranges may be held many times; they share one place in the tree or the map, so
// ten thousand watchers on one key cost one lookup. The zero Set is empty and ready for use.
//
// Invariants:
//  1. A slot holds at least one entry; entry i of a slot knows the slot and its index i.
//  2. Single keys are in the map only, all other ranges in the tree only, each distinct range once.
//  3. The tree is ordered by (Key, End); heights of siblings differ by at most one.
//  4. A node's furthest end is the furthest of its own and its children's.
type Set[V any] struct {
	exact map[string]*slot[V]
	root  *node[V]
	n     int
}

// Entry is the handle of one inserted range; it is needed to remove it again.
type Entry[V any] struct {
	Value V
	slot  *slot[V]
	index int
}

// Range returns the range that the entry was inserted with.
func (e *Entry[V]) Range() Range { return e.slot.rng }

// slot gathers the entries of one distinct range.
type slot[V any] struct {
	rng     Range
	entries []*Entry[V]
}

// Len returns the number of entries.
func (s *Set[V]) Len() int { return s.n }

// Insert adds a range with a value and returns the handle for Remove. An empty range is accepted and contains nothing.
func (s *Set[V]) Insert(r Range, v V) *Entry[V] {
	sl := s.slot(r)
	e := &Entry[V]{Value: v, slot: sl, index: len(sl.entries)}
	sl.entries = append(sl.entries, e)
	s.n++
	return e
}

// slot finds or makes the slot of a range.
func (s *Set[V]) slot(r Range) *slot[V] {
	if !r.Single() {
		var sl *slot[V]
		s.root, sl = s.root.insert(r)
		return sl
	}
	sl := s.exact[r.Key]
	if sl == nil {
		sl = &slot[V]{rng: r}
		if s.exact == nil {
			s.exact = make(map[string]*slot[V])
		}
		s.exact[r.Key] = sl
	}
	return sl
}

// Remove takes out an entry of this set. It panics if the entry was removed before.
func (s *Set[V]) Remove(e *Entry[V]) {
	sl := e.slot
	if e.index >= len(sl.entries) || sl.entries[e.index] != e {
		panic(fmt.Sprintf("interval: remove of %q: expected an entry of the set, found a removed one", sl.rng))
	}
	last := len(sl.entries) - 1
	moved := sl.entries[last]
	sl.entries[e.index], moved.index = moved, e.index
	sl.entries[last] = nil
	sl.entries = sl.entries[:last]
	s.n--
	if last == 0 {
		s.drop(sl.rng)
	}
}

// drop removes the empty slot of a range.
func (s *Set[V]) drop(r Range) {
	if r.Single() {
		delete(s.exact, r.Key)
		return
	}
	s.root = s.root.remove(r)
}

// Visit calls visit with the value of every entry whose range contains key, until visit returns false. The order is fixed by
// the history of insertions and removals. The set must not be changed meanwhile. It does not allocate.
func (s *Set[V]) Visit(key []byte, visit func(V) bool) {
	if sl := s.exact[string(key)]; sl != nil && !sl.visit(visit) {
		return
	}
	s.root.visit(key, visit)
}

// visit passes every entry's value on until visit returns false, and reports whether it never did.
func (sl *slot[V]) visit(visit func(V) bool) bool {
	for _, e := range sl.entries {
		if !visit(e.Value) {
			return false
		}
	}
	return true
}

// Contains reports whether any range of the set contains key.
func (s *Set[V]) Contains(key []byte) bool {
	found := false
	s.Visit(key, func(V) bool {
		found = true
		return false
	})
	return found
}

// Covers reports whether every key of r lies in the union of the set's ranges. Adjacent ranges join, and a single key k
// counts as [k, k+"\x00"). An empty r is not covered by anything: whoever asks for permission on nothing gets none.
func (s *Set[V]) Covers(r Range) bool {
	switch {
	case r.Single():
		return s.Contains([]byte(r.Key))
	case r.Empty():
		return false
	}
	return s.reach(r.Key, r.bound())
}

// reach walks from key upwards through the union until it has passed the bound (true) or meets a gap (false). Each step goes
// to the furthest end of all ranges around the key reached so far.
func (s *Set[V]) reach(key string, to bound) bool {
	for to.after(key) {
		next := s.root.furthest(key, bound{key: key})
		if _, ok := s.exact[key]; ok {
			next = next.max(bound{key: key + "\x00"})
		}
		if next.none {
			return true
		}
		if next.key == key {
			return false
		}
		key = next.key
	}
	return true
}
