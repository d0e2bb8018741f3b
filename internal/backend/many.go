package backend

import (
	"bytes"
	"runtime/debug"

	"github.com/quoin-kv/quoin/internal/schema"
)

// Records appends the records at revs, tombstones or not, to out in the order of revs. It is Record for many at once: what one search has
// found out helps the next, most of all if revisions follow each other. It wraps ErrNoRecord.
func (r *Reader) Records(out [][]byte, revs []schema.Rev) (_ [][]byte, err error) {
	r.mustLive()
	first := r.pending.first()
	pending := layersFinder{layers: r.pending}
	file := r.snap.recordFinder()
	for len(revs) > 0 && err == nil {
		if revs[0].Compare(first) >= 0 {
			found, ok := pending.find(revs[0])
			if !ok {
				return out, noRecord(revs[0])
			}
			out, revs = append(out, found.bytes), revs[1:]
			continue
		}
		n := 1
		for n < len(revs) && revs[n].Compare(first) < 0 {
			n++
		}
		out, err = file.append(out, revs[:n])
		revs = revs[n:]
	}
	return out, err
}

// Sizes appends the lengths in bytes of the records at revs to out. It does not look whether they are as they must be, so it costs a fraction of
// Records, which does. It wraps ErrNoRecord.
func (r *Reader) Sizes(out []int, revs []schema.Rev) (_ []int, err error) {
	r.mustLive()
	defer r.snap.recovered(&err, debug.SetPanicOnFault(true))
	first := r.pending.first()
	pending := layersFinder{layers: r.pending}
	file := r.snap.snapshot.finder(schema.Key)
	var key [schema.RevSize]byte
	for _, rev := range revs {
		if rev.Compare(first) >= 0 {
			found, ok := pending.find(rev)
			if !ok {
				return out, noRecord(rev)
			}
			out = append(out, len(found.bytes))
			continue
		}
		record, err := file.find(schema.AppendRev(key[:0], rev, false))
		if err == nil && record == nil {
			record, _, err = r.snap.record(rev) // a tombstone, or it says what is wrong
		}
		if err != nil {
			return out, err
		}
		out = append(out, len(record))
	}
	return out, nil
}

// first is the lowest revision, or one above all if there is none.
func (l layers) first() schema.Rev {
	switch {
	case len(l.sealed) > 0:
		return l.sealed[0][0].rev
	case len(l.tail) > 0:
		return l.tail[0].rev
	}
	return highest()
}

// layersFinder finds records, best those that follow each other.
type layersFinder struct {
	layers layers
	rest   []record // behind the one found last, in its span
}

func (f *layersFinder) find(rev schema.Rev) (record, bool) {
	if len(f.rest) > 0 && f.rest[0].rev == rev {
		found := f.rest[0]
		f.rest = f.rest[1:]
		return found, true
	}
	span := f.layers.spanOf(rev)
	i := lowerBound(span, rev)
	if i == len(span) || span[i].rev != rev {
		return record{}, false
	}
	f.rest = span[i+1:]
	return span[i], true
}

// recordFinder finds records of the file. It belongs to one goroutine.
type recordFinder struct {
	st   *state
	sums sumsFinder
	file finder
	key  [schema.RevSize]byte
}

func (st *state) recordFinder() recordFinder {
	return recordFinder{st: st, sums: sumsFinder{sums: &st.records}}
}

// append appends the records at revs, each of which is in the file or nowhere.
func (f *recordFinder) append(out [][]byte, revs []schema.Rev) (_ [][]byte, err error) {
	for len(revs) > 0 {
		n := len(out)
		if out, err = f.appendPuts(out, revs); err != nil {
			return out, err
		}
		if revs = revs[len(out)-n:]; len(revs) == 0 {
			break
		}
		record, _, err := f.st.record(revs[0]) // a tombstone, or it says what is wrong
		if err != nil {
			return out, err
		}
		out, revs = append(out, record), revs[1:]
	}
	return out, nil
}

// appendPuts appends the records at revs as long as they are puts that are as they must be.
func (f *recordFinder) appendPuts(out [][]byte, revs []schema.Rev) (_ [][]byte, err error) {
	defer f.st.recovered(&err, debug.SetPanicOnFault(true))
	if f.file == nil {
		f.file = f.st.snapshot.finder(schema.Key)
	}
	for _, rev := range revs {
		sum, ok := f.sums.find(rev)
		if !ok {
			return out, nil
		}
		record, err := f.file.find(schema.AppendRev(f.key[:0], rev, false))
		if err != nil {
			return out, err
		}
		if record == nil || recordSum(false, record) != sum {
			return out, nil
		}
		out = append(out, record)
	}
	return out, nil
}

// sumsFinder finds sums, best those that follow each other.
type sumsFinder struct {
	sums  *sums
	block *block
	i     int // of the sum found last
}

func (f *sumsFinder) find(rev schema.Rev) (sum uint32, ok bool) {
	if b := f.block; b != nil && f.i+1 < len(b.mains) && b.rev(f.i+1) == rev {
		f.i++
		return b.sums[f.i], true
	}
	b := f.sums.blockOf(rev)
	if b == nil {
		return 0, false
	}
	i := b.at(rev)
	if i == len(b.mains) || b.rev(i) != rev {
		return 0, false
	}
	f.block, f.i = b, i
	return b.sums[i], true
}

// finder looks keys of a bucket up, best those that follow each other. It belongs to one goroutine.
type finder interface {
	find(key []byte) (value []byte, err error) // nil = absent
}

// leafFinder is a finder that stays in a leaf of the tree as long as it can.
type leafFinder struct {
	tree        *tree
	leaf        page
	i           int // element found last
	first, last []byte
}

func (f *leafFinder) find(key []byte) ([]byte, error) {
	if f.first == nil || bytes.Compare(key, f.first) < 0 || bytes.Compare(key, f.last) > 0 {
		if err := f.descend(key); err != nil {
			return nil, err
		}
	}
	if next := f.i + 1; next < f.leaf.count {
		if k, value, _, err := f.leaf.entry(next); err == nil && bytes.Equal(k, key) {
			f.i = next
			return value, nil
		}
	}
	i, exact, err := f.leaf.find(key)
	if err != nil || !exact {
		return nil, err
	}
	f.i = i
	_, value, _, err := f.leaf.entry(i)
	return value, err
}

// descend goes to the leaf where key is or would be.
func (f *leafFinder) descend(key []byte) error {
	leaf, err := f.tree.leafOf(key)
	if err != nil {
		return err
	}
	f.leaf, f.i, f.first, f.last = leaf, -1, nil, nil
	if leaf.count == 0 {
		return nil
	}
	if f.first, err = leaf.key(0); err == nil {
		f.last, err = leaf.key(leaf.count - 1)
	}
	return err
}
