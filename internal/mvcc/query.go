package mvcc

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/quoin-kv/quoin/internal/ordtree"
	"github.com/quoin-kv/quoin/internal/schema"
)

// Order is the direction of sorting, numbered as in the public API.
type Order int32

// The orders.
const (
	OrderNone Order = iota // ascending by key; other targets: see Query.Target
	Ascending
	Descending
)

// Target is what results are sorted by, numbered as in the public API.
type Target int32

// The targets.
const (
	ByKey Target = iota
	ByVersion
	ByCreate
	ByMod
	ByValue
)

// Query is a range read. The zero value of each field but Key is its default.
type Query struct {
	// Key and End name the range: End empty means the single key; one zero byte
	// every key not below Key; otherwise keys with Key <= key < End, none if End
	// is not above Key.
	Key, End []byte
	// Revision is the main revision to read at; 0 and below mean the latest. A
	// revision above the current fails with kverr.FutureRev, one below the
	// compacted with kverr.Compacted; the compacted itself is readable.
	Revision int64
	// InTxn selects the rule inside transactions: negative revisions are
	// compared too and fail as compacted, except that -1 means the latest while
	// the store was never compacted.
	InTxn bool
	// Limit bounds the number of records; 0 and below mean no limit.
	Limit int64
	// Order and Target sort the result; ties stay in key order. With OrderNone
	// and a target other than ByKey the result is sorted ascending, but, unless
	// there is a filter, only after the limit has been applied: the first Limit+1
	// keys by key are sorted and then cut.
	Order  Order
	Target Target
	// KeysOnly leaves out the value, and the lease as well unless Target is
	// ByValue.
	KeysOnly bool
	// CountOnly returns no records; limit, filters and sorting are ignored.
	CountOnly bool
	// Inclusive bounds; 0 = none. They apply before sorting and limit.
	MinMod, MaxMod, MinCreate, MaxCreate int64
	// Root, if it is of the queried revision, makes counting at a past revision
	// as cheap as at the latest. Optional.
	Root *Root
}

// Result answers a Query.
type Result struct {
	// Records are KeyValue messages in wire form. They must not be modified, and
	// stay valid until the View is released.
	Records [][]byte
	// More tells that the limit cut records off.
	More bool
	// Count is the number of keys in the range at the queried revision, before
	// limit and filters.
	Count int64
	// Rev is the current revision when the query ran.
	Rev int64
}

// span is a range of keys in its resolved form.
type span struct {
	from, to []byte // to is exclusive; nil = no bound
	point    bool   // only the key from
}

func makeSpan(key, end []byte) span {
	switch {
	case len(end) == 0:
		return span{from: key, point: true}
	case len(end) == 1 && end[0] == 0:
		return span{from: key}
	default:
		return span{from: key, to: end}
	}
}

// contains tells whether the key is in the span.
func (sp span) contains(key []byte) bool {
	if sp.point {
		return bytes.Equal(key, sp.from)
	}
	return bytes.Compare(key, sp.from) >= 0 && (sp.to == nil || bytes.Compare(key, sp.to) < 0)
}

// ascend calls fn for the items in the span in key order.
func (sp span) ascend(tree *ordtree.Tree[item], k ordtree.Kind, fn func(key ordtree.Key, it item) bool) {
	if sp.point {
		if key, it, ok := tree.Find(sp.from); ok && (k == ordtree.All || it.live()) {
			fn(key, it)
		}
		return
	}
	tree.Ascend(k, sp.from, sp.to, fn)
}

// count is the number of items in the span.
func (sp span) count(tree *ordtree.Tree[item], k ordtree.Kind) int {
	if !sp.point {
		return tree.Count(k, sp.from, sp.to)
	}
	if it, ok := tree.Get(sp.from); ok && (k == ordtree.All || it.live()) {
		return 1
	}
	return 0
}

// match is a key that a query found, and the version that it read.
type match struct {
	key ordtree.Key
	v   version
}

func (q *Query) filtered() bool { return q.MinMod|q.MaxMod|q.MinCreate|q.MaxCreate != 0 }

// passes applies the filters.
func (q *Query) passes(v version) bool {
	within := func(n, low, high int64) bool {
		return (low == 0 || n >= low) && (high == 0 || n <= high)
	}
	return within(v.rev.Main, q.MinMod, q.MaxMod) && within(v.created, q.MinCreate, q.MaxCreate)
}

// keyOrder tells that the result is in ascending key order.
func (q *Query) keyOrder() bool { return q.Target == ByKey && q.Order != Descending }

// sortsAll tells that the limit applies only after everything that passes the
// filters has been sorted.
func (q *Query) sortsAll() bool {
	if q.keyOrder() {
		return false
	}
	return q.Order != OrderNone || q.filtered()
}

// takesLast tells that only the last keys of the range can be in the result.
func (q *Query) takesLast() bool {
	return q.Target == ByKey && q.Order == Descending && q.Limit > 0 && !q.filtered()
}

// fetch is how many matches are enough, 0 for all: one more than the limit, to
// know whether there are more.
func (q *Query) fetch() int {
	const most = 1 << 40
	if q.Limit <= 0 || q.sortsAll() {
		return 0
	}
	return int(min(q.Limit, most)) + 1
}

// run answers the query.
func (src *source) run(q *Query) (Result, error) {
	at, err := src.resolve(q)
	if err != nil {
		return Result{}, err
	}
	from := src.rooted(q.Root, at)
	res := Result{Rev: src.head}
	sp := makeSpan(q.Key, q.End)
	if q.CountOnly {
		res.Count = from.count(sp, at)
		return res, nil
	}
	var found []match
	found, res.Count = from.find(q, sp, at)
	res.Records, res.More, err = src.render(q, found)
	return res, err
}

