// Package datadir knows the layout of a member's data directory, which is that of etcd:
//
//	<data-dir>/member/snap/db              the storage file
//	<data-dir>/member/snap/<index>.snap.db a received storage file that has not taken db's place yet
//	<data-dir>/member/wal/                 the write-ahead log, unless it has a directory of its own
//
// [Open] makes what is missing of it, keeps every other process out, removes what interrupted work left behind and says
// in a [Plan] what is there. It opens neither the storage file nor the log, and of a directory in use it changes nothing.
//
// The package also derives the ids of members and clusters; see [MemberID].
package datadir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/quoin-kv/quoin/internal/vfs"
	"github.com/quoin-kv/quoin/internal/wal"
)

const dirPerm fs.FileMode = 0o700

// Errors that tell why a directory cannot be started from.
var (
	// ErrInUse: another process, this program or etcd, works with the directory.
	ErrInUse = errors.New("in use by another process")
	// ErrNoLog: there is a storage file but no log, so nobody knows which member it belonged to and what it misses.
	ErrNoLog = errors.New("storage file without a write-ahead log")
	// ErrNoStorage: the storage file is missing and the log does not reach back to its beginning.
	ErrNoStorage = errors.New("write-ahead log without its storage file")
)

// Paths are the places of a member's files.
type Paths struct {
	Root   string // the data directory
	Member string
	Snap   string // directory of the storage file
	DB     string // the storage file
	WAL    string // directory of the log
}

// NewPaths lays out a data directory. With an empty walDir the log lies inside it.
func NewPaths(dataDir, walDir string) Paths {
	p := Paths{Root: dataDir, Member: filepath.Join(dataDir, "member"), WAL: walDir}
	p.Snap = filepath.Join(p.Member, "snap")
	p.DB = filepath.Join(p.Snap, "db")
	if walDir == "" {
		p.WAL = filepath.Join(p.Member, "wal")
	}
	return p
}

// ReceivedSnapshot is the path of a storage file that was received from another member and ends at that index.
func (p Paths) ReceivedSnapshot(index uint64) string {
	return filepath.Join(p.Snap, fmt.Sprintf("%016x%s", index, receivedSuffix))
}

const receivedSuffix = ".snap.db"

// State says which of the two parts of a member's data are there.
type State int

// The states of a data directory.
const (
	Fresh       State = iota // nothing is there
	Complete                 // log and storage file
	LogOnly                  // the log without a storage file
	StorageOnly              // a storage file without a log
)

func (s State) String() string {
	return [...]string{"fresh", "complete", "log only", "storage only"}[s]
}

// Plan says what a member starts from. Nothing in it is an error; [Plan.Check] judges.
type Plan struct {
	Paths    Paths
	State    State
	Metadata wal.Metadata // ids of the member and its cluster as the log has them; zero without a log
	Received []uint64     // indexes of received storage files, ascending
	Removed  []string     // leftovers of interrupted work that were deleted
	Warnings []string     // for the operator: permissions, entries that are not ours
}

// Dir is a data directory that belongs to this process until Close.
type Dir struct {
	fs    vfs.FS
	paths Paths
	lock  io.Closer // nil where the file system cannot lock directories
	plan  Plan

	// OnReceivedSync, if set, is told how long each sync of a storage file took that is being received.
	OnReceivedSync func(took time.Duration)
	// KeepFreeBytes is how much room a storage file that is being received leaves on the disk, or the sixteenth part of the file system if
	// that is less.
	KeepFreeBytes int64
}

// Open takes possession of a data directory, which is made if it is missing. If walDir is empty the log is inside it.
// Errors match ErrInUse if another process has it.
//
// Two locks keep others out: that of the directory itself is ours alone, and those of the log's segments and of the
// storage file are shared with etcd. The latter are only tried here; the log and the storage file take them when they
// are opened.
func Open(fsys vfs.FS, dataDir, walDir string) (*Dir, error) {
	d := &Dir{fs: fsys, paths: NewPaths(dataDir, walDir)}
	if err := vfs.MkdirAll(fsys, dataDir); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	if err := d.takeLock(); err != nil {
		return nil, err
	}
	if err := d.prepare(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// Plan returns what was found. The slices are shared.
func (d *Dir) Plan() Plan { return d.plan }

// Close gives the directory back.
func (d *Dir) Close() error {
	if d.lock == nil {
		return nil
	}
	return d.lock.Close()
}

func (d *Dir) takeLock() error {
	lock, err := d.fs.LockDir(d.paths.Root)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil // then the locks of the files must do, as they do for etcd
	}
	if errors.Is(err, vfs.ErrLocked) {
		return d.inUse(d.paths.Root)
	}
	d.lock = lock
	return err
}

func (d *Dir) inUse(what string) error {
	return fmt.Errorf("data directory %s is %w: %s is locked", d.paths.Root, ErrInUse, what)
}

func (d *Dir) prepare() error {
	if err := d.tryFileLocks(); err != nil {
		return err
	}
	// The log's own directory is not made: the log appears at once, with its directory.
	for _, dir := range []string{d.paths.Snap, filepath.Dir(d.paths.WAL)} {
		if err := vfs.MkdirAll(d.fs, dir); err != nil {
			return fmt.Errorf("make data directory: %w", err)
		}
	}
	if err := d.removeLeftovers(); err != nil {
		return err
	}
	return d.inspect()
}

// tryFileLocks finds out whether a process has the log or the storage file open.
func (d *Dir) tryFileLocks() error {
	names, err := d.list(d.paths.WAL)
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasSuffix(name, ".wal") {
			if err := d.tryLock(filepath.Join(d.paths.WAL, name), vfs.LockOFD); err != nil {
				return err
			}
		}
	}
	return d.tryLock(d.paths.DB, vfs.LockFlock)
}

