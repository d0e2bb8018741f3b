package wal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/quoin-kv/quoin/internal/vfs"
)

// maxLaterFactor bounds what is read to find out what follows the end, in multiples of the segment's size.
const maxLaterFactor = 4

// checkEnd looks behind the end of a log that nobody writes to for proof that it is none: what a crash tears is in the last
// batch, and a hard state ends a batch. So where a whole hard state is followed by another whole record, the batch before
// that record had been synced, and what looks torn or unwritten in it, or before it, was damaged since.
//
// Records there are known by their checksums, each of which continues the one before. It cannot be told of damage in the
// last batch, which may have been torn.
func checkEnd(seg *segment, end tail) error {
	var s scanner
	if err := s.start(seg, true); err != nil {
		return err
	}
	s.offset, s.number = end.offset, end.number
	at, budget := s.offset+frameHeadBytes, maxLaterFactor*s.size
	if _, _, _, behind, ok, err := s.recordAt(s.offset); err != nil {
		return err
	} else if ok {
		at = behind
		if err := s.proof(s.offset, &budget); err != nil {
			return err
		}
	}
	return s.checkNothingLater(at, budget)
}

// checkNothingLater looks for such proof from an offset on.
func (s *scanner) checkNothingLater(at, budget int64) error {
	for at += -at & (frameAlign - 1); at < s.size && budget > 0; {
		data, err := s.seg.file.NextData(at)
		if err != nil {
			return err
		}
		at = max(at, data-data%frameAlign)
		for stop := min(s.size, at+readAheadBytes); at < stop && budget > 0; at += frameAlign {
			if rest := min(vfs.SectorBytes, s.size-at); at%vfs.SectorBytes == 0 {
				sector, err := s.read(at, rest)
				if err != nil {
					return err
				}
				if zero(sector) {
					at += rest - frameAlign
					continue
				}
			}
			if err := s.proof(at, &budget); err != nil {
				return err
			}
		}
	}
	return nil
}

// proof returns an error if records from an offset on prove that the log goes on.
func (s *scanner) proof(at int64, budget *int64) error {
	proof, err := s.laterBatch(at, budget)
	if err == nil && proof > 0 {
		err = s.corrupt(fmt.Errorf("damaged, but not torn: a later batch is whole at offset %d", proof))
	}
	return err
}

// laterBatch follows the records that begin at an offset, if any do, and returns the offset of one that follows a hard
// state, 0 if there is none.
func (s *scanner) laterBatch(at int64, budget *int64) (proof int64, err error) {
	t, crc, _, end, ok, err := s.recordAt(at)
	for ok && err == nil {
		state, next, was := t == RecordState, end, crc
		var data []byte
		if t, crc, data, end, ok, err = s.recordAt(next); !ok || err != nil {
			break
		}
		*budget -= end - next
		if crc != crc32.Update(was, castagnoli, data) {
			break
		}
		if state {
			return next, nil
		}
	}
	return 0, err
}

// recordAt reads what may be a record at an offset, without believing it. end is where the next one would begin; data is
// valid until the next read.
func (s *scanner) recordAt(at int64) (t RecordType, crc uint32, data []byte, end int64, ok bool, err error) {
	if s.size-at < frameHeadBytes+minRecordBytes {
		return 0, 0, nil, 0, false, nil
	}
	head, err := s.read(at, frameHeadBytes)
	if err != nil {
		return 0, 0, nil, 0, false, err
	}
	n, fieldErr := parseFrameField(binary.LittleEndian.Uint64(head))
	end = at + frameHeadBytes + n + padding(n)
	if fieldErr != nil || n > s.size || end > s.size {
		return 0, 0, nil, 0, false, nil
	}
	body, err := s.read(at+frameHeadBytes, n)
	if err != nil {
		return 0, 0, nil, 0, false, err
	}
	t, crc, data, parseErr := parseRecord(body)
	return t, crc, data, end, parseErr == nil && t != RecordCRC && t != RecordMetadata, nil
}
