package mvcc

import (
	"math"
	"slices"
	"sort"

	"github.com/quoin-kv/quoin/internal/schema"
)

// latest is above every revision: reading at it sees all changes.
const latest = math.MaxInt64

// version is one change of one key as the index knows it. All versions from a
// creation to the tombstone that ends it are one generation; each version
// carries what its generation gives it, so no version needs its neighbours.
type version struct {
	rev     schema.Rev
	created int64 // main revision of the generation's first put; 0 for a tombstone
	number  int64 // 1 for the generation's first put, then 2, ...; 0 for a tombstone
}

func (v *version) tombstone() bool { return v.number == 0 }

// item is the index entry of one key. It is immutable: a change makes a new
// item. Items of successive changes share the array of past, which only ever
// grows at its end, beyond what older items see: the history of a key is
// linear, and only the newest item is ever followed.
//
// Invariants:
//  1. Revisions ascend strictly through past and then head.
//  2. A put after a put has the same created and the next number; a put after
//     a tombstone, or first in an uncompacted history, has created equal to
//     its own main revision and number 1.
type item struct {
	head  version
	lease int64 // attached to head; 0 = none
	past  []version
}

func (it *item) live() bool { return it != nil && !it.head.tombstone() }

// len is the number of versions, and version(i) the i-th oldest.
func (it *item) len() int { return len(it.past) + 1 }

func (it *item) version(i int) *version {
	if i == len(it.past) {
		return &it.head
	}
	return &it.past[i]
}

// upTo is the number of versions with main revisions not above rev.
func (it *item) upTo(rev int64) int {
	if it.head.rev.Main <= rev {
		return it.len()
	}
	return sort.Search(len(it.past), func(i int) bool { return it.past[i].rev.Main > rev })
}

// at returns the version that is current at the main revision, or nil.
func (it *item) at(rev int64) *version {
	n := it.upTo(rev)
	if n == 0 {
		return nil
	}
	return it.version(n - 1)
}

// liveAt is at without tombstones.
func (it *item) liveAt(rev int64) *version {
	if v := it.at(rev); v != nil && !v.tombstone() {
		return v
	}
	return nil
}

// follow returns the item after a further change. The receiver may be nil.
func (it *item) follow(v version, lease int64) *item {
	next := &item{head: v, lease: lease}
	if it != nil {
		next.past = append(it.past, it.head)
	}
	return next
}

// before returns the revision of the live version that the event at v
// replaced as seen from outside its transaction: the state at v's main
// revision minus one. It is zero for a creation and where that state is
// compacted.
func (it *item) before(v *version, compacted int64) schema.Rev {
	main := v.rev.Main
	if v.created == main || main-1 < compacted {
		return schema.Rev{}
	}
	if p := it.liveAt(main - 1); p != nil {
		return p.rev
	}
	return schema.Rev{}
}

// keeps is the rule of compaction at revision c for version i of the versions
// that are not above c: of puts the newest stays unless a tombstone follows
// it; a tombstone stays only if it is exactly at c, so that watching from c
// remains complete.
func (it *item) keeps(i int, c int64) bool {
	if v := it.version(i); v.tombstone() {
		return v.rev.Main >= c
	}
	return i == it.len()-1 || it.version(i+1).rev.Main > c
}

// prune returns the item without the versions that a compaction at c removes,
// nil if none remains, and the receiver itself if all do. It calls drop for
// every removed version in ascending order.
func (it *item) prune(c int64, drop func(*version)) *item {
	n := it.upTo(c)
	var kept []version
	dropped := 0
	for i := range n {
		if it.keeps(i, c) {
			kept = append(kept, *it.version(i))
			continue
		}
		drop(it.version(i))
		dropped++
	}
	switch {
	case dropped == 0:
		return it
	case dropped == it.len():
		return nil
	case n <= len(it.past):
		kept = append(kept, it.past[n:]...)
	default: // the head is kept[last]
		kept = kept[:len(kept)-1]
	}
	return &item{head: it.head, lease: it.lease, past: slices.Clip(kept)}
}

// find returns the position of the version with exactly that revision.
func (it *item) find(rev schema.Rev) (i int, ok bool) {
	i = sort.Search(it.len(), func(i int) bool { return it.version(i).rev.Compare(rev) >= 0 })
	return i, i < it.len() && it.version(i).rev == rev
}
