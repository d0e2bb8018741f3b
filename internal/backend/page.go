package backend

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// The part of bbolt's page format that is read here rather than by bbolt.
const (
	pageBranch    = 0x01
	pageLeaf      = 0x02
	pageFreelist  = 0x10
	elementBytes  = 16
	bucketElement = 0x01 // flag of a leaf's element whose value is a bucket
	bucketBytes   = 16   // what such a value begins with: root page, sequence
	pagesDeep     = 32   // no tree is deeper
)

// pages is the bytes of a bbolt file and how they are divided. bbolt trusts
// its pages; whoever reads a damaged one through it meets a fault, an endless
// loop or somebody else's bytes. So what is read, is read through this type,
// which checks every number before it is used: damage gives a *CorruptError
// with its offset.
//
// Bytes that it returns are part of the mapping: valid until that goes.
type pages struct {
	data []byte // at least used*size bytes
	size int64  // of a page
	used uint64 // pages ever used
}

// page is one page of a tree together with those that continue it.
type page struct {
	offset int64 // in the file
	raw    []byte
	leaf   bool
	count  int
	length uint64 // in pages
}

func damaged(offset int64, format string, args ...any) error {
	return &CorruptError{Offset: offset, Cause: fmt.Errorf(format, args...)}
}

// page returns the branch or leaf page with that id.
func (p *pages) page(id uint64) (page, error) {
	if id < 2 || id >= p.used {
		return page{}, damaged(0, "expected a page from 2 to %d, found %d", p.used-1, id)
	}
	offset := int64(id) * p.size
	raw := p.data[offset : int64(p.used)*p.size]
	if stored := binary.LittleEndian.Uint64(raw); stored != id {
		return page{}, damaged(offset, "page %d says that it is page %d", id, stored)
	}
	length := 1 + uint64(binary.LittleEndian.Uint32(raw[12:]))
	if length > p.used-id {
		return page{}, damaged(offset+12, "page %d is %d pages long, the file ends %d pages after it", id, length, p.used-id)
	}
	return parsePage(raw[:int64(length)*p.size], offset)
}

// parsePage understands the head of a page, or of one inside a bucket's value.
func parsePage(raw []byte, offset int64) (page, error) {
	if len(raw) < pageHeaderBytes {
		return page{}, damaged(offset, "page of %d bytes", len(raw))
	}
	flags := binary.LittleEndian.Uint16(raw[8:])
	pg := page{
		offset: offset, raw: raw, leaf: flags == pageLeaf,
		count: int(binary.LittleEndian.Uint16(raw[10:])), length: 1 + uint64(binary.LittleEndian.Uint32(raw[12:])),
	}
	switch {
	case flags != pageLeaf && flags != pageBranch:
		return pg, damaged(offset+8, "expected a branch or a leaf page, found one of kind %#x", flags)
	case pageHeaderBytes+pg.count*elementBytes > len(raw):
		return pg, damaged(offset+10, "%d elements do not fit into a page of %d bytes", pg.count, len(raw))
	case !pg.leaf && pg.count == 0:
		return pg, damaged(offset+10, "branch page without elements")
	}
	return pg, nil
}

// head returns element i and where it is in the page.
func (pg *page) head(i int) (head []byte, at int) {
	at = pageHeaderBytes + i*elementBytes
	return pg.raw[at : at+elementBytes], at
}

// bytes returns n bytes of the page that an element points to.
func (pg *page) bytes(at int, pos, n uint64) ([]byte, error) {
	start := uint64(at) + pos
	if start < uint64(pageHeaderBytes+pg.count*elementBytes) || start+n > uint64(len(pg.raw)) {
		return nil, pg.outside(at, start, n)
	}
	return pg.raw[start : start+n : start+n], nil
}

func (pg *page) outside(at int, start, n uint64) error {
	return damaged(pg.offset+int64(at), "element points to bytes %d to %d of a page of %d bytes", start, start+n, len(pg.raw))
}

// branch returns the key of element i of a branch page and the page below it.
func (pg *page) branch(i int) (key []byte, child uint64, err error) {
	head, at := pg.head(i)
	key, err = pg.bytes(at, uint64(binary.LittleEndian.Uint32(head)), uint64(binary.LittleEndian.Uint32(head[4:])))
	return key, binary.LittleEndian.Uint64(head[8:]), err
}

