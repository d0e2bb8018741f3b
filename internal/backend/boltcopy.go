package backend

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"

	"go.etcd.io/bbolt"

	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/internal/vfs"
)

// leftoverSuffix marks a rewrite in progress beside the file: db.tmp.*.
const leftoverSuffix = ".tmp."

// boltCopy is a bbolt file that is to replace another one.
type boltCopy struct {
	from *boltStore
	to   *boltStore
	path string // where it lies until it is published
}

func (s *boltStore) startCopy(mapMin int64) (storeCopy, error) {
	needed, err := s.liveBytes()
	if err != nil {
		return nil, err
	}
	dir, base := filepath.Split(s.cfg.Path)
	dir = filepath.Clean(dir)
	reserve := s.cfg.ReserveBytes
	if mapMin > 0 {
		reserve = 0 // nothing can be written without the copy
	}
	if err := checkSpace(dir, needed, reserve); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(dir, base+leftoverSuffix+"*")
	if err != nil {
		return nil, err
	}
	path := f.Name()
	if err := f.Close(); err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	mapBytes := max(mapMin, s.cfg.mapBytes(needed))
	file, err := openBoltFile(s.cfg, path, mapBytes)
	if err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	// Until it is sealed a copy need not survive anything.
	file.db.NoSync, file.db.NoGrowSync = true, true
	return &boltCopy{from: s, to: &boltStore{cfg: s.cfg, file: file, mapBytes: mapBytes}, path: path}, nil
}

func (s *boltStore) liveBytes() (int64, error) {
	snap, err := s.snapshot()
	if err != nil {
		return 0, err
	}
	defer snap.release()
	return snap.size() - s.freeBytes(), nil
}

// checkSpace refuses a copy that would leave less than a reserve free.
func checkSpace(dir string, needed, reserve int64) error {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	// Statfs numbers are as large as the file system says; divide, don't multiply.
	if block := uint64(max(fs.Bsize, 1)); fs.Bavail < uint64(needed)/block+uint64(reserve)/block {
		return fmt.Errorf("%s has %d free blocks of %d bytes, too few for a copy of %d bytes and a reserve of %d: %w", dir, fs.Bavail, fs.Bsize, needed, reserve, syscall.ENOSPC)
	}
	return nil
}

func (c *boltCopy) write(puts []entry, deletes [][]byte) error {
	err := c.to.file.db.Update(func(tx *bbolt.Tx) error {
		keys, err := tx.CreateBucketIfNotExists([]byte(schema.Key.Name()))
		if err != nil {
			return err
		}
		keys.FillPercent = fillPercent
		for _, e := range puts {
			if err := keys.Put(e.key, e.value); err != nil {
				return err
			}
		}
		for _, key := range deletes {
			if err := keys.Delete(key); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || c.to.cfg.NoSync {
		return err
	}
	return c.startWriting()
}

// startWriting has the kernel begin to write to the disk what was written to the copy, so that there is little to sync when it is sealed. Nobody
// waits for it: a sync now and then would keep the disk, and for as long as it takes a processor, from those who wait for the log.
func (c *boltCopy) startWriting() error {
	const syncFileRangeWrite = 2 // of all to the end of the file, for a length of 0
	if syscall.SyncFileRange(int(c.to.file.file.Fd()), 0, 0, syncFileRangeWrite) == nil {
		return nil
	}
	return c.to.file.db.Sync() // not every file system can
}

func (c *boltCopy) seal(txid uint64) error {
	err := c.copySmall(txid)
	c.to.file.db.NoSync, c.to.file.db.NoGrowSync = c.to.cfg.NoSync, c.to.cfg.NoSync
	if err == nil {
		err = c.to.file.findPages(c.to.mapBytes)
	}
	if err != nil || c.to.cfg.NoSync {
		return err
	}
	return c.to.file.db.Sync()
}

// copySmall copies all buckets but the key bucket, of which it makes sure that there is one.
func (c *boltCopy) copySmall(txid uint64) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = &CorruptError{Path: c.from.cfg.Path, Cause: fmt.Errorf("copying met damage: %v", cause)}
		}
	}()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	return c.from.file.db.View(func(from *bbolt.Tx) error {
		if found := uint64(from.ID()); found != txid {
			return c.from.wrongTransaction(txid, found)
		}
		return c.to.file.db.Update(func(to *bbolt.Tx) error {
			return from.ForEach(func(name []byte, b *bbolt.Bucket) error {
				return copyBucket(to, name, b)
			})
		})
	})
}

// copyBucket copies any bucket but the key bucket, those that we do not know
// included.
func copyBucket(to *bbolt.Tx, name []byte, from *bbolt.Bucket) error {
	b, err := to.CreateBucketIfNotExists(name)
	if err != nil || string(name) == schema.Key.Name() {
		return err
	}
	b.FillPercent = fillPercent
	return from.ForEach(func(k, v []byte) error {
		if v == nil {
			return &CorruptError{Path: from.Tx().DB().Path(), Bucket: string(name), Key: cloneBytes(k), Cause: errors.New("unexpected nested bucket")}
		}
		return b.Put(k, v)
	})
}

func (c *boltCopy) publish() (store, error) {
	path := c.to.cfg.Path
	if err := os.Rename(c.path, path); err != nil {
		return nil, err
	}
	if c.to.cfg.NoSync {
		return c.to, nil
	}
	return c.to, vfs.OS{}.SyncDir(filepath.Dir(path))
}

// discard has nobody to tell of its own failures; what it leaves behind is
// removed by the next Open.
func (c *boltCopy) discard() {
	_ = os.Remove(c.path)
	_ = c.to.close()
}

// removeLeftovers removes copies that were never published.
func removeLeftovers(path string) error {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return err
	}
	prefix := filepath.Base(path) + leftoverSuffix
	for _, e := range entries {
		if len(e.Name()) < len(prefix) || e.Name()[:len(prefix)] != prefix {
			continue
		}
		if err := os.Remove(filepath.Join(filepath.Dir(path), e.Name())); err != nil {
			return err
		}
	}
	return nil
}
