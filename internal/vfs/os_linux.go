package vfs

import (
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// OS is the machine's file system. The zero value is ready.
type OS struct{}

var _ FS = OS{}

// Open implements FS.
func (OS) Open(name string) (File, error) { return openOS(name, os.O_RDONLY) }

// OpenWrite implements FS.
func (OS) OpenWrite(name string) (File, error) { return openOS(name, os.O_RDWR) }

// Create implements FS.
func (OS) Create(name string) (File, error) {
	return openOS(name, os.O_RDWR|os.O_CREATE|os.O_EXCL)
}

func openOS(name string, flag int) (File, error) {
	f, err := os.OpenFile(name, flag, 0o600)
	if err != nil {
		return nil, err
	}
	return &osFile{File: f}, nil
}

// Rename implements FS. A directory may replace an empty one, which os.Rename refuses.
func (OS) Rename(oldName, newName string) error {
	err := retry(func() error { return unix.Rename(oldName, newName) })
	if err != nil {
		return &os.LinkError{Op: "rename", Old: oldName, New: newName, Err: err}
	}
	return nil
}

// Remove implements FS.
func (OS) Remove(name string) error { return os.Remove(name) }

// Mkdir implements FS.
func (OS) Mkdir(dir string) error { return os.Mkdir(dir, 0o700) }

// List implements FS.
func (OS) List(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

// Stat implements FS.
func (OS) Stat(name string) (Info, error) {
	info, err := os.Stat(name)
	if err != nil {
		return Info{}, err
	}
	return Info{SizeBytes: info.Size(), Dir: info.IsDir(), Perm: info.Mode().Perm()}, nil
}

// Space implements FS.
func (OS) Space(name string) (Space, error) {
	var fs unix.Statfs_t
	if err := retry(func() error { return unix.Statfs(name, &fs) }); err != nil {
		return Space{}, &os.PathError{Op: "statfs", Path: name, Err: err}
	}
	var file unix.Stat_t
	if err := retry(func() error { return unix.Stat(name, &file) }); err != nil {
		return Space{}, &os.PathError{Op: "stat", Path: name, Err: err}
	}
	return Space{FreeBytes: blocks(fs.Bavail, fs.Bsize), TotalBytes: blocks(fs.Blocks, fs.Bsize), Device: file.Dev}, nil
}

// blocks is the size of so many blocks in bytes. File systems say what they like.
func blocks(n uint64, size int64) int64 {
	if size <= 0 || n > math.MaxInt64/uint64(size) {
		return math.MaxInt64
	}
	return int64(n) * size
}

// SyncDir implements FS.
func (OS) SyncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// LockDir implements FS with flock(2) on the directory itself.
func (OS) LockDir(dir string) (io.Closer, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := lockFlock(f); err != nil {
		return nil, errors.Join(unsupportedLock(err), f.Close())
	}
	return f, nil
}

// unsupportedLock names the errors by which network file systems refuse to lock a directory.
func unsupportedLock(err error) error {
	for _, errno := range []error{unix.EBADF, unix.EINVAL, unix.EISDIR, unix.ENOLCK, unix.ENOSYS, unix.EOPNOTSUPP} {
		if errors.Is(err, errno) {
			return errors.Join(errors.ErrUnsupported, err)
		}
	}
	return err
}

type osFile struct{ *os.File }

func (f *osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f *osFile) Sync() error {
	fd := int(f.Fd())
	for {
		// Written out rather than through retry: this is the hottest call of a member and must not allocate a closure.
		err := unix.Fdatasync(fd)
		if err == nil {
			return nil
		}
		if err != unix.EINTR {
			return f.fail("fdatasync", err)
		}
	}
}

// Forget implements File.
func (f *osFile) Forget(offset, bytes int64) {
	unix.Fadvise(int(f.Fd()), offset, bytes, unix.FADV_DONTNEED) // if it fails the memory stays in use, no more
}

// NextData implements File. What was reserved but never written is a hole to the kernel, which need not be read.
func (f *osFile) NextData(from int64) (int64, error) {
	at, err := unix.Seek(int(f.Fd()), from, unix.SEEK_DATA)
	switch {
	case err == nil:
		return at, nil
	case errors.Is(err, unix.ENXIO): // no data behind from
		size, err := f.Size()
		return max(from, size), err
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS):
		return from, nil
	default:
		return 0, f.fail("lseek", err)
	}
}

func (f *osFile) Preallocate(sizeBytes int64) error {
	err := retry(func() error { return unix.Fallocate(int(f.Fd()), 0, 0, sizeBytes) })
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS):
		return f.extend(sizeBytes)
	default:
		return f.fail("fallocate", err)
	}
}

func (f *osFile) extend(sizeBytes int64) error {
	have, err := f.Size()
	if err != nil || have >= sizeBytes {
		return err
	}
	return f.Truncate(sizeBytes)
}

func (f *osFile) Lock(kind LockKind) error {
	if kind == LockOFD {
		err := lockOFD(f.File)
		if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) {
			return err
		}
	}
	return lockFlock(f.File)
}

func lockOFD(f *os.File) error {
	whole := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	err := retry(func() error { return unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &whole) })
	return lockResult(f, "lock", err)
}

func lockFlock(f *os.File) error {
	err := retry(func() error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) })
	return lockResult(f, "flock", err)
}

func lockResult(f *os.File, op string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		err = ErrLocked
	}
	return &fs.PathError{Op: op, Path: f.Name(), Err: err}
}

func (f *osFile) fail(op string, err error) error {
	return &fs.PathError{Op: op, Path: f.Name(), Err: err}
}

func retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}
