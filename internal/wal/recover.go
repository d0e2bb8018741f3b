package wal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/quoin-kv/quoin/internal/vfs"
	"github.com/quoin-kv/quoin/raft/wire"
)

// tail is where the reading of a log ended.
type tail struct {
	offset int64
	number int // of records before it in the segment
	crc    uint32
	torn   bool
}

// scan calls visit with every record of the segments in their order.
func scan(segments []*segment, visit func(Record) error) (tail, error) {
	var s scanner
	for i, seg := range segments {
		if err := s.start(seg, i == len(segments)-1); err != nil {
			return tail{}, err
		}
		for {
			r, err := s.next()
			if err == io.EOF {
				break
			}
			if err == errTorn {
				return tail{offset: s.offset, number: s.number, crc: s.crc, torn: true}, nil
			}
			if err != nil {
				return tail{}, err
			}
			if err := visit(r); err != nil {
				return tail{}, err
			}
		}
		if s.number < 2 {
			return tail{}, s.corrupt(errors.New("segment without metadata"))
		}
	}
	return tail{offset: s.offset, number: s.number, crc: s.crc}, nil
}

// checked makes a visit's error one of the record that was visited.
func checked(visit func(Record) error) func(Record) error {
	return func(r Record) error {
		if err := visit(r); err != nil {
			return &CorruptionError{File: r.File, Offset: r.Offset, Record: r.Number, Err: err}
		}
		return nil
	}
}

// ReadMetadata says whose log is in dir, without taking locks.
func ReadMetadata(fsys vfs.FS, dir string) (Metadata, error) {
	segments, err := openSegments(&Config{FS: fsys, Dir: dir}, false)
	if err != nil {
		return Metadata{}, err
	}
	v := new(survey)
	found := errors.New("found")
	_, err = scan(segments[len(segments)-1:], func(r Record) error {
		if err := v.visit(r); err != nil || v.rawMetadata == nil {
			return err
		}
		return found
	})
	if errors.Is(err, found) {
		err = nil
	}
	return v.metadata, errors.Join(err, closeSegments(segments))
}

// Read returns what the log holds without taking locks or changing anything. A torn end is left out silently: the log may
// be in use.
func Read(c Config) (*Recovered, error) {
	c = c.withDefaults()
	segments, err := openSegments(&c, false)
	if err != nil {
		return nil, err
	}
	r, err := readAll(segments)
	if err != nil {
		return nil, errors.Join(err, closeSegments(segments))
	}
	return r.Recovered, closeSegments(segments)
}

// reading is the result of reading a whole log.
type reading struct {
	*Recovered
	rawMetadata []byte
	tail        tail
	first       int // position of the oldest segment that is needed
}

// readAll reads a log twice: first to find the newest valid mark, then to collect the entries after it.
func readAll(segments []*segment) (*reading, error) {
	v := new(survey)
	end, err := scan(segments, checked(v.visit))
	if err != nil {
		return nil, err
	}
	newest := segments[len(segments)-1]
	mark, ok := v.validMark()
	first := newestAt(segments, mark.Index)
	if !ok || first < 0 {
		return nil, &CorruptionError{
			File: newest.path, Offset: end.offset,
			Err: fmt.Errorf("no usable snapshot mark: %d marks, committed up to %d, oldest segment begins at %d",
				len(v.marks), v.state.Commit, segments[0].index),
		}
	}
	c := collector{mark: mark}
	if _, err := scan(segments[first:], checked(c.visit)); err != nil {
		return nil, err
	}
	return &reading{
		Recovered: &Recovered{
			Metadata: v.metadata, Mark: mark, HardState: v.state, Entries: slices.Clip(c.entries),
		},
		rawMetadata: v.rawMetadata, tail: end, first: first,
	}, nil
}

// survey is the first pass.
type survey struct {
	rawMetadata []byte
	metadata    Metadata
	state       wire.HardState
	marks       []Mark
	termMax     uint64 // of all entries and marks so far
}

func (v *survey) visit(r Record) (err error) {
	switch r.Type {
	case RecordMetadata:
		return v.visitMetadata(r.Data)
	case RecordState:
		return v.visitState(r.Data)
	case RecordMark:
		return v.visitMark(r.Data)
	case RecordEntry:
		return v.visitEntry(r.Data)
	}
	return nil
}

