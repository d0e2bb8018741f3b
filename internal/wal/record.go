package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/quoin-kv/quoin/raft/wire"
)

// RecordType says what the data of a record is.
type RecordType uint64

// The types of records.
const (
	RecordMetadata RecordType = 1 // whose log it is
	RecordEntry    RecordType = 2 // wire.Entry
	RecordState    RecordType = 3 // wire.HardState
	RecordCRC      RecordType = 4 // no data; seeds the checksum at the start of a segment
	RecordMark     RecordType = 5 // Mark
)

const (
	frameHeadBytes = 8 // length field before each record
	frameAlign     = 8
	minRecordBytes = 4 // type and checksum, one byte each behind their tags
	paddedFlag     = 0x80
)

// castagnoli is CRC-32C. The table is that of the standard library and never changes.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// padding returns how many zero bytes follow a record of that length.
func padding(recordBytes int64) int64 { return -recordBytes & (frameAlign - 1) }

// frameField returns the length field of a record: its length in the low 56 bits and, only if there is padding, a flag
// and the number of padding bytes in the top byte.
func frameField(recordBytes int64) uint64 {
	field := uint64(recordBytes)
	if pad := padding(recordBytes); pad != 0 {
		field |= uint64(paddedFlag|pad) << 56
	}
	return field
}

// parseFrameField is the inverse of frameField. Every field that frameField cannot return is an error.
func parseFrameField(field uint64) (recordBytes int64, err error) {
	recordBytes = int64(field & (1<<56 - 1))
	if recordBytes < minRecordBytes || frameField(recordBytes) != field {
		return 0, fmt.Errorf("impossible length field %#016x", field)
	}
	return recordBytes, nil
}

// encoder turns records into frames and carries the checksum from one to the next. Both buffers are used again.
type encoder struct {
	crc    uint32
	frames []byte // complete frames
	data   []byte // data of the record under way
	more   []byte // the rest of it, which is somebody else's
}

func (e *encoder) metadata(data []byte) {
	e.data = append(e.data[:0], data...)
	e.frame(RecordMetadata)
}

func (e *encoder) entry(entry *wire.Entry) {
	e.data, e.more = entry.AppendHead(e.data[:0]), entry.Data
	e.frame(RecordEntry)
	e.more = nil
}

func (e *encoder) state(s wire.HardState) {
	e.data = s.Append(e.data[:0])
	e.frame(RecordState)
}

func (e *encoder) mark(m *Mark) {
	e.data = m.append(e.data[:0])
	e.frame(RecordMark)
}

// seed writes the record that begins a segment.
func (e *encoder) seed() {
	e.data = e.data[:0]
	e.frame(RecordCRC)
}

// entryHeadBytes is the most that an entry takes in frames beside its data.
const entryHeadBytes = 80

// room makes room for entries, so that much data is not copied again and again while it gathers.
func (e *encoder) room(entries []wire.Entry) {
	size := 0
	for i := range entries {
		size += entryHeadBytes + len(entries[i].Data)
	}
	e.frames = slices.Grow(e.frames, size)
}

// frame appends the frame of a record with e.data and e.more.
func (e *encoder) frame(t RecordType) {
	e.crc = crc32.Update(crc32.Update(e.crc, castagnoli, e.data), castagnoli, e.more)
	size := 2 + 1 + protowire.SizeVarint(uint64(e.crc))
	if t != RecordCRC {
		size += 1 + protowire.SizeBytes(len(e.data)+len(e.more))
	}
	b := binary.LittleEndian.AppendUint64(e.frames, frameField(int64(size)))
	b = append(b, 1<<3, byte(t), 2<<3)
	b = protowire.AppendVarint(b, uint64(e.crc))
	if t != RecordCRC {
		b = append(b, 3<<3|byte(protowire.BytesType))
		b = protowire.AppendVarint(b, uint64(len(e.data)+len(e.more)))
		b = append(append(b, e.data...), e.more...)
	}
	var zeros [frameAlign]byte
	e.frames = append(b, zeros[:padding(int64(size))]...)
}

// parseRecord takes a record apart. data aliases b.
func parseRecord(b []byte) (t RecordType, crc uint32, data []byte, err error) {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return 0, 0, nil, protowire.ParseError(n)
		}
		b = b[n:]
		var value uint64
		switch {
		case num == 1 && typ == protowire.VarintType:
			value, n = protowire.ConsumeVarint(b)
			t = RecordType(value)
		case num == 2 && typ == protowire.VarintType:
			if value, n = protowire.ConsumeVarint(b); value > math.MaxUint32 {
				return 0, 0, nil, fmt.Errorf("checksum %#x of more than 32 bits", value)
			}
			crc = uint32(value)
		case num == 3 && typ == protowire.BytesType:
			data, n = protowire.ConsumeBytes(b)
		default:
			return 0, 0, nil, fmt.Errorf("unexpected field %d", num)
		}
		if n < 0 {
			return 0, 0, nil, protowire.ParseError(n)
		}
		b = b[n:]
	}
	return t, crc, data, checkShape(t, data)
}

