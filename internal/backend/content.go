package backend

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/quoin-kv/quoin/internal/schema"
)

// contents is what a file holds, as checksums: of every record, and of every
// entry of the other buckets. A flush makes the next from it.
type contents struct {
	records sums
	small   smallSums
}

// smallSums is the checksums of entries outside of the key bucket, by the
// bucket's name and key. Those that we do not know of are included.
type smallSums map[string]map[string]uint32

// smallSum is the checksum of an entry of a small bucket.
func smallSum(key, value []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum(key, table), table, value)
}

func (s smallSums) set(bucket string, key []byte, sum uint32) {
	entries := s[bucket]
	if entries == nil {
		entries = make(map[string]uint32)
		s[bucket] = entries
	}
	entries[string(key)] = sum
}

func (s smallSums) remove(bucket string, key []byte) { delete(s[bucket], string(key)) }

// total sums a bucket up, in whatever order.
func (s smallSums) total(bucket string) bucketTotal {
	var t bucketTotal
	for _, sum := range s[bucket] {
		t.add(sum)
	}
	return t
}

// bucketTotal is the sum of the checksums of a bucket's entries, and their number.
type bucketTotal struct {
	sum     uint64
	entries int
}

func (t *bucketTotal) add(sum uint32)    { t.sum, t.entries = t.sum+uint64(sum), t.entries+1 }
func (t *bucketTotal) remove(sum uint32) { t.sum, t.entries = t.sum-uint64(sum), t.entries-1 }

// totals is one for each small bucket; that of the key bucket is not used.
type totals [schema.NumBuckets]bucketTotal

func (s smallSums) totals() (t totals) {
	for b := range schema.NumBuckets {
		t[b] = s.total(b.Name())
	}
	return t
}

// census takes what a walk over a file finds, makes the content of it, and
// compares it with what is known of the file, if anything is.
type census struct {
	contents
	want    *contents // nil: nothing is known
	pending sumsCursor
}

func newCensus(want *contents) *census {
	c := &census{contents: contents{small: smallSums{}}, want: want}
	if want != nil {
		c.pending = want.records.from(schema.Rev{})
	}
	return c
}

// record takes the next record, which is in the page at an offset.
func (c *census) record(key, value []byte, offset, leaf int64) error {
	rev, tombstone, err := parseRecordKey(key)
	if err != nil {
		return at(err, schema.Key.Name(), key, offset)
	}
	if last := c.records.last(); c.records.n > 0 && rev.Compare(last) <= 0 {
		return at(fmt.Errorf("revision %d/%d follows %d/%d", rev.Main, rev.Sub, last.Main, last.Sub), schema.Key.Name(), key, offset)
	}
	sum := recordSum(tombstone, value)
	c.records.push(rev, sum)
	if c.want == nil {
		return nil
	}
	want, known, ok := c.pending.peek()
	switch {
	case !ok || want.Compare(rev) > 0:
		return at(errors.New("record that was never stored"), schema.Key.Name(), key, offset)
	case want.Compare(rev) < 0:
		return missingRecord(want, leaf)
	case known != sum:
		return at(wrongSum(known, sum), schema.Key.Name(), key, offset)
	}
	c.pending.skip()
	return nil
}

// entry takes an entry of another bucket.
func (c *census) entry(bucket string, key, value []byte, offset int64) error {
	sum := smallSum(key, value)
	c.small.set(bucket, key, sum)
	if c.want == nil {
		return nil
	}
	known, ok := c.want.small[bucket][string(key)]
	switch {
	case !ok:
		return at(errors.New("entry that was never stored"), bucket, key, offset)
	case known != sum:
		return at(wrongSum(known, sum), bucket, key, offset)
	}
	return nil
}

// finish tells whether something is missing.
func (c *census) finish() error {
	if c.want == nil {
		return nil
	}
	if rev, _, ok := c.pending.peek(); ok {
		return missingRecord(rev, 0)
	}
	for bucket, entries := range c.want.small {
		for key := range entries {
			if _, ok := c.small[bucket][key]; !ok {
				return at(errors.New("entry is missing"), bucket, []byte(key), 0)
			}
		}
	}
	return nil
}

// parseRecordKey refuses what could not be kept a sum of.
func parseRecordKey(key []byte) (rev schema.Rev, tombstone bool, err error) {
	rev, tombstone, err = schema.ParseRev(key)
	if err == nil && (rev.Sub >= 1<<32 || rev.Main < 0) {
		err = fmt.Errorf("revision %d/%d is not possible", rev.Main, rev.Sub)
	}
	return rev, tombstone, err
}

func wrongSum(want, found uint32) error {
	return fmt.Errorf("expected the checksum %08x, found %08x", want, found)
}

func missingRecord(rev schema.Rev, leaf int64) error {
	return &CorruptError{
		Bucket: schema.Key.Name(), Key: schema.AppendRev(nil, rev, false), Offset: leaf,
		Cause: fmt.Errorf("the record of revision %d/%d is missing", rev.Main, rev.Sub),
	}
}

// at says where something is wrong.
func at(cause error, bucket string, key []byte, offset int64) error {
	return &CorruptError{Bucket: bucket, Key: cloneBytes(key), Offset: offset, Cause: cause}
}

// survey walks over all that a file holds, page by page, before bbolt gets to
// see it: every page of every tree is sound, in its place and used once, keys
// are in order and under the branch that leads to them.
type survey struct {
	pages  *pages
	seen   []bool // by page id
	census *census
}

// surveyPages makes a census of the file that a meta page describes.
func surveyPages(p *pages, meta metaPage, want *contents) (*contents, error) {
	s := &survey{pages: p, seen: make([]bool, p.used), census: newCensus(want)}
	if err := s.root(meta); err != nil {
		return nil, err
	}
	if err := s.freelist(meta); err != nil {
		return nil, err
	}
	return &s.census.contents, s.census.finish()
}

