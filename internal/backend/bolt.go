package backend

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/quoin-kv/quoin/internal/faultpoint"
	"github.com/quoin-kv/quoin/internal/schema"
)

// fillPercent is how full bbolt leaves pages. Nearly everything is appended at
// the end of the key bucket, where room in older pages would never be used.
const fillPercent = 0.9

// Open opens the storage file at cfg.Path, creating it with mode 0600 and all
// buckets if needed, and removes what an interrupted rewrite has left beside
// it. It returns an error that wraps ErrLocked if the file is in use, and a
// *CorruptError if its structure is damaged.
func Open(cfg Config) (*Backend, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s, err := openBoltStore(&cfg)
	if err != nil {
		return nil, fmt.Errorf("backend: open %s: %w", cfg.Path, err)
	}
	return newBackend(cfg, cfg.Path, s)
}

// Check judges a storage file that nobody has open and that is to take the
// place of another one, without changing it: its pages are all there and sound,
// and it says which log entry it has reached. Damage is a *CorruptError.
func Check(path string) (schema.Applied, error) {
	cfg, err := Config{Path: path}.withDefaults()
	if err != nil {
		return schema.Applied{}, err
	}
	size, err := checkFile(path)
	if err == nil && size == 0 {
		err = &CorruptError{Path: path, Cause: errors.New("file is empty or missing")}
	}
	if err == nil {
		err = checkPages(path, cfg.LockTimeout)
	}
	if err != nil {
		return schema.Applied{}, fmt.Errorf("backend: check %s: %w", path, err)
	}
	return readApplied(path, cfg.LockTimeout)
}

// readApplied reads the log position of a file whose pages are sound.
func readApplied(path string, lockTimeout time.Duration) (a schema.Applied, err error) {
	db, err := bbolt.Open(path, 0, &bbolt.Options{ReadOnly: true, Timeout: lockTimeout})
	if err != nil {
		return a, openError(path, err)
	}
	err = db.View(func(tx *bbolt.Tx) error {
		keys := tx.Bucket([]byte(schema.Key.Name()))
		if keys == nil {
			return &CorruptError{Path: path, Bucket: schema.Key.Name(), Cause: errors.New("bucket is missing")}
		}
		if last, _ := keys.Cursor().Last(); last != nil {
			if _, _, err := schema.ParseRev(last); err != nil {
				return &CorruptError{Path: path, Bucket: schema.Key.Name(), Key: cloneBytes(last), Cause: err}
			}
		}
		get := func([]byte) []byte { return nil }
		if meta := tx.Bucket([]byte(schema.Meta.Name())); meta != nil {
			get = meta.Get
		}
		a, err = parseApplied(path, get)
		return err
	})
	return a, errors.Join(err, db.Close())
}

// boltFile is a bbolt handle that closes with its last user.
type boltFile struct {
	db   *bbolt.DB
	file *os.File     // bbolt's
	refs atomic.Int64 // one per open snapshot, and one of the owner
}

func (f *boltFile) release() error {
	if f.refs.Add(-1) > 0 {
		return nil
	}
	return f.db.Close()
}

// boltStore is a store in a bbolt file.
type boltStore struct {
	cfg      *Config
	file     *boltFile
	mapBytes int64 // size of the mapping
}

func openBoltStore(cfg *Config) (*boltStore, error) {
	if err := removeLeftovers(cfg.Path); err != nil {
		return nil, err
	}
	size, err := checkFile(cfg.Path)
	if err != nil {
		return nil, err
	}
	if size > 0 {
		if err := checkPages(cfg.Path, cfg.LockTimeout); err != nil {
			return nil, err
		}
	}
	mapBytes := cfg.mapBytes(size)
	file, err := openBoltFile(cfg, cfg.Path, mapBytes)
	if err != nil {
		return nil, err
	}
	s := &boltStore{cfg: cfg, file: file, mapBytes: mapBytes}
	if err := createBuckets(file.db); err != nil {
		return nil, closeAfter(err, s)
	}
	if size == 0 && !cfg.NoSync {
		if err := syncDir(filepath.Dir(cfg.Path)); err != nil {
			return nil, closeAfter(err, s)
		}
	}
	return s, nil
}