// entry returns element i of a leaf page; bucket tells that its value is one.
func (pg *page) entry(i int) (key, value []byte, bucket bool, err error) {
	head, at := pg.head(i)
	flags, pos := binary.LittleEndian.Uint32(head), uint64(binary.LittleEndian.Uint32(head[4:]))
	keyLen, valueLen := uint64(binary.LittleEndian.Uint32(head[8:])), uint64(binary.LittleEndian.Uint32(head[12:]))
	both, err := pg.bytes(at, pos, keyLen+valueLen)
	switch {
	case err != nil:
		return nil, nil, false, err
	case flags&^bucketElement != 0 || keyLen == 0:
		return nil, nil, false, damaged(pg.offset+int64(at), "element with flags %#x and a key of %d bytes", flags, keyLen)
	}
	return both[:keyLen:keyLen], both[keyLen:], flags == bucketElement, nil
}

// key returns the key of element i of any page.
func (pg *page) key(i int) (key []byte, err error) {
	at := pageHeaderBytes + i*elementBytes
	head := pg.raw[at : at+elementBytes]
	if pg.leaf {
		head = head[4:] // behind the flags
	}
	return pg.bytes(at, uint64(binary.LittleEndian.Uint32(head)), uint64(binary.LittleEndian.Uint32(head[4:])))
}

// find returns the first element whose key is not below key.
func (pg *page) find(key []byte) (i int, exact bool, err error) {
	low, high := 0, pg.count
	for low < high {
		middle := int(uint(low+high) >> 1)
		k, err := pg.key(middle)
		if err != nil {
			return 0, false, err
		}
		switch c := compareKeys(k, key); {
		case c == 0:
			return middle, true, nil
		case c < 0:
			low = middle + 1
		default:
			high = middle
		}
	}
	return low, false, nil
}

// compareKeys is bytes.Compare, quicker for keys that differ in their first bytes, as revisions do.
func compareKeys(a, b []byte) int {
	if len(a) >= 8 && len(b) >= 8 {
		if x, y := binary.BigEndian.Uint64(a), binary.BigEndian.Uint64(b); x != y {
			if x < y {
				return -1
			}
			return 1
		}
	}
	return bytes.Compare(a, b)
}

// childFor returns the element of a branch page under which key would be.
func (pg *page) childFor(key []byte) (i int, child uint64, err error) {
	i, exact, err := pg.find(key)
	if err != nil {
		return 0, 0, err
	}
	if !exact && i > 0 {
		i--
	}
	_, child, err = pg.branch(i)
	return i, child, err
}

// tree is one bucket: a B+tree of pages, or a single page in the value by
// which the bucket is known.
type tree struct {
	pages  *pages
	root   uint64 // 0: inline
	inline page
}

// bucketTree understands the value of a bucket's element, which is at an offset of the file.
func (p *pages) bucketTree(value []byte, offset int64) (tree, error) {
	if len(value) < bucketBytes {
		return tree{}, damaged(offset, "bucket of %d bytes", len(value))
	}
	t := tree{pages: p, root: binary.LittleEndian.Uint64(value)}
	if t.root != 0 {
		return t, nil
	}
	var err error
	t.inline, err = parsePage(value[bucketBytes:], offset+bucketBytes)
	if err == nil && !t.inline.leaf {
		err = damaged(offset+bucketBytes, "branch page inside a bucket's value")
	}
	return t, err
}

// same tells whether two trees begin alike.
func (t *tree) same(other *tree) bool {
	a, b := &t.inline, &other.inline
	return t.root == other.root && a.offset == b.offset && len(a.raw) == len(b.raw) && a.count == b.count && a.length == b.length
}

func (t *tree) top() (page, error) {
	if t.root == 0 {
		return t.inline, nil
	}
	return t.pages.page(t.root)
}

// leafOf is the leaf in which key is or would be.
func (t *tree) leafOf(key []byte) (page, error) {
	pg, err := t.top()
	for depth := 0; err == nil && !pg.leaf; depth++ {
		var child uint64
		if depth == pagesDeep {
			return page{}, damaged(pg.offset, "tree of more than %d levels", pagesDeep)
		}
		if _, child, err = pg.childFor(key); err == nil {
			pg, err = t.pages.page(child)
		}
	}
	return pg, err
}

