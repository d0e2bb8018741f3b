package vfs

import (
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// Mem is a file system in memory that knows what a power failure would leave of it; see [Mem.Crash]. It starts with an
// empty root directory. "/a" and "a" are the same path.
//
// Invariants:
//  1. A file's durable content plus its pending changes, in order, is its live content.
//  2. A directory's durable names plus its pending changes, in order, are its live names.
type Mem struct {
	mu struct {
		sync.Mutex
		root  *memDir
		limit int64 // see Limit; 0 is none
	}
}

var _ FS = (*Mem)(nil)

// NewMem returns an empty file system.
func NewMem() *Mem {
	m := new(Mem)
	m.mu.root = newMemDir()
	return m
}

// memNode is a *memDir or a *memInode.
type memNode any

type memDir struct {
	live, durable map[string]memNode
	pending       [][]entryChange
	locked        bool
}

// entryChange gives a name in a directory a new meaning; a nil node means that the name is gone. A rename within one
// directory is two of them that survive a crash together.
type entryChange struct {
	name string
	node memNode
}

type memInode struct {
	live, durable sparse
	pending       []change
	reserved      int64 // bytes from the start that take room whether they were written or not; whole pages
	locks         [2]*memFile
}

// change is one unsynced write or, when data is nil, one change of length.
type change struct {
	offset int64
	data   []byte
	size   int64
}

func newMemDir() *memDir {
	return &memDir{live: map[string]memNode{}, durable: map[string]memNode{}}
}

func (d *memDir) change(changes ...entryChange) {
	applyEntries(d.live, changes)
	d.pending = append(d.pending, changes)
}

func applyEntries(names map[string]memNode, changes []entryChange) {
	for _, c := range changes {
		if c.node == nil {
			delete(names, c.name)
		} else {
			names[c.name] = c.node
		}
	}
}

func (d *memDir) sync() {
	for _, changes := range d.pending {
		applyEntries(d.durable, changes)
	}
	d.pending = nil
}

func (n *memInode) change(c change) {
	n.live.apply(c)
	n.pending = append(n.pending, c)
}

func (n *memInode) sync() {
	for _, c := range n.pending {
		n.durable.apply(c)
	}
	n.pending = nil
}

func (s *sparse) apply(c change) {
	if c.data == nil {
		s.resize(c.size)
	} else {
		s.writeAt(c.data, c.offset)
	}
}

func split(name string) []string {
	clean := strings.TrimPrefix(filepath.ToSlash(filepath.Clean("/"+name)), "/")
	if clean == "" {
		return nil
	}
	return strings.Split(clean, "/")
}

// find returns the node of that name. The caller holds the lock, as in all methods below that are not of FS or File.
func (m *Mem) find(name string) (memNode, error) {
	var node memNode = m.mu.root
	for _, part := range split(name) {
		dir, ok := node.(*memDir)
		if !ok {
			return nil, syscall.ENOTDIR
		}
		if node = dir.live[part]; node == nil {
			return nil, syscall.ENOENT
		}
	}
	return node, nil
}

func (m *Mem) findDir(name string) (*memDir, error) {
	node, err := m.find(name)
	if err != nil {
		return nil, err
	}
	dir, ok := node.(*memDir)
	if !ok {
		return nil, syscall.ENOTDIR
	}
	return dir, nil
}

// parent returns the directory that holds, or would hold, the name, and the name's last part.
func (m *Mem) parent(name string) (*memDir, string, error) {
	parts := split(name)
	if len(parts) == 0 {
		return nil, "", syscall.EBUSY
	}
	last := len(parts) - 1
	dir, err := m.findDir(strings.Join(parts[:last], "/"))
	return dir, parts[last], err
}

func pathError(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// Open implements FS.
func (m *Mem) Open(name string) (File, error) { return m.open(name, false) }

// OpenWrite implements FS.
func (m *Mem) OpenWrite(name string) (File, error) { return m.open(name, true) }

func (m *Mem) open(name string, writable bool) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	node, err := m.find(name)
	if err != nil {
		return nil, pathError("open", name, err)
	}
	inode, ok := node.(*memInode)
	if !ok {
		return nil, pathError("open", name, syscall.EISDIR)
	}
	return &memFile{fs: m, inode: inode, name: name, writable: writable}, nil
}

// Create implements FS.
func (m *Mem) Create(name string) (File, error) {
	inode := new(memInode)
	if err := m.add("create", name, inode); err != nil {
		return nil, err
	}
	return &memFile{fs: m, inode: inode, name: name, writable: true}, nil
}

// Mkdir implements FS.
func (m *Mem) Mkdir(dir string) error { return m.add("mkdir", dir, newMemDir()) }

func (m *Mem) add(op, name string, node memNode) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, base, err := m.parent(name)
	if err == nil && dir.live[base] != nil {
		err = syscall.EEXIST
	}
	if err != nil {
		return pathError(op, name, err)
	}
	dir.change(entryChange{name: base, node: node})
	return nil
}

