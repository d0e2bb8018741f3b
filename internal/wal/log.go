package wal

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/quoin-kv/quoin/internal/faultpoint"
	"github.com/quoin-kv/quoin/internal/vfs"
	"github.com/quoin-kv/quoin/raft/wire"
)

// retainBytes bounds the buffer that is kept from one batch to the next: one for as much as is written at once.
const retainBytes = 10 << 20

// What is durable is forgotten so many bytes at a time, up to the last whole page.
const (
	forgetBytes = 1 << 20
	pageBytes   = 4 << 10
)

// Log is an open write-ahead log. Write and Close are for one goroutine, the log writer; the other methods may be called
// from any.
//
// Invariants:
//  1. tail is the newest segment and the last of held; offset is the end of what was written to it.
//  2. encoder.crc is the checksum over all records up to offset.
//  3. held are consecutive segments. The oldest begins at or before mu.mark, so that reading can start at the mark.
//  4. Every segment of held is open and locked; no other segment is.
//  5. Once mu.failed is set, no file is written any more.
//  6. What stands before cached in tail is durable, and the system was told that it need not keep it in memory.
//  7. The first reserved bytes of tail have their place on the disk, unless the file system copies what is written.
type Log struct {
	config      Config
	rawMetadata []byte // as it stands in every segment
	spare       *spare

	// The log writer's own.
	encoder  encoder
	tail     *segment
	offset   int64
	reserved int64
	cached   int64
	position
	unsynced bool

	mu struct {
		sync.Mutex
		held   []*segment
		mark   uint64 // index of the newest mark that is durable and committed
		failed error
	}
}

// position is what the next records follow.
type position struct {
	state     wire.HardState // the last one written
	lastIndex uint64         // of the last entry or mark written
	mark      uint64         // index of the last mark written
}

func newLog(c Config, rawMetadata []byte) *Log {
	l := &Log{config: c.withDefaults(), rawMetadata: rawMetadata}
	l.spare = newSpare(&l.config)
	return l
}

// Write appends a batch: one write and, if it is to be synced, one fdatasync. When it returns nil for a synced batch,
// this and all earlier batches are durable. With a batch that brings the segment to its full size it also moves on to the
// next segment, which takes two syncs more. The batch may be used again at once. Write keeps no part of it.
//
// If the disk is full the error is a *NoRoomError: nothing of the batch is in the log then, and it may be written again.
// A segment that is full is gone on with as long as there is no room for the next one.
//
// Any other error is a *FailedError, the same one ever after, or ErrClosed. An entry that would leave a gap in the log is
// a programming error and panics.
func (l *Log) Write(b Batch) error {
	if err := l.failure(); err != nil {
		return err
	}
	before, crc := l.position, l.encoder.crc
	l.encode(&b)
	if err := l.append(); err != nil {
		l.position, l.encoder.crc = before, crc
		return err
	}
	if l.offset >= l.config.SegmentBytes {
		f, building, err := l.spare.take()
		if err == nil {
			return l.cut(f, building)
		}
		if !vfs.NoSpace(err) {
			return l.fail("make a segment after", l.tail.path, l.offset, err)
		}
		b.Sync = true // as a cut would have done
	}
	if b.Sync || b.Mark != nil {
		return l.sync()
	}
	return nil
}

func (l *Log) encode(b *Batch) {
	if b.Mark != nil {
		l.encoder.mark(b.Mark)
		l.mark = b.Mark.Index
		l.lastIndex = max(l.lastIndex, b.Mark.Index)
	}
	l.encoder.room(b.Entries)
	for i := range b.Entries {
		l.encodeEntry(&b.Entries[i], i > 0)
	}
	if b.HardState != (wire.HardState{}) {
		l.encoder.state(b.HardState)
		l.state = b.HardState
	}
}

func (l *Log) encodeEntry(e *wire.Entry, follows bool) {
	if e.Index == 0 || e.Index > l.lastIndex+1 || follows && e.Index != l.lastIndex+1 {
		panic(fmt.Sprintf("write-ahead log: expected entry %d, found %d", l.lastIndex+1, e.Index))
	}
	l.encoder.entry(e)
	l.lastIndex = e.Index
}

