package mvcc

import (
	"slices"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/ordtree"
	"github.com/quoin-kv/quoin/internal/schema"
)

// Pager yields the records of a query piece by piece, in key order, without
// ever holding more than one piece.
type Pager struct {
	view  *View
	q     Query
	at    int64 // main revision read at
	count int64
	sp    span  // what is still to come
	left  int64 // records until the limit; negative = no limit

	// The last piece. Its arrays are used again.
	found   []match // with KeysOnly
	revs    []schema.Rev
	sizes   []int // -1: not known
	records [][]byte
}

// Pager starts reading a query piece by piece. It uses the query's range,
// revision, limit, KeysOnly, CountOnly, InTxn and Root; sorting and filters it
// does not know. A query for the latest revision is pinned to the view's. The
// pager uses the caller's reference of the view.
func (v *View) Pager(q Query) (*Pager, error) {
	at, err := v.resolve(&q)
	if err != nil {
		return nil, err
	}
	p := &Pager{view: v, q: q, at: min(at, v.rev), sp: makeSpan(q.Key, q.End), left: -1}
	rooted := v.rooted(q.Root, p.at)
	p.count = rooted.count(p.sp, p.at)
	if q.Limit > 0 {
		p.left = q.Limit
	}
	if q.CountOnly {
		p.left = 0
	}
	return p, nil
}

// Clone returns a pager that goes on from the same place on the same view,
// independently.
func (p *Pager) Clone() *Pager {
	c := *p
	c.found, c.revs, c.sizes, c.records = nil, nil, nil, nil
	return &c
}

// Count is the number of keys in the whole range at the pager's revision.
func (p *Pager) Count() int64 { return p.count }

// More tells whether the limit leaves records of the range out.
func (p *Pager) More() bool { return !p.q.CountOnly && p.q.Limit > 0 && p.count > p.q.Limit }

// Rev is the revision the pager reads at.
func (p *Pager) Rev() int64 { return p.at }

// Move makes the pager continue on a newer view, at the same revision, so that
// a slow stream does not hold an old one. It fails with kverr.Compacted if the
// revision is compacted there; the pager then stays as it is.
func (p *Pager) Move(v *View) error {
	if p.at < v.compacted {
		return kverr.Compacted
	}
	p.view = v
	return nil
}

// Next returns the next records, at most n and at least one; none means the
// end. They are valid until the view that the pager reads is released, the list
// of them until the next call.
func (p *Pager) Next(n int) (_ [][]byte, err error) {
	switch {
	case p.advance(n) == 0:
		return nil, nil
	case p.q.KeysOnly:
		return keyRecords(p.found), nil
	}
	p.records, err = p.view.appendRecords(p.records[:0], p.revs)
	return p.records, err
}

// Sizes is Next for those who want to know only how long the records are, in
// bytes. The list is valid until the next call.
func (p *Pager) Sizes(n int) ([]int, error) {
	if p.advance(n) == 0 {
		return nil, nil
	}
	if p.q.KeysOnly {
		for i, record := range keyRecords(p.found) {
			p.sizes[i] = len(record)
		}
		return p.sizes, nil
	}
	return p.sizes, p.view.measure(p.sizes, p.revs)
}

// advance finds the next records, at most n, and returns their number; 0 means
// the end.
func (p *Pager) advance(n int) int {
	if p.left >= 0 {
		n = int(min(int64(n), p.left))
	}
	if n <= 0 {
		return 0
	}
	last, found := p.take(n)
	if p.left >= 0 {
		p.left -= int64(found)
	}
	if found < n {
		p.left = 0
	} else {
		p.skipTo(last)
	}
	return found
}

// take finds the next n records, or as many as there are.
func (p *Pager) take(n int) (last ordtree.Key, found int) {
	kind := ordtree.All
	if p.at >= p.view.head {
		kind = ordtree.Counted
	}
	p.found, p.revs, p.sizes = p.found[:0], slices.Grow(p.revs[:0], n), slices.Grow(p.sizes[:0], n)
	p.sp.ascend(p.view.tree, kind, func(key ordtree.Key, it item) bool {
		rev, bytes, ok := it.recordAt(p.at)
		if !ok {
			return true
		}
		p.revs, p.sizes = append(p.revs, rev), append(p.sizes, bytes)
		if p.q.KeysOnly {
			v, _ := it.liveAt(p.at)
			p.found = append(p.found, match{key, v})
		}
		last = key
		return len(p.revs) < n
	})
	return last, len(p.revs)
}

// skipTo moves the start of what is to come behind the key.
func (p *Pager) skipTo(key ordtree.Key) {
	if p.sp.point {
		p.left = 0
		return
	}
	p.sp.from = append(key.Append(make([]byte, 0, key.Len()+1)), 0)
}
