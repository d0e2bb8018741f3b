package mvcc

import (
	"fmt"
	"hash/crc32"
	"math"
	"slices"

	"github.com/quoin-kv/quoin/internal/ordtree"
	"github.com/quoin-kv/quoin/internal/schema"
)

// Hash is a checksum of the retained history, comparable between members that
// have the same CompactRev.
type Hash struct {
	Hash       uint32
	CompactRev int64 // compacted revision that was in force, -1 = none
	Rev        int64 // the history up to here
}

// hashesMost is how many hashes of finished compactions are kept.
const hashesMost = 10

// hasher computes a Hash: CRC-32C over the bucket's name and then, of every
// record that counts, store key and value. Records are fed in ascending order.
//
// Up to the compacted revision only puts count that a compaction at the hashed
// revision would keep, or, if no key is live there, those that the compaction
// at the compacted revision keeps. So members agree however far their removals
// are, and with versions of etcd that remove tombstones at the compacted
// revision.
type hasher struct {
	sum       uint32
	compacted int64
	keep      func(schema.Rev) bool // asked in ascending order
	key       [schema.RevTombstoneSize]byte
	table     *crc32.Table
}

func newHasher(compacted int64, keep func(schema.Rev) bool) *hasher {
	table := crc32.MakeTable(crc32.Castagnoli)
	return &hasher{
		sum:       crc32.Checksum([]byte(schema.Key.Name()), table),
		compacted: compacted, keep: keep, table: table,
	}
}

func (h *hasher) add(rev schema.Rev, tombstone bool, record []byte) {
	if rev.Main <= h.compacted && !h.keep(rev) {
		return
	}
	h.sum = crc32.Update(h.sum, h.table, schema.AppendRev(h.key[:0], rev, tombstone))
	h.sum = crc32.Update(h.sum, h.table, record)
}

// revCursor tells which of ascending revisions are in an ascending list.
type revCursor struct {
	revs []schema.Rev
}

func (c *revCursor) has(rev schema.Rev) bool {
	for len(c.revs) > 0 && c.revs[0].Compare(rev) < 0 {
		c.revs = c.revs[1:]
	}
	return len(c.revs) > 0 && c.revs[0] == rev
}

// HashKV is the checksum of the history up to a main revision: 0 is the
// current; a negative one hashes no record. It fails with kverr.Compacted or
// kverr.FutureRev outside of what is retained, except that the revisions of
// the last finished compactions answer with the hash taken back then. It reads
// every record.
func (v *View) HashKV(rev int64) (Hash, error) {
	if h, ok := v.compactHash(rev); ok {
		return h, nil
	}
	if rev == 0 {
		rev = v.rev
	}
	if rev > 0 {
		if err := v.between(rev); err != nil {
			return Hash{}, err
		}
	}
	kept, keepsAny := v.keptBelow(rev)
	if !keepsAny {
		// Nothing is kept for rev, so all that compaction left counts.
		kept, _ = v.keptBelow(v.compacted)
	}
	h := newHasher(v.compacted, (&revCursor{kept}).has)
	err := v.reader.Scan(schema.Rev{}, lastOf(rev), func(r schema.Rev, tombstone bool, record []byte) bool {
		h.add(r, tombstone, record)
		return true
	})
	if err != nil {
		return Hash{}, fmt.Errorf("mvcc: hash at revision %d: %w", rev, err)
	}
	return Hash{Hash: h.sum, CompactRev: v.compacted, Rev: rev}, nil
}

// CompactHashes returns the hashes of the last finished compactions, at most
// ten, the oldest first. The slice must not be modified.
func (v *View) CompactHashes() []Hash { return v.hashes }

func (v *View) compactHash(rev int64) (Hash, bool) {
	i := slices.IndexFunc(v.hashes, func(h Hash) bool { return rev > 0 && h.Rev == rev })
	if i < 0 {
		return Hash{}, false
	}
	return v.hashes[i], true
}

// keptBelow returns, in ascending order, the puts up to the compacted revision
// that are live at rev, and whether any key is live at rev.
func (v *View) keptBelow(rev int64) (kept []schema.Rev, some bool) {
	if v.compacted < 0 {
		return nil, true // no record is that low
	}
	v.tree.Ascend(ordtree.All, nil, nil, func(_ ordtree.Key, it item) bool {
		if x, ok := it.liveAt(rev); ok {
			some = true
			if x.rev.Main <= v.compacted {
				kept = append(kept, x.rev)
			}
		}
		return true
	})
	slices.SortFunc(kept, schema.Rev.Compare)
	return kept, some
}

// lastOf is above all changes of the main revision and below the next.
func lastOf(main int64) schema.Rev { return schema.Rev{Main: main, Sub: math.MaxInt64} }

// addHash remembers the hash of a finished compaction. Views share the old
// slice, so it is replaced.
func (s *Store) addHash(h Hash) {
	from := max(0, len(s.hashes)+1-hashesMost)
	s.hashes = append(slices.Clone(s.hashes[from:]), h)
}
