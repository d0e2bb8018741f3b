package mvcc

import (
	"fmt"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/ordtree"
	"github.com/quoin-kv/quoin/internal/schema"
)

// Storage takes the store's records. Only the goroutine that owns the store
// calls it.
type Storage interface {
	// Append stores the record of a new revision, above all before. The storage
	// keeps the slice; the store never modifies it again.
	Append(rev schema.Rev, tombstone bool, record []byte)
	// DeleteRecord removes a record for good. Removals take effect in the order
	// of the calls, also across a crash: one never survives without those
	// before it.
	DeleteRecord(rev schema.Rev, tombstone bool)
	// Put stores a value in a small bucket; the store writes only to Meta.
	Put(bucket schema.Bucket, key, value []byte)
	// Record returns the record of a put, including those appended a moment
	// ago. How long the bytes are valid is the storage's promise, at least while
	// the transaction is open.
	Record(rev schema.Rev) ([]byte, error)
}

// Reader is a frozen state of the storage. Its methods may be called by any
// number of goroutines; returned bytes are valid until the last Release.
type Reader interface {
	// Record returns the record of a put.
	Record(rev schema.Rev) ([]byte, error)
	// Records appends the records of puts to out, in the order of revs.
	Records(out [][]byte, revs []schema.Rev) ([][]byte, error)
	// Sizes appends the lengths in bytes of the records of puts to out, in the
	// order of revs. That they can be read it does not promise.
	Sizes(out []int, revs []schema.Rev) ([]int, error)
	// Scan calls fn for the records from from to to, both inclusive, ascending,
	// until fn returns false.
	Scan(from, to schema.Rev, fn func(rev schema.Rev, tombstone bool, record []byte) bool) error
	// Retain and Release count references; a new Reader has one.
	Retain()
	Release()
}

// never stands for "no compaction yet" in everything that reports a compacted
// revision.
const never = -1

// Store is the multi-version store. Create it with Restore.
//
// Invariants, verified by check:
//  1. The index holds exactly the records of the storage, but for those that
//     the running compaction has yet to remove.
//  2. finished <= scheduled <= rev, and a compaction is running exactly while
//     finished < scheduled.
//  3. A key counts in the tree if and only if its newest version is a put.
//  4. No version has a main revision above rev while no transaction is open.
type Store struct {
	storage Storage
	opts    Options
	tree    ordtree.Tree[item]

	rev       int64 // main revision of the newest finished transaction; 1 when fresh
	scheduled int64 // the readers' watermark: compaction that was asked for last
	finished  int64 // compaction whose removals are all done
	work      CompactionWork

	// leftovers tells that the last finished compaction left records behind, as
	// found at restore; the next one walks the whole index to find them.
	leftovers bool

	tx     Tx
	job    *compaction // nil = none is running
	hashes []Hash      // of finished compactions, oldest first; replaced, never modified

	block []byte // memory that new records share: what is left of it
}

// Options are the arguments of Restore beside storage and reader.
type Options struct {
	// ScheduledCompact and FinishedCompact are the values of these keys of the
	// Meta bucket; nil if absent.
	ScheduledCompact, FinishedCompact []byte
	// Attach, if set, is called in key order for every live key with a lease.
	// The key must not be modified.
	Attach func(key []byte, lease int64)
	// OpenReader, if set, returns a Reader of everything appended up to the last
	// committed batch; the store releases it. Compaction reads through it what it
	// needs to touch and to hash. Without it compaction walks the whole index
	// instead, and leaves no hashes. The goroutine that runs a HashTask calls it
	// too.
	OpenReader func() Reader
	// NoCompactHash switches the hash of compacted history off, and with it the
	// reading of all older records at each compaction.
	NoCompactHash bool
}

// Rev is the current main revision: 1 for a fresh store, +1 with every
// transaction that changed something.
func (s *Store) Rev() int64 { return s.rev }

// CompactRev is the revision of the last compaction that was asked for, -1 if
// there never was one. Revisions below it cannot be read.
func (s *Store) CompactRev() int64 { return s.scheduled }

// Keys is the number of live keys.
func (s *Store) Keys() int { return s.tree.Len(ordtree.Counted) }

// Item is what the index knows of a live key without reading its record.
type Item struct {
	Rev     schema.Rev // of the last put; Main is the key's mod_revision
	Create  int64      // main revision of the put that created the key
	Version int64      // puts since then, that one included
	Lease   int64      // attached lease, 0 = none
}

func (it *item) public() Item {
	head := it.head()
	return Item{Rev: head.rev, Create: head.created, Version: head.number, Lease: it.lease()}
}

// source is everything a read needs: the index at some moment and the records
// under it.
type source struct {
	tree      *ordtree.Tree[item]
	rev       int64 // newest revision that a reader may ask for
	head      int64 // newest main revision in tree; above rev inside a Tx that has written
	compacted int64
	records   recordReader
}

type recordReader interface {
	Record(rev schema.Rev) ([]byte, error)
}

func (src *source) record(rev schema.Rev) ([]byte, error) {
	record, err := src.records.Record(rev)
	if err != nil {
		return nil, fmt.Errorf("mvcc: record of revision %d/%d: %w", rev.Main, rev.Sub, err)
	}
	return record, nil
}

// readable checks a main revision that is to be read, 0 and below meaning the
// latest, and returns it as a bound for versions.
func (src *source) readable(rev int64) (int64, error) {
	if rev <= 0 {
		return latest, nil
	}
	return rev, src.between(rev)
}

// readableInTxn is readable by the rule inside transactions: only 0 means the
// latest, and other revisions are compared with the compacted one even if
// negative. As "never compacted" is -1, that one number passes on a store
// without compactions.
func (src *source) readableInTxn(rev int64) (int64, error) {
	if rev != 0 {
		if err := src.between(rev); err != nil {
			return 0, err
		}
	}
	if rev <= 0 {
		return latest, nil
	}
	return rev, nil
}

func (src *source) between(rev int64) error {
	if rev > src.rev {
		return kverr.FutureRev
	}
	if rev < src.compacted {
		return kverr.Compacted
	}
	return nil
}
