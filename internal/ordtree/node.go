package ordtree

// node is a *leaf or an *inner. Methods with an owner change the receiver,
// which must belong to that owner.
type node[V any] interface {
	// mutable returns the receiver if it belongs to own, else a copy that does.
	mutable(own *owner) node[V]
	// set stores an item and fills in the edit's results. If the node had to
	// split, right is its new right sibling and low that one's lower bound.
	set(own *owner, e *edit[V]) (right node[V], low string)
	// remove deletes the key, which must be there, and returns what that took
	// off the counts.
	remove(own *owner, key []byte) counts
	// ascend calls fn for the items from from to below to, each nil for no bound.
	ascend(k Kind, from, to []byte, fn func(key Key, v V) bool) bool
	// len is the number of entries, counts that of items below.
	len() int
	counts() counts
	// underfull tells that the node should be joined with a neighbour.
	underfull() bool
	// join moves all entries of the right sibling to the receiver's end or, if
	// those are too many, as many from one to the other as make both alike; low
	// is then the sibling's new lower bound.
	join(right node[V]) (low string, joined bool)
}

// edit is an item on its way to its leaf, and what came of it.
type edit[V any] struct {
	key     []byte
	val     V
	counted bool

	old      V
	replaced bool
	delta    counts // change of the numbers of items
}
