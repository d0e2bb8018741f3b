package mvcc

import (
	"fmt"
	"slices"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/ordtree"
	"github.com/quoin-kv/quoin/internal/schema"
)

// ChangesQuery is a piece of history to look for.
type ChangesQuery struct {
	// Key and End name the range by the rule of Query.
	Key, End []byte
	// From and To are the first and the last main revision; To 0 or above the
	// view's revision means the view's revision.
	From, To int64
	// MaxRevisions bounds the number of distinct main revisions; no further one
	// is begun once MaxBytes of records would be exceeded. 0 means no bound. A
	// main revision is never divided, and at least one is returned if there is
	// one.
	MaxRevisions, MaxBytes int
}

// Changes is a piece of history.
type Changes struct {
	// Events of the range in order of revision, all of each main revision. Key
	// and Record are valid until the view is released. Leases are not filled in.
	Events []Event
	// Next is where the next query's From goes on, To+1 if this was all.
	Next int64
}

// Changes returns the events of a range between two revisions. A From below
// the compacted revision fails with kverr.Compacted; the compacted revision
// itself is still complete but for changes that a later one of the same
// transaction made void.
//
// There are two ways to find them: by key through the index, if the range has
// few keys, and otherwise by scanning the records. Next may be below To+1 though
// nothing was found.
func (v *View) Changes(q ChangesQuery) (Changes, error) {
	if q.From < v.compacted {
		return Changes{}, kverr.Compacted
	}
	if q.To <= 0 || q.To > v.rev {
		q.To = v.rev
	}
	c := collector{v: v, q: q, sp: makeSpan(q.Key, q.End)}
	if q.From > q.To {
		return Changes{Next: q.From}, nil
	}
	keys := c.sp.count(v.tree, ordtree.All)
	switch {
	case int64(keys) > q.To-q.From:
		return c.byScan()
	case q.MaxRevisions > 0 && keys > v.tree.Len(ordtree.All)/denseRange:
		c.q.To = min(q.To, q.From+int64(denseRange*q.MaxRevisions)) // should others have made the changes, the next one goes on
		return c.byScan()
	}
	return c.byKey()
}

// denseRange is how many times the keys of a range all keys may be for that
// scanning the records, most of which are of the range then, finds the first of
// them sooner than looking at each of its keys.
const denseRange = 4

// collector gathers the events for one call of Changes.
type collector struct {
	v         *View
	q         ChangesQuery
	sp        span
	bound     int64 // main revision above which nothing is wanted, of byKey
	events    []Event
	revisions int
	bytes     int
}

// byScan reads all records of the revisions and picks those of the range.
func (c *collector) byScan() (Changes, error) {
	var bad error
	err := c.v.reader.Scan(schema.Rev{Main: c.q.From}, lastOf(c.q.To), func(rev schema.Rev, _ bool, record []byte) bool {
		var kv schema.KeyValue
		if bad = kv.Unmarshal(record); bad != nil {
			bad = fmt.Errorf("mvcc: record of revision %d/%d: %w", rev.Main, rev.Sub, bad)
			return false
		}
		if e, ok := c.event(kv.Key, rev); ok {
			e.Record = record
			return c.add(e)
		}
		return true
	})
	if err == nil {
		err = bad
	}
	return c.changes(), err
}

// event looks a change up in the index. Records that the index does not name
// are waiting to be removed.
func (c *collector) event(key []byte, rev schema.Rev) (Event, bool) {
	if !c.sp.contains(key) {
		return Event{}, false
	}
	it, ok := c.v.tree.Get(key)
	if !ok {
		return Event{}, false
	}
	i, found := it.find(rev)
	if !found || !c.v.shows(&it, i) {
		return Event{}, false
	}
	return c.v.event(key, &it, i), true
}

// shows tells whether version i, not below the compacted revision, belongs to
// the history. At the compacted revision that is what compaction keeps,
// however far it is.
func (v *View) shows(it *item, i int) bool {
	return it.version(i).rev.Main > v.compacted || it.keeps(i, v.compacted)
}

