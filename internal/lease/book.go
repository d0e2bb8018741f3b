package lease

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/schema"
)

// Book holds the leases that exist and the keys attached to them.
//
// Invariants:
//  1. A key is attached to at most one lease, and that lease exists.
//  2. leases and owner tell the same attachments.
//  3. No lease has the id 0, which stands for "no lease".
type Book struct {
	leases map[int64]*entry
	owner  map[string]int64 // key → lease
}

type entry struct {
	record schema.LeaseRecord
	keys   map[string]struct{} // nil until there is one
}

// NewBook returns a book without leases.
func NewBook() *Book {
	return &Book{leases: make(map[int64]*entry), owner: make(map[string]int64)}
}

// Load adds a lease that was stored before, with its id and TTL as they are.
// A lease of that id, if there is one, is replaced and keeps its keys.
func (b *Book) Load(r schema.LeaseRecord) {
	if e := b.leases[r.ID]; e != nil {
		e.record = r
		return
	}
	b.leases[r.ID] = &entry{record: r}
}

// Grant adds a lease of ttl seconds. The caller has raised ttl to the minimum.
// Errors, checked in this order: LeaseNotFound for the id 0,
// LeaseTTLTooLarge, LeaseExist.
func (b *Book) Grant(id, ttl int64) error {
	switch {
	case id == 0:
		return kverr.LeaseNotFound
	case ttl > MaxTTL:
		return kverr.LeaseTTLTooLarge
	case b.Has(id):
		return kverr.LeaseExist
	}
	b.Load(schema.LeaseRecord{ID: id, TTL: ttl})
	return nil
}

// Revoke removes a lease and returns the keys that were attached to it, in
// bytewise order. The keys are the caller's. Error: LeaseNotFound.
func (b *Book) Revoke(id int64) ([][]byte, error) {
	e := b.leases[id]
	if e == nil {
		return nil, kverr.LeaseNotFound
	}
	keys := e.sortedKeys()
	for key := range e.keys {
		delete(b.owner, key)
	}
	delete(b.leases, id)
	return keys, nil
}

// Checkpoint notes that a lease has remaining seconds left, zero to forget an
// earlier note. It returns the record to store, or false for an unknown lease.
func (b *Book) Checkpoint(id, remaining int64) (schema.LeaseRecord, bool) {
	e := b.leases[id]
	if e == nil {
		return schema.LeaseRecord{}, false
	}
	e.record.RemainingTTL = remaining
	return e.record, true
}

// Attach moves a key to a lease. The key is copied. If the lease does not
// exist, the key is left without one and Attach reports false.
func (b *Book) Attach(id int64, key []byte) bool {
	if old, ok := b.owner[string(key)]; ok && old == id {
		return true
	}
	b.Detach(key)
	e := b.leases[id]
	if e == nil {
		return false
	}
	if e.keys == nil {
		e.keys = make(map[string]struct{}, 1)
	}
	s := string(key)
	e.keys[s] = struct{}{}
	b.owner[s] = id
	return true
}

// Detach takes a key off its lease, if it has one.
func (b *Book) Detach(key []byte) {
	if id, ok := b.owner[string(key)]; ok {
		delete(b.leases[id].keys, string(key))
		delete(b.owner, string(key))
	}
}

// Has reports whether a lease exists.
func (b *Book) Has(id int64) bool { return b.leases[id] != nil }

// Len is the number of leases.
func (b *Book) Len() int { return len(b.leases) }

// Lookup returns a lease's record.
func (b *Book) Lookup(id int64) (schema.LeaseRecord, bool) {
	if e := b.leases[id]; e != nil {
		return e.record, true
	}
	return schema.LeaseRecord{}, false
}

// Keys returns the keys attached to a lease, in bytewise order; none for an
// unknown lease. They are the caller's.
func (b *Book) Keys(id int64) [][]byte {
	if e := b.leases[id]; e != nil {
		return e.sortedKeys()
	}
	return nil
}

// Leases returns the records of all leases, by ascending id.
func (b *Book) Leases() []schema.LeaseRecord {
	records := make([]schema.LeaseRecord, 0, len(b.leases))
	for _, e := range b.leases {
		records = append(records, e.record)
	}
	slices.SortFunc(records, func(x, y schema.LeaseRecord) int { return cmp.Compare(x.ID, y.ID) })
	return records
}

func (e *entry) sortedKeys() [][]byte {
	keys := make([][]byte, 0, len(e.keys))
	for key := range e.keys {
		keys = append(keys, []byte(key))
	}
	slices.SortFunc(keys, bytes.Compare)
	return keys
}

// check panics if an invariant is broken.
func (b *Book) check() {
	owner := make(map[string]int64)
	for id, e := range b.leases {
		if id == 0 || e.record.ID != id {
			panic(fmt.Sprintf("lease: lease %d is filed under the id %d", e.record.ID, id))
		}
		for key := range e.keys {
			if other, ok := owner[key]; ok {
				panic(fmt.Sprintf("lease: key %q is attached to %d and %d", key, other, id))
			}
			owner[key] = id
		}
	}
	if !maps.Equal(owner, b.owner) {
		panic(fmt.Sprintf("lease: leases hold %v, but the owners are %v", owner, b.owner))
	}
}