func checkShape(t RecordType, data []byte) error {
	switch {
	case t < RecordMetadata || t > RecordMark:
		return fmt.Errorf("unknown record type %d", t)
	case (t == RecordCRC) != (len(data) == 0):
		return fmt.Errorf("%d bytes of data in a record of type %d", len(data), t)
	}
	return nil
}

// declaredBytes returns the length that the first bytes of a record say it has; ok is false if they do not say it.
func declaredBytes(head []byte) (recordBytes int64, ok bool) {
	at := 0
	for _, tag := range []byte{1 << 3, 2 << 3, 3<<3 | byte(protowire.BytesType)} {
		if at >= len(head) || head[at] != tag {
			return 0, false
		}
		value, n := protowire.ConsumeVarint(head[at+1:])
		if n < 0 {
			return 0, false
		}
		at += 1 + n
		if tag == 3<<3|byte(protowire.BytesType) {
			return int64(at) + int64(min(value, maxRecordBytes)), true
		}
	}
	return 0, false
}

func (m Metadata) append(b []byte) []byte {
	b = protowire.AppendVarint(append(b, 1<<3), m.NodeID)
	return protowire.AppendVarint(append(b, 2<<3), m.ClusterID)
}

func (m *Metadata) unmarshal(b []byte) error {
	return walkFields(b, func(num protowire.Number, value uint64, _ []byte) error {
		switch num {
		case 1:
			m.NodeID = value
		case 2:
			m.ClusterID = value
		}
		return nil
	})
}

func (m *Mark) append(b []byte) []byte {
	b = protowire.AppendVarint(append(b, 1<<3), m.Index)
	b = protowire.AppendVarint(append(b, 2<<3), m.Term)
	if m.ConfState == nil {
		return b
	}
	b = append(b, 3<<3|byte(protowire.BytesType))
	b = protowire.AppendVarint(b, uint64(m.ConfState.Size()))
	return m.ConfState.Append(b)
}

func (m *Mark) unmarshal(b []byte) error {
	return walkFields(b, func(num protowire.Number, value uint64, data []byte) error {
		switch num {
		case 1:
			m.Index = value
		case 2:
			m.Term = value
		case 3:
			m.ConfState = new(wire.ConfState)
			return m.ConfState.Unmarshal(data)
		}
		return nil
	})
}

// walkFields calls set for each number and each byte string in a message.
func walkFields(b []byte, set func(num protowire.Number, value uint64, data []byte) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		var value uint64
		var data []byte
		switch typ {
		case protowire.VarintType:
			value, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			data, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		if err := set(num, value, data); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// unmarshalState decodes a hard state and refuses what no writer has ever written. The checksum covers a record's data
// but not its type, and this is what keeps a damaged type from turning an entry into a state.
func unmarshalState(b []byte) (s wire.HardState, err error) {
	var seen [4]bool
	err = walkFields(b, func(num protowire.Number, _ uint64, data []byte) error {
		if num < 1 || num > 3 || data != nil {
			return fmt.Errorf("unexpected field %d in a hard state", num)
		}
		seen[num] = true
		return nil
	})
	if err != nil {
		return s, err
	}
	if err := s.Unmarshal(b); err != nil {
		return s, err
	}
	if !seen[1] || !seen[2] || !seen[3] || s.Term == 0 {
		return s, errors.New("incomplete hard state")
	}
	return s, nil
}

// unmarshalEntry decodes an entry and refuses what no writer has ever written, for the same reason. Data aliases b.
func unmarshalEntry(b []byte) (e wire.Entry, err error) {
	if err := e.Unmarshal(b); err != nil {
		return e, err
	}
	switch {
	case e.Term == 0 || e.Index == 0:
		err = fmt.Errorf("entry with index %d and term %d", e.Index, e.Term)
	case e.Type < wire.EntryNormal || e.Type > wire.EntryConfChangeV2:
		err = fmt.Errorf("entry %d has unknown type %d", e.Index, e.Type)
	case e.Type == wire.EntryConfChange && len(e.Data) == 0:
		err = fmt.Errorf("entry %d is an empty membership change", e.Index)
	}
	return e, err
}
