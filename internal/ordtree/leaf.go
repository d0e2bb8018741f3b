package ordtree

import (
	"math/bits"
	"slices"
)

// The size of a leaf. A leaf's marks must fit a word. Its keys' text is bounded
// too, so that a new key never has to copy much more than itself: a leaf of long
// keys has few of them. See the benchmarks before changing any of it.
const (
	leafWidth   = 64
	leafMinFill = leafWidth / 4
	leafText    = 4096 // bytes
)

type leaf[V any] struct {
	own   *owner
	marks uint64 // bit i: item i is counted
	keys  keys
	vals  []V
}

func (l *leaf[V]) len() int { return len(l.vals) }

func (l *leaf[V]) counts() counts { return l.countBelow(l.len()) }

// countBelow counts the items before position i.
func (l *leaf[V]) countBelow(i int) counts {
	return counts{uint32(i), uint32(bits.OnesCount64(l.marks & (1<<i - 1)))}
}

func (l *leaf[V]) counted(i int) bool { return l.marks>>i&1 == 1 }

func (l *leaf[V]) mark(i int, counted bool) {
	l.marks &^= 1 << i
	if counted {
		l.marks |= 1 << i
	}
}

// nth returns the position of the item with rank items of the kind before it.
func (l *leaf[V]) nth(k Kind, rank int) int {
	if k == All {
		return rank
	}
	m := l.marks
	for ; rank > 0; rank-- {
		m &= m - 1
	}
	return bits.TrailingZeros64(m)
}

func (l *leaf[V]) mutable(own *owner) node[V] {
	if l.own == own {
		return l
	}
	c := *l
	c.own, c.keys.lent = own, true
	c.vals = append([]V(nil), l.vals...)
	return &c
}

func (l *leaf[V]) set(own *owner, e *edit[V]) (right node[V], low string) {
	i, equal := l.keys.find(e.key)
	if equal {
		l.replace(i, e)
		return nil, ""
	}
	e.delta = counts{All: 1}
	if e.counted {
		e.delta[Counted] = 1
	}
	if !l.full(len(e.key)) {
		l.insert(i, e)
		return nil, ""
	}
	r := l.split(own, i)
	if i <= l.len() {
		l.insert(i, e)
	} else {
		r.insert(i-l.len(), e)
	}
	return r, r.bound(l)
}

// full tells that the leaf has to be split before a key of n bytes comes in.
func (l *leaf[V]) full(n int) bool {
	return l.len() == leafWidth || l.len() > 1 && len(l.keys.text)+n-int(l.keys.prefix) > leafText
}

// bound returns a short lower bound of the leaf that is above all of left.
func (l *leaf[V]) bound(left *leaf[V]) string {
	first := Key{&l.keys, 0}.Clone()
	last := Key{&left.keys, left.len() - 1}.Clone()
	return string(first[:commonPrefix(first, last)+1])
}

func (l *leaf[V]) replace(i int, e *edit[V]) {
	before := l.counts()
	e.old, e.replaced = l.vals[i], true
	l.vals[i] = e.val
	l.mark(i, e.counted)
	e.delta = l.counts().minus(before)
}

func (l *leaf[V]) insert(i int, e *edit[V]) {
	l.keys.insert(i, e.key)
	if n := len(l.vals); n == cap(l.vals) {
		l.vals = append(make([]V, 0, n+2+n/8), l.vals...)
	}
	l.vals = slices.Insert(l.vals, i, e.val)
	below := uint64(1)<<i - 1
	l.marks = l.marks&below | l.marks&^below<<1
	l.mark(i, e.counted)
}

// split moves the upper part to a new leaf before an insertion at i. Keys that
// arrive in ascending order leave fuller leaves behind.
func (l *leaf[V]) split(own *owner, i int) *leaf[V] {
	refs := l.keys.all(make([]Key, 0, leafWidth))
	cut := l.len() / 2
	switch {
	case l.len() < leafWidth:
		cut = halfOfText(refs)
	case i == leafWidth:
		cut = leafWidth - leafMinFill
	}
	r := &leaf[V]{own: own}
	share(l, r, refs, l.vals, l.marks, 0, cut)
	return r
}

// share gives the first cut items to the leaf l and the others to r. The counted
// ones are marked in low and, from position 64 on, in high.
func share[V any](l, r *leaf[V], refs []Key, vals []V, low, high uint64, cut int) {
	lk, rk := pack(refs[:cut]), pack(refs[cut:])
	lv, rv := exactly(vals[:cut]), exactly(vals[cut:])
	l.keys, l.vals, l.marks = lk, lv, low&(1<<cut-1)
	r.keys, r.vals, r.marks = rk, rv, low>>cut|high<<(64-cut)
}

// exactly copies without any room behind.
func exactly[V any](vals []V) []V { return append(make([]V, 0, len(vals)), vals...) }

// halfOfText returns the number of keys, not none and not all, that have about
// half of the text.
func halfOfText(refs []Key) int {
	all := 0
	for _, k := range refs {
		all += k.Len()
	}
	some, cut := 0, 0
	for cut < len(refs)-1 && (cut == 0 || 2*some < all) {
		some += refs[cut].Len()
		cut++
	}
	return cut
}

func (l *leaf[V]) remove(_ *owner, key []byte) counts {
	i, _ := l.keys.find(key)
	gone := counts{All: 1}
	if l.counted(i) {
		gone[Counted] = 1
	}
	l.keys.remove(i)
	l.vals = slices.Delete(l.vals, i, i+1)
	below := uint64(1)<<i - 1
	l.marks = l.marks&below | l.marks>>1&^below
	return gone
}

func (l *leaf[V]) ascend(k Kind, from, to []byte, fn func(key Key, v V) bool) bool {
	i, end := 0, l.len()
	if from != nil {
		i, _ = l.keys.find(from)
	}
	if to != nil {
		end, _ = l.keys.find(to)
	}
	for ; i < end; i++ {
		if (k == All || l.counted(i)) && !fn(Key{&l.keys, i}, l.vals[i]) {
			return false
		}
	}
	return true
}

func (l *leaf[V]) underfull() bool {
	return l.len() < leafMinFill && len(l.keys.text) < leafText/4
}

func (l *leaf[V]) join(right node[V]) (low string, joined bool) {
	r := right.(*leaf[V])
	refs := r.keys.all(l.keys.all(make([]Key, 0, 2*leafWidth)))
	vals := append(append(make([]V, 0, len(refs)), l.vals...), r.vals...)
	n := l.len()
	marks, high := l.marks|r.marks<<n, r.marks>>(64-n)
	cut := len(refs)
	joined = cut <= leafWidth-leafMinFill && len(l.keys.text)+len(r.keys.text) <= leafText*3/4 || l.len() == 0 || r.len() == 0
	if !joined {
		if cut /= 2; len(refs) < leafWidth {
			cut = halfOfText(refs)
		}
	}
	share(l, r, refs, vals, marks, high, cut)
	if joined {
		return "", true
	}
	return r.bound(l), false
}
