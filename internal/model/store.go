package model

import (
	"maps"
	"slices"
)

// A Store is the sequential specification: what a key-value store is when it
// does one thing at a time. It holds every revision since its start; compaction
// only forbids reading them.
//
// Invariants:
//
//  1. revision - base = len(log): each effective write adds one revision.
//  2. keys is sorted and holds every key of chains.
//  3. A chain's versions have non-descending revisions, none above revision.
//  4. leases is replaced, never changed, so that a mark can keep it.
type Store struct {
	base      int64
	revision  int64
	compacted int64
	keys      []Bytes
	chains    map[Bytes][]version
	leases    map[int64]bool
	log       [][]Event
	digest    uint64
}

// neverCompacted is the compacted revision of a store that was never compacted:
// revision 0 can be compacted once.
const neverCompacted = -1

// A version is what a key was from a revision on.
type version struct {
	revision int64
	kv       KV
	dead     bool
}

// NewStore returns the store that a history begins with.
func NewStore(start Snapshot) *Store {
	s := &Store{
		base: max(start.Revision, 1), compacted: neverCompacted,
		chains: map[Bytes][]version{}, leases: map[int64]bool{}, digest: digestStart,
	}
	s.revision = s.base
	if s.base > 1 {
		s.compacted = s.base
	}
	for _, kv := range start.KVs {
		s.push(version{revision: s.base, kv: kv})
	}
	for _, id := range start.Leases {
		s.leases[id] = true
	}
	return s
}

// Revision returns the present revision.
func (s *Store) Revision() int64 { return s.revision }

// Events returns what happened in one revision, in order; each event has its
// Prev, if there was one. The result belongs to the store.
func (s *Store) Events(revision int64) []Event {
	i := revision - s.base - 1
	if i < 0 || i >= int64(len(s.log)) {
		return nil
	}
	return s.log[i]
}

// Clone returns a copy that shares nothing that changes.
func (s *Store) Clone() *Store {
	c := *s
	c.keys = slices.Clone(s.keys)
	c.chains = make(map[Bytes][]version, len(s.chains))
	for key, chain := range s.chains {
		c.chains[key] = slices.Clip(chain)
	}
	c.log = slices.Clip(s.log)
	return &c
}

// push adds a version to its key's chain.
func (s *Store) push(v version) {
	key := v.kv.Key
	chain, known := s.chains[key]
	if !known {
		at, _ := slices.BinarySearch(s.keys, key)
		s.keys = slices.Insert(s.keys, at, key)
	}
	s.chains[key] = append(chain, v)
}

// latest returns the key as it is now.
func (s *Store) latest(key Bytes) (KV, bool) {
	chain := s.chains[key]
	if len(chain) == 0 || chain[len(chain)-1].dead {
		return KV{}, false
	}
	return chain[len(chain)-1].kv, true
}

// at returns the key as it was at a revision.
func (s *Store) at(key Bytes, revision int64) (KV, bool) {
	chain := s.chains[key]
	for i := len(chain) - 1; i >= 0; i-- {
		if chain[i].revision <= revision {
			return chain[i].kv, !chain[i].dead
		}
	}
	return KV{}, false
}

// within returns the keys of a range that the store has ever known. The result
// belongs to the store.
func (s *Store) within(key, end Bytes) []Bytes {
	from, found := slices.BinarySearch(s.keys, key)
	switch {
	case end == "":
		if !found {
			return nil
		}
		return s.keys[from : from+1]
	case end == openEnd:
		return s.keys[from:]
	case end <= key:
		return nil
	}
	to, _ := slices.BinarySearch(s.keys, end)
	return s.keys[from:to]
}

// openEnd is the end of a range that has none.
const openEnd = Bytes("\x00")

// Covers says whether a range given as the API does contains a key.
func Covers(key, end, candidate Bytes) bool {
	switch end {
	case "":
		return candidate == key
	case openEnd:
		return candidate >= key
	}
	return key <= candidate && candidate < end
}

// live returns the range as it was at a revision, in key order.
func (s *Store) live(key, end Bytes, revision int64) []KV {
	var kvs []KV
	for _, k := range s.within(key, end) {
		if kv, ok := s.at(k, revision); ok {
			kvs = append(kvs, kv)
		}
	}
	return kvs
}

// attached returns the keys of a lease, in key order.
func (s *Store) attached(lease int64) []Bytes {
	var keys []Bytes
	for _, key := range s.keys {
		if kv, ok := s.latest(key); ok && kv.Lease == lease {
			keys = append(keys, key)
		}
	}
	return keys
}

// setLease replaces the leases by a copy in which one exists or does not.
func (s *Store) setLease(id int64, exists bool) {
	s.leases = maps.Clone(s.leases)
	if exists {
		s.leases[id] = true
	} else {
		delete(s.leases, id)
	}
}

// A mark is a moment of a store that it can go back to.
type mark struct {
	revision  int64
	compacted int64
	leases    map[int64]bool
	digest    uint64
}

func (s *Store) mark() mark {
	return mark{revision: s.revision, compacted: s.compacted, leases: s.leases, digest: s.digest}
}

// rollback undoes everything since the mark was taken.
func (s *Store) rollback(m mark) {
	for s.revision > m.revision {
		last := s.log[len(s.log)-1]
		for _, e := range last {
			chain := s.chains[e.KV.Key]
			s.chains[e.KV.Key] = chain[:len(chain)-1]
		}
		s.log = s.log[:len(s.log)-1]
		s.revision--
	}
	s.compacted, s.leases, s.digest = m.compacted, m.leases, m.digest
}

// movedSince says whether leases or the compacted revision have changed since a
// mark, by one request.
func (s *Store) movedSince(m mark) bool {
	return s.compacted != m.compacted || len(s.leases) != len(m.leases)
}

// fingerprint is a number that states with different pasts or futures differ
// in, but for chance: the digest covers all revisions, the rest is added here.
func (s *Store) fingerprint() uint64 {
	h := mix(s.digest, uint64(s.compacted))
	var leases uint64
	for id := range s.leases {
		leases += mix(digestStart, uint64(id)) // a sum: the order of a map must not be seen
	}
	return mix(h, leases)
}

// equal compares two states of stores with the same start.
func (s *Store) equal(o *Store) bool {
	return s.revision == o.revision && s.compacted == o.compacted && s.digest == o.digest && maps.Equal(s.leases, o.leases)
}

// The digest is FNV-1a over the events of all revisions.
const (
	digestStart = 14695981039346656037
	digestPrime = 1099511628211
)

func mix(h, x uint64) uint64 {
	for range 8 {
		h = (h ^ (x & 0xff)) * digestPrime
		x >>= 8
	}
	return h
}

func mixBytes(h uint64, b Bytes) uint64 {
	for i := range len(b) {
		h = (h ^ uint64(b[i])) * digestPrime
	}
	return mix(h, uint64(len(b)))
}

func mixEvent(h uint64, e Event) uint64 {
	h = mixBytes(mixBytes(h, e.KV.Key), e.KV.Value)
	h = mix(mix(h, uint64(e.KV.Mod)), uint64(e.KV.Lease))
	if e.Delete {
		h = mix(h, 1)
	}
	return h
}
