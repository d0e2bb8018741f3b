package offline

import (
	"hash/crc32"

	"go.etcd.io/bbolt"

	"github.com/quoin-kv/quoin/internal/schema"
)

// Status is what a snapshot, or any database file, says of itself.
type Status struct {
	Hash      uint32 // CRC-32C of the names, keys and values of all buckets
	Revision  int64  // of the last change
	TotalKeys int64  // keys that exist at Revision
	TotalSize int64  // bytes, without the trailing hash of a snapshot
	Version   string // of the storage; empty for files of 3.5 and before
}

// ReadStatus reads the status of a file, which takes reading all of it. The trailing hash of a snapshot is not compared.
func ReadStatus(path string) (s Status, err error) {
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	err = read(path, func(tx *bbolt.Tx) error {
		s.TotalSize = tx.Size()
		rev, err := latestRev(tx)
		if err != nil {
			return err
		}
		s.Revision = rev.Main
		if meta := tx.Bucket([]byte(schema.Meta.Name())); meta != nil {
			s.Version = string(meta.Get([]byte(schema.MetaStorageVersion)))
		}
		store, _, err := openStore(tx)
		if err != nil {
			return err
		}
		s.TotalKeys = int64(store.Keys())
		return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
			sum.Write(name)
			return b.ForEach(func(k, v []byte) error {
				sum.Write(k)
				sum.Write(v)
				return nil
			})
		})
	})
	s.Hash = sum.Sum32()
	return s, err
}
