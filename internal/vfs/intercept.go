package vfs

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// OpKind names a call of FS or File.
type OpKind string

// The calls that Intercept sees.
const (
	OpOpen        OpKind = "open"
	OpOpenWrite   OpKind = "open-write"
	OpCreate      OpKind = "create"
	OpRename      OpKind = "rename"
	OpRemove      OpKind = "remove"
	OpMkdir       OpKind = "mkdir"
	OpList        OpKind = "list"
	OpStat        OpKind = "stat"
	OpSpace       OpKind = "space"
	OpSyncDir     OpKind = "sync-dir"
	OpLockDir     OpKind = "lock-dir"
	OpRead        OpKind = "read"
	OpWrite       OpKind = "write"
	OpTruncate    OpKind = "truncate"
	OpPreallocate OpKind = "preallocate"
	OpSync        OpKind = "sync"
	OpForget      OpKind = "forget"
	OpLock        OpKind = "lock"
	OpClose       OpKind = "close"
)

// Op is one call that is about to be made.
type Op struct {
	Kind    OpKind
	Path    string // of a file: its present name, also when it was renamed after it was opened
	NewPath string // of a rename
	Offset  int64  // of a read, write or forget
	Bytes   int64  // length of a read, write or forget, or the size that a truncate or preallocate sets
}

// String gives the op as one line of a trace.
func (o Op) String() string {
	switch o.Kind {
	case OpRename:
		return fmt.Sprintf("%s %s -> %s", o.Kind, o.Path, o.NewPath)
	case OpRead, OpWrite, OpForget:
		return fmt.Sprintf("%s %s %d+%d", o.Kind, o.Path, o.Offset, o.Bytes)
	case OpTruncate, OpPreallocate:
		return fmt.Sprintf("%s %s %d", o.Kind, o.Path, o.Bytes)
	default:
		return fmt.Sprintf("%s %s", o.Kind, o.Path)
	}
}

// PartialWrite is an error by which the function given to Intercept asks that a write reaches the disk in part before it
// fails with Err.
type PartialWrite struct {
	Bytes int64
	Err   error
}

func (p *PartialWrite) Error() string { return fmt.Sprintf("%v after %d bytes", p.Err, p.Bytes) }

// Unwrap returns the error with which the write ends.
func (p *PartialWrite) Unwrap() error { return p.Err }

// Intercept returns a file system that calls before ahead of every call to inner, on the caller's goroutine. If before
// returns an error, the call is not made and fails with it. Closing a file is always done.
func Intercept(inner FS, before func(Op) error) FS {
	return &interceptFS{inner: inner, before: before}
}

type interceptFS struct {
	inner  FS
	before func(Op) error
	mu     struct {
		sync.Mutex
		open map[*interceptFile]string // present names
	}
}

func (i *interceptFS) see(kind OpKind, name string) error {
	return i.before(Op{Kind: kind, Path: name})
}

func (i *interceptFS) file(kind OpKind, name string, open func(string) (File, error)) (File, error) {
	if err := i.see(kind, name); err != nil {
		return nil, err
	}
	inner, err := open(name)
	if err != nil {
		return nil, err
	}
	f := &interceptFile{File: inner, fs: i}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.mu.open == nil {
		i.mu.open = map[*interceptFile]string{}
	}
	i.mu.open[f] = name
	return f, nil
}

func (i *interceptFS) Open(name string) (File, error) { return i.file(OpOpen, name, i.inner.Open) }

func (i *interceptFS) OpenWrite(name string) (File, error) {
	return i.file(OpOpenWrite, name, i.inner.OpenWrite)
}

func (i *interceptFS) Create(name string) (File, error) {
	return i.file(OpCreate, name, i.inner.Create)
}

func (i *interceptFS) Rename(oldName, newName string) error {
	if err := i.before(Op{Kind: OpRename, Path: oldName, NewPath: newName}); err != nil {
		return err
	}
	if err := i.inner.Rename(oldName, newName); err != nil {
		return err
	}
	i.renamed(oldName, newName)
	return nil
}

func (i *interceptFS) renamed(oldName, newName string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for f, name := range i.mu.open {
		if name == oldName {
			i.mu.open[f] = newName
		} else if rest, ok := strings.CutPrefix(name, oldName+string(filepath.Separator)); ok {
			i.mu.open[f] = filepath.Join(newName, rest)
		}
	}
}

func (i *interceptFS) Remove(name string) error {
	if err := i.see(OpRemove, name); err != nil {
		return err
	}
	return i.inner.Remove(name)
}

