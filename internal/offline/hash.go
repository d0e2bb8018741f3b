package offline

import (
	"bytes"
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/quoin-kv/quoin/internal/mvcc"
	"github.com/quoin-kv/quoin/internal/schema"
)

// HashKV is the checksum of the history in a file up to a revision, 0 for all: what a member with this file would answer. Errors:
// kverr.Compacted, kverr.FutureRev.
func HashKV(path string, revision int64) (h mvcc.Hash, err error) {
	err = read(path, func(tx *bbolt.Tx) error {
		store, records, err := openStore(tx)
		if err != nil {
			return err
		}
		view := store.View(records)
		defer view.Release()
		h, err = view.HashKV(revision)
		return err
	})
	return h, err
}

// openStore indexes the history in a file.
func openStore(tx *bbolt.Tx) (*mvcc.Store, *records, error) {
	records, err := newRecords(tx)
	if err != nil {
		return nil, nil, err
	}
	options := mvcc.Options{OpenReader: func() mvcc.Reader { return records }}
	if meta := tx.Bucket([]byte(schema.Meta.Name())); meta != nil {
		options.ScheduledCompact = bytes.Clone(meta.Get([]byte(schema.MetaScheduledCompact)))
		options.FinishedCompact = bytes.Clone(meta.Get([]byte(schema.MetaFinishedCompact)))
	}
	store, err := mvcc.Restore(frozen{records}, records, options)
	return store, records, err
}

// records are those of a file that is open for reading. They need no counting of references: they live as long as the transaction.
type records struct{ keys *bbolt.Bucket }

func newRecords(tx *bbolt.Tx) (*records, error) {
	keys, err := bucket(tx, schema.Key)
	return &records{keys}, err
}

func (r *records) Record(rev schema.Rev) ([]byte, error) {
	if v := r.keys.Get(schema.AppendRev(nil, rev, false)); v != nil {
		return v, nil
	}
	return nil, fmt.Errorf("no record at revision %d.%d", rev.Main, rev.Sub)
}

func (r *records) Scan(from, to schema.Rev, fn func(rev schema.Rev, tombstone bool, record []byte) bool) error {
	cursor := r.keys.Cursor()
	for k, v := cursor.Seek(schema.AppendRev(nil, from, false)); k != nil; k, v = cursor.Next() {
		rev, tombstone, err := schema.ParseRev(k)
		if err != nil {
			return err
		}
		if rev.Compare(to) > 0 || !fn(rev, tombstone, v) {
			return nil
		}
	}
	return nil
}

func (r *records) Records(out [][]byte, revs []schema.Rev) ([][]byte, error) {
	return mvcc.OneByOne(r.Record).Records(out, revs)
}

func (r *records) Sizes(out []int, revs []schema.Rev) ([]int, error) {
	return mvcc.OneByOne(r.Record).Sizes(out, revs)
}

func (*records) Retain()  {}
func (*records) Release() {}

// frozen is a storage that takes nothing: a file is hashed as it is.
type frozen struct{ *records }

func (frozen) Append(schema.Rev, bool, []byte)   {}
func (frozen) DeleteRecord(schema.Rev, bool)     {}
func (frozen) Put(schema.Bucket, []byte, []byte) {}
