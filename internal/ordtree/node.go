package ordtree

import (
	"bytes"
	"math/bits"
)

// Width of a node. 32 entries keep a copied node near a kilobyte and a million
// keys at five levels; see the benchmarks before changing it. A leaf's marks
// must fit a word.
const (
	width   = 32
	minFill = width / 4
)

// node is a *leaf or an *inner. Methods with an owner change the receiver,
// which must belong to that owner.
type node[V any] interface {
	// mutable returns the receiver if it belongs to own, else a copy that does.
	mutable(own *owner) node[V]
	// set stores an item and fills in the edit's results. If the node had to
	// split, right is its new right sibling and low that one's lower bound.
	set(own *owner, e *edit[V]) (right node[V], low []byte)
	// remove deletes the key, which must be there, and returns what that took
	// off the counts.
	remove(own *owner, key []byte) counts
	ascend(k Kind, from []byte, fn func(key []byte, v V) bool) bool
	// len is the number of entries, counts that of items below.
	len() int
	counts() counts
	// absorb moves all entries of the right sibling to the receiver's end, and
	// level as many as make both equally long; it returns the sibling's new
	// lower bound.
	absorb(right node[V])
	level(right node[V]) (low []byte)
}

type item[V any] struct {
	key []byte
	val V
}

// edit is an item on its way to its leaf, and what came of it.
type edit[V any] struct {
	item    item[V]
	counted bool

	old      V
	replaced bool
	delta    counts // change of the numbers of items
}

type leaf[V any] struct {
	own   *owner
	n     int
	marks uint64 // bit i: item i is counted
	items [width]item[V]
}

func (l *leaf[V]) len() int { return l.n }

func (l *leaf[V]) counts() counts { return l.countBelow(l.n) }

// countBelow counts the items before position i.
func (l *leaf[V]) countBelow(i int) counts {
	return counts{i, bits.OnesCount64(l.marks & (1<<i - 1))}
}

func (l *leaf[V]) counted(i int) bool { return l.marks>>i&1 == 1 }

func (l *leaf[V]) mark(i int, counted bool) {
	l.marks &^= 1 << i
	if counted {
		l.marks |= 1 << i
	}
}

// find returns the position of the first item that is not below key.
func (l *leaf[V]) find(key []byte) (i int, equal bool) {
	lo, hi := 0, l.n
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		switch bytes.Compare(l.items[mid].key, key) {
		case -1:
			lo = mid + 1
		case 0:
			return mid, true
		default:
			hi = mid
		}
	}
	return lo, false
}

// nth returns the item with rank items of the kind before it.
func (l *leaf[V]) nth(k Kind, rank int) item[V] {
	if k == All {
		return l.items[rank]
	}
	m := l.marks
	for ; rank > 0; rank-- {
		m &= m - 1
	}
	return l.items[bits.TrailingZeros64(m)]
}

func (l *leaf[V]) mutable(own *owner) node[V] {
	if l.own == own {
		return l
	}
	c := *l
	c.own = own
	return &c
}

func (l *leaf[V]) set(own *owner, e *edit[V]) (right node[V], low []byte) {
	i, equal := l.find(e.item.key)
	if equal {
		l.replace(i, e)
		return nil, nil
	}
	e.delta = counts{All: 1}
	if e.counted {
		e.delta[Counted] = 1
	}
	if l.n < width {
		l.insert(i, e)
		return nil, nil
	}
	r := l.split(own, i)
	if i <= l.n {
		l.insert(i, e)
	} else {
		r.insert(i-l.n, e)
	}
	return r, r.items[0].key
}

func (l *leaf[V]) replace(i int, e *edit[V]) {
	before := l.counts()
	e.old, e.replaced = l.items[i].val, true
	l.items[i].val = e.item.val
	l.mark(i, e.counted)
	e.delta = l.counts().minus(before)
}

func (l *leaf[V]) insert(i int, e *edit[V]) {
	copy(l.items[i+1:l.n+1], l.items[i:l.n])
	l.items[i] = e.item
	below := uint64(1)<<i - 1
	l.marks = l.marks&below | l.marks&^below<<1
	l.mark(i, e.counted)
	l.n++
}

// splitPoint says where to cut a full node before an insertion at i. Keys that
// arrive in ascending order leave fuller nodes behind.
func splitPoint(i int) int {
	if i == width {
		return width - minFill
	}
	return width / 2
}

func (l *leaf[V]) split(own *owner, i int) *leaf[V] {
	r := &leaf[V]{own: own}
	l.moveTail(r, splitPoint(i))
	return r
}

// moveTail moves the items from position i on to the empty leaf r.
func (l *leaf[V]) moveTail(r *leaf[V], i int) {
	r.n = copy(r.items[:], l.items[i:l.n])
	r.marks = l.marks >> i
	clear(l.items[i:l.n])
	l.marks &= 1<<i - 1
	l.n = i
}

func (l *leaf[V]) remove(_ *owner, key []byte) counts {
	i, _ := l.find(key)
	gone := counts{All: 1}
	if l.counted(i) {
		gone[Counted] = 1
	}
	copy(l.items[i:], l.items[i+1:l.n])
	l.n--
	l.items[l.n] = item[V]{}
	below := uint64(1)<<i - 1
	l.marks = l.marks&below | l.marks>>1&^below
	return gone
}

func (l *leaf[V]) ascend(k Kind, from []byte, fn func(key []byte, v V) bool) bool {
	i := 0
	if from != nil {
		i, _ = l.find(from)
	}
	for ; i < l.n; i++ {
		if (k == All || l.counted(i)) && !fn(l.items[i].key, l.items[i].val) {
			return false
		}
	}
	return true
}

func (l *leaf[V]) absorb(right node[V]) {
	r := right.(*leaf[V])
	copy(l.items[l.n:], r.items[:r.n])
	l.marks |= r.marks << l.n
	l.n += r.n
}

func (l *leaf[V]) level(right node[V]) (low []byte) {
	r := right.(*leaf[V])
	marks := l.marks | r.marks<<l.n
	both := make([]item[V], 0, 2*width)
	both = append(both, l.items[:l.n]...)
	both = append(both, r.items[:r.n]...)
	clear(l.items[:])
	clear(r.items[:])
	half := len(both) / 2
	l.n, l.marks = copy(l.items[:], both[:half]), marks&(1<<half-1)
	r.n, r.marks = copy(r.items[:], both[half:]), marks>>half
	return r.items[0].key
}
