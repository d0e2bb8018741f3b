// Package wal is the member's write-ahead log: the sequence of raft entries, hard states and snapshot marks that survives
// a crash. The files are those of etcd, byte for byte (docs/format/wal.md), so that either program continues the log of
// the other.
//
// A log is a directory of segments. One goroutine, the log writer, calls [Log.Write] with batches; a batch is one write
// and, if asked for, one fdatasync, and once Write has returned from a synced batch, that batch and all before it are
// durable. Everything else may be called from other goroutines: [Log.Prepare] makes the next segment ahead of time so
// that Write never waits for space to be allocated; [Log.Release] and [Log.Purge] let old segments go.
//
// A batch that finds no room is taken back: the log is as before, the error is a *[NoRoomError], and the batch can be
// written again. After any other failed write, and any failed sync, nobody knows what is on disk, so the log is done for:
// that call and every later one return the same *[FailedError].
//
// [Open] believes what it reads only if the chain of checksums holds. A damaged end of the last segment that can come
// from a crash in the middle of a write is cut off after a copy was made, and reported; every other damage is a
// *[CorruptionError].
package wal

import (
	"errors"
	"fmt"
	"time"

	"github.com/quoin-kv/quoin/internal/vfs"
	"github.com/quoin-kv/quoin/raft/wire"
)

// DefaultSegmentBytes is the size at which a segment is followed by the next one.
const DefaultSegmentBytes = 64_000_000

// maxRecordBytes bounds a record's length where nothing else does. It is far above what a member accepts as a request.
const maxRecordBytes = 1 << 30

// Errors that do not depend on the content of a log.
var (
	ErrExist    = errors.New("write-ahead log exists already")
	ErrNotExist = errors.New("no write-ahead log")
	ErrClosed   = errors.New("write-ahead log is closed")
)

// Config says where a log lives and how it behaves.
type Config struct {
	// FS and Dir say where the segments are. The parent of Dir must exist.
	FS  vfs.FS
	Dir string
	// SegmentBytes is the size at which a segment ends; 0 means DefaultSegmentBytes.
	SegmentBytes int64
	// NoSync leaves out every sync. A power failure then may lose or damage the log.
	NoSync bool
	// OnSync and OnWrite, if set, are told on the writer's goroutine how long each sync and each write of a batch took, and
	// how many bytes it wrote.
	OnSync  func(took time.Duration)
	OnWrite func(took time.Duration, bytes int)
}

func (c Config) withDefaults() Config {
	if c.SegmentBytes == 0 {
		c.SegmentBytes = DefaultSegmentBytes
	}
	return c
}

func (c *Config) sync(f vfs.File) error {
	if c.NoSync {
		return nil
	}
	return f.Sync()
}

func (c *Config) syncDir(dir string) error {
	if c.NoSync {
		return nil
	}
	return c.FS.SyncDir(dir)
}

// Metadata says whose log it is. It is written once, when the log is created, and repeated in every segment.
type Metadata struct{ NodeID, ClusterID uint64 }

// Mark records that the state machine holds everything up to Index, so that reading may start after it. It counts only
// if the log also holds a hard state that commits Index.
type Mark struct {
	Index, Term uint64
	ConfState   *wire.ConfState // nil in the mark of a new log and in old logs
}

// Batch is what one call of Write appends, in this order: Mark, Entries, HardState.
type Batch struct {
	// Mark, if not nil. A batch with a mark is always synced.
	Mark *Mark
	// Entries must be consecutive. The first may have any index up to one above the last entry or mark written so far; it
	// and its successors then take the place of what stood there.
	Entries []wire.Entry
	// HardState, if it is not zero.
	HardState wire.HardState
	// Sync asks for durability before Write returns. It may be left out only for a hard state that differs from the one
	// before in nothing but its commit index.
	Sync bool
}

// Recovered is what a log held when it was opened.
type Recovered struct {
	Metadata Metadata
	// Mark is the newest valid one.
	Mark Mark
	// HardState is the last one written; zero if there is none.
	HardState wire.HardState
	// Entries are those after Mark.Index, consecutive. They own their memory.
	Entries []wire.Entry
	// Repaired is set if a torn end had to be cut off.
	Repaired *RepairInfo
}

// RepairInfo says what was cut off from the end of the last segment.
type RepairInfo struct {
	File   string // the segment
	Copy   string // a copy of it as it was before
	Offset int64  // its length now: the end of the last good record
	Lost   int64  // number of bytes cut off, unused preallocated space included
}

// CorruptionError says that a log is damaged in a way that no crash explains.
type CorruptionError struct {
	File   string
	Offset int64 // of the record's frame in the file
	Record int   // number of the record in the file, from 0
	Err    error // the cause
}

func (e *CorruptionError) Error() string {
	return fmt.Sprintf("write-ahead log is damaged: %s, offset %d, record %d: %v", e.File, e.Offset, e.Record, e.Err)
}

// Unwrap returns the cause.
func (e *CorruptionError) Unwrap() error { return e.Err }

// NoRoomError says that a batch found no room. The log is as it was before and can go on when there is room again.
type NoRoomError struct {
	File   string
	Offset int64 // where the batch would have ended
	Err    error
}

func (e *NoRoomError) Error() string {
	return fmt.Sprintf("no room for the write-ahead log: %s up to offset %d: %v", e.File, e.Offset, e.Err)
}

// Unwrap returns the cause.
func (e *NoRoomError) Unwrap() error { return e.Err }

// FailedError says that a write or sync failed, after which the log takes nothing any more.
type FailedError struct {
	Op     string // what was being done
	File   string
	Offset int64 // where the write that failed, or that could not be made durable, would have ended up
	Err    error
}

func (e *FailedError) Error() string {
	return fmt.Sprintf("write-ahead log failed for good: %s %s at offset %d: %v", e.Op, e.File, e.Offset, e.Err)
}

// Unwrap returns the cause.
func (e *FailedError) Unwrap() error { return e.Err }
