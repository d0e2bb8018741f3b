package backend

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"syscall"
)

// The part of bbolt's format that checkFile reads; docs/format/db.md has the
// whole meta page.
const (
	pageHeaderBytes  = 16
	metaBytes        = 64
	metaSummedBytes  = 56
	metaMagic        = 0xED0CDAED
	metaVersion      = 2
	smallestPageBits = 10 // 1 KiB
	largestPageBits  = 24 // 16 MiB
)

// metaPage is what checkFile needs of a meta page.
type metaPage struct {
	pageSize  int64
	root      uint64 // page of the tree of buckets
	freelist  uint64 // page of the list of free pages
	highWater uint64 // id of the first page never used
	txid      uint64
}

// checkFile returns the size of the file, 0 if there is none. A file that ends
// before the pages it refers to is reported as corrupt: mapped and read, it
// would kill the process.
func checkFile(path string) (size int64, err error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	// In use by another process, the file may be growing. Opening it will find
	// out about that.
	if syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) != nil {
		return info.Size(), nil
	}
	meta, ok := newestMeta(f)
	if ok && meta.highWater > uint64(info.Size()/meta.pageSize) {
		cause := fmt.Errorf("file ends at byte %d, its pages at %d × %d", info.Size(), meta.highWater, meta.pageSize)
		return 0, &CorruptError{Path: path, Cause: cause}
	}
	return info.Size(), nil
}

// newestMeta returns the valid meta page with the highest transaction id.
func newestMeta(f io.ReaderAt) (newest metaPage, ok bool) {
	first, ok0 := readMeta(f, 0)
	second, ok1 := secondMeta(f, first, ok0)
	if ok1 && (!ok0 || second.txid > first.txid) {
		return second, true
	}
	return first, ok0
}

// secondMeta reads the meta page at page 1. If page 0 is damaged, the size of a
// page has to be guessed.
func secondMeta(f io.ReaderAt, first metaPage, ok bool) (metaPage, bool) {
	if ok {
		return readMeta(f, first.pageSize)
	}
	for bits := smallestPageBits; bits <= largestPageBits; bits++ {
		if m, ok := readMeta(f, 1<<bits); ok && m.pageSize == 1<<bits {
			return m, true
		}
	}
	return metaPage{}, false
}

func readMeta(f io.ReaderAt, offset int64) (metaPage, bool) {
	var b [metaBytes]byte
	if _, err := f.ReadAt(b[:], offset+pageHeaderBytes); err != nil {
		return metaPage{}, false
	}
	return parseMeta(b[:])
}

func parseMeta(b []byte) (m metaPage, ok bool) {
	sum := fnv.New64a()
	sum.Write(b[:metaSummedBytes])
	le := binary.LittleEndian
	valid := le.Uint32(b) == metaMagic && le.Uint32(b[4:]) == metaVersion &&
		le.Uint64(b[metaSummedBytes:]) == sum.Sum64()
	m = metaPage{
		pageSize:  int64(le.Uint32(b[8:])),
		root:      le.Uint64(b[16:]),
		freelist:  le.Uint64(b[32:]),
		highWater: le.Uint64(b[40:]),
		txid:      le.Uint64(b[48:]),
	}
	return m, valid && m.pageSize >= 1<<smallestPageBits
}
