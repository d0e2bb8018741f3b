package workload

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// File is one file of a source tree: its path below the root is the key.
type File struct {
	Key  string
	Path string
	Size int64
}

// Files lists the regular files below root in key order, at most limit of them;
// 0 is no limit.
func Files(root string, limit int) ([]File, error) {
	var files []File
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		key, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		files = append(files, File{Key: filepath.ToSlash(key), Path: path, Size: info.Size()})
		if len(files) == limit {
			return fs.SkipAll
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the files below %s: %w", root, err)
	}
	return files, nil
}

// Read reads the file's content.
func (f File) Read() ([]byte, error) { return os.ReadFile(f.Path) }

// Digest is a short form of a value by which values are compared.
type Digest [sha256.Size]byte

// DigestOf is the digest of a value.
func DigestOf(value []byte) Digest { return sha256.Sum256(value) }
