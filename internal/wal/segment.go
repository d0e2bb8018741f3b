package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/quoin-kv/quoin/internal/vfs"
)

// segment is one open file of a log.
type segment struct {
	seq   uint64 // position in the sequence of files, without gaps
	index uint64 // of the first entry that the file was expected to hold when it was made
	path  string
	file  vfs.File
}

func segmentName(seq, index uint64) string { return fmt.Sprintf("%016x-%016x.wal", seq, index) }

// parseSegmentName is the inverse of segmentName. Any other name is not a segment's.
func parseSegmentName(name string) (seq, index uint64, ok bool) {
	if n, err := fmt.Sscanf(name, "%016x-%016x.wal", &seq, &index); n != 2 || err != nil {
		return 0, 0, false
	}
	return seq, index, segmentName(seq, index) == name
}

// segmentNames lists the segments in a directory in their order. A directory that is missing has none.
func segmentNames(fsys vfs.FS, dir string) ([]string, error) {
	names, err := fsys.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return slices.DeleteFunc(names, func(name string) bool {
		_, _, ok := parseSegmentName(name)
		return !ok
	}), err
}

// Exists reports whether dir holds a log.
func Exists(fsys vfs.FS, dir string) (bool, error) {
	names, err := segmentNames(fsys, dir)
	return len(names) > 0, err
}

// openSegments opens all segments of a log. With lock set they are opened for writing and locked.
func openSegments(c *Config, lock bool) (segments []*segment, err error) {
	names, err := segmentNames(c.FS, c.Dir)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%s: %w", c.Dir, ErrNotExist)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, closeSegments(segments))
		}
	}()
	for _, name := range names {
		s, err := openSegment(c.FS, filepath.Join(c.Dir, name), lock)
		if err != nil {
			return segments, err
		}
		segments = append(segments, s)
	}
	return segments, checkSequence(segments)
}

func openSegment(fsys vfs.FS, path string, lock bool) (*segment, error) {
	seq, index, _ := parseSegmentName(filepath.Base(path))
	s := &segment{seq: seq, index: index, path: path}
	if !lock {
		f, err := fsys.Open(path)
		s.file = f
		return s, err
	}
	f, err := fsys.OpenWrite(path)
	if err != nil {
		return nil, err
	}
	s.file = f
	if err := f.Lock(vfs.LockOFD); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return s, nil
}

// checkSequence refuses a missing file.
func checkSequence(segments []*segment) error {
	for i, s := range segments[1:] {
		if want := segments[i].seq + 1; s.seq != want {
			return &CorruptionError{
				File: s.path,
				Err:  fmt.Errorf("segment %d follows segment %d: files are missing", s.seq, want-1),
			}
		}
	}
	return nil
}

func closeSegments(segments []*segment) (err error) {
	for _, s := range segments {
		err = errors.Join(err, s.file.Close())
	}
	return err
}

// newestAt returns the position of the newest segment from which a reader that wants the entries after index can start,
// or -1 if there is none.
func newestAt(segments []*segment, index uint64) int {
	for i, s := range slices.Backward(segments) {
		if s.index <= index {
			return i
		}
	}
	return -1
}
