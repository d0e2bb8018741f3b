package offline

import (
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/quoin-kv/quoin/internal/schema"
)

// FuzzReadStatus reads any bytes as a database file: it has a status, or there is an error.
func FuzzReadStatus(f *testing.F) {
	dir := f.TempDir()
	path := filepath.Join(dir, "seed")
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{PageSize: 1024})
	if err != nil {
		f.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for b := range schema.NumBuckets {
			if _, err := tx.CreateBucketIfNotExists([]byte(b.Name())); err != nil {
				return err
			}
		}
		kv := schema.KeyValue{Key: []byte("k"), CreateRevision: 2, ModRevision: 2, Version: 1, Value: []byte("v")}
		return tx.Bucket([]byte(schema.Key.Name())).Put(schema.AppendRev(nil, schema.Rev{Main: 2}, false), kv.Append(nil))
	})
	if err == nil {
		err = db.Close()
	}
	if err != nil {
		f.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range [][]byte{whole, whole[:len(whole)/2], append(whole, make([]byte, 32)...), {}} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := ReadStatus(path)
		if err == nil && (s.TotalSize > int64(len(content)) || s.TotalKeys < 0) {
			t.Errorf("%+v of a file of %d bytes", s, len(content))
		}
		_, _ = HashKV(path, 0)
	})
}