// Rename implements FS.
func (m *Mem) Rename(oldName, newName string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.rename(oldName, newName); err != nil {
		return &os.LinkError{Op: "rename", Old: oldName, New: newName, Err: err}
	}
	return nil
}

func (m *Mem) rename(oldName, newName string) error {
	from, oldBase, err := m.parent(oldName)
	if err != nil {
		return err
	}
	to, newBase, err := m.parent(newName)
	if err != nil {
		return err
	}
	node := from.live[oldBase]
	if node == nil {
		return syscall.ENOENT
	}
	if err := replaceable(node, to.live[newBase]); err != nil {
		return err
	}
	gone, come := entryChange{name: oldBase}, entryChange{name: newBase, node: node}
	if from == to {
		from.change(gone, come)
		return nil
	}
	to.change(come)
	from.change(gone)
	return nil
}

func replaceable(node, target memNode) error {
	_, isDir := node.(*memDir)
	targetDir, targetIsDir := target.(*memDir)
	switch {
	case target == nil || target == node:
		return nil
	case isDir && !targetIsDir:
		return syscall.ENOTDIR
	case !isDir && targetIsDir:
		return syscall.EISDIR
	case targetIsDir && len(targetDir.live) > 0:
		return syscall.ENOTEMPTY
	}
	return nil
}

// Remove implements FS.
func (m *Mem) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, base, err := m.parent(name)
	if err != nil {
		return pathError("remove", name, err)
	}
	node := dir.live[base]
	if node == nil {
		return pathError("remove", name, syscall.ENOENT)
	}
	if child, ok := node.(*memDir); ok && len(child.live) > 0 {
		return pathError("remove", name, syscall.ENOTEMPTY)
	}
	dir.change(entryChange{name: base})
	return nil
}

// List implements FS.
func (m *Mem) List(dir string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, err := m.findDir(dir)
	if err != nil {
		return nil, pathError("list", dir, err)
	}
	return slices.Sorted(maps.Keys(d.live)), nil
}

// Stat implements FS.
func (m *Mem) Stat(name string) (Info, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	node, err := m.find(name)
	if err != nil {
		return Info{}, pathError("stat", name, err)
	}
	if inode, ok := node.(*memInode); ok {
		return Info{SizeBytes: inode.live.size, Perm: 0o600}, nil
	}
	return Info{Dir: true, Perm: 0o700}, nil
}

// SyncDir implements FS.
func (m *Mem) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, err := m.findDir(dir)
	if err != nil {
		return pathError("sync", dir, err)
	}
	d.sync()
	return nil
}

// LockDir implements FS.
func (m *Mem) LockDir(dir string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, err := m.findDir(dir)
	if err == nil && d.locked {
		err = ErrLocked
	}
	if err != nil {
		return nil, pathError("flock", dir, err)
	}
	d.locked = true
	return &memDirLock{fs: m, dir: d}, nil
}

type memDirLock struct {
	fs  *Mem
	dir *memDir
}

func (l *memDirLock) Close() error {
	l.fs.mu.Lock()
	defer l.fs.mu.Unlock()
	if l.dir == nil {
		return fs.ErrClosed
	}
	l.dir.locked, l.dir = false, nil
	return nil
}
