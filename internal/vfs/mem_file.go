package vfs

import (
	"errors"
	"io"
	"io/fs"
	"slices"
	"syscall"
)

var errReadOnly = errors.New("file is open for reading only")

// memFile is an open file of Mem. Its fields other than closed never change; closed is guarded by the lock of Mem.
type memFile struct {
	fs       *Mem
	inode    *memInode
	name     string
	writable bool
	closed   bool
}

// use runs fn under the file system's lock.
func (f *memFile) use(op string, write bool, fn func() error) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	switch {
	case f.closed:
		return pathError(op, f.name, fs.ErrClosed)
	case write && !f.writable:
		return pathError(op, f.name, errReadOnly)
	}
	return fn()
}

// ReadAt implements File.
func (f *memFile) ReadAt(b []byte, offset int64) (n int, err error) {
	err = f.use("read", false, func() error {
		if offset < 0 {
			return pathError("read", f.name, syscall.EINVAL)
		}
		if n = f.inode.live.readAt(b, offset); n < len(b) {
			return io.EOF
		}
		return nil
	})
	return n, err
}

// WriteAt implements File.
func (f *memFile) WriteAt(b []byte, offset int64) (n int, err error) {
	err = f.use("write", true, func() error {
		if offset < 0 {
			return pathError("write", f.name, syscall.EINVAL)
		}
		if n = f.fs.fits(f.inode, b, offset); n > 0 {
			f.inode.change(change{offset: offset, data: slices.Clone(b[:n])})
		}
		if n < len(b) {
			return pathError("write", f.name, syscall.ENOSPC)
		}
		return nil
	})
	return n, err
}

// Size implements File.
func (f *memFile) Size() (size int64, err error) {
	err = f.use("stat", false, func() error {
		size = f.inode.live.size
		return nil
	})
	return size, err
}

// Truncate implements File.
func (f *memFile) Truncate(sizeBytes int64) error {
	return f.use("truncate", true, func() error {
		f.inode.reserved = min(f.inode.reserved, wholePages(max(sizeBytes, 0)))
		return f.resize("truncate", sizeBytes, sizeBytes)
	})
}

// NextData implements File. It never looks ahead.
func (f *memFile) NextData(from int64) (int64, error) { return from, nil }

// Preallocate implements File.
func (f *memFile) Preallocate(sizeBytes int64) error {
	return f.use("fallocate", true, func() error {
		if !f.fs.reserve(f.inode, sizeBytes) {
			return pathError("fallocate", f.name, syscall.ENOSPC)
		}
		return f.resize("fallocate", sizeBytes, max(sizeBytes, f.inode.live.size))
	})
}

func (f *memFile) resize(op string, asked, size int64) error {
	if asked < 0 {
		return pathError(op, f.name, syscall.EINVAL)
	}
	if size != f.inode.live.size {
		f.inode.change(change{size: size})
	}
	return nil
}

// Sync implements File.
func (f *memFile) Sync() error {
	return f.use("fdatasync", false, func() error {
		f.inode.sync()
		return nil
	})
}

// Forget implements File. There is nothing but memory here.
func (f *memFile) Forget(int64, int64) {}

// Lock implements File.
func (f *memFile) Lock(kind LockKind) error {
	return f.use("lock", kind == LockOFD, func() error {
		owner := &f.inode.locks[kind]
		if *owner != nil && *owner != f {
			return pathError("lock", f.name, ErrLocked)
		}
		*owner = f
		return nil
	})
}

// Close implements File.
func (f *memFile) Close() error {
	return f.use("close", false, func() error {
		f.closed = true
		for kind := range f.inode.locks {
			if f.inode.locks[kind] == f {
				f.inode.locks[kind] = nil
			}
		}
		return nil
	})
}
