package backend

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"go.etcd.io/bbolt"
)

// ErrNoRoom is wrapped, with its cause, by a flush or a rewrite for which there
// is no room on the disk. The file is as it was. What was to be flushed stays
// pending, and is flushed when there is room.
var ErrNoRoom = errors.New("backend: no room on the disk")

// noSpace reports whether err says that the disk is full, that a quota of it is
// used up, or that files must not be larger.
func noSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}

// withoutRoom makes an error ErrNoRoom if a lack of room is its cause.
func withoutRoom(err error) error {
	if err == nil || !noSpace(err) || errors.Is(err, ErrNoRoom) || errors.Is(err, ErrPoisoned) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrNoRoom, err)
}

// unwritten reports whether a commit failed because a write found no room. Such
// a commit has changed nothing: it writes to pages that nobody uses, and then a
// meta page, which is the older one and does not count unless it is whole. A
// sync that finds no room is another matter: nobody knows what it lost.
func unwritten(err error) bool {
	var path *fs.PathError
	return errors.As(err, &path) && path.Op == "write" && noSpace(path.Err)
}

// Sizes of what a commit writes beside the records, roughly.
const (
	pageBytes       = 4096
	recordKeyBytes  = 64 // key, page element and the unused end of pages, for one record
	commitSlack     = 64 * pageBytes
	newDataPerMille = 1250 // what new records take, compared with their bytes: pages are not filled wholly
)

// growth is how much a commit may add to the end of a file with so many free
// pages, at most: new records, which may find no free pages in a row, and what
// is changed and does not go to free pages.
func growth(c *changes, freePages, usedPages int64) int64 {
	var data int64
	for _, span := range c.spans {
		for i := range span {
			data += int64(len(span[i].bytes)) + recordKeyBytes
		}
	}
	for i := range c.small {
		data += int64(len(c.small[i].key)+len(c.small[i].value)) + recordKeyBytes
	}
	touched := min(int64(len(c.deletes)+len(c.small)), usedPages)
	touched += touched / 4 // and the pages above them
	return data/1000*newDataPerMille + max(0, touched-freePages)*pageBytes + commitSlack
}

// makeRoom reserves what a commit may add to the file, so that a full disk
// shows before anything is written. Where space cannot be reserved it does
// nothing, and the commit is left to find out.
func (s *boltStore) makeRoom(tx *bbolt.Tx, c *changes) error {
	size, free := tx.Size(), int64(s.file.db.Stats().FreePageN)
	err := reserve(s.file.file, size, growth(c, free, size/pageBytes-free))
	if noSpace(err) {
		return withoutRoom(err)
	}
	return nil
}

// reserve makes room for bytes from an offset of a file on, which is as long
// then at least.
func reserve(f *os.File, from, bytes int64) error {
	for {
		err := syscall.Fallocate(int(f.Fd()), 0, from, bytes)
		if err != syscall.EINTR {
			return os.NewSyscallError("fallocate "+f.Name(), err)
		}
	}
}