func (i *interceptFS) Mkdir(dir string) error {
	if err := i.see(OpMkdir, dir); err != nil {
		return err
	}
	return i.inner.Mkdir(dir)
}

func (i *interceptFS) List(dir string) ([]string, error) {
	if err := i.see(OpList, dir); err != nil {
		return nil, err
	}
	return i.inner.List(dir)
}

func (i *interceptFS) Stat(name string) (Info, error) {
	if err := i.see(OpStat, name); err != nil {
		return Info{}, err
	}
	return i.inner.Stat(name)
}

func (i *interceptFS) Space(name string) (Space, error) {
	if err := i.see(OpSpace, name); err != nil {
		return Space{}, err
	}
	return i.inner.Space(name)
}

func (i *interceptFS) SyncDir(dir string) error {
	if err := i.see(OpSyncDir, dir); err != nil {
		return err
	}
	return i.inner.SyncDir(dir)
}

func (i *interceptFS) LockDir(dir string) (io.Closer, error) {
	if err := i.see(OpLockDir, dir); err != nil {
		return nil, err
	}
	return i.inner.LockDir(dir)
}

type interceptFile struct {
	File
	fs *interceptFS
}

func (f *interceptFile) see(kind OpKind, offset, length int64) error {
	f.fs.mu.Lock()
	name := f.fs.mu.open[f]
	f.fs.mu.Unlock()
	return f.fs.before(Op{Kind: kind, Path: name, Offset: offset, Bytes: length})
}

func (f *interceptFile) ReadAt(b []byte, offset int64) (int, error) {
	if err := f.see(OpRead, offset, int64(len(b))); err != nil {
		return 0, err
	}
	return f.File.ReadAt(b, offset)
}

func (f *interceptFile) WriteAt(b []byte, offset int64) (int, error) {
	err := f.see(OpWrite, offset, int64(len(b)))
	if err == nil {
		return f.File.WriteAt(b, offset)
	}
	part, ok := err.(*PartialWrite)
	if !ok {
		return 0, err
	}
	n, writeErr := f.File.WriteAt(b[:min(part.Bytes, int64(len(b)))], offset)
	if writeErr != nil {
		return n, writeErr
	}
	return n, part.Err
}

func (f *interceptFile) Truncate(sizeBytes int64) error {
	if err := f.see(OpTruncate, 0, sizeBytes); err != nil {
		return err
	}
	return f.File.Truncate(sizeBytes)
}

func (f *interceptFile) Preallocate(sizeBytes int64) error {
	if err := f.see(OpPreallocate, 0, sizeBytes); err != nil {
		return err
	}
	return f.File.Preallocate(sizeBytes)
}

func (f *interceptFile) Sync() error {
	if err := f.see(OpSync, 0, 0); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f *interceptFile) Forget(offset, bytes int64) {
	if f.see(OpForget, offset, bytes) == nil {
		f.File.Forget(offset, bytes)
	}
}

func (f *interceptFile) Lock(kind LockKind) error {
	if err := f.see(OpLock, 0, 0); err != nil {
		return err
	}
	return f.File.Lock(kind)
}

func (f *interceptFile) Close() error {
	err := f.see(OpClose, 0, 0)
	f.fs.mu.Lock()
	delete(f.fs.mu.open, f)
	f.fs.mu.Unlock()
	if closeErr := f.File.Close(); closeErr != nil {
		return closeErr
	}
	return err
}

// FailNth returns a function for Intercept that fails the nth call (from 1) of that kind, and only that, with err.
func FailNth(kind OpKind, n int, err error) func(Op) error {
	var mu sync.Mutex
	return func(o Op) error {
		mu.Lock()
		defer mu.Unlock()
		if o.Kind == kind {
			if n--; n == 0 {
				return err
			}
		}
		return nil
	}
}

// FullAfter returns a function for Intercept that models a disk with room for that many more written bytes: the write
// that goes beyond is done in part and fails with ENOSPC, and so does every later one.
func FullAfter(bytes int64) func(Op) error {
	var mu sync.Mutex
	return func(o Op) error {
		mu.Lock()
		defer mu.Unlock()
		if o.Kind != OpWrite {
			return nil
		}
		if o.Bytes <= bytes {
			bytes -= o.Bytes
			return nil
		}
		part := bytes
		bytes = 0
		return &PartialWrite{Bytes: part, Err: syscall.ENOSPC}
	}
}
