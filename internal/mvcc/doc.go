// Package mvcc is the multi-version key-value store: it gives every change a
// revision, keeps an index of all retained versions in memory, answers ranges
// at any retained revision, extracts events, and forgets history by
// compaction.
//
// The store is a value: single-threaded, deterministic, without goroutine,
// lock, clock or file. Records go to a Storage and come back through a Reader,
// which the caller supplies. One goroutine, the applier, owns a Store and its
// Tx; what it hands to others is a View, which never changes and may be read
// by any number of goroutines while the store moves on.
//
// Record bytes are encoded once, in the form in which clients receive them,
// and shared by the storage, events and responses. Nobody modifies them.
//
// docs/mvcc.md explains the design.
package mvcc