// append writes the encoder's frames behind what the segment holds. If that fails they are forgotten.
func (l *Log) append() error {
	frames := l.encoder.frames
	if len(frames) == 0 {
		return nil
	}
	begin := time.Now()
	end := l.offset + int64(len(frames))
	err := l.grow(end)
	if err == nil {
		var n int
		if n, err = l.tail.file.WriteAt(frames, l.offset); err != nil {
			if cutErr := l.takeBack(int64(n)); cutErr != nil {
				return l.fail("write", l.tail.path, end, errors.Join(err, cutErr))
			}
		}
	}
	switch {
	case vfs.NoSpace(err):
		l.encoder.reset()
		return &NoRoomError{File: l.tail.path, Offset: end, Err: err}
	case err != nil:
		return l.fail("write", l.tail.path, end, err)
	}
	if l.config.OnWrite != nil {
		l.config.OnWrite(time.Since(begin), len(frames))
	}
	l.offset = end
	l.unsynced = true
	l.encoder.reset()
	return nil
}

// grow reserves room for what goes beyond the reserved part of the segment, so that a full disk shows before a record
// is written in part.
func (l *Log) grow(end int64) error {
	if end <= l.reserved {
		return nil
	}
	if err := l.tail.file.Preallocate(end); err != nil {
		return err
	}
	l.reserved = end
	return nil
}

// takeBack removes what a failed write left behind the last whole record: a record that ends in the middle of a sector
// looks like damage to the next start. Room that is reserved is kept, if it can be written to.
func (l *Log) takeBack(written int64) error {
	keep := max(l.reserved, l.offset)
	if clear := min(written, keep-l.offset); clear > 0 {
		if _, err := l.tail.file.WriteAt(make([]byte, clear), l.offset); err != nil {
			keep = l.offset
		}
	}
	if err := l.tail.file.Truncate(keep); err != nil {
		return err
	}
	l.reserved = keep
	return l.config.sync(l.tail.file)
}

func (e *encoder) reset() {
	e.frames, e.data = e.frames[:0], e.data[:0]
	if cap(e.frames) > retainBytes {
		e.frames, e.data = nil, nil
	}
}

// sync makes everything in the tail durable.
func (l *Log) sync() error {
	begin := time.Now()
	err := l.config.sync(l.tail.file)
	if text, ok := faultpoint.Value(faultpoint.WALSyncError); ok {
		err = errors.New(text)
	}
	if err != nil {
		return l.fail("sync", l.tail.path, l.offset, err)
	}
	if l.config.OnSync != nil && !l.config.NoSync {
		l.config.OnSync(time.Since(begin))
	}
	l.unsynced = false
	if l.offset-l.cached >= forgetBytes {
		l.forget()
	}
	if l.mark <= l.state.Commit {
		l.mu.Lock()
		l.mu.mark = l.mark
		l.mu.Unlock()
	}
	return nil
}

// forget lets the system have the memory in which it keeps what is durable. Nobody reads it before the next start, and it would take the place
// of what is read, or of pages that need not be made anew for what is written next.
func (l *Log) forget() {
	l.tail.file.Forget(l.cached, l.offset-l.cached)
	l.cached = l.offset &^ (pageBytes - 1)
}

// cut ends the present segment, whose records become durable, and begins the next one in a file that is prepared.
func (l *Log) cut(f vfs.File, building string) error {
	if err := l.endTail(); err != nil {
		_ = f.Close() // nothing is in it
		return err
	}
	crc := l.encoder.crc
	l.encoder.seed()
	l.encoder.metadata(l.rawMetadata)
	if l.state != (wire.HardState{}) {
		l.encoder.state(l.state)
	}
	if _, err := f.WriteAt(l.encoder.frames, 0); err != nil {
		err = errors.Join(err, f.Close(), l.config.FS.Remove(building))
		if !vfs.NoSpace(err) {
			return l.fail("begin", building, int64(len(l.encoder.frames)), err)
		}
		l.encoder.crc = crc
		l.encoder.reset()
		return nil // gone on with as it is
	}
	seq, index := l.tail.seq+1, l.lastIndex+1
	path := filepath.Join(l.config.Dir, segmentName(seq, index))
	if err := l.begin(f, building, path, seq, index); err != nil {
		return l.fail("begin", path, int64(len(l.encoder.frames)), err)
	}
	return nil
}

