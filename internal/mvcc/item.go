package mvcc

import (
	"fmt"
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

func (v version) tombstone() bool { return v.number == 0 }

// item is the index entry of one key, small where it can be: the tree holds it
// by value. It is immutable: a change makes a new item. What most keys don't have
// is in more. Items of successive changes share the array of more.past, which
// only ever grows at its end, beyond what older items see: the history of a key
// is linear, and only the newest item is ever followed.
//
// Invariants:
//  1. Revisions ascend strictly through past and then head.
//  2. A put after a put has the same created and the next number; a put after
//     a tombstone, or first in an uncompacted history, has created equal to
//     its own main revision and number 1.
//  3. more is nil exactly if the item has no past and no lease, and its head is
//     a tombstone or the first put of its generation.
type item struct {
	main   int64  // revision of head
	sub    uint32 //
	length uint32 // of head's record in bytes, and one more; 0: head is a tombstone
	more   *more
}

// more is what an item has more than others.
type more struct {
	created int64 // of head
	number  int64 //
	lease   int64 // attached to head; 0 = none
	past    []version
}

// subMost is the highest sub revision that an item can have. A transaction of
// so many changes does not fit into any memory.
const subMost = math.MaxUint32

// recordMost is the length of the longest record that an item can be of. No file
// holds one.
const recordMost = math.MaxUint32 - 1

// makeItem returns the item with the newest version head, whose record has so
// many bytes.
func makeItem(head version, bytes int, lease int64, past []version) item {
	if head.rev.Sub > subMost || int64(bytes) > recordMost {
		panic(fmt.Sprintf("mvcc: expected a sub revision up to %d and a record of up to %d bytes, found %d and %d",
			int64(subMost), int64(recordMost), head.rev.Sub, bytes))
	}
	it := item{main: head.rev.Main, sub: uint32(head.rev.Sub)}
	if !head.tombstone() {
		it.length = uint32(bytes) + 1
	}
	first := !it.live() || head.number == 1 && head.created == head.rev.Main
	if len(past) > 0 || lease != 0 || !first {
		it.more = &more{created: head.created, number: head.number, lease: lease, past: past}
	}
	return it
}

// head is the newest version.
func (it *item) head() version {
	v := version{rev: schema.Rev{Main: it.main, Sub: int64(it.sub)}}
	switch {
	case !it.live():
	case it.more != nil:
		v.created, v.number = it.more.created, it.more.number
	default:
		v.created, v.number = it.main, 1
	}
	return v
}

// lease is what is attached to head; 0 = none.
func (it *item) lease() int64 {
	if it.more == nil {
		return 0
	}
	return it.more.lease
}

// past is the versions before head.
func (it *item) past() []version {
	if it.more == nil {
		return nil
	}
	return it.more.past
}

func (it *item) live() bool { return it.length != 0 }

// bytes is the length of head's record, 0 if that is a tombstone.
func (it *item) bytes() int { return max(0, int(it.length)-1) }

// recordAt is where the record of liveAt is, and its length: less than 0 if that
// is not known.
func (it *item) recordAt(rev int64) (at schema.Rev, bytes int, ok bool) {
	if it.main <= rev {
		return schema.Rev{Main: it.main, Sub: int64(it.sub)}, it.bytes(), it.live()
	}
	v, ok := it.liveAt(rev)
	return v.rev, -1, ok
}

// len is the number of versions, and version(i) the i-th oldest.
func (it *item) len() int { return len(it.past()) + 1 }

func (it *item) version(i int) version {
	if past := it.past(); i < len(past) {
		return past[i]
	}
	return it.head()
}

// upTo is the number of versions with main revisions not above rev.
func (it *item) upTo(rev int64) int {
	if it.main <= rev {
		return it.len()
	}
	past := it.past()
	return sort.Search(len(past), func(i int) bool { return past[i].rev.Main > rev })
}

// at returns the version that is current at the main revision, if there is one.
func (it *item) at(rev int64) (v version, ok bool) {
	if it.main <= rev {
		return it.head(), true
	}
	n := it.upTo(rev)
	if n == 0 {
		return version{}, false
	}
	return it.version(n - 1), true
}

// liveAt is at without tombstones.
func (it *item) liveAt(rev int64) (v version, ok bool) {
	v, ok = it.at(rev)
	return v, ok && !v.tombstone()
}

// follow returns the item after a further change, whose record has so many bytes.
func (it *item) follow(v version, bytes int, lease int64) item {
	return makeItem(v, bytes, lease, append(it.past(), it.head()))
}

// before returns the revision of the live version that the event at v
// replaced as seen from outside its transaction: the state at v's main
// revision minus one. It is zero for a creation and where that state is
// compacted.
func (it *item) before(v version, compacted int64) schema.Rev {
	main := v.rev.Main
	if v.created == main || main-1 < compacted {
		return schema.Rev{}
	}
	if p, ok := it.liveAt(main - 1); ok {
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

// prune returns the item without the versions that a compaction at c removes, and
// the number of those; if it is all, kept means nothing. It calls drop for every
// removed version in ascending order.
func (it *item) prune(c int64, drop func(version)) (kept item, dropped int) {
	past, n := it.past(), it.upTo(c)
	var stay []version
	for i := range n {
		switch {
		case !it.keeps(i, c):
			drop(it.version(i))
			dropped++
		case i < len(past):
			stay = append(stay, past[i])
		}
	}
	if dropped == 0 {
		return *it, 0
	}
	if n < len(past) {
		stay = append(stay, past[n:]...)
	}
	return makeItem(it.head(), it.bytes(), it.lease(), slices.Clip(stay)), dropped
}

// find returns the position of the version with exactly that revision.
func (it *item) find(rev schema.Rev) (i int, ok bool) {
	i = sort.Search(it.len(), func(i int) bool { return it.version(i).rev.Compare(rev) >= 0 })
	return i, i < it.len() && it.version(i).rev == rev
}