func (v *View) event(key []byte, it *item, i int) Event {
	x := it.version(i)
	return Event{
		Rev: x.rev, Delete: x.tombstone(), Version: x.number,
		Key: key, Prev: it.before(x, v.compacted),
	}
}

// byKey takes the versions from the index, sorts them and reads their records.
func (c *collector) byKey() (Changes, error) {
	found := c.fromIndex()
	c.sort(&found)
	for len(found) > 0 {
		some := found[:min(len(found), readTogether)]
		found = found[len(some):]
		if err := c.readRecords(some); err != nil {
			return Changes{}, err
		}
		for _, e := range some {
			if !c.add(e) {
				return c.changes(), nil
			}
		}
	}
	return c.changes(), nil
}

// readTogether is how many records are read before it is known whether there
// is room for all.
const readTogether = 64

// sort brings the events in order and cuts them off where no more can be
// returned. What comes after that is not wanted any more.
func (c *collector) sort(found *[]Event) {
	slices.SortFunc(*found, func(a, b Event) int { return a.Rev.Compare(b.Rev) })
	if c.q.MaxRevisions <= 0 {
		return
	}
	mains, last := 0, int64(-1)
	for i, e := range *found {
		if e.Rev.Main == last {
			continue
		}
		if mains++; mains > c.q.MaxRevisions+1 {
			*found, c.bound = (*found)[:i], last
			return
		}
		last = e.Rev.Main
	}
}

// fromIndex collects the events of every key, of each no more than can be
// returned and the one after, and of all together not many more.
func (c *collector) fromIndex() (found []Event) {
	c.bound = c.q.To
	c.sp.ascend(c.v.tree, ordtree.All, func(at ordtree.Key, it item) bool {
		if it.main < c.q.From {
			return true
		}
		key := at.Clone()
		mains, last := 0, int64(-1)
		for i := it.upTo(c.q.From - 1); i < it.len(); i++ {
			if !c.v.shows(&it, i) {
				continue
			}
			main := it.version(i).rev.Main
			if main != last {
				mains, last = mains+1, main
			}
			if main > c.bound || c.q.MaxRevisions > 0 && mains > c.q.MaxRevisions+1 {
				break
			}
			found = append(found, c.v.event(key, &it, i))
		}
		if c.q.MaxRevisions > 0 && len(found) > 4*(c.q.MaxRevisions+1) {
			c.sort(&found)
		}
		return true
	})
	return found
}

// readRecords reads the records of events.
func (c *collector) readRecords(events []Event) error {
	revs := make([]schema.Rev, 0, readTogether)
	for i := range events {
		if e := &events[i]; !e.Delete {
			revs = append(revs, e.Rev)
		} else {
			kv := schema.KeyValue{Key: e.Key}
			e.Record = kv.Append(make([]byte, 0, kv.Size()))
		}
	}
	records, err := c.v.reader.Records(make([][]byte, 0, readTogether), revs)
	if err != nil {
		return fmt.Errorf("mvcc: records of %d revisions: %w", len(revs), err)
	}
	for i := range events {
		if e := &events[i]; !e.Delete {
			e.Record, records = records[0], records[1:]
		}
	}
	return nil
}

// add takes the next event, unless it begins a revision that is too much.
func (c *collector) add(e Event) bool {
	n := len(c.events)
	if n == 0 || c.events[n-1].Rev.Main != e.Rev.Main {
		tooMany := c.q.MaxRevisions > 0 && c.revisions >= c.q.MaxRevisions
		tooLong := c.q.MaxBytes > 0 && c.bytes+len(e.Record) > c.q.MaxBytes
		if n > 0 && (tooMany || tooLong) {
			c.q.To = e.Rev.Main - 1
			return false
		}
		c.revisions++
	}
	c.events = append(c.events, e)
	c.bytes += len(e.Record)
	return true
}

// changes is the result; if add has refused an event, To is just before it.
func (c *collector) changes() Changes {
	return Changes{Events: c.events, Next: c.q.To + 1}
}