func (d *Dir) tryLock(path string, kind vfs.LockKind) error {
	f, err := d.fs.OpenWrite(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	err = f.Lock(kind)
	if errors.Is(err, vfs.ErrLocked) {
		err = d.inUse(path)
	}
	return errors.Join(err, f.Close())
}

// list returns the names in a directory; one that is missing has none.
func (d *Dir) list(dir string) ([]string, error) {
	names, err := d.fs.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return names, err
}

// removeLeftovers deletes what received snapshots, defragmentation and the making of a log leave when they are
// interrupted.
func (d *Dir) removeLeftovers() error {
	names, err := d.list(d.paths.Snap)
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasPrefix(name, "tmp") || strings.HasPrefix(name, "db.tmp") {
			if err := d.remove(filepath.Join(d.paths.Snap, name)); err != nil {
				return err
			}
		}
	}
	return d.remove(d.paths.WAL + ".tmp")
}

func (d *Dir) remove(path string) error {
	there, err := vfs.Exists(d.fs, path)
	if err != nil || !there {
		return err
	}
	if err := vfs.RemoveAll(d.fs, path); err != nil {
		return err
	}
	d.plan.Removed = append(d.plan.Removed, path)
	return d.fs.SyncDir(filepath.Dir(path))
}

func (d *Dir) inspect() (err error) {
	p := &d.plan
	p.Paths = d.paths
	log, err := wal.Exists(d.fs, d.paths.WAL)
	if err != nil {
		return err
	}
	storage, err := vfs.Exists(d.fs, d.paths.DB)
	if err != nil {
		return err
	}
	p.State = stateOf(log, storage)
	if log {
		if p.Metadata, err = wal.ReadMetadata(d.fs, d.paths.WAL); err != nil {
			return err
		}
	}
	if p.Received, err = d.received(); err != nil {
		return err
	}
	return d.warn()
}

func stateOf(log, storage bool) State {
	switch {
	case log && storage:
		return Complete
	case log:
		return LogOnly
	case storage:
		return StorageOnly
	}
	return Fresh
}

func (d *Dir) received() (indexes []uint64, err error) {
	names, err := d.list(d.paths.Snap)
	for _, name := range names {
		var index uint64
		if n, _ := fmt.Sscanf(name, "%016x", &index); n == 1 && filepath.Base(d.paths.ReceivedSnapshot(index)) == name {
			indexes = append(indexes, index)
		}
	}
	slices.Sort(indexes)
	return indexes, err
}

// warn notes what an operator should look at.
func (d *Dir) warn() error {
	names, err := d.list(d.paths.Root)
	if err != nil {
		return err
	}
	for _, name := range names {
		if name != "member" && name != "fixtures" {
			d.plan.Warnings = append(d.plan.Warnings, "unexpected entry "+filepath.Join(d.paths.Root, name))
		}
	}
	for _, dir := range []string{d.paths.Root, d.paths.WAL} {
		info, err := d.fs.Stat(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if info.Perm != dirPerm {
			d.plan.Warnings = append(d.plan.Warnings,
				fmt.Sprintf("directory %s has permission %04o, recommended is %04o", dir, info.Perm, dirPerm))
		}
	}
	return nil
}

// Check refuses a directory from which nothing can start. mark is the index of the log's newest valid snapshot mark.
//
// A log whose mark is 0 holds every entry there ever was and is applied to a new storage file. A storage file without a
// log is refused, also one that is empty because the very first start was interrupted; then the directory can be
// deleted.
func (p Plan) Check(mark uint64) error {
	switch {
	case p.State == StorageOnly:
		return fmt.Errorf("%w: %s is there, but %s holds no log; if the member has never run, delete %s",
			ErrNoLog, p.Paths.DB, p.Paths.WAL, p.Paths.Root)
	case p.State == LogOnly && mark > 0 && !slices.Contains(p.Received, mark):
		return fmt.Errorf("%w: %s is missing, and the log in %s begins only after index %d; restore a backup, or remove the "+
			"member from its cluster and add it again", ErrNoStorage, p.Paths.DB, p.Paths.WAL, mark)
	}
	return nil
}

// Adopt reports whether the received storage file of the log's newest valid mark has to take db's place before anything starts: a crash
// came after the mark of a received snapshot was durable and before db was replaced. stored is the index that db has reached, 0 if it is
// not there.
func (p Plan) Adopt(mark, stored uint64) bool {
	return mark > stored && slices.Contains(p.Received, mark)
}

// AdoptReceived puts a received storage file in db's place, durably. Nobody may have db open for writing.
func (d *Dir) AdoptReceived(index uint64) error {
	if err := d.fs.Rename(d.paths.ReceivedSnapshot(index), d.paths.DB); err != nil {
		return err
	}
	return d.fs.SyncDir(d.paths.Snap)
}

// DropReceived deletes the received storage files that end before index.
func (d *Dir) DropReceived(index uint64) error {
	indexes, err := d.received()
	if err != nil {
		return err
	}
	for _, i := range indexes {
		if i < index {
			if err := d.fs.Remove(d.paths.ReceivedSnapshot(i)); err != nil {
				return err
			}
		}
	}
	return nil
}