// mapBytes is the size of the mapping for a file of fileBytes.
func (c *Config) mapBytes(fileBytes int64) int64 {
	return max(c.mapFloorBytes, c.QuotaBytes+c.QuotaBytes/10, 4*fileBytes)
}

// openBoltFile turns bbolt's panics over damaged pages into a *CorruptError.
func openBoltFile(cfg *Config, path string, mapBytes int64) (_ *boltFile, err error) {
	var file *os.File
	defer func() {
		if cause := recover(); cause != nil {
			_ = file.Close() // gives up the lock; the panic is what matters
			err = &CorruptError{Path: path, Cause: fmt.Errorf("%v", cause)}
		}
	}()
	options := cfg.boltOptions(mapBytes)
	options.OpenFile = func(name string, flag int, mode os.FileMode) (*os.File, error) {
		f, err := os.OpenFile(name, flag, mode)
		file = f
		if cfg.onOpen != nil {
			cfg.onOpen(f)
		}
		return f, err
	}
	db, err := bbolt.Open(path, 0o600, options)
	if err != nil {
		return nil, openError(path, err)
	}
	f := &boltFile{db: db, file: file}
	f.refs.Store(1)
	return f, nil
}

// openError gives bbolt's reasons for not opening a file our names.
func openError(path string, err error) error {
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return ErrLocked
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrVersionMismatch):
		return &CorruptError{Path: path, Cause: err}
	default:
		return err
	}
}

func (c *Config) boltOptions(mapBytes int64) *bbolt.Options {
	freelist := bbolt.FreelistMapType
	if c.FreelistType == "array" {
		freelist = bbolt.FreelistArrayType
	}
	return &bbolt.Options{
		Timeout:         c.LockTimeout,
		NoFreelistSync:  true,
		FreelistType:    freelist,
		InitialMmapSize: int(mapBytes),
		// Without this bbolt would extend the mapping, for which it waits until
		// no read transaction is open: for ever.
		MaxSize:    int(mapBytes) - 1,
		NoSync:     c.NoSync,
		NoGrowSync: c.NoSync,
		Mlock:      c.Mlock,
	}
}

func createBuckets(db *bbolt.DB) error {
	missing := false
	err := db.View(func(tx *bbolt.Tx) error {
		for b := range schema.NumBuckets {
			missing = missing || tx.Bucket([]byte(b.Name())) == nil
		}
		return nil
	})
	if err != nil || !missing {
		return err
	}
	return db.Update(func(tx *bbolt.Tx) error {
		for b := range schema.NumBuckets {
			if _, err := tx.CreateBucketIfNotExists([]byte(b.Name())); err != nil {
				return fmt.Errorf("create bucket %s: %w", b, err)
			}
		}
		return nil
	})
}

func (s *boltStore) commit(c *changes) (commitTimes, error) {
	faultpoint.Hit(faultpoint.BeforeStartDBTxn)
	tx, err := s.file.db.Begin(true)
	if err != nil {
		return commitTimes{}, err
	}
	faultpoint.Hit(faultpoint.AfterStartDBTxn)
	if err := s.makeRoom(tx, c); err != nil {
		return commitTimes{}, errors.Join(err, tx.Rollback())
	}
	if err := applyChanges(tx, c); err != nil {
		return commitTimes{}, errors.Join(err, tx.Rollback())
	}
	faultpoint.Hit(faultpoint.BeforeCommit)
	err = tx.Commit()
	faultpoint.Hit(faultpoint.AfterCommit)
	if err != nil {
		if errors.Is(err, berrors.ErrMaxSizeReached) {
			return commitTimes{}, errFull
		}
		if unwritten(err) {
			err = withoutRoom(err)
		}
		return commitTimes{}, err
	}
	stats := tx.Stats()
	return commitTimes{stats.RebalanceTime, stats.SpillTime, stats.WriteTime}, nil
}

