package ordtree

import (
	"bytes"
	"slices"
)

// prefixMax bounds what keys of a leaf share, so that the arrival of a key
// that shares less makes the leaf longer by a bounded amount only.
const prefixMax = 255

// keys is an ascending list of keys in one piece of memory without pointers:
// what all of them begin with, and then the rest of each, one behind the other.
//
// Invariants:
//  1. ends ascends from prefix on, and ends with len(text).
//  2. prefix is at most prefixMax.
type keys struct {
	text   []byte
	ends   []uint32 // where in text the rest of each key ends
	prefix uint8    // length of what all keys begin with
	lent   bool     // text and ends belong to another list too and must be copied before a change
}

func (ks *keys) len() int { return len(ks.ends) }

// rest is key i without what all keys begin with.
func (ks *keys) rest(i int) []byte { return ks.text[ks.start(i):ks.ends[i]] }

func (ks *keys) start(i int) uint32 {
	if i == 0 {
		return uint32(ks.prefix)
	}
	return ks.ends[i-1]
}

// find returns the position of the first key that is not below key.
func (ks *keys) find(key []byte) (i int, equal bool) {
	p := int(ks.prefix)
	if c := bytes.Compare(key[:min(p, len(key))], ks.text[:p]); c != 0 {
		if c < 0 {
			return 0, false
		}
		return ks.len(), false
	}
	key = key[p:]
	lo, hi := 0, ks.len()
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		switch bytes.Compare(ks.rest(mid), key) {
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

// insert puts a key in at its position i.
func (ks *keys) insert(i int, key []byte) {
	switch p := commonPrefix(ks.text[:ks.prefix], key); {
	case ks.len() == 0:
		p = min(len(key), prefixMax)
		*ks = keys{text: bytes.Clone(key[:p]), prefix: uint8(p)}
	case p < int(ks.prefix):
		ks.shorten(p)
	}
	rest := key[ks.prefix:]
	at := int(ks.start(i))
	ks.makeRoom(len(rest))
	ks.text = slices.Insert(ks.text, at, rest...)
	ks.ends = slices.Insert(ks.ends, i, uint32(at))
	for ; i < len(ks.ends); i++ {
		ks.ends[i] += uint32(len(rest))
	}
}

// makeRoom makes the list changeable, with room for one more key. A little more
// room is taken than needed: leaves of a tree at rest should be full of keys,
// not of room.
func (ks *keys) makeRoom(rest int) {
	if ks.lent || cap(ks.text)-len(ks.text) < rest {
		ks.text = append(make([]byte, 0, len(ks.text)+rest+len(ks.text)/8), ks.text...)
	}
	if ks.lent || cap(ks.ends) == len(ks.ends) {
		ks.ends = append(make([]uint32, 0, len(ks.ends)+2+len(ks.ends)/8), ks.ends...)
	}
	ks.lent = false
}

// shorten makes p the length of what all keys begin with.
func (ks *keys) shorten(p int) {
	more := int(ks.prefix) - p
	text := make([]byte, 0, len(ks.text)+more*ks.len())
	ends := make([]uint32, 0, ks.len()+1)
	text = append(text, ks.text[:p]...)
	for i := range ks.ends {
		text = append(text, ks.text[p:ks.prefix]...)
		text = append(text, ks.rest(i)...)
		ends = append(ends, uint32(len(text)))
	}
	*ks = keys{text: text, ends: ends, prefix: uint8(p)}
}

// remove takes key i out.
func (ks *keys) remove(i int) {
	ks.makeRoom(0)
	from, to := ks.start(i), ks.ends[i]
	ks.text = slices.Delete(ks.text, int(from), int(to))
	ks.ends = slices.Delete(ks.ends, i, i+1)
	for ; i < len(ks.ends); i++ {
		ks.ends[i] -= to - from
	}
}

// all appends references to the keys.
func (ks *keys) all(refs []Key) []Key {
	for i := range ks.len() {
		refs = append(refs, Key{ks, i})
	}
	return refs
}

// pack makes a list of ascending keys, in exactly the memory that it needs.
func pack(refs []Key) keys {
	if len(refs) == 0 {
		return keys{}
	}
	first, last := refs[0].Clone(), refs[len(refs)-1].Clone()
	p := min(commonPrefix(first, last), prefixMax)
	size := p
	for _, k := range refs {
		size += k.Len() - p
	}
	ks := keys{text: make([]byte, p, size), ends: make([]uint32, len(refs)), prefix: uint8(p)}
	copy(ks.text, first)
	for i, k := range refs {
		ks.text = k.appendFrom(ks.text, p)
		ks.ends[i] = uint32(len(ks.text))
	}
	return ks
}

func commonPrefix(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// Key refers to a key in a tree, where it is not in one piece. It is good until
// the tree that it came from is changed; a tree that is not changed any more
// keeps it for ever. It must have come from a tree.
type Key struct {
	in *keys
	i  int
}

// Len is the key's length in bytes.
func (k Key) Len() int { return int(k.in.prefix) + len(k.in.rest(k.i)) }

// Append appends the key to b.
func (k Key) Append(b []byte) []byte { return k.appendFrom(b, 0) }

// appendFrom appends the key without its first n bytes, which are no more than
// it has.
func (k Key) appendFrom(b []byte, n int) []byte {
	rest, p := k.in.rest(k.i), int(k.in.prefix)
	if n >= p {
		return append(b, rest[n-p:]...)
	}
	b = append(b, k.in.text[n:p]...)
	return append(b, rest...)
}

// Clone returns the key in memory of its own.
func (k Key) Clone() []byte { return k.Append(make([]byte, 0, k.Len())) }

// Compare orders two keys bytewise, as bytes.Compare.
func (k Key) Compare(o Key) int {
	if k.in == o.in {
		return k.i - o.i
	}
	a, b := k.in.text[:k.in.prefix], o.in.text[:o.in.prefix]
	n := min(len(a), len(b))
	if c := bytes.Compare(a[:n], b[:n]); c != 0 {
		return c
	}
	// At most one of the two has more than n bytes there.
	return comparePieces(a[n:], k.in.rest(k.i), b[n:], o.in.rest(o.i))
}

// comparePieces compares a+b with c+d, of which a or c is empty.
func comparePieces(a, b, c, d []byte) int {
	if len(c) > 0 {
		return -comparePieces(c, d, a, b)
	}
	n := min(len(a), len(d))
	switch r := bytes.Compare(a[:n], d[:n]); {
	case r != 0:
		return r
	case n < len(a):
		return 1
	}
	return bytes.Compare(b, d[n:])
}
