package backend

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync/atomic"
	"unsafe"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/quoin-kv/quoin/internal/faultpoint"
	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/internal/vfs"
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
	s, f, err := openBoltStore(&cfg)
	if err != nil {
		return nil, fmt.Errorf("backend: open %s: %w", cfg.Path, err)
	}
	return newBackend(cfg, cfg.Path, s, f)
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
	var f *found
	if err == nil {
		f, err = surveyFile(path, cfg.LockTimeout, nil)
	}
	if err == nil && !f.keyed {
		err = &CorruptError{Path: path, Bucket: schema.Key.Name(), Cause: errors.New("bucket is missing")}
	}
	if err != nil {
		return schema.Applied{}, fmt.Errorf("backend: check %s: %w", path, err)
	}
	return f.applied, nil
}

// boltFile is a bbolt handle that closes with its last user.
type boltFile struct {
	db       *bbolt.DB
	file     *os.File     // bbolt's
	refs     atomic.Int64 // one per open snapshot, and one of the owner
	data     []byte       // bbolt's mapping; only so far as there are pages may it be touched
	pageSize int64
	wrecked  atomic.Bool // bbolt met damage in the middle of a transaction and cannot be closed
	remains  *remains    // gets the file if it has been replaced
}

func (f *boltFile) release() error {
	if f.refs.Add(-1) > 0 || f.wrecked.Load() {
		return nil
	}
	if nameless(f.file) {
		if kept, err := another(f.file); err == nil {
			defer f.remains.take(kept)
		}
	}
	return f.db.Close()
}

// wreck gives up the lock of a file whose transaction can be neither finished
// nor rolled back: bbolt would walk over the damage once more, in a goroutine
// where a panic ends the process. The mapping stays.
func (f *boltFile) wreck() {
	if !f.wrecked.Swap(true) {
		_ = f.file.Close() // only the lock matters
	}
}

// boltStore is a store in a bbolt file.
type boltStore struct {
	cfg      *Config
	file     *boltFile
	mapBytes int64 // size of the mapping
}

func openBoltStore(cfg *Config) (*boltStore, *found, error) {
	if err := removeLeftovers(cfg.Path); err != nil {
		return nil, nil, err
	}
	size, err := checkFile(cfg.Path)
	if err != nil {
		return nil, nil, err
	}
	f := &found{content: &contents{small: smallSums{}}}
	if size > 0 {
		if f, err = surveyFile(cfg.Path, cfg.LockTimeout, cfg.medium()); err != nil {
			return nil, nil, err
		}
	}
	mapBytes := cfg.mapBytes(size)
	file, err := openBoltFile(cfg, cfg.Path, mapBytes)
	if err != nil {
		return nil, nil, err
	}
	s := &boltStore{cfg: cfg, file: file, mapBytes: mapBytes}
	if err := s.prepare(size == 0); err != nil {
		return nil, nil, closeAfter(err, s)
	}
	return s, f, nil
}

// prepare makes an opened file ready for use.
func (s *boltStore) prepare(created bool) error {
	if err := createBuckets(s.file.db); err != nil {
		return err
	}
	if err := s.file.findPages(s.mapBytes); err != nil {
		return err
	}
	if created && !s.cfg.NoSync {
		return vfs.OS{}.SyncDir(filepath.Dir(s.cfg.Path))
	}
	return nil
}

// findPages finds bbolt's mapping of the file, which stays where it is: see
// boltOptions. Reading through a mapping of our own would count every page
// twice in the memory of the process.
func (f *boltFile) findPages(mapBytes int64) error {
	return f.db.View(func(tx *bbolt.Tx) error {
		key, _ := tx.Cursor().First() // points into the mapping
		if len(key) == 0 {
			return &CorruptError{Path: f.db.Path(), Cause: errors.New("no buckets")}
		}
		info, first := f.db.Info(), unsafe.Pointer(&key[0])
		start := unsafe.Add(first, -int(uintptr(first)-info.Data))
		f.data, f.pageSize = unsafe.Slice((*byte)(start), mapBytes), int64(info.PageSize)
		return nil
	})
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
	f := &boltFile{db: db, file: file, remains: cfg.remains}
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

func (s *boltStore) commit(c *changes, txid uint64) (cost commitCost, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			s.file.wreck()
			err = &CorruptError{Path: s.cfg.Path, Cause: fmt.Errorf("writing met damage: %v", cause)}
		}
	}()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	faultpoint.Hit(faultpoint.BeforeStartDBTxn)
	tx, err := s.file.db.Begin(true)
	if err != nil {
		return commitCost{}, err
	}
	faultpoint.Hit(faultpoint.AfterStartDBTxn)
	if found := uint64(tx.ID()); found != txid {
		s.file.wreck()
		return commitCost{}, s.wrongTransaction(txid-1, found-1)
	}
	if err := s.makeRoom(tx, c); err != nil {
		return commitCost{}, errors.Join(err, tx.Rollback())
	}
	if err := applyChanges(tx, c); err != nil {
		return commitCost{}, errors.Join(err, tx.Rollback())
	}
	faultpoint.Hit(faultpoint.BeforeCommit)
	err = tx.Commit()
	faultpoint.Hit(faultpoint.AfterCommit)
	if err != nil {
		if errors.Is(err, berrors.ErrMaxSizeReached) {
			return commitCost{}, errFull
		}
		if unwritten(err) {
			err = withoutRoom(err)
		}
		return commitCost{}, err
	}
	stats := tx.Stats()
	return commitCost{stats.PageAlloc, stats.RebalanceTime, stats.SpillTime, stats.WriteTime}, nil
}

