package request

import (
	"bytes"
	"fmt"
	"slices"
)

// changes is what a branch of a transaction, nested ones included, writes.
//
// Invariants: 1. puts ascends without duplicates. 2. deletes ascends, and its
// spans neither touch, overlap nor are empty.
type changes struct {
	puts    [][]byte
	deletes []span
}

// span is the key range [from, to).
type span struct{ from, to []byte }

// changesTwice reports whether a branch breaks the rule that a transaction
// changes a key only once. The rule has three parts, kept exactly because
// clients depend on what passes:
//
//   - on one level, no key is put twice or is both put and deleted;
//   - a nested transaction's puts collide neither with deletes of the level
//     above nor with puts or deletes of nested transactions before it; a delete
//     in a later one is not seen;
//   - the level's puts collide with no put or delete of any nested transaction.
//
// Deletes may overlap. The two branches of one transaction never collide with
// each other. A delete without an upper bound (RangeEnd is one zero byte) counts
// as empty, like every delete whose end is not above its key.
func changesTwice(ops []Op) bool {
	if len(ops) == 1 && ops[0].Txn == nil {
		return false
	}
	_, ok := collect(ops)
	return !ok
}

// collect returns what ops change, or false if they break the rule.
func collect(ops []Op) (changes, bool) {
	all := changes{deletes: levelDeletes(ops)}
	for i := range ops {
		if nested := ops[i].Txn; nested != nil && !all.addNested(nested) {
			return changes{}, false
		}
	}
	return all, all.addLevelPuts(ops)
}

// addNested adds both branches of a nested transaction. They are compared with
// what was there before, not with each other.
func (c *changes) addNested(t *Txn) bool {
	success, ok := collect(t.Success)
	if !ok || c.collides(success.puts) {
		return false
	}
	failure, ok := collect(t.Failure)
	if !ok || c.collides(failure.puts) {
		return false
	}
	c.puts = mergeKeys(c.puts, mergeKeys(success.puts, failure.puts))
	c.deletes = mergeSpans(c.deletes, mergeSpans(success.deletes, failure.deletes))
	return true
}

func (c *changes) addLevelPuts(ops []Op) bool {
	puts := levelPuts(ops)
	for i := 1; i < len(puts); i++ {
		if bytes.Equal(puts[i-1], puts[i]) {
			return false
		}
	}
	if c.collides(puts) {
		return false
	}
	c.puts = mergeKeys(c.puts, puts)
	return true
}

// collides reports whether one of keys is put or deleted in c.
func (c *changes) collides(keys [][]byte) bool {
	for _, key := range keys {
		if _, found := slices.BinarySearchFunc(c.puts, key, bytes.Compare); found || c.deleted(key) {
			return true
		}
	}
	return false
}

func (c *changes) deleted(key []byte) bool {
	// The only span that can contain key is the last one that begins at or
	// below it.
	above, _ := slices.BinarySearchFunc(c.deletes, key, func(s span, key []byte) int {
		if bytes.Compare(s.from, key) <= 0 {
			return -1
		}
		return 1
	})
	return above > 0 && bytes.Compare(key, c.deletes[above-1].to) < 0
}

// levelPuts returns the keys that ops put, nested transactions left out, in
// order and with duplicates.
func levelPuts(ops []Op) [][]byte {
	var puts [][]byte
	for i := range ops {
		if put := ops[i].Put; put != nil {
			puts = append(puts, put.Key)
		}
	}
	slices.SortFunc(puts, bytes.Compare)
	return puts
}

// levelDeletes returns the ranges that ops delete, nested transactions left
// out, in order and coalesced.
func levelDeletes(ops []Op) []span {
	var deletes []span
	for i := range ops {
		if d := ops[i].DeleteRange; d != nil {
			s := span{d.Key, d.RangeEnd}
			if len(s.to) == 0 {
				s.to = append(slices.Clip(d.Key), 0)
			}
			if bytes.Compare(s.from, s.to) < 0 {
				deletes = append(deletes, s)
			}
		}
	}
	slices.SortFunc(deletes, compareSpans)
	return coalesce(deletes)
}

func compareSpans(a, b span) int { return bytes.Compare(a.from, b.from) }

// coalesce joins spans that overlap or touch, in place. spans is ordered by
// compareSpans.
func coalesce(spans []span) []span {
	joined := spans[:0]
	for _, s := range spans {
		last := len(joined) - 1
		switch {
		case last < 0 || bytes.Compare(joined[last].to, s.from) < 0:
			joined = append(joined, s)
		case bytes.Compare(joined[last].to, s.to) < 0:
			joined[last].to = s.to
		}
	}
	return joined
}

func mergeSpans(a, b []span) []span {
	if len(b) == 0 {
		return a
	}
	return coalesce(merge(a, b, compareSpans))
}

// mergeKeys returns the ordered union of two ordered sets.
func mergeKeys(a, b [][]byte) [][]byte {
	if len(b) == 0 {
		return a
	}
	return slices.CompactFunc(merge(a, b, bytes.Compare), bytes.Equal)
}

// merge returns the elements of two ordered slices in order, in a new slice.
func merge[T any](a, b []T, compare func(T, T) int) []T {
	out := make([]T, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if compare(a[0], b[0]) <= 0 {
			out, a = append(out, a[0]), a[1:]
		} else {
			out, b = append(out, b[0]), b[1:]
		}
	}
	out = append(out, a...)
	return append(out, b...)
}

// check panics if an invariant is broken.
func (c *changes) check() {
	for i := 1; i < len(c.puts); i++ {
		if bytes.Compare(c.puts[i-1], c.puts[i]) >= 0 {
			panic(fmt.Sprintf("request: put of %q is listed before %q", c.puts[i-1], c.puts[i]))
		}
	}
	for i, s := range c.deletes {
		if bytes.Compare(s.from, s.to) >= 0 || i > 0 && bytes.Compare(c.deletes[i-1].to, s.from) >= 0 {
			panic(fmt.Sprintf("request: delete %d of [%q, %q) is empty or touches the one before", i, s.from, s.to))
		}
	}
}
