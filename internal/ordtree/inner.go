package ordtree

// Width of an inner node: a copied one is 1.3 KB, and a million keys are
// at three levels of them.
const (
	innerWidth   = 32
	innerMinFill = innerWidth / 4
)

// sub is an inner node's entry for one child.
type sub[V any] struct {
	low    string // not above any key of the child
	node   node[V]
	counts counts
}

type inner[V any] struct {
	own  *owner
	n    int
	subs [innerWidth]sub[V]
}

func newRoot[V any](own *owner, left, right node[V], low string) *inner[V] {
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
		if x.subs[mid].low <= string(key) {
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

func (x *inner[V]) set(own *owner, e *edit[V]) (right node[V], low string) {
	i := x.childFor(e.key)
	c := x.child(own, i)
	newKid, kidLow := c.set(own, e)
	if newKid == nil {
		x.subs[i].counts = x.subs[i].counts.plus(e.delta)
		return nil, ""
	}
	x.subs[i].counts = c.counts()
	s := sub[V]{low: kidLow, node: newKid, counts: newKid.counts()}
	if x.n < innerWidth {
		x.insert(i+1, s)
		return nil, ""
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

// split moves the upper part to a new node before an insertion at i. Keys that
// arrive in ascending order leave fuller nodes behind.
func (x *inner[V]) split(own *owner, i int) *inner[V] {
	cut := innerWidth / 2
	if i == innerWidth {
		cut = innerWidth - innerMinFill
	}
	r := &inner[V]{own: own}
	x.moveTail(r, cut)
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
	if c.underfull() {
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
	low, joined := left.join(right)
	if joined {
		x.drop(i + 1)
	} else {
		x.subs[i+1].low = low
		x.subs[i+1].counts = right.counts()
	}
	x.subs[i].counts = left.counts()
}

func (x *inner[V]) drop(i int) {
	copy(x.subs[i:], x.subs[i+1:x.n])
	x.n--
	x.subs[x.n] = sub[V]{}
}

func (x *inner[V]) ascend(k Kind, from, to []byte, fn func(key Key, v V) bool) bool {
	i, last := 0, x.n-1
	if from != nil {
		i = x.childFor(from)
	}
	if to != nil {
		last = x.childFor(to)
	}
	for ; i <= last; i++ {
		end := to
		if i < last {
			end = nil // only the last child can hold greater keys
		}
		s := &x.subs[i]
		if s.counts[k] > 0 && !s.node.ascend(k, from, end, fn) {
			return false
		}
		from = nil // only the first child can hold smaller keys
	}
	return true
}

func (x *inner[V]) underfull() bool { return x.n < innerMinFill }

func (x *inner[V]) join(right node[V]) (low string, joined bool) {
	r := right.(*inner[V])
	both := make([]sub[V], 0, 2*innerWidth)
	both = append(both, x.subs[:x.n]...)
	both = append(both, r.subs[:r.n]...)
	cut := len(both) / 2
	if joined = len(both) <= innerWidth-innerMinFill; joined {
		cut = len(both)
	}
	clear(x.subs[:])
	clear(r.subs[:])
	x.n = copy(x.subs[:], both[:cut])
	r.n = copy(r.subs[:], both[cut:])
	return r.subs[0].low, joined
}
