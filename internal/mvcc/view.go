package mvcc

import (
	"fmt"
	"sync/atomic"

	"github.com/quoin-kv/quoin/internal/ordtree"
	"github.com/quoin-kv/quoin/internal/schema"
)

// View is the store at one moment. It never changes, and any number of
// goroutines may read it. It is counted: Release gives up one reference, and
// with the last one the Reader under it. Everything that a view returned by
// reference is valid until then.
type View struct {
	source
	reader Reader
	hashes []Hash
	refs   atomic.Int32
}

// View returns a view of the current state with one reference. It takes over
// one reference of r, which must hold everything the store has appended. No
// transaction may be open.
func (s *Store) View(r Reader) *View {
	if s.tx.open {
		panic("mvcc: expected no open transaction when taking a view, found one")
	}
	v := &View{
		source: source{tree: s.tree.Clone(), rev: s.rev, head: s.rev, compacted: s.scheduled, records: r},
		reader: r,
		hashes: s.hashes,
	}
	v.refs.Store(1)
	return v
}

// Rev is the revision of the view.
func (v *View) Rev() int64 { return v.rev }

// CompactRev is the compacted revision of the view, -1 if there never was a
// compaction.
func (v *View) CompactRev() int64 { return v.compacted }

// Keys is the number of live keys.
func (v *View) Keys() int { return v.tree.Len(ordtree.Counted) }

// Retain takes one more reference. It is false, and takes none, if the view
// has been released fully: its holder let go between publishing the next view
// and this call, and the caller should load the newer one.
func (v *View) Retain() bool {
	for {
		n := v.refs.Load()
		if n <= 0 {
			return false
		}
		if v.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Release gives up one reference. One too many panics.
func (v *View) Release() {
	switch n := v.refs.Add(-1); {
	case n == 0:
		v.reader.Release()
	case n < 0:
		panic(fmt.Sprintf("mvcc: expected a view with references, found %d before release", n+1))
	}
}

// Get returns the live key's item at the latest revision of the view.
func (v *View) Get(key []byte) (Item, bool) {
	if it, ok := v.tree.Get(key); ok && it.live() {
		return it.public(), true
	}
	return Item{}, false
}

// Items calls fn for the live keys of the range, by the rule of Query, at the
// latest revision of the view, in key order until fn returns false. The key is
// valid during the call.
func (v *View) Items(key, end []byte, fn func(key []byte, it Item) bool) {
	v.items(makeSpan(key, end), fn)
}

func (src *source) items(sp span, fn func(key []byte, it Item) bool) {
	var buf []byte
	sp.ascend(src.tree, ordtree.Counted, func(key ordtree.Key, it item) bool {
		buf = key.Append(buf[:0])
		return fn(buf, it.public())
	})
}

// Record returns the record of a put that the view's index or events name.
func (v *View) Record(rev schema.Rev) ([]byte, error) { return v.record(rev) }

// Range answers the query.
func (v *View) Range(q Query) (Result, error) { return v.run(&q) }

// Count is the number of live keys in the range at the revision, with the
// rules of Query for both.
func (v *View) Count(key, end []byte, rev int64) (int64, error) {
	res, err := v.run(&Query{Key: key, End: end, Revision: rev, CountOnly: true})
	return res.Count, err
}

// CheckRevision returns the error that a Query with InTxn would give for this
// revision, nil if none.
func (v *View) CheckRevision(rev int64) error {
	_, err := v.readableInTxn(rev)
	return err
}

// Root returns the view's index alone, which stays usable after the view's
// release: see Query.Root.
func (v *View) Root() *Root { return &Root{tree: v.tree, rev: v.rev} }