func applyChanges(tx *bbolt.Tx, c *changes) error {
	keys := tx.Bucket([]byte(schema.Key.Name()))
	keys.FillPercent = fillPercent
	if err := c.eachRecord(keys.Put); err != nil {
		return err
	}
	for _, key := range c.deletes {
		if err := keys.Delete(key); err != nil {
			return err
		}
	}
	faultpoint.Hit(faultpoint.CommitBeforePreCommitHook)
	defer faultpoint.Hit(faultpoint.CommitAfterPreCommitHook)
	for i := range c.small {
		if err := applyChange(tx, &c.small[i]); err != nil {
			return err
		}
	}
	return nil
}

func applyChange(tx *bbolt.Tx, c *change) error {
	b := tx.Bucket([]byte(c.bucket.Name()))
	if c.remove {
		return b.Delete(c.key)
	}
	return b.Put(c.key, c.value)
}

func (s *boltStore) freeBytes() int64 {
	stats := s.file.db.Stats()
	return int64(stats.FreePageN+stats.PendingPageN) * int64(s.file.db.Info().PageSize)
}

func (s *boltStore) reopen() (store, error) { return openBoltStore(s.cfg) }

func (s *boltStore) grownMapping() int64 { return 2 * s.mapBytes }

func (s *boltStore) close() error { return s.file.release() }

// boltSnapshot is a read transaction that many goroutines share.
type boltSnapshot struct {
	file    *boltFile
	tx      *bbolt.Tx
	buckets [schema.NumBuckets]*bbolt.Bucket
	cursors sync.Pool // of *bbolt.Cursor over the key bucket: a used one looks up without allocating
	refs    atomic.Int64
	open    *atomic.Int64 // snapshots of the backend
}

func (s *boltStore) snapshot() (snapshot, error) {
	tx, err := s.file.db.Begin(false)
	if err != nil {
		return nil, err
	}
	s.file.refs.Add(1)
	s.cfg.activity.snapshots.Add(1)
	snap := &boltSnapshot{file: s.file, tx: tx, open: &s.cfg.activity.snapshots}
	snap.refs.Store(1)
	for b := range schema.NumBuckets {
		snap.buckets[b] = tx.Bucket([]byte(b.Name()))
	}
	return snap, nil
}

func (s *boltSnapshot) get(b schema.Bucket, key []byte) []byte {
	if b != schema.Key {
		return s.buckets[b].Get(key)
	}
	c, ok := s.cursors.Get().(*bbolt.Cursor)
	if !ok {
		c = s.buckets[b].Cursor()
	}
	k, v := c.Seek(key)
	s.cursors.Put(c)
	if !bytes.Equal(k, key) {
		return nil
	}
	return v
}

func (s *boltSnapshot) cursor(b schema.Bucket) cursor { return boltCursor{s.buckets[b].Cursor()} }

func (s *boltSnapshot) lastKey(b schema.Bucket) []byte {
	k, _ := s.buckets[b].Cursor().Last()
	return k
}

func (s *boltSnapshot) size() int64 { return s.tx.Size() }

func (s *boltSnapshot) writeTo(w io.Writer) (int64, error) { return s.tx.WriteTo(w) }

func (s *boltSnapshot) retain() { s.refs.Add(1) }

func (s *boltSnapshot) release() {
	switch n := s.refs.Add(-1); {
	case n < 0:
		panic(fmt.Sprintf("backend: expected a live snapshot, found %d references", n+1))
	case n > 0:
		return
	}
	// Neither can fail in a way that matters: nothing of a read transaction is
	// left to be written, and if this is the last use of a file that was
	// replaced or closed, everything in it was synced long ago.
	_ = s.tx.Rollback()
	_ = s.file.release()
	s.open.Add(-1)
}

type boltCursor struct{ c *bbolt.Cursor }

func (c boltCursor) seek(key []byte) (k, v []byte) { return c.c.Seek(key) }
func (c boltCursor) next() (k, v []byte)           { return c.c.Next() }
