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
//  2. keys and owner tell the same attachments.
//  3. No lease has the id 0, which stands for "no lease".
type Book struct {
	leases map[int64]schema.LeaseRecord // without a pointer: nothing for the collector to follow
	keys   map[int64]map[string]struct{}
	owner  map[string]int64 // key → lease
}

// NewBook returns a book without leases.
func NewBook() *Book {
	return &Book{leases: make(map[int64]schema.LeaseRecord), keys: make(map[int64]map[string]struct{}), owner: make(map[string]int64)}
}

// Load adds a lease that was stored before, with its id and TTL as they are.
// A lease of that id, if there is one, is replaced and keeps its keys.
func (b *Book) Load(r schema.LeaseRecord) { b.leases[r.ID] = r }

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
	if !b.Has(id) {
		return nil, kverr.LeaseNotFound
	}
	keys := b.Keys(id)
	for key := range b.keys[id] {
		delete(b.owner, key)
	}
	delete(b.keys, id)
	delete(b.leases, id)
	return keys, nil
}

// Checkpoint notes that a lease has remaining seconds left, zero to forget an
// earlier note. It returns the record to store, or false for an unknown lease.
func (b *Book) Checkpoint(id, remaining int64) (schema.LeaseRecord, bool) {
	r, ok := b.leases[id]
	if !ok {
		return r, false
	}
	r.RemainingTTL = remaining
	b.leases[id] = r
	return r, true
}

// Attach moves a key to a lease. The key is copied. If the lease does not
// exist, the key is left without one and Attach reports false.
func (b *Book) Attach(id int64, key []byte) bool {
	if old, ok := b.owner[string(key)]; ok && old == id {
		return true
	}
	b.Detach(key)
	if !b.Has(id) {
		return false
	}
	keys := b.keys[id]
	if keys == nil {
		keys = make(map[string]struct{}, 1)
		b.keys[id] = keys
	}
	s := string(key)
	keys[s] = struct{}{}
	b.owner[s] = id
	return true
}

// Detach takes a key off its lease, if it has one.
func (b *Book) Detach(key []byte) {
	id, ok := b.owner[string(key)]
	if !ok {
		return
	}
	delete(b.owner, string(key))
	if delete(b.keys[id], string(key)); len(b.keys[id]) == 0 {
		delete(b.keys, id)
	}
}

// Has reports whether a lease exists.
func (b *Book) Has(id int64) bool {
	_, ok := b.leases[id]
	return ok
}

// Len is the number of leases.
func (b *Book) Len() int { return len(b.leases) }

// Lookup returns a lease's record.
func (b *Book) Lookup(id int64) (schema.LeaseRecord, bool) {
	r, ok := b.leases[id]
	return r, ok
}

// Keys returns the keys attached to a lease, in bytewise order; none for an
// unknown lease. They are the caller's.
func (b *Book) Keys(id int64) [][]byte {
	if !b.Has(id) {
		return nil
	}
	keys := make([][]byte, 0, len(b.keys[id]))
	for key := range b.keys[id] {
		keys = append(keys, []byte(key))
	}
	slices.SortFunc(keys, bytes.Compare)
	return keys
}

// Leases returns the records of all leases, by ascending id.
func (b *Book) Leases() []schema.LeaseRecord {
	records := make([]schema.LeaseRecord, 0, len(b.leases))
	for _, r := range b.leases {
		records = append(records, r)
	}
	slices.SortFunc(records, func(x, y schema.LeaseRecord) int { return cmp.Compare(x.ID, y.ID) })
	return records
}

// check panics if an invariant is broken.
func (b *Book) check() {
	owner := make(map[string]int64)
	for id, r := range b.leases {
		if id == 0 || r.ID != id {
			panic(fmt.Sprintf("lease: lease %d is filed under the id %d", r.ID, id))
		}
	}
	for id, keys := range b.keys {
		if !b.Has(id) || len(keys) == 0 {
			panic(fmt.Sprintf("lease: %d keys of lease %d, which exists: %v", len(keys), id, b.Has(id)))
		}
		for key := range keys {
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
