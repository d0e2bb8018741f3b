package ordtree

import "bytes"

// sub is an inner node's entry for one child.
type sub[V any] struct {
	low    []byte // not above any key of the child
	node   node[V]
	counts counts
}

type inner[V any] struct {
	own  *owner
	n    int
	subs [width]sub[V]
}

func newRoot[V any](own *owner, left, right node[V], low []byte) *inner[V] {
	r := &inner[V]{own: own, n: 2}
	r.subs[0] = sub[V]{node: left, counts: left.counts()}
	r.subs[1] = sub[V]{low: low, node: right, counts: right.counts()}
	return r
}

func (x *inner[V]) len() int { return x.n }

func (x *inner[V]) counts() counts {
	var c counts
	for i := range x.subs[:x.n] {
		c = c.plus(x.subs[i].counts)
	}
	return c
}

// childFor returns the position of the only child that can hold the key: the
// last one whose bound is not above it.
func (x *inner[V]) childFor(key []byte) int {
	lo, hi := 0, x.n-1
	for lo < hi {
		mid := int(uint(lo+hi+1) / 2)
		if bytes.Compare(x.subs[mid].low, key) <= 0 {
			lo = mid
		} else {
			hi = mid - 1
		}
	}
	return lo
}

func (x *inner[V]) mutable(own *owner) node[V] {
	if x.own == own {
		return x
	}
	c := *x
	c.own = own
	return &c
}

// child returns child i, made changeable.
func (x *inner[V]) child(own *owner, i int) node[V] {
	c := x.subs[i].node.mutable(own)
	x.subs[i].node = c
	return c
}

func (x *inner[V]) set(own *owner, e *edit[V]) (right node[V], low []byte) {
	i := x.childFor(e.item.key)
	c := x.child(own, i)
	newKid, kidLow := c.set(own, e)
	if newKid == nil {
		x.subs[i].counts = x.subs[i].counts.plus(e.delta)
		return nil, nil
	}
	x.subs[i].counts = c.counts()
	s := sub[V]{low: kidLow, node: newKid, counts: newKid.counts()}
	if x.n < width {
		x.insert(i+1, s)
		return nil, nil
	}
	r := x.split(own, i+1)
	if i+1 <= x.n {
		x.insert(i+1, s)
	} else {
		r.insert(i+1-x.n, s)
	}
	return r, r.subs[0].low
}

func (x *inner[V]) insert(i int, s sub[V]) {
	copy(x.subs[i+1:x.n+1], x.subs[i:x.n])
	x.subs[i] = s
	x.n++
}

func (x *inner[V]) split(own *owner, i int) *inner[V] {
	r := &inner[V]{own: own}
	x.moveTail(r, splitPoint(i))
	return r
}

// moveTail moves the children from position i on to the empty node r.
func (x *inner[V]) moveTail(r *inner[V], i int) {
	r.n = copy(r.subs[:], x.subs[i:x.n])
	clear(x.subs[i:x.n])
	x.n = i
}

func (x *inner[V]) remove(own *owner, key []byte) counts {
	i := x.childFor(key)
	c := x.child(own, i)
	gone := c.remove(own, key)
	x.subs[i].counts = x.subs[i].counts.minus(gone)
	if c.len() < minFill {
		x.refill(own, i)
	}
	return gone
}

// refill joins the underfull child i with a neighbour, or levels the two if
// together they do not leave room to grow.
func (x *inner[V]) refill(own *owner, i int) {
	if i == x.n-1 {
		i--
	}
	left, right := x.child(own, i), x.child(own, i+1)
	if left.len()+right.len() <= width-minFill {
		left.absorb(right)
		x.drop(i + 1)
	} else {
		x.subs[i+1].low = left.level(right)
		x.subs[i+1].counts = right.counts()
	}
	x.subs[i].counts = left.counts()
}

func (x *inner[V]) drop(i int) {
	copy(x.subs[i:], x.subs[i+1:x.n])
	x.n--
	x.subs[x.n] = sub[V]{}
}

func (x *inner[V]) ascend(k Kind, from []byte, fn func(key []byte, v V) bool) bool {
	i := 0
	if from != nil {
		i = x.childFor(from)
	}
	for ; i < x.n; i++ {
		s := &x.subs[i]
		if s.counts[k] > 0 && !s.node.ascend(k, from, fn) {
			return false
		}
		from = nil // only the first child can hold smaller keys
	}
	return true
}

func (x *inner[V]) absorb(right node[V]) {
	r := right.(*inner[V])
	copy(x.subs[x.n:], r.subs[:r.n])
	x.n += r.n
}

func (x *inner[V]) level(right node[V]) (low []byte) {
	r := right.(*inner[V])
	both := make([]sub[V], 0, 2*width)
	both = append(both, x.subs[:x.n]...)
	both = append(both, r.subs[:r.n]...)
	clear(x.subs[:])
	clear(r.subs[:])
	half := len(both) / 2
	x.n = copy(x.subs[:], both[:half])
	r.n = copy(r.subs[:], both[half:])
	return r.subs[0].low
}