// wrongTransaction is the error when bbolt does not see the last transaction.
func (s *boltStore) wrongTransaction(last, found uint64) error {
	cause := fmt.Errorf("expected transaction %d to be the last one, found %d: a meta page is damaged", last, found)
	return &CorruptError{Path: s.cfg.Path, Offset: int64(last%2) * s.file.pageSize, Cause: cause}
}

func applyChanges(tx *bbolt.Tx, c *changes) error {
	keys := tx.Bucket([]byte(schema.Key.Name()))
	keys.FillPercent = fillPercent
	n := 0
	err := c.eachRecord(func(key, value []byte) error {
		n++
		breathe(n)
		return keys.Put(key, value)
	})
	if err != nil {
		return err
	}
	for i, key := range c.deletes {
		breathe(i)
		if err := keys.Delete(key); err != nil {
			return err
		}
	}
	faultpoint.Hit(faultpoint.CommitBeforePreCommitHook)
	defer faultpoint.Hit(faultpoint.CommitAfterPreCommitHook)
	for i := range c.small {
		breathe(i)
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

func (s *boltStore) reopen() (store, *found, error) {
	next, f, err := openBoltStore(s.cfg)
	if err != nil {
		return nil, nil, err
	}
	return next, f, nil
}

func (s *boltStore) medium() sumsMedium { return s.cfg.medium() }

func (s *boltStore) grownMapping() int64 { return 2 * s.mapBytes }

func (s *boltStore) close() error { return s.file.release() }

// boltSnapshot is a read transaction that many goroutines share. It only pins
// the pages; they are read without bbolt, see pages.
type boltSnapshot struct {
	file    *boltFile
	tx      *bbolt.Tx
	pages   pages
	root    tree // of the buckets
	buckets [schema.NumBuckets]tree
	refs    atomic.Int64
	open    *atomic.Int64 // snapshots of the backend
}

func (s *boltStore) snapshot() (_ snapshot, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			s.file.wreck()
			err = &CorruptError{Path: s.cfg.Path, Cause: fmt.Errorf("reading the file: %v", cause)}
		}
	}()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	tx, err := s.file.db.Begin(false)
	if err != nil {
		return nil, err
	}
	snap := &boltSnapshot{file: s.file, tx: tx, open: &s.cfg.activity.snapshots}
	if err := snap.findBuckets(); err != nil {
		return nil, errors.Join(pathed(s.cfg.Path, err), tx.Rollback())
	}
	s.file.refs.Add(1)
	snap.open.Add(1)
	snap.refs.Store(1)
	return snap, nil
}

func (s *boltSnapshot) findBuckets() error {
	s.pages = pages{data: s.file.data, size: s.file.pageSize, used: uint64(s.tx.Size() / s.file.pageSize)}
	s.root = tree{pages: &s.pages, root: uint64(s.tx.Cursor().Bucket().Root())}
	for b := range schema.NumBuckets {
		t, _, err := s.bucket(b)
		if err != nil {
			return err
		}
		s.buckets[b] = t
	}
	return nil
}

// bucket finds a bucket in the tree of buckets, and says where that has its entry.
func (s *boltSnapshot) bucket(b schema.Bucket) (t tree, offset int64, err error) {
	value, offset, err := s.root.get([]byte(b.Name()))
	if err == nil && value == nil {
		err = at(errors.New("bucket is missing"), b.Name(), nil, offset)
	}
	if err != nil {
		return tree{}, offset, err
	}
	t, err = s.pages.bucketTree(value, offset+int64(len(b.Name())))
	return t, offset, err
}

// rooted finds the buckets again: readers keep what they found, but bbolt, which writes, does not.
func (s *boltSnapshot) rooted() error {
	for b := range schema.NumBuckets {
		t, offset, err := s.bucket(b)
		if err == nil && !t.same(&s.buckets[b]) {
			err = at(errors.New("bucket is not where it was"), b.Name(), nil, offset)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *boltSnapshot) lookup(b schema.Bucket, key []byte) ([]byte, int64, error) {
	return s.buckets[b].get(key)
}

func (s *boltSnapshot) finder(b schema.Bucket) finder { return &leafFinder{tree: &s.buckets[b]} }

func (s *boltSnapshot) cursor(b schema.Bucket) cursor { return &treeCursor{tree: s.buckets[b]} }

func (s *boltSnapshot) lastKey(b schema.Bucket) ([]byte, error) { return s.buckets[b].lastKey() }

func (s *boltSnapshot) txid() uint64 { return uint64(s.tx.ID()) }

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
