package interval

import "strings"

// node is a node of the AVL tree; a nil node is the empty tree.
type node[V any] struct {
	slot        *slot[V]
	left, right *node[V]
	end         bound // of the whole subtree
	height      int
}

// compare orders ranges by first key, then by end as written.
func compare(a, b Range) int {
	if c := strings.Compare(a.Key, b.Key); c != 0 {
		return c
	}
	return strings.Compare(a.End, b.End)
}

// tall returns the height of a possibly empty tree.
func (n *node[V]) tall() int {
	if n == nil {
		return 0
	}
	return n.height
}

// insert finds or makes the slot of r and returns the new root with it.
func (n *node[V]) insert(r Range) (*node[V], *slot[V]) {
	if n == nil {
		n = &node[V]{slot: &slot[V]{rng: r}}
		n.update()
		return n, n.slot
	}
	var sl *slot[V]
	switch c := compare(r, n.slot.rng); {
	case c < 0:
		n.left, sl = n.left.insert(r)
	case c > 0:
		n.right, sl = n.right.insert(r)
	default:
		return n, n.slot
	}
	return n.balance(), sl
}

// remove takes out the node of r, which is there, and returns the new root.
func (n *node[V]) remove(r Range) *node[V] {
	switch c := compare(r, n.slot.rng); {
	case c < 0:
		n.left = n.left.remove(r)
	case c > 0:
		n.right = n.right.remove(r)
	case n.left == nil:
		return n.right
	case n.right == nil:
		return n.left
	default:
		n.right, n.slot = n.right.removeFirst()
	}
	return n.balance()
}

// removeFirst takes out the leftmost node and returns the new root and the node's slot.
func (n *node[V]) removeFirst() (*node[V], *slot[V]) {
	if n.left == nil {
		return n.right, n.slot
	}
	var first *slot[V]
	n.left, first = n.left.removeFirst()
	return n.balance(), first
}

// update recomputes what a node knows about its subtree.
func (n *node[V]) update() {
	n.height = 1 + max(n.left.tall(), n.right.tall())
	n.end = n.slot.rng.bound()
	if n.left != nil {
		n.end = n.end.max(n.left.end)
	}
	if n.right != nil {
		n.end = n.end.max(n.right.end)
	}
}

// balance restores invariants 3 and 4 at a node whose subtrees keep them and differ by at most two in height.
func (n *node[V]) balance() *node[V] {
	switch d := n.left.tall() - n.right.tall(); {
	case d > 1:
		if n.left.left.tall() < n.left.right.tall() {
			n.left = n.left.rotateLeft()
		}
		return n.rotateRight()
	case d < -1:
		if n.right.right.tall() < n.right.left.tall() {
			n.right = n.right.rotateRight()
		}
		return n.rotateLeft()
	}
	n.update()
	return n
}

func (n *node[V]) rotateRight() *node[V] {
	top := n.left
	n.left, top.right = top.right, n
	n.update()
	top.update()
	return top
}

func (n *node[V]) rotateLeft() *node[V] {
	top := n.right
	n.right, top.left = top.left, n
	n.update()
	top.update()
	return top
}

// visit passes on the values of all ranges around key in order until visit returns false, and reports whether it never did.
// A subtree is entered only if some end in it lies above key and its first keys do not all lie above key.
func (n *node[V]) visit(key []byte, visit func(V) bool) bool {
	if n == nil || !n.end.afterBytes(key) {
		return true
	}
	if !n.left.visit(key, visit) {
		return false
	}
	if n.slot.rng.Key > string(key) {
		return true
	}
	if n.slot.rng.endsAfter(key) && !n.slot.visit(visit) {
		return false
	}
	return n.right.visit(key, visit)
}

// afterBytes is after for a key in bytes.
func (b bound) afterBytes(key []byte) bool { return b.none || string(key) < b.key }

// furthest returns the furthest end of all ranges that begin at or below key, or so far if none passes it.
func (n *node[V]) furthest(key string, so bound) bound {
	for n != nil {
		if n.slot.rng.Key > key {
			n = n.left
			continue
		}
		so = so.max(n.slot.rng.bound())
		if n.left != nil {
			so = so.max(n.left.end)
		}
		n = n.right
	}
	return so
}