// root walks over the tree of buckets.
func (s *survey) root(meta metaPage) error {
	top := tree{pages: s.pages, root: meta.root}
	return s.tree(&top, func(name, value []byte, bucket bool, offset, _ int64) error {
		if !bucket {
			return at(errors.New("expected a bucket, found a value"), "", name, offset)
		}
		t, err := s.pages.bucketTree(value, offset+int64(len(name)))
		if err != nil {
			return err
		}
		return s.bucket(string(name), &t)
	})
}

func (s *survey) bucket(name string, t *tree) error {
	return s.tree(t, func(key, value []byte, bucket bool, offset, leaf int64) error {
		switch {
		case bucket:
			return at(errors.New("unexpected nested bucket"), name, key, offset)
		case name == schema.Key.Name():
			return s.census.record(key, value, offset, leaf)
		}
		return s.census.entry(name, key, value, offset)
	})
}

// visit gets an entry, where its value begins, and the page that it is in.
type visit func(key, value []byte, bucket bool, offset, leaf int64) error

func (s *survey) tree(t *tree, fn visit) error {
	pg, err := t.top()
	if err != nil {
		return err
	}
	if t.root == 0 {
		return s.leaf(pg, bounds{}, fn)
	}
	return s.page(t.root, pg, bounds{}, 0, fn)
}

// bounds are the keys between which those of a page must be; nil is none.
type bounds struct{ low, high []byte }

func (b bounds) check(pg *page, i int, key, last []byte) error {
	switch {
	case last != nil && bytes.Compare(key, last) <= 0:
		return damaged(pg.offset, "element %d has the key %x, the one before %x", i, key, last)
	case b.low != nil && bytes.Compare(key, b.low) < 0, b.high != nil && bytes.Compare(key, b.high) >= 0:
		return damaged(pg.offset, "element %d has the key %x, expected one from %x to below %x", i, key, b.low, b.high)
	}
	return nil
}

// hold makes sure of the first and the last key of a page.
func (b bounds) hold(pg *page) error {
	for i := 0; i < pg.count; i += max(1, pg.count-1) {
		key, err := pg.key(i)
		if err != nil {
			return err
		}
		if err := b.check(pg, i, key, nil); err != nil {
			return err
		}
	}
	return nil
}

func (s *survey) page(id uint64, pg page, within bounds, depth int, fn visit) error {
	if depth == pagesDeep {
		return damaged(pg.offset, "tree of more than %d levels", pagesDeep)
	}
	for n := id; n < id+pg.length; n++ {
		if s.seen[n] {
			return damaged(pg.offset, "page %d is used twice", n)
		}
		s.seen[n] = true
	}
	if pg.leaf {
		return s.leaf(pg, within, fn)
	}
	return s.branch(pg, within, depth, fn)
}

func (s *survey) branch(pg page, within bounds, depth int, fn visit) error {
	var last []byte
	for i := range pg.count {
		key, child, err := pg.branch(i)
		if err != nil {
			return err
		}
		if err := within.check(&pg, i, key, last); err != nil {
			return err
		}
		below := bounds{key, within.high}
		if i+1 < pg.count {
			if below.high, _, err = pg.branch(i + 1); err != nil {
				return err
			}
		}
		next, err := s.pages.page(child)
		if err != nil {
			return err
		}
		if err := s.page(child, next, below, depth+1, fn); err != nil {
			return err
		}
		last = key
	}
	return nil
}

func (s *survey) leaf(pg page, within bounds, fn visit) error {
	var last []byte
	for i := range pg.count {
		key, value, bucket, err := pg.entry(i)
		if err != nil {
			return err
		}
		if err := within.check(&pg, i, key, last); err != nil {
			return err
		}
		if err := fn(key, value, bucket, pg.offsetOf(i), pg.offset); err != nil {
			return err
		}
		last = key
	}
	return nil
}

// offsetOf is where in the file the key of an entry, and after it the value, begins.
func (pg *page) offsetOf(i int) int64 {
	head, at := pg.head(i)
	return pg.offset + int64(at) + int64(binary.LittleEndian.Uint32(head[4:]))
}

// noFreelist is what a meta page names if the file has no list of free pages.
const noFreelist = ^uint64(0)

// freelist checks the list of free pages of a file that has one: bbolt would
// believe it, and overwrite what it names.
func (s *survey) freelist(meta metaPage) error {
	if meta.freelist == noFreelist {
		return nil
	}
	p := s.pages
	if meta.freelist < 2 || meta.freelist >= p.used {
		return damaged(0, "expected the list of free pages at page 2 to %d, found %d", p.used-1, meta.freelist)
	}
	offset := int64(meta.freelist) * p.size
	raw := p.data[offset : int64(p.used)*p.size]
	length := 1 + uint64(binary.LittleEndian.Uint32(raw[12:]))
	if binary.LittleEndian.Uint16(raw[8:]) != pageFreelist || length > p.used-meta.freelist {
		return damaged(offset, "not a list of free pages")
	}
	raw = raw[pageHeaderBytes : int64(length)*p.size]
	count := uint64(binary.LittleEndian.Uint16(p.data[offset+10:]))
	if count == 1<<16-1 {
		count, raw = binary.LittleEndian.Uint64(raw), raw[8:]
	}
	if count > uint64(len(raw)/8) {
		return damaged(offset+10, "list of %d free pages in %d bytes", count, len(raw))
	}
	for i := range count {
		if id := binary.LittleEndian.Uint64(raw[8*i:]); id < 2 || id >= p.used || s.seen[id] {
			return damaged(offset, "page %d is in the list of free pages, but is used or does not exist", id)
		}
	}
	return nil
}
