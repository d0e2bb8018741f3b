// Package vfs is what the rooms above ask of a file system, and no more: a seam of a dozen calls with two
// implementations. [OS] is Linux. [Mem] lives in memory, knows for every byte and every directory entry whether it was
// synced, and can be cloned into the state that a power failure would leave behind. [Intercept] wraps either of them to
// record calls or to make chosen ones fail.
//
// Durability follows POSIX at its strictest. File.Sync makes a file's bytes and size durable, but not its name; a name,
// its removal or its renaming is durable once the directory that holds it was synced with FS.SyncDir. Code that keeps to
// this with Mem survives on every file system.
//
// All paths use the slash. Errors are *fs.PathError or *os.LinkError and match fs.ErrNotExist, fs.ErrExist and
// syscall.ENOSPC by errors.Is in both implementations.
package vfs

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"syscall"
)

// SectorBytes is the unit that a disk writes whole or not at all.
const SectorBytes = 512

// ErrLocked is returned when another open file, in this process or another one, holds the lock.
var ErrLocked = errors.New("locked by another owner")

// FS is a file system. Its methods may be called from many goroutines.
type FS interface {
	// Open opens an existing file for reading.
	Open(name string) (File, error)
	// OpenWrite opens an existing file for reading and writing.
	OpenWrite(name string) (File, error)
	// Create makes a new, empty file with mode 0600 and opens it for reading and writing. It fails with fs.ErrExist if the
	// name is taken.
	Create(name string) (File, error)
	// Rename gives a file or directory a new name, at once and completely. An existing file, or an existing empty
	// directory, of that name is replaced.
	Rename(oldName, newName string) error
	// Remove deletes a file or an empty directory.
	Remove(name string) error
	// Mkdir makes one directory with mode 0700. It fails with fs.ErrExist if the name is taken.
	Mkdir(dir string) error
	// List returns the names in a directory in ascending order.
	List(dir string) ([]string, error)
	// Stat describes a file or directory.
	Stat(name string) (Info, error)
	// SyncDir makes the names in a directory durable.
	SyncDir(dir string) error
	// Space tells how full the file system is that holds name, which must be there.
	Space(name string) (Space, error)
	// LockDir takes the exclusive lock of a directory without waiting and without leaving a file in it. It fails with
	// ErrLocked, or with errors.ErrUnsupported where directories cannot be locked. Closing the result releases the lock.
	LockDir(dir string) (io.Closer, error)
}

// File is an open file. ReadAt and WriteAt of disjoint ranges may run at the same time.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Size returns the length in bytes.
	Size() (int64, error)
	// Truncate sets the length. A part that is added reads as zero.
	Truncate(sizeBytes int64) error
	// Preallocate reserves space for the first sizeBytes bytes and extends the file to that length if it is shorter.
	// Bytes that are there stay; new ones read as zero. Where space cannot be reserved the file is only extended.
	Preallocate(sizeBytes int64) error
	// NextData returns the first offset at or behind from, and at most the size, before which everything from from on reads as
	// zero. It is a quick look that need not notice all zeros; from itself is always a right answer.
	NextData(from int64) (int64, error)
	// Sync makes all bytes written so far and the length durable (fdatasync).
	Sync() error
	// Forget tells that what is durable of a range will not be read soon: the system need not keep it in memory. It is a hint; pages
	// that the range covers in part stay.
	Forget(offset, bytes int64)
	// Lock takes an exclusive lock without waiting; it fails with ErrLocked. Closing the file releases it.
	Lock(kind LockKind) error
}

// LockKind says which of the kernel's two independent lock tables is meant.
type LockKind uint8

const (
	// LockOFD is the open-file-description write lock on the whole file, as taken on WAL segments. The file must be open
	// for writing. Where the kernel or the file system lacks it, LockFlock is taken instead.
	LockOFD LockKind = iota
	// LockFlock is flock(2), as bbolt takes it on its file.
	LockFlock
)

// Info describes a file or directory.
type Info struct {
	SizeBytes int64
	Dir       bool
	Perm      fs.FileMode
}

// Space is how full a file system is.
type Space struct {
	FreeBytes  int64  // what a process without privileges may still take
	TotalBytes int64  // size of the file system
	Device     uint64 // the same for all files of one file system
}

// NoSpace reports whether an error says that there is no room for what was to be stored: the file system is full, or a quota of its, or the
// file must not grow.
func NoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}

// Exists reports whether a file or directory of that name is there.
func Exists(fsys FS, name string) (bool, error) {
	_, err := fsys.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// MkdirAll makes a directory and those above it that are missing, each with mode 0700, and makes every new name durable.
// It is no error if the directory is there already.
func MkdirAll(fsys FS, dir string) error {
	if info, err := fsys.Stat(dir); err == nil {
		if !info.Dir {
			return &fs.PathError{Op: "mkdir", Path: dir, Err: errors.New("is a file")}
		}
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := MkdirAll(fsys, parent); err != nil {
			return err
		}
	}
	if err := fsys.Mkdir(dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return fsys.SyncDir(parent)
}

// RemoveAll deletes a file, or a directory with all it holds. It is no error if nothing of that name is there. The
// removal is not synced.
func RemoveAll(fsys FS, name string) error {
	info, err := fsys.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Dir {
		if err := removeChildren(fsys, name); err != nil {
			return err
		}
	}
	return fsys.Remove(name)
}

func removeChildren(fsys FS, dir string) error {
	names, err := fsys.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := RemoveAll(fsys, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}
