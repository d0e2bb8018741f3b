package backend

import (
	"hash/crc32"
	"slices"
	"sort"

	"github.com/quoin-kv/quoin/internal/schema"
)

// recordSum is the checksum of a record: CRC-32C of its bytes, inverted for a
// tombstone. Its revision is not part of it: sums are found by revision.
func recordSum(tombstone bool, record []byte) uint32 {
	sum := crc32.Checksum(record, crc32.MakeTable(crc32.Castagnoli))
	if tombstone {
		return ^sum
	}
	return sum
}

// blockRecords is how many sums share a block.
const blockRecords = 512

// block is the sums of a run of revisions.
//
// Invariants:
//  1. mains, subs (unless nil) and sums are of the same length, at least 1, at most blockRecords.
//  2. (base+mains[i], subs[i]) ascend strictly; mains[0] is 0.
type block struct {
	base  int64
	mains []uint32 // main revisions above base
	subs  []uint32 // nil: all are 0
	sums  []uint32
}

func (b *block) rev(i int) schema.Rev {
	rev := schema.Rev{Main: b.base + int64(b.mains[i])}
	if b.subs != nil {
		rev.Sub = int64(b.subs[i])
	}
	return rev
}

// at returns the first position at or after rev.
func (b *block) at(rev schema.Rev) int {
	if d := rev.Main - b.base; b.subs == nil && rev.Sub == 0 && d >= 0 && d < int64(len(b.mains)) && int64(b.mains[d]) == d {
		return int(d) // revisions without a gap
	}
	return sort.Search(len(b.mains), func(i int) bool { return b.rev(i).Compare(rev) >= 0 })
}

// add puts one more sum behind the others; false if there is no room. What it
// writes to memory is behind what copies of the block can see.
func (b *block) add(rev schema.Rev, sum uint32) bool {
	const most = 1<<32 - 1
	if len(b.mains) == 0 {
		*b = block{base: rev.Main, mains: make([]uint32, 0, blockRecords), sums: make([]uint32, 0, blockRecords)}
	}
	if len(b.mains) >= blockRecords || rev.Main-b.base > most {
		return false
	}
	if rev.Sub != 0 && b.subs == nil {
		b.subs = make([]uint32, len(b.mains), blockRecords)
	}
	if b.subs != nil {
		b.subs = append(b.subs, uint32(rev.Sub))
	}
	b.mains, b.sums = append(b.mains, uint32(rev.Main-b.base)), append(b.sums, sum)
	return true
}

// sums knows the checksum of every record of a file, by revision: 8 bytes a
// record, 12 where a transaction wrote several. It is a value: what one copy can see never changes. Only the newest may
// be continued.
//
// Invariants:
//  1. Revisions ascend strictly through blocks and then tail.
//  2. firsts[i] is the first main revision of blocks[i].
//  3. n is the number of sums.
type sums struct {
	blocks []*block
	firsts []int64
	tail   block
	n      int
}

// find returns the sum of the record at rev.
func (s *sums) find(rev schema.Rev) (sum uint32, ok bool) {
	b := s.blockOf(rev)
	if b == nil {
		return 0, false
	}
	i := b.at(rev)
	if i == len(b.mains) || b.rev(i) != rev {
		return 0, false
	}
	return b.sums[i], true
}

// blockOf returns the block in which rev would be, nil if it is before all.
func (s *sums) blockOf(rev schema.Rev) *block {
	i := s.blockIndex(rev)
	switch {
	case i < 0:
		return nil
	case i == len(s.blocks):
		return &s.tail
	}
	return s.blocks[i]
}

// blockIndex is the index of that block; len(blocks) means the tail.
func (s *sums) blockIndex(rev schema.Rev) int {
	if len(s.tail.mains) > 0 && s.tail.rev(0).Compare(rev) <= 0 {
		return len(s.blocks)
	}
	i := sort.Search(len(s.firsts), func(i int) bool { return s.firsts[i] > rev.Main }) - 1
	for i >= 0 && s.blocks[i].rev(0).Compare(rev) > 0 {
		i-- // a transaction that goes on over several blocks
	}
	return i
}

