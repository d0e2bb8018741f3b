package backend

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	"go.etcd.io/bbolt"

	"github.com/quoin-kv/quoin/internal/schema"
)

// found is what a survey of a file has found.
type found struct {
	content *contents
	keyed   bool // there is a key bucket
	applied schema.Applied
	stamp   stamp
	ledger  int64 // bytes of the ledger, if it can be continued
	notes   []string
}

// surveyFile walks over a storage file that exists, and over its ledger, if
// medium is not nil. Nobody may have the file open for writing. Damage is a
// *CorruptError.
func surveyFile(path string, lockTimeout time.Duration, medium sumsMedium) (f *found, err error) {
	db, err := bbolt.Open(path, 0, &bbolt.Options{ReadOnly: true, Timeout: lockTimeout}) // takes the lock; reads the meta pages and no more
	if err != nil {
		return nil, openError(path, err)
	}
	defer func() { err = errors.Join(pathed(path, err), db.Close()) }()
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	meta, notes, err := bestMeta(file)
	if err != nil {
		return nil, err
	}
	size := int64(meta.highWater) * meta.pageSize
	data, err := syscall.Mmap(int(file.Fd()), 0, int(size), syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	defer func() { err = errors.Join(err, syscall.Munmap(data)) }()
	f, err = surveyMapped(&pages{data: data, size: meta.pageSize, used: meta.highWater}, meta, medium)
	if f != nil {
		f.notes = append(notes, f.notes...)
	}
	return f, err
}

// bestMeta returns the meta page that counts. Notes tell of one that is damaged.
func bestMeta(file *os.File) (metaPage, []string, error) {
	meta, ok := newestMeta(file)
	if !ok {
		return meta, nil, &CorruptError{Cause: errors.New("no valid meta page")}
	}
	var notes []string
	for i := range int64(2) {
		if _, ok := readMeta(file, i*meta.pageSize); !ok {
			notes = append(notes, fmt.Sprintf("meta page at byte %d is damaged; the file is as of transaction %d", i*meta.pageSize, meta.txid))
		}
	}
	info, err := file.Stat()
	if err == nil && meta.highWater > uint64(info.Size()/meta.pageSize) {
		err = &CorruptError{Cause: fmt.Errorf("file ends at byte %d, its pages at %d × %d", info.Size(), meta.highWater, meta.pageSize)}
	}
	return meta, notes, err
}

// pathed puts the path into an error that lacks it.
func pathed(path string, err error) error {
	var c *CorruptError
	if errors.As(err, &c) && c.Path == "" {
		c.Path = path
	}
	return err
}

// surveyMapped is surveyFile on a mapping, of which pages may be unreadable.
func surveyMapped(p *pages, meta metaPage, medium sumsMedium) (f *found, err error) {
	setting := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(setting)
		if cause := recover(); cause != nil {
			err = &CorruptError{Cause: fmt.Errorf("reading the file: %v", cause)}
		}
	}()
	f = &found{stamp: stamp{txid: meta.txid}}
	if f.applied, err = appliedIn(p, meta); err != nil {
		return nil, err
	}
	f.stamp.index = f.applied.Index
	buckets := tree{pages: p, root: meta.root}
	keys, _, err := buckets.get([]byte(schema.Key.Name()))
	if err != nil {
		return nil, err
	}
	f.keyed = keys != nil
	want := f.evidence(medium)
	f.content, err = surveyPages(p, meta, want)
	return f, err
}

// appliedIn reads the log position of the file.
func appliedIn(p *pages, meta metaPage) (schema.Applied, error) {
	buckets := tree{pages: p, root: meta.root}
	value, offset, err := buckets.get([]byte(schema.Meta.Name()))
	if err != nil || value == nil {
		return schema.Applied{}, err
	}
	t, err := p.bucketTree(value, offset+int64(len(schema.Meta.Name())))
	if err != nil {
		return schema.Applied{}, err
	}
	a, parseErr := parseApplied("", func(key []byte) []byte {
		v, _, getErr := t.get(key)
		if getErr != nil {
			err = getErr
		}
		return v
	})
	return a, cmp.Or(err, parseErr)
}

// evidence returns what the ledger says of the file, nil if it has nothing to say. A ledger of the same transaction that names another log
// position is evidence nonetheless: the position is damaged.
func (f *found) evidence(medium sumsMedium) *contents {
	if medium == nil {
		return nil
	}
	r, err := medium.read()
	if err != nil || r == nil {
		f.notes = append(f.notes, "no checksums of the database file from before; taking them from the file")
		return nil
	}
	defer r.Close()
	c, at, size, clean := readLedger(r, f.stamp.txid)
	if c == nil || at.txid != f.stamp.txid {
		f.notes = append(f.notes, fmt.Sprintf("checksums of the database file belong to transaction %d at index %d, the file is at %d, %d; taking them from the file",
			at.txid, at.index, f.stamp.txid, f.stamp.index))
		return nil
	}
	if clean {
		f.ledger = size
	}
	return c
}
