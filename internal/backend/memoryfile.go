package backend

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/quoin-kv/quoin/internal/schema"
)

// What the in-memory twin writes as a snapshot: the magic, then for each bucket
// in order an 8-byte count and that many entries, each two 4-byte lengths, key,
// value; then zeros in place of free pages. Numbers are big endian. It never
// reaches a real disk.
const (
	memoryMagic             = "quoin memory 1\n\x00"
	memoryBucketHeaderBytes = 8
	memoryEntryHeaderBytes  = 8
)

var errNotMemorySnapshot = errors.New("not a snapshot of an in-memory backend")

func (e entry) encodedBytes() int64 {
	return memoryEntryHeaderBytes + int64(len(e.key)) + int64(len(e.value))
}

func (s *memoryState) writeTo(w io.Writer) (int64, error) {
	b := make([]byte, 0, s.fileBytes)
	b = append(b, memoryMagic...)
	for i := range s.buckets {
		b = binary.BigEndian.AppendUint64(b, uint64(len(s.buckets[i].entries)))
		for _, e := range s.buckets[i].entries {
			b = binary.BigEndian.AppendUint32(b, uint32(len(e.key)))
			b = binary.BigEndian.AppendUint32(b, uint32(len(e.value)))
			b = append(append(b, e.key...), e.value...)
		}
	}
	n, err := w.Write(b[:s.fileBytes])
	return int64(n), err
}

// ReadMemoryDisk returns the disk whose snapshot r yields: what WriteSnapshot
// of a backend on a MemoryDisk wrote. Other input gives a *CorruptError.
func ReadMemoryDisk(r io.Reader) (*MemoryDisk, error) {
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("backend: read snapshot: %w", err)
	}
	state, ok := parseMemoryState(b)
	if !ok {
		return nil, &CorruptError{Path: "memory", Cause: errNotMemorySnapshot}
	}
	d := &MemoryDisk{}
	d.mu.state = state
	return d, nil
}

func parseMemoryState(b []byte) (*memoryState, bool) {
	state := &memoryState{fileBytes: int64(len(b))}
	b, ok := bytes.CutPrefix(b, []byte(memoryMagic))
	if !ok {
		return nil, false
	}
	for i := range schema.NumBuckets {
		if b, ok = parseMemoryBucket(&state.buckets[i], b); !ok {
			return nil, false
		}
	}
	return state, len(bytes.Trim(b, "\x00")) == 0
}

func parseMemoryBucket(into *memoryBucket, b []byte) (rest []byte, ok bool) {
	if len(b) < memoryBucketHeaderBytes {
		return nil, false
	}
	count := binary.BigEndian.Uint64(b)
	b = b[memoryBucketHeaderBytes:]
	var last []byte
	for range count {
		e, rest, ok := parseMemoryEntry(b)
		if !ok || bytes.Compare(e.key, last) <= 0 {
			return nil, false
		}
		into.append(e)
		b, last = rest, e.key
	}
	return b, true
}

func parseMemoryEntry(b []byte) (e entry, rest []byte, ok bool) {
	if len(b) < memoryEntryHeaderBytes {
		return entry{}, nil, false
	}
	keyLen, valueLen := uint64(binary.BigEndian.Uint32(b)), uint64(binary.BigEndian.Uint32(b[4:]))
	b = b[memoryEntryHeaderBytes:]
	if keyLen+valueLen > uint64(len(b)) {
		return entry{}, nil, false
	}
	end := keyLen + valueLen
	return entry{b[:keyLen:keyLen], b[keyLen:end:end]}, b[end:], true
}