// visitEntry refuses what a hard state looks like whose record type was damaged: a membership change of the second kind
// without data, in a term of which nothing was heard before. A term begins with a normal entry.
func (v *survey) visitEntry(data []byte) error {
	e, err := unmarshalEntry(data)
	if err != nil {
		return err
	}
	if e.Type == wire.EntryConfChangeV2 && len(e.Data) == 0 && e.Term > max(v.termMax, v.state.Term) {
		return fmt.Errorf("entry %d begins term %d with a membership change", e.Index, e.Term)
	}
	v.termMax = max(v.termMax, e.Term)
	return nil
}

func (v *survey) visitMetadata(data []byte) error {
	if v.rawMetadata != nil && !bytes.Equal(v.rawMetadata, data) {
		return errors.New("metadata differs from that of an earlier segment")
	}
	v.rawMetadata = bytes.Clone(data)
	return v.metadata.unmarshal(data)
}

func (v *survey) visitState(data []byte) (err error) {
	if v.state, err = unmarshalState(data); err != nil {
		return err
	}
	if v.state.Term < v.termMax {
		return fmt.Errorf("hard state has term %d after an entry of term %d", v.state.Term, v.termMax)
	}
	return nil
}

func (v *survey) visitMark(data []byte) error {
	var m Mark
	if err := m.unmarshal(data); err != nil {
		return err
	}
	for _, earlier := range v.marks {
		if earlier.Index == m.Index && earlier.Term != m.Term {
			return fmt.Errorf("mark at index %d has term %d, an earlier one term %d", m.Index, m.Term, earlier.Term)
		}
	}
	v.marks = append(v.marks, m)
	v.termMax = max(v.termMax, m.Term)
	return nil
}

// validMark returns the last mark that the last hard state commits.
func (v *survey) validMark() (Mark, bool) {
	for _, m := range slices.Backward(v.marks) {
		if m.Index <= v.state.Commit {
			return m, true
		}
	}
	return Mark{}, false
}

// collector is the second pass: it gathers the entries after a mark.
//
// Invariant: entries are consecutive from mark.Index+1 on, and their terms never fall.
type collector struct {
	mark     Mark
	markTerm uint64 // of the entry at mark.Index, 0 if none is in force
	entries  []wire.Entry
}

func (c *collector) visit(r Record) error {
	switch r.Type {
	case RecordEntry:
		return c.visitEntry(r.Data)
	case RecordMark:
		return c.visitMark(r.Data)
	}
	return nil
}

// visitEntry lets a later record take the place of earlier ones with the same or a higher index.
func (c *collector) visitEntry(data []byte) error {
	e, err := unmarshalEntry(data)
	if err != nil {
		return err
	}
	if e.Index <= c.mark.Index {
		c.passOver(e)
		return nil
	}
	at := e.Index - c.mark.Index - 1
	if at > uint64(len(c.entries)) {
		return fmt.Errorf("entry %d follows entry %d: entries are missing", e.Index, c.mark.Index+uint64(len(c.entries)))
	}
	if at > 0 && e.Term < c.entries[at-1].Term {
		return fmt.Errorf("entry %d has term %d, the one before it term %d", e.Index, e.Term, c.entries[at-1].Term)
	}
	e.Data = bytes.Clone(e.Data)
	c.entries = append(c.entries[:at], e)
	return nil
}

func (c *collector) passOver(e wire.Entry) {
	c.markTerm = 0
	if e.Index == c.mark.Index {
		c.markTerm = e.Term
	}
	c.entries = c.entries[:0]
}

// visitMark drops what was gathered if our mark comes from a snapshot that was received instead of the entry at its
// index: the entries beyond it then continue a history that the snapshot has replaced.
func (c *collector) visitMark(data []byte) error {
	var m Mark
	if err := m.unmarshal(data); err != nil {
		return err
	}
	if m.Index == c.mark.Index && c.markTerm != m.Term {
		c.entries = c.entries[:0]
		c.markTerm = m.Term
	}
	return nil
}
