package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/quoin-kv/quoin/internal/vfs"
)

const readAheadBytes = 1 << 20

// errTorn ends the reading of a last segment whose next frame was not written completely.
var errTorn = errors.New("torn record")

// Record is one record as it stands in a segment.
type Record struct {
	Type   RecordType
	Data   []byte // valid until the next record is read
	File   string
	Offset int64 // of the frame in the file
	Number int   // in the file, from 0
}

// scanner reads the records of one segment after the other and follows the checksum through them.
//
// Invariants:
//  1. offset is the end of the last good record of the present segment and a multiple of frameAlign.
//  2. crc is the checksum over the data of all records up to there.
//  3. No memory is allocated for a length that the file does not have.
type scanner struct {
	seg    *segment
	last   bool // the present segment is the newest
	seeded bool // a segment before the present one was read
	size   int64
	offset int64
	number int
	crc    uint32

	window   []byte // bytes of the file from windowAt on
	windowAt int64
	buffer   []byte
}

// start goes to the beginning of the next segment.
func (s *scanner) start(seg *segment, last bool) error {
	size, err := seg.file.Size()
	if err != nil {
		return err
	}
	s.seeded = s.seg != nil
	s.seg, s.last, s.size = seg, last, size
	s.offset, s.number, s.window = 0, 0, nil
	return nil
}

func (s *scanner) corrupt(err error) error {
	return &CorruptionError{File: s.seg.path, Offset: s.offset, Record: s.number, Err: err}
}

// next returns the next record. At the end of the segment it returns io.EOF; at a torn end errTorn, and offset then is
// where the torn frame begins.
func (s *scanner) next() (Record, error) {
	recordBytes, err := s.frame()
	if err != nil {
		return Record{}, err
	}
	at := s.offset + frameHeadBytes
	if recordBytes+padding(recordBytes) > s.size-at {
		return Record{}, s.overlong(recordBytes)
	}
	body, err := s.read(at, recordBytes)
	if err != nil {
		return Record{}, err
	}
	r, err := s.accept(body)
	if err != nil {
		if s.torn(body, recordBytes) {
			return Record{}, errTorn
		}
		return Record{}, s.corrupt(err)
	}
	s.offset = at + recordBytes + padding(recordBytes)
	s.number++
	return r, nil
}

// frame reads the length field at offset.
func (s *scanner) frame() (recordBytes int64, err error) {
	rest := s.size - s.offset
	if rest == 0 {
		return 0, io.EOF
	}
	if rest < frameHeadBytes {
		if s.last {
			return 0, errTorn
		}
		return 0, s.corrupt(errors.New("file ends within a length field"))
	}
	head, err := s.read(s.offset, frameHeadBytes)
	if err != nil {
		return 0, err
	}
	field := binary.LittleEndian.Uint64(head)
	if field == 0 {
		return 0, s.end()
	}
	if recordBytes, err = parseFrameField(field); err != nil {
		return 0, s.corrupt(err)
	}
	return recordBytes, nil
}

// end returns io.EOF at a length field of zero, which ends a segment. Sectors are written whole: if the rest of this one
// is not zero as well, then the field once held something else.
func (s *scanner) end() error {
	rest := min(s.size-s.offset, vfs.SectorBytes-s.offset%vfs.SectorBytes)
	b, err := s.read(s.offset, rest)
	if err != nil {
		return err
	}
	if !zero(b) {
		return s.corrupt(errors.New("length field is zero, but records follow it"))
	}
	return io.EOF
}

// accept checks a record and moves the checksum on.
func (s *scanner) accept(body []byte) (Record, error) {
	t, crc, data, err := parseRecord(body)
	if err != nil {
		return Record{}, err
	}
	if err := s.checkPlace(t); err != nil {
		return Record{}, err
	}
	want := crc32.Update(s.crc, castagnoli, data)
	if t == RecordCRC && !s.seeded {
		want = crc
	}
	if crc != want {
		return Record{}, fmt.Errorf("checksum is %08x, expected %08x", crc, want)
	}
	s.crc = want
	return Record{Type: t, Data: data, File: s.seg.path, Offset: s.offset, Number: s.number}, nil
}

// checkPlace holds the records to their order: a segment begins with its checksum and its metadata, and neither comes
// again.
func (s *scanner) checkPlace(t RecordType) error {
	if (s.number == 0) != (t == RecordCRC) || (s.number == 1) != (t == RecordMetadata) {
		return fmt.Errorf("record %d of a segment cannot be of type %d", s.number, t)
	}
	return nil
}

// overlong judges a record that is said to go on beyond the end of the file.
func (s *scanner) overlong(recordBytes int64) error {
	at := s.offset + frameHeadBytes
	head, err := s.read(at, min(s.size-at, vfs.SectorBytes))
	if err != nil {
		return err
	}
	if s.last && recordBytes <= maxRecordBytes && s.plausible(head, recordBytes) {
		return errTorn
	}
	return s.corrupt(fmt.Errorf("record of %d bytes in a file of %d bytes", recordBytes, s.size))
}

// torn reports whether the bad record at offset is what a crash in the middle of a write leaves: in the last segment,
// and with a sector that was never written.
func (s *scanner) torn(body []byte, recordBytes int64) bool {
	return s.last && s.plausible(body, recordBytes) && hasZeroSector(body, s.offset+frameHeadBytes)
}

// plausible reports whether the length field can be the writer's. It was written in one sector with the record's first
// bytes, which give the length once more; if they are there and say otherwise, the field is damaged rather than the
// record torn.
func (s *scanner) plausible(body []byte, recordBytes int64) bool {
	sameSector := -(s.offset + frameHeadBytes) & (vfs.SectorBytes - 1)
	declared, ok := declaredBytes(body[:min(int64(len(body)), sameSector)])
	return !ok || declared == recordBytes
}

// hasZeroSector reports whether one of the sectors that b covers, wholly or in part, holds nothing but zeros there. b
// begins at that offset of the file.
func hasZeroSector(b []byte, offset int64) bool {
	for len(b) > 0 {
		n := min(int64(len(b)), vfs.SectorBytes-offset%vfs.SectorBytes)
		if zero(b[:n]) {
			return true
		}
		b, offset = b[n:], offset+n
	}
	return false
}

// zero compares b with itself, shifted by one, which the machine does many bytes at a time.
func zero(b []byte) bool {
	return len(b) == 0 || b[0] == 0 && bytes.Equal(b[1:], b[:len(b)-1])
}

// read returns n bytes of the file, which the caller has checked to be there. They are valid until the next read.
func (s *scanner) read(offset, n int64) ([]byte, error) {
	from := offset - s.windowAt
	if s.window == nil || from < 0 || from+n > int64(len(s.window)) {
		if err := s.fill(offset, max(n, min(readAheadBytes, s.size-offset))); err != nil {
			return nil, err
		}
		from = 0
	}
	return s.window[from : from+n], nil
}

func (s *scanner) fill(offset, n int64) error {
	if int64(cap(s.buffer)) < n {
		s.buffer = make([]byte, n)
	}
	s.window, s.windowAt = s.buffer[:n], offset
	if read, err := s.seg.file.ReadAt(s.window, offset); int64(read) < n {
		s.window = nil
		return fmt.Errorf("read %s at %d: %w", s.seg.path, offset, err)
	}
	return nil
}