// endTail gives back what the segment does not need, and makes it durable.
func (l *Log) endTail() error {
	if err := l.tail.file.Truncate(l.offset); err != nil {
		return l.fail("truncate", l.tail.path, l.offset, err)
	}
	l.reserved = l.offset
	return l.sync()
}

// begin makes a prepared file, to which the encoder's frames were written, the newest segment. The segment gets its name
// only when they are durable, so that no segment is ever without them.
func (l *Log) begin(f vfs.File, building, path string, seq, index uint64) error {
	s := &segment{seq: seq, index: index, path: filepath.Join(l.config.Dir, filepath.Base(path)), file: f}
	l.mu.Lock()
	l.mu.held = append(l.mu.held, s)
	l.mu.Unlock()
	if err := l.config.sync(f); err != nil {
		return err
	}
	if err := l.config.FS.Rename(building, path); err != nil {
		return err
	}
	l.tail, l.offset, l.reserved, l.cached = s, int64(len(l.encoder.frames)), l.config.SegmentBytes, 0
	l.encoder.reset()
	return l.config.syncDir(filepath.Dir(path))
}

func (l *Log) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.failed
}

// fail ends the log's life.
func (l *Log) fail(op, file string, offset int64, err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.failed = &FailedError{Op: op, File: file, Offset: offset, Err: err}
	return l.mu.failed
}

// Prepare makes the file of the next segment if there is none yet. It may take long and runs beside Write. Nothing is
// lost if it is not called or fails, but then Write must do the same work when the present segment is full.
func (l *Log) Prepare() error {
	if err := l.failure(); err != nil {
		return err
	}
	return l.spare.prepare()
}

// PrepareWanted delivers a value whenever Prepare has something to do: once at the start and after every move to the next
// segment.
func (l *Log) PrepareWanted() <-chan struct{} { return l.spare.wanted }

// Release says that entries up to index are not needed any more: the state machine's file holds them. Segments without
// later entries are closed and unlocked, after which Purge, or etcd, may delete them. Whatever the index, the segments
// that reading from the newest durable and committed mark needs stay.
func (l *Log) Release(index uint64) error {
	if err := l.failure(); err != nil {
		return err
	}
	l.mu.Lock()
	released := max(0, newestAt(l.mu.held, min(index, l.mu.mark)))
	gone := l.mu.held[:released]
	l.mu.held = l.mu.held[released:]
	l.mu.Unlock()
	err := closeSegments(gone)
	faultpoint.Hit(faultpoint.RaftAfterWALRelease)
	return err
}

// Purge deletes the oldest segments until at most keep are left or one is in use, by this log or by anyone else.
func (l *Log) Purge(keep int) error {
	if err := l.failure(); err != nil {
		return err
	}
	names, err := segmentNames(l.config.FS, l.config.Dir)
	if err != nil {
		return err
	}
	for _, name := range names[:max(0, len(names)-max(keep, 1))] {
		removed, err := l.purge(filepath.Join(l.config.Dir, name))
		if err != nil || !removed {
			return err
		}
	}
	return nil
}

// purge deletes one segment unless it is in use. Each removal is made durable before the next, for a crash must not leave
// a gap in the sequence.
func (l *Log) purge(path string) (removed bool, err error) {
	if seq, _, _ := parseSegmentName(filepath.Base(path)); seq >= l.oldestHeld() {
		return false, nil
	}
	s, err := openSegment(l.config.FS, path, true)
	if errors.Is(err, vfs.ErrLocked) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	err = errors.Join(l.config.FS.Remove(path), s.file.Close())
	if err != nil {
		return false, err
	}
	return true, l.config.syncDir(l.config.Dir)
}

func (l *Log) oldestHeld() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.mu.held) == 0 {
		return 0
	}
	return l.mu.held[0].seq
}

// Close makes what was written durable and gives all files back. If the log had failed, the error is that failure. Every
// later call returns an error.
func (l *Log) Close() error {
	err := l.failure()
	if err == nil && l.unsynced {
		err = l.sync()
	}
	if errors.Is(err, ErrClosed) {
		return err
	}
	l.mu.Lock()
	held := l.mu.held
	l.mu.held = nil
	if l.mu.failed == nil {
		l.mu.failed = ErrClosed
	}
	l.mu.Unlock()
	closeErr := errors.Join(l.spare.close(), closeSegments(held))
	if err != nil {
		return err
	}
	return closeErr
}