func (src *source) resolve(q *Query) (int64, error) {
	if q.InTxn {
		return src.readableInTxn(q.Revision)
	}
	return src.readable(q.Revision)
}

// rooted is the source with the root's index if that is the one of revision
// at.
func (src *source) rooted(r *Root, at int64) source {
	c := *src
	if r != nil && r.rev == at {
		c.tree, c.head = r.tree, r.rev
	}
	return c
}

// count is the number of live keys in the span at the revision: O(log n) at
// the latest, a walk of the span before.
func (src *source) count(sp span, at int64) int64 {
	if at >= src.head {
		return int64(sp.count(src.tree, ordtree.Counted))
	}
	n := int64(0)
	sp.ascend(src.tree, ordtree.All, func(_ ordtree.Key, it item) bool {
		if _, ok := it.liveAt(at); ok {
			n++
		}
		return true
	})
	return n
}

// find collects the keys that pass the filters, in key order, as many as the
// query needs, and counts all live keys of the span.
func (src *source) find(q *Query, sp span, at int64) (found []match, count int64) {
	if sp.point {
		return src.findOne(q, sp.from, at)
	}
	if at >= src.head {
		count = src.count(sp, at)
		return src.findLatest(*q, sp, count), count
	}
	return src.findPast(*q, sp, at)
}

// findPast is find at a revision of which the index has no counts.
func (src *source) findPast(q Query, sp span, at int64) (found []match, count int64) {
	enough := q.fetch()
	sp.ascend(src.tree, ordtree.All, func(key ordtree.Key, it item) bool {
		v, ok := it.liveAt(at)
		if !ok {
			return true
		}
		count++
		if (enough == 0 || len(found) < enough) && q.passes(v) {
			found = append(found, match{key, v})
		}
		return true
	})
	return found, count
}

// findOne is find for the commonest query.
func (src *source) findOne(q *Query, key []byte, at int64) (found []match, count int64) {
	stored, it, ok := src.tree.Find(key)
	if !ok {
		return nil, 0
	}
	v, ok := it.liveAt(at)
	if !ok {
		return nil, 0
	}
	if q.passes(v) {
		found = []match{{stored, v}}
	}
	return found, 1
}

func (src *source) findLatest(q Query, sp span, count int64) (found []match) {
	if q.takesLast() {
		last := min(count-1, q.Limit) + 1
		sp, count = src.lastOf(sp, count, last), last
	}
	enough := q.fetch()
	if enough == 0 {
		enough = int(count)
	}
	if !q.filtered() {
		found = make([]match, 0, min(enough, int(count)))
	}
	sp.ascend(src.tree, ordtree.Counted, func(key ordtree.Key, it item) bool {
		if v := it.head(); q.passes(v) {
			found = append(found, match{key, v})
		}
		return len(found) < enough
	})
	return found
}

// lastOf narrows a span of count live keys to the last n of them.
func (src *source) lastOf(sp span, count, n int64) span {
	before := src.tree.Rank(ordtree.Counted, sp.from)
	if key, _, ok := src.tree.Select(ordtree.Counted, before+int(count-n)); ok && n > 0 {
		sp.from = key.Clone()
	}
	return sp
}

// cut applies the limit.
func cut[T any](found []T, limit int64) (rest []T, more bool) {
	if limit > 0 && int64(len(found)) > limit {
		return found[:limit], true
	}
	return found, false
}

// render sorts, cuts and turns matches into records.
func (src *source) render(q *Query, found []match) (records [][]byte, more bool, err error) {
	if q.Target == ByValue {
		return src.renderByValue(q, found)
	}
	if !q.keyOrder() {
		slices.SortStableFunc(found, q.comparer())
	}
	found, more = cut(found, q.Limit)
	if q.KeysOnly {
		return keyRecords(found), more, nil
	}
	records, err = src.read(found)
	return records, more, err
}

func (src *source) read(found []match) ([][]byte, error) {
	if len(found) == 0 {
		return nil, nil
	}
	return src.appendRecords(make([][]byte, 0, len(found)), revsOf(found))
}

// measure fills in the sizes that are below 0: those of the records at revs.
func (v *View) measure(sizes []int, revs []schema.Rev) error {
	var unknown []schema.Rev
	for i, bytes := range sizes {
		if bytes < 0 {
			unknown = append(unknown, revs[i])
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	found, err := v.reader.Sizes(nil, unknown)
	if err != nil {
		return fmt.Errorf("mvcc: sizes of %d records: %w", len(unknown), err)
	}
	for i, bytes := range sizes {
		if bytes < 0 {
			sizes[i], found = found[0], found[1:]
		}
	}
	return nil
}

func revsOf(found []match) []schema.Rev {
	revs := make([]schema.Rev, len(found))
	for i, m := range found {
		revs[i] = m.v.rev
	}
	return revs
}

// appendRecords reads the records of puts.
func (src *source) appendRecords(records [][]byte, revs []schema.Rev) ([][]byte, error) {
	many, ok := src.records.(Reader)
	if !ok || len(revs) == 1 {
		for _, rev := range revs {
			record, err := src.record(rev)
			if err != nil {
				return nil, err
			}
			records = append(records, record)
		}
		return records, nil
	}
	records, err := many.Records(records, revs)
	if err != nil {
		return nil, fmt.Errorf("mvcc: records of %d revisions: %w", len(revs), err)
	}
	return records, nil
}
