// Package ordtree is an ordered map from byte-string keys to values that can
// be cloned in constant time and that answers positional questions in
// logarithmic time: how many keys lie in a range, what position a key has,
// which key has a position.
//
// Every item carries a mark, "counted" or not, and each positional question
// can be asked about all items or about the counted ones only. What the mark
// means is the user's business.
//
// The map is a B+ tree: items live in leaves, inner nodes hold for each child
// a lower bound of its keys and the numbers of items below it. The keys of a leaf
// are one piece of memory, in which what all of them begin with is there once: a
// key costs little more than what tells it from its neighbours. Clones share
// nodes. Each node remembers the tree that created it, and a tree changes only
// its own nodes in place; a node that came from before the last Clone is
// copied on the way to the change. So a clone costs one small allocation, and
// the first change after it one copied node per level.
//
// A tree is not safe for concurrent use, but different clones are: any number
// of goroutines may read a clone while one goroutine changes the tree that it
// was taken from.
package ordtree

import (
	"bytes"
	"fmt"
)

// Kind chooses which items a positional question is about.
type Kind uint8

// The kinds of items.
const (
	All     Kind = iota // every item
	Counted             // only items whose counted mark is set
	numKinds
)

// Tree is the map. The zero Tree is empty and ready for use; it must not be
// copied except by Clone.
//
// Invariants, verified by check:
//  1. Keys ascend strictly in iteration order.
//  2. All leaves have the same depth.
//  3. Every node but the root holds at least one entry, an inner one at least
//     innerMinFill; an inner root holds at least two. None holds more than its
//     width.
//  4. A child's lower bound is not above its smallest key and above every key
//     of the children before it. The first child's bound is that of the node
//     itself, empty at the left edge of the tree.
//  5. The numbers an inner node holds for a child are those of that child.
//  6. Entries beyond an inner node's length are zero: they keep nothing alive.
//  7. A leaf has as many keys as values, and no marks beyond them.
type Tree[V any] struct {
	root  node[V] // nil if empty
	total counts
	own   *owner // nodes with this owner may be changed in place; nil = none
	edit  edit[V]
}

// owner is an identity; it needs a size so that two of them differ.
type owner struct{ _ byte }

// counts are numbers of items by Kind.
type counts [numKinds]uint32

func (c counts) plus(d counts) counts  { return counts{c[0] + d[0], c[1] + d[1]} }
func (c counts) minus(d counts) counts { return counts{c[0] - d[0], c[1] - d[1]} }

// Clone returns a tree with the same content in constant time. From then on
// the two trees are independent. The values themselves are not copied.
func (t *Tree[V]) Clone() *Tree[V] {
	t.own = nil
	return &Tree[V]{root: t.root, total: t.total}
}

// Len is the number of items of the kind.
func (t *Tree[V]) Len(k Kind) int { return int(t.total[k]) }

// Get returns the value of the item with the key.
func (t *Tree[V]) Get(key []byte) (v V, ok bool) {
	_, v, ok = t.Find(key)
	return v, ok
}

// Find returns the item with the key, with the key as the tree holds it.
func (t *Tree[V]) Find(key []byte) (at Key, v V, ok bool) {
	l := t.leafFor(key)
	if l == nil {
		return at, v, false
	}
	i, ok := l.keys.find(key)
	if !ok {
		return at, v, false
	}
	return Key{&l.keys, i}, l.vals[i], true
}

func (t *Tree[V]) leafFor(key []byte) *leaf[V] {
	n := t.root
	for n != nil {
		switch x := n.(type) {
		case *leaf[V]:
			return x
		case *inner[V]:
			n = x.subs[x.childFor(key)].node
		}
	}
	return nil
}

// Set stores v under the key with the counted mark and returns the value that
// it replaced, if any. The key is copied.
func (t *Tree[V]) Set(key []byte, v V, counted bool) (old V, replaced bool) {
	if t.own == nil {
		t.own = new(owner)
	}
	if t.root == nil {
		t.root = &leaf[V]{own: t.own}
	}
	t.root = t.root.mutable(t.own)
	e := &t.edit // in the tree, so that it costs no allocation
	*e = edit[V]{key: key, val: v, counted: counted}
	right, low := t.root.set(t.own, e)
	t.total = t.total.plus(e.delta)
	if right != nil {
		t.root = newRoot(t.own, t.root, right, low)
	}
	old, replaced = e.old, e.replaced
	*e = edit[V]{}
	return old, replaced
}

// Delete removes the item with the key and tells whether it was there.
func (t *Tree[V]) Delete(key []byte) bool {
	if _, ok := t.Get(key); !ok {
		return false
	}
	if t.own == nil {
		t.own = new(owner)
	}
	t.root = t.root.mutable(t.own)
	t.total = t.total.minus(t.root.remove(t.own, key))
	t.shrink()
	return true
}

// shrink drops a root that became too small.
func (t *Tree[V]) shrink() {
	if t.total[All] == 0 {
		t.root = nil
		return
	}
	if r, ok := t.root.(*inner[V]); ok && r.n == 1 {
		t.root = r.subs[0].node
	}
}

// Ascend calls fn for the items of the kind with keys not below from and below
// to, in ascending order, until fn returns false. A nil to means no upper bound.
// fn must not change the tree. Items of another kind cost nothing but a share of
// the nodes passed: whole subtrees without counted items are skipped.
func (t *Tree[V]) Ascend(k Kind, from, to []byte, fn func(key Key, v V) bool) {
	if t.root == nil || t.total[k] == 0 || to != nil && bytes.Compare(from, to) >= 0 {
		return
	}
	t.root.ascend(k, from, to, fn)
}

// Rank is the number of items of the kind with keys below key.
func (t *Tree[V]) Rank(k Kind, key []byte) int {
	rank := 0
	n := t.root
	for n != nil {
		switch x := n.(type) {
		case *leaf[V]:
			i, _ := x.keys.find(key)
			return rank + int(x.countBelow(i)[k])
		case *inner[V]:
			i := x.childFor(key)
			for _, s := range x.subs[:i] {
				rank += int(s.counts[k])
			}
			n = x.subs[i].node
		}
	}
	return 0
}

// Count is the number of items of the kind with from <= key < to; a nil to
// means no upper bound.
func (t *Tree[V]) Count(k Kind, from, to []byte) int {
	upper := t.Len(k)
	if to != nil {
		upper = t.Rank(k, to)
	}
	return max(0, upper-t.Rank(k, from))
}

// Select returns the item of the kind that has exactly rank items of that kind
// before it. It is false if there are not that many.
func (t *Tree[V]) Select(k Kind, rank int) (key Key, v V, ok bool) {
	if rank < 0 || rank >= t.Len(k) {
		return key, v, false
	}
	n := t.root
	for {
		switch x := n.(type) {
		case *leaf[V]:
			i := x.nth(k, rank)
			return Key{&x.keys, i}, x.vals[i], true
		case *inner[V]:
			i := 0
			for ; rank >= int(x.subs[i].counts[k]); i++ {
				rank -= int(x.subs[i].counts[k])
			}
			n = x.subs[i].node
		default:
			panic(fmt.Sprintf("ordtree: expected an item of rank %d below this node, found none", rank))
		}
	}
}