// get looks a key up, and says where in the file the entry is, or the page where it would be.
func (t *tree) get(key []byte) (value []byte, at int64, err error) {
	pg, err := t.leafOf(key)
	if err != nil {
		return nil, 0, err
	}
	i, exact, err := pg.find(key)
	if err != nil || !exact {
		return nil, pg.offset, err
	}
	_, value, _, err = pg.entry(i)
	return value, pg.offsetOf(i), err
}

// treeCursor walks a tree in the order of keys, which it makes sure of, and of each page being where lookups look for its keys.
type treeCursor struct {
	tree  tree
	stack []position
	last  []byte
}

type position struct {
	page   page
	i      int
	within bounds
}

// seek goes to the first entry at or after key.
func (c *treeCursor) seek(key []byte) (k, v []byte, err error) {
	c.stack, c.last = c.stack[:0], nil
	pg, err := c.tree.top()
	within := bounds{}
	for err == nil && !pg.leaf {
		var i int
		if i, _, err = pg.childFor(key); err == nil {
			c.stack = append(c.stack, position{pg, i, within})
			pg, within, err = c.below()
		}
	}
	if err != nil {
		return nil, nil, err
	}
	i, _, err := pg.find(key)
	if err != nil {
		return nil, nil, err
	}
	c.stack = append(c.stack, position{pg, i - 1, within})
	return c.next()
}

// below is the page below the position in a branch that was reached last. The branch says between which keys its keys are.
func (c *treeCursor) below() (pg page, within bounds, err error) {
	at := &c.stack[len(c.stack)-1]
	if len(c.stack) > pagesDeep {
		return page{}, within, damaged(at.page.offset, "tree of more than %d levels", pagesDeep)
	}
	low, child, err := at.page.branch(at.i)
	within = bounds{low, at.within.high}
	if err == nil && at.i+1 < at.page.count {
		within.high, err = at.page.key(at.i + 1)
	}
	if err != nil {
		return page{}, within, err
	}
	if pg, err = c.tree.pages.page(child); err != nil {
		return page{}, within, err
	}
	return pg, within, within.hold(&pg)
}

// next goes to the next entry; a nil key is the end.
func (c *treeCursor) next() (k, v []byte, err error) {
	for len(c.stack) > 0 {
		top := &c.stack[len(c.stack)-1]
		if top.i++; top.i >= top.page.count {
			c.stack = c.stack[:len(c.stack)-1]
			continue
		}
		if top.page.leaf {
			return c.entry(top)
		}
		if err := c.down(); err != nil {
			return nil, nil, err
		}
	}
	return nil, nil, nil
}

// entry returns the entry at a position in a leaf.
func (c *treeCursor) entry(at *position) (k, v []byte, err error) {
	k, v, _, err = at.page.entry(at.i)
	if err != nil {
		return nil, nil, err
	}
	if c.last != nil && bytes.Compare(k, c.last) <= 0 {
		return nil, nil, damaged(at.page.offset, "key %x follows key %x", k, c.last)
	}
	c.last = k
	return k, v, nil
}

// down goes to before the first entry of the page below the position that was reached last.
func (c *treeCursor) down() error {
	pg, within, err := c.below()
	if err == nil {
		c.stack = append(c.stack, position{pg, -1, within})
	}
	return err
}

// at is the offset of the entry that the cursor is at, 0 behind the last one.
func (c *treeCursor) at() int64 {
	if len(c.stack) == 0 {
		return 0
	}
	top := &c.stack[len(c.stack)-1]
	return top.page.offsetOf(top.i)
}

// lastKey returns the last key of the tree, nil if there is none. A leaf may be empty.
func (t *tree) lastKey() ([]byte, error) {
	pg, err := t.top()
	for depth := 0; err == nil && !pg.leaf; depth++ {
		if depth == pagesDeep {
			return nil, damaged(pg.offset, "tree of more than %d levels", pagesDeep)
		}
		var child uint64
		if _, child, err = pg.branch(pg.count - 1); err == nil {
			pg, err = t.pages.page(child)
		}
	}
	if err != nil || pg.count == 0 {
		return nil, err
	}
	return pg.key(pg.count - 1)
}