// push adds the sum of a record above all before.
func (s *sums) push(rev schema.Rev, sum uint32) {
	if !s.tail.add(rev, sum) {
		full := s.tail
		s.seal(&full)
		s.tail = block{}
		s.tail.add(rev, sum)
	}
	s.n++
}

func (s *sums) seal(b *block) {
	s.blocks = append(s.blocks, b)
	s.firsts = append(s.firsts, b.base)
}

// last is the highest revision, zero if there is none.
func (s *sums) last() schema.Rev {
	switch {
	case len(s.tail.mains) > 0:
		return s.tail.rev(len(s.tail.mains) - 1)
	case len(s.blocks) > 0:
		b := s.blocks[len(s.blocks)-1]
		return b.rev(len(b.mains) - 1)
	}
	return schema.Rev{}
}

// without returns the sums without those of some revisions, which ascend.
// Blocks that have become small are joined.
func (s *sums) without(revs []schema.Rev) sums {
	if len(revs) == 0 {
		return *s
	}
	var out sums
	for _, b := range append(slices.Clip(s.blocks), &s.tail) {
		n := sort.Search(len(revs), func(i int) bool { return len(b.mains) > 0 && revs[i].Compare(b.rev(len(b.mains)-1)) > 0 })
		kept := b.without(revs[:n])
		revs = revs[n:]
		out.join(kept)
	}
	if n := len(out.blocks); n > 0 { // the last one may be continued, but not in memory that others see
		last := out.blocks[n-1]
		out.blocks, out.firsts = out.blocks[:n-1], out.firsts[:n-1]
		out.tail = last.cloned()
	}
	return out
}

// cloned returns a block with the same sums and memory of its own, with room for more.
func (b *block) cloned() block {
	var c block
	for i := range b.mains {
		c.add(b.rev(i), b.sums[i])
	}
	return c
}

// without returns the block without some of its revisions, itself if there are none.
func (b *block) without(revs []schema.Rev) *block {
	if len(revs) == 0 {
		return b
	}
	var kept block
	for i := range b.mains {
		rev := b.rev(i)
		for len(revs) > 0 && revs[0].Compare(rev) < 0 {
			revs = revs[1:]
		}
		if len(revs) == 0 || revs[0] != rev {
			kept.add(rev, b.sums[i])
		}
	}
	return &kept
}

// join adds a block behind the others, to the one before it if both together are small.
func (s *sums) join(b *block) {
	if len(b.mains) == 0 {
		return
	}
	s.n += len(b.mains)
	if n := len(s.blocks); n > 0 && len(s.blocks[n-1].mains)+len(b.mains) <= blockRecords/2 {
		joined, ok := s.blocks[n-1].cloned(), true
		for i := 0; ok && i < len(b.mains); i++ {
			ok = joined.add(b.rev(i), b.sums[i])
		}
		if ok {
			s.blocks[n-1] = &joined
			return
		}
	}
	s.seal(b)
}

// sumsCursor walks sums in ascending order.
type sumsCursor struct {
	sums     *sums
	block, i int
}

// from returns a cursor before the first revision at or after rev.
func (s *sums) from(rev schema.Rev) sumsCursor {
	c := sumsCursor{sums: s, block: max(0, s.blockIndex(rev))}
	if b := c.current(); b != nil && len(b.mains) > 0 {
		c.i = b.at(rev)
	}
	return c
}

func (c *sumsCursor) current() *block {
	switch {
	case c.block < len(c.sums.blocks):
		return c.sums.blocks[c.block]
	case c.block == len(c.sums.blocks):
		return &c.sums.tail
	}
	return nil
}

// peek returns the next revision and its sum.
func (c *sumsCursor) peek() (rev schema.Rev, sum uint32, ok bool) {
	for b := c.current(); b != nil; b = c.current() {
		if c.i < len(b.mains) {
			return b.rev(c.i), b.sums[c.i], true
		}
		c.block, c.i = c.block+1, 0
	}
	return schema.Rev{}, 0, false
}

func (c *sumsCursor) skip() { c.i++ }
