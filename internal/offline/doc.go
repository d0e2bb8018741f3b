// Package offline is what is done to a member's files while no member runs: judging a snapshot, making a data directory of it, hashing,
// rewriting and migrating a database file. Results and error texts are those of etcd's offline tool.
//
// Files come from anywhere, so they are checked before they are believed: a damaged one gives an error that names it, never a crash. What is
// only looked at is opened for reading and stays as it is, to the byte.
package offline

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/quoin-kv/quoin/internal/backend"
	"github.com/quoin-kv/quoin/internal/schema"
)

// lockTimeout is how long another process may take to close a database file.
const lockTimeout = 10 * time.Second

// Progress is told now and then how many of how many bytes are done; the total may be an estimate. It may be nil.
type Progress func(done, total int64)

func (p Progress) tell(done, total int64) {
	if p != nil {
		p(done, total)
	}
}

// read runs fn on a database file, or a snapshot, that is opened for reading. The file is checked first, and damage that shows only while
// fn reads becomes an error as well.
func read(path string, fn func(*bbolt.Tx) error) error {
	if _, err := os.Stat(path); err != nil {
		return err
	}
	if _, err := backend.Check(path); err != nil {
		return err
	}
	db, err := bbolt.Open(path, 0, &bbolt.Options{ReadOnly: true, Timeout: lockTimeout})
	if err != nil {
		return openError(path, err)
	}
	return closeAfter(guarded(path, func() error { return db.View(fn) }), db)
}

// change runs fn on a database file in one transaction, which counts only if fn returns nil.
func change(path string, fn func(*bbolt.Tx) error) error {
	if _, err := backend.Check(path); err != nil {
		return err
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockTimeout, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return openError(path, err)
	}
	return closeAfter(guarded(path, func() error { return db.Update(fn) }), db)
}

// guarded turns the panics of damaged pages into errors.
func guarded(path string, fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if cause := recover(); cause != nil {
			err = &backend.CorruptError{Path: path, Cause: fmt.Errorf("%v", cause)}
		}
	}()
	return fn()
}

func closeAfter(err error, db *bbolt.DB) error { return errors.Join(err, db.Close()) }

func openError(path string, err error) error {
	if errors.Is(err, berrors.ErrTimeout) {
		return fmt.Errorf("%s: %w", path, backend.ErrLocked)
	}
	return fmt.Errorf("open %s: %w", path, err)
}

// bucket returns a bucket that a database file must have.
func bucket(tx *bbolt.Tx, b schema.Bucket) (*bbolt.Bucket, error) {
	found := tx.Bucket([]byte(b.Name()))
	if found == nil {
		return nil, fmt.Errorf("bucket %q is missing: not a database file of a member", b.Name())
	}
	return found, nil
}

// latestRev is the revision of the last record, zero if there is none.
func latestRev(tx *bbolt.Tx) (schema.Rev, error) {
	keys, err := bucket(tx, schema.Key)
	if err != nil {
		return schema.Rev{}, err
	}
	last, _ := keys.Cursor().Last()
	if last == nil {
		return schema.Rev{}, nil
	}
	rev, _, err := schema.ParseRev(last)
	return rev, err
}
