package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/quoin-kv/quoin/internal/vfs"
)

// Create makes a new log. It appears at once and completely: either Exists says yes afterwards, even if the power failed
// right then, or Create can be called again. It fails with ErrExist if there is a log already.
func Create(config Config, meta Metadata) (*Log, error) {
	return CreateWith(config, meta, Batch{})
}

// CreateWith is Create of a log that begins with a batch: it appears with it.
func CreateWith(config Config, meta Metadata, first Batch) (*Log, error) {
	l := newLog(config, meta.append(nil))
	there, err := Exists(l.config.FS, l.config.Dir)
	if err == nil && there {
		err = fmt.Errorf("%s: %w", l.config.Dir, ErrExist)
	}
	if err != nil {
		return nil, err
	}
	if err := l.createFirst(&first); err != nil {
		return nil, errors.Join(err, closeSegments(l.mu.held))
	}
	return l, nil
}

// createFirst makes the directory and the first segment. The directory is built under a temporary name; one that is there
// already, without a segment, may be a mount point and is used as it is.
func (l *Log) createFirst(first *Batch) error {
	c := &l.config
	there, err := vfs.Exists(c.FS, c.Dir)
	if err != nil {
		return err
	}
	if there {
		return l.fillDir(c.Dir, first)
	}
	building := c.Dir + ".tmp"
	if err := vfs.RemoveAll(c.FS, building); err != nil {
		return err
	}
	if err := c.FS.Mkdir(building); err != nil {
		return err
	}
	if err := l.fillDir(building, first); err != nil {
		return err
	}
	if err := c.FS.Rename(building, c.Dir); err != nil {
		return err
	}
	return c.syncDir(filepath.Dir(c.Dir))
}

func (l *Log) fillDir(dir string, first *Batch) error {
	building := filepath.Join(dir, "0.tmp")
	f, err := makeFile(&l.config, building)
	if err != nil {
		return err
	}
	l.encoder.seed()
	l.encoder.metadata(l.rawMetadata)
	l.encoder.mark(&Mark{})
	l.encode(first)
	if _, err := f.WriteAt(l.encoder.frames, 0); err != nil {
		return errors.Join(err, f.Close())
	}
	return l.begin(f, building, filepath.Join(dir, segmentName(0, 0)), 0, 0)
}

// Open opens a log for writing behind its last good record, with all its segments locked. It fails with ErrNotExist if
// there is no log, with vfs.ErrLocked if another process uses it, and with *CorruptionError if it is damaged.
func Open(config Config) (*Log, *Recovered, error) {
	config = config.withDefaults()
	segments, err := openSegments(&config, true)
	if err != nil {
		return nil, nil, err
	}
	l, recovered, err := open(config, segments)
	if err != nil {
		return nil, nil, errors.Join(err, closeSegments(segments))
	}
	return l, recovered, nil
}

func open(config Config, segments []*segment) (*Log, *Recovered, error) {
	r, err := readRepaired(&config, segments)
	if err != nil {
		return nil, nil, err
	}
	l := newLog(config, r.rawMetadata)
	l.tail = segments[len(segments)-1]
	l.offset, l.cached, l.encoder.crc = r.tail.offset, r.tail.offset&^(pageBytes-1), r.tail.crc
	l.state, l.mark = r.HardState, r.Mark.Index
	l.lastIndex = r.Mark.Index + uint64(len(r.Entries))
	if err := l.clearTail(); err != nil {
		return nil, nil, err
	}
	l.mu.held, l.mu.mark = segments[r.first:], r.Mark.Index
	return l, r.Recovered, closeSegments(segments[:r.first])
}

// readRepaired reads a log and, if its end is torn, repairs it and reads it once more.
func readRepaired(c *Config, segments []*segment) (*reading, error) {
	r, err := readAll(segments)
	if err != nil {
		return nil, err
	}
	last := segments[len(segments)-1]
	if err := errors.Join(checkEnd(last, r.tail), r.checkCommit(last)); err != nil || !r.tail.torn {
		return r, err
	}
	info, err := repair(c, last, r.tail.offset)
	if err != nil {
		return nil, fmt.Errorf("repair a torn write-ahead log: %w", err)
	}
	if r, err = readAll(segments); err != nil {
		return nil, err
	}
	r.Repaired = info
	return r, nil
}

// checkCommit refuses a log that ends before what it says is committed.
func (r *reading) checkCommit(last *segment) error {
	if end := r.Mark.Index + uint64(len(r.Entries)); r.HardState.Commit > end {
		return &CorruptionError{
			File: last.path, Offset: r.tail.offset, Record: r.tail.number,
			Err: fmt.Errorf("entries are missing: committed up to %d, but the last one is %d", r.HardState.Commit, end),
		}
	}
	return nil
}

// repair cuts a segment off at the end of its last good record, after making a copy of it.
func repair(c *Config, s *segment, offset int64) (*RepairInfo, error) {
	size, err := s.file.Size()
	if err != nil {
		return nil, err
	}
	info := &RepairInfo{File: s.path, Copy: s.path + ".broken", Offset: offset, Lost: size - offset}
	if err := copyFile(c, s.file, size, info.Copy); err != nil {
		return nil, err
	}
	if err := s.file.Truncate(offset); err != nil {
		return nil, err
	}
	return info, c.sync(s.file)
}

// copyFile makes a durable copy under a new name; an older file of that name is replaced. Parts that were never written
// are not copied, but for the length.
func copyFile(c *Config, from vfs.File, size int64, path string) (err error) {
	if err := c.FS.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	to, err := c.FS.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	buffer := make([]byte, min(size, readAheadBytes))
	for at := int64(0); ; {
		if at, err = from.NextData(at); err != nil || at >= size {
			break
		}
		part := buffer[:min(size-at, int64(len(buffer)))]
		if n, err := from.ReadAt(part, at); n < len(part) {
			return err
		}
		if _, err := to.WriteAt(part, at); err != nil {
			return err
		}
		at += int64(len(part))
	}
	if err == nil {
		err = to.Truncate(size)
	}
	if err == nil {
		err = c.sync(to)
	}
	if err != nil {
		return err
	}
	return c.syncDir(filepath.Dir(path))
}

// clearTail makes everything behind the last good record zero, and durably so: what an interrupted write left there must
// never be taken for records behind those to come. Space that is reserved is kept rather than given back and asked for
// again, for the disk may be full; then the log goes on with what it has.
func (l *Log) clearTail() error {
	size, err := l.tail.file.Size()
	if err != nil {
		return err
	}
	changed, err := clearRange(l.tail.file, l.offset, size)
	if err != nil {
		return err
	}
	if size < l.config.SegmentBytes {
		err := l.tail.file.Preallocate(l.config.SegmentBytes)
		if err != nil && !vfs.NoSpace(err) {
			return err
		}
		if err == nil {
			changed, size = true, l.config.SegmentBytes
		}
	}
	l.reserved = size
	if !changed {
		return nil
	}
	return l.config.sync(l.tail.file)
}

// clearRange overwrites what is not zero. Space that was never written is not read.
func clearRange(f vfs.File, from, to int64) (changed bool, err error) {
	buffer := make([]byte, min(readAheadBytes, to-from))
	for at := from; ; {
		if at, err = f.NextData(at); err != nil || at >= to {
			return changed, err
		}
		part := buffer[:min(to-at, int64(len(buffer)))]
		if n, err := f.ReadAt(part, at); n < len(part) {
			return changed, err
		}
		if !zero(part) {
			clear(part)
			if _, err := f.WriteAt(part, at); err != nil {
				return changed, err
			}
			changed = true
		}
		at += int64(len(part))
	}
}
