// Package interval answers two questions about many ranges of keys: which of them contain a given key (a stabbing query),
// and whether a given range lies wholly inside their union.
//
// Watchers ask the first question on every published event, permissions ask the second one on every request. Single keys sit
// in a hash map, because nearly all watchers of a large cluster watch one key; true ranges sit in an AVL tree ordered by
// their first key in which every node knows the furthest end below it.
//
// The package holds values, not callbacks: whoever asks passes the function that is to see the answers. It has no lock; a Set
// belongs to one goroutine at a time.
package interval

// open is the range end that stands for "no end" on the wire. As an ordinary bound it would admit only the empty key, which
// is no key, so nothing is lost by reserving it.
const open = "\x00"

// Range is a set of keys in the form in which requests carry it: the single key Key if End is empty, every key >= Key if End
// is one zero byte, else the half-open range [Key, End) in bytewise order. Ranges are comparable: equal values are equal
// ranges.
type Range struct{ Key, End string }

// Make returns the range that a request with the given key and range_end means. It copies both.
func Make(key, end []byte) Range { return Range{Key: string(key), End: string(end)} }

// Single reports whether the range was written as one key.
func (r Range) Single() bool { return r.End == "" }

// Open reports whether the range has no upper bound.
func (r Range) Open() bool { return r.End == open }

// Empty reports whether no key can be in the range.
func (r Range) Empty() bool { return !r.Single() && !r.Open() && r.End <= r.Key }

// Contains reports whether key lies in the range. It does not allocate.
func (r Range) Contains(key []byte) bool {
	if r.Single() {
		return r.Key == string(key)
	}
	return r.Key <= string(key) && r.endsAfter(key)
}

// endsAfter reports whether the upper bound lies above key; r is not a single key.
func (r Range) endsAfter(key []byte) bool { return r.Open() || string(key) < r.End }

// bound is an exclusive upper bound of a range; the flag wins over the key.
type bound struct {
	key  string
	none bool // no upper bound
}

// bound returns the range's exclusive upper bound; r is not a single key.
func (r Range) bound() bound {
	if r.Open() {
		return bound{none: true}
	}
	return bound{key: r.End}
}

// max returns the further one of two bounds.
func (b bound) max(o bound) bound {
	if b.none || (!o.none && o.key <= b.key) {
		return b
	}
	return o
}

// after reports whether key lies below the bound.
func (b bound) after(key string) bool { return b.none || key < b.key }
