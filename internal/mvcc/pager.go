package mvcc

import (
	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/ordtree"
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

	found   []match // arrays of the last piece, to be used again
	records [][]byte
	sizes   []int
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
	c.found, c.records = nil, nil
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
func (p *Pager) Next(n int) ([][]byte, error) {
	found := p.advance(n)
	switch {
	case len(found) == 0:
		return nil, nil
	case p.q.KeysOnly:
		return keyRecords(found), nil
	}
	return p.read(found)
}

// Sizes is Next for those who want to know only how long the records are, in
// bytes. The list is valid until the next call.
func (p *Pager) Sizes(n int) ([]int, error) {
	found := p.advance(n)
	if !p.q.KeysOnly {
		var err error
		p.sizes, err = p.view.sizes(p.sizes[:0], found)
		return p.sizes, err
	}
	p.sizes = p.sizes[:0]
	for _, record := range keyRecords(found) {
		p.sizes = append(p.sizes, len(record))
	}
	return p.sizes, nil
}

// advance finds the next records, at most n; none means the end.
func (p *Pager) advance(n int) []match {
	if p.left >= 0 {
		n = int(min(int64(n), p.left))
	}
	if n <= 0 {
		return nil
	}
	found := p.take(n)
	if p.left >= 0 {
		p.left -= int64(len(found))
	}
	if len(found) < n {
		p.left = 0
	} else {
		p.skipTo(found[n-1].key)
	}
	return found
}

// read is the records of what was found.
func (p *Pager) read(found []match) (_ [][]byte, err error) {
	p.records, err = p.view.appendRecords(p.records[:0], found)
	return p.records, err
}

func (p *Pager) take(n int) []match {
	kind := ordtree.All
	if p.at >= p.view.head {
		kind = ordtree.Counted
	}
	p.found = p.found[:0]
	p.sp.ascend(p.view.tree, kind, func(key ordtree.Key, it item) bool {
		if v, ok := it.liveAt(p.at); ok {
			p.found = append(p.found, match{key, v})
		}
		return len(p.found) < n
	})
	return p.found
}

// skipTo moves the start of what is to come behind the key.
func (p *Pager) skipTo(key ordtree.Key) {
	if p.sp.point {
		p.left = 0
		return
	}
	p.sp.from = append(key.Append(make([]byte, 0, key.Len()+1)), 0)
}
