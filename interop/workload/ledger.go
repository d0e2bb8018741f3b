package workload

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"
)

// Write is one write of one or more keys in one revision, with what became of it.
type Write struct {
	Keys     []string
	Value    string // "" deletes
	Revision int64  // of the acknowledgement; 0 if there was none
}

// Ledger records the outcomes of writes whose keys belong to one writer each,
// and judges what a restarted server shows:
//
//  1. A key holds the value of its last acknowledged write or of a later write
//     whose outcome is unknown.
//  2. No key holds a value of a refused write.
//  3. Keys written together have the same revision.
//  4. The store's revision is not below any that was acknowledged.
//
// It is safe for concurrent use.
type Ledger struct {
	mu struct {
		sync.Mutex
		acked    map[string]Write   // last acknowledged write of each key
		unknown  map[string][]Write // writes of unknown outcome after it
		refused  map[string]bool    // values that must never appear
		recent   []Write            // acknowledged since the last check
		revision int64
	}
}

// NewLedger returns a ledger of an empty store.
func NewLedger() *Ledger {
	l := &Ledger{}
	l.mu.acked = make(map[string]Write)
	l.mu.unknown = make(map[string][]Write)
	l.mu.refused = make(map[string]bool)
	return l
}

// Acknowledged records a write that the server confirmed.
func (l *Ledger) Acknowledged(w Write) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, key := range w.Keys {
		l.mu.acked[key] = w
		delete(l.mu.unknown, key)
	}
	l.mu.recent = append(l.mu.recent, w)
	l.mu.revision = max(l.mu.revision, w.Revision)
}

// Unknown records a write that may or may not have been done.
func (l *Ledger) Unknown(w Write) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, key := range w.Keys {
		l.mu.unknown[key] = append(l.mu.unknown[key], w)
	}
}

// Refused records a value that the server refused.
func (l *Ledger) Refused(w Write) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.refused[w.Value] = true
}

// Seen records a revision that the server showed.
func (l *Ledger) Seen(revision int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.revision = max(l.mu.revision, revision)
}

// Recent returns the newest n acknowledged writes since the last call, oldest first.
func (l *Ledger) Recent(n int) []Write {
	l.mu.Lock()
	defer l.mu.Unlock()
	recent := l.mu.recent
	l.mu.recent = nil
	slices.SortFunc(recent, func(a, b Write) int { return cmp.Compare(a.Revision, b.Revision) })
	return recent[max(0, len(recent)-n):]
}

// Record is what a key holds.
type Record struct {
	Value    string
	Revision int64
}

// Check judges a whole store at a revision and, if it is right, takes it as the
// truth about the writes of unknown outcome.
func (l *Ledger) Check(store map[string]Record, revision int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if revision < l.mu.revision {
		return fmt.Errorf("store revision: got %d, want at least %d", revision, l.mu.revision)
	}
	l.mu.revision = revision
	for key, record := range store {
		if l.mu.refused[record.Value] {
			return fmt.Errorf("key %s: got %q, which was refused", key, record.Value)
		}
		if _, written := l.mu.acked[key]; !written && len(l.mu.unknown[key]) == 0 {
			return fmt.Errorf("key %s: got %q, but nobody wrote it", key, record.Value)
		}
	}
	for _, key := range l.keys() {
		if err := l.settle(key, store); err != nil {
			return err
		}
	}
	return nil
}

// keys are all keys that were ever written, in order.
func (l *Ledger) keys() []string {
	all := make(map[string]bool)
	for key := range l.mu.acked {
		all[key] = true
	}
	for key := range l.mu.unknown {
		all[key] = true
	}
	return slices.Sorted(maps.Keys(all))
}

// settle finds the write whose value the key holds and forgets the others.
func (l *Ledger) settle(key string, store map[string]Record) error {
	record := store[key]
	candidates := append([]Write{l.mu.acked[key]}, l.mu.unknown[key]...)
	for _, w := range slices.Backward(candidates) {
		if w.Value != record.Value {
			continue
		}
		if w.Revision != 0 && record.Value != "" && record.Revision != w.Revision {
			return fmt.Errorf("key %s: got %q at revision %d, acknowledged at %d", key, record.Value, record.Revision, w.Revision)
		}
		for _, other := range w.Keys {
			if store[other] != record {
				return fmt.Errorf("keys %s and %s were written together: got %v and %v", key, other, record, store[other])
			}
		}
		w.Revision = record.Revision
		l.mu.acked[key] = w
		delete(l.mu.unknown, key)
		return nil
	}
	return fmt.Errorf("key %s: got %q at revision %d, want %q, acknowledged at %d, or one of %d unknown writes",
		key, record.Value, record.Revision, l.mu.acked[key].Value, l.mu.acked[key].Revision, len(l.mu.unknown[key]))
}
