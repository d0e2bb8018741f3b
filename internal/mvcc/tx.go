package mvcc

import (
	"fmt"

	"github.com/quoin-kv/quoin/internal/ordtree"
	"github.com/quoin-kv/quoin/internal/schema"
)

// Tx is one writing transaction. Its changes are made at once, share the main
// revision Rev()+1 and get the sub revisions 0, 1, 2, ... in the order of
// execution. There is no undo: whatever can fail must be checked before the
// first change.
type Tx struct {
	s      *Store
	open   bool
	events []Event
	before int // of events, those of others
}

// Event is one change. Key and Record must not be modified; they stay valid
// as long as they are referenced if the event came from Tx.End, and until the
// View's release if it came from View.Changes.
type Event struct {
	Rev     schema.Rev
	Delete  bool
	Version int64      // of the key after the change: 1 for a creation, 0 for a delete
	Key     []byte     // the key that changed
	Record  []byte     // the stored record; a tombstone's holds only the key
	Prev    schema.Rev // record that Range finds at revision Rev.Main-1; zero for a creation and if that is not retained

	// Leases attached after and before the change, 0 = none. Only events from
	// Tx.End have them.
	Lease, PrevLease int64
}

// PutInfo tells what a put did.
type PutInfo struct {
	Rev     schema.Rev // the new record
	Created bool       // the key did not exist
	Prev    Item       // the key before; zero if Created
}

// Deleted is one key that DeleteRange deleted.
type Deleted struct {
	Key  []byte // must not be modified
	Prev Item   // the key before
}

// Begin opens the transaction. Only one can be open at a time; opening a
// second one is a programming error and panics.
func (s *Store) Begin() *Tx { return s.BeginBehind(nil) }

// BeginBehind is Begin for one of several transactions whose events are
// gathered: End returns events with the transaction's own behind them.
func (s *Store) BeginBehind(events []Event) *Tx {
	if s.tx.open {
		panic("mvcc: expected no open transaction, found one")
	}
	s.tx = Tx{s: s, open: true, events: events, before: len(events)}
	return &s.tx
}

// Rev is the revision of the state the transaction sees: the store's, or the
// transaction's own once it has written.
func (t *Tx) Rev() int64 {
	if len(t.events) > t.before {
		return t.s.rev + 1
	}
	return t.s.rev
}

func (t *Tx) nextRev() schema.Rev {
	return schema.Rev{Main: t.s.rev + 1, Sub: int64(len(t.events) - t.before)}
}

// Put stores a value under the key and attaches the lease, 0 for none. It
// keeps neither key nor value.
func (t *Tx) Put(key, value []byte, lease int64) PutInfo {
	s, rev := t.s, t.nextRev()
	old, found := s.tree.Get(key)
	v := version{rev: rev, created: rev.Main, number: 1}
	info := PutInfo{Rev: rev, Created: true}
	if found && old.live() {
		info.Created, info.Prev = false, old.public()
		v.created, v.number = info.Prev.Create, info.Prev.Version+1
	}
	record := s.encode(&schema.KeyValue{
		Key: key, Value: value, Lease: lease,
		CreateRevision: v.created, ModRevision: rev.Main, Version: v.number,
	})
	var next item
	if found {
		next = old.follow(v, len(record.record), lease)
	} else {
		next = makeItem(v, len(record.record), lease, nil)
	}
	t.change(info.Prev, next, record)
	return info
}

// DeleteRange deletes the live keys of the range in key order; end follows the
// rule of Query. It returns them as they were before.
func (t *Tx) DeleteRange(key, end []byte) []Deleted {
	var gone []Deleted
	var old []item
	makeSpan(key, end).ascend(&t.s.tree, ordtree.Counted, func(key ordtree.Key, it item) bool {
		gone = append(gone, Deleted{key.Clone(), it.public()})
		old = append(old, it)
		return true
	})
	for i, d := range gone {
		kv := schema.KeyValue{Key: d.Key}
		tombstone := old[i].follow(version{rev: t.nextRev()}, 0, 0)
		t.change(d.Prev, tombstone, t.s.encode(&kv))
	}
	return gone
}

// change puts the next item of a key, which was prev, into the index and its
// record into the storage, and notes the event.
func (t *Tx) change(prev Item, next item, at stored) {
	t.mustBeOpen()
	s, v := t.s, next.head()
	s.tree.Set(at.key, next, !v.tombstone())
	s.storage.Append(v.rev, v.tombstone(), at.record)
	t.events = append(t.events, Event{
		Rev: v.rev, Delete: v.tombstone(), Version: v.number,
		Key: at.key, Record: at.record, Lease: next.lease(), PrevLease: prev.Lease,
		Prev: t.previous(prev, next),
	})
}

// previous returns what next replaces, as seen from outside of the transaction:
// the newest version is known without a search, unless it is of this transaction.
func (t *Tx) previous(prev Item, next item) schema.Rev {
	main := next.head().rev.Main
	if prev.Rev.Main == 0 || prev.Rev.Main == main || main-1 < t.s.scheduled {
		return next.before(next.head(), t.s.scheduled)
	}
	return prev.Rev
}

// Get returns the live key's item, the transaction's own writes included.
func (t *Tx) Get(key []byte) (Item, bool) {
	t.mustBeOpen()
	if it, ok := t.s.tree.Get(key); ok && it.live() {
		return it.public(), true
	}
	return Item{}, false
}

// Items is View.Items on the state that the transaction sees. fn must not write.
func (t *Tx) Items(key, end []byte, fn func(key []byte, it Item) bool) {
	src := t.source()
	src.items(makeSpan(key, end), fn)
}

// Record returns the record of a put, such as the previous one of a key that
// this transaction has just overwritten. The bytes are valid as long as the
// storage promises.
func (t *Tx) Record(rev schema.Rev) ([]byte, error) {
	src := t.source()
	return src.record(rev)
}

// Range answers the query, seeing the transaction's own writes where the query
// asks for the latest state. The rule of Query.InTxn applies whether it is set
// or not. Records are valid as long as the storage promises.
func (t *Tx) Range(q Query) (Result, error) {
	q.InTxn = true
	src := t.source()
	return src.run(&q)
}

// CheckRevision returns the error that Range would give for this revision,
// nil if none.
func (t *Tx) CheckRevision(rev int64) error {
	src := t.source()
	_, err := src.readableInTxn(rev)
	return err
}

func (t *Tx) source() source {
	t.mustBeOpen()
	s := t.s
	return source{tree: &s.tree, rev: s.rev, head: t.Rev(), compacted: s.scheduled, records: s.storage}
}

// End closes the transaction and returns its events in order, behind those that
// it was begun with. The store's revision has advanced if and only if it has any.
// The caller owns the slice.
func (t *Tx) End() []Event {
	t.mustBeOpen()
	t.s.rev = t.Rev()
	t.open = false
	events := t.events
	t.events = nil
	return events
}

func (t *Tx) mustBeOpen() {
	if !t.open {
		panic(fmt.Sprintf("mvcc: expected an open transaction at revision %d, found a closed one", t.s.rev+1))
	}
}
