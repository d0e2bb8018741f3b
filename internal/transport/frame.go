package transport

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
)

const (
	// maxMessageBytes bounds an incoming message in a stream or the pipeline.
	maxMessageBytes = 512 << 20
	// maxEnvelopeBytes bounds the message in front of an incoming snapshot's file.
	maxEnvelopeBytes = 64 << 20
	// firstReadBytes is what a length alone can make us allocate.
	firstReadBytes = 256 << 10
	// blockBytes is the unit in which memory for short byte strings is allocated; strings up to a quarter of it share blocks.
	blockBytes = 64 << 10
)

// frames reads lengths and byte strings from a stream.
//
// What it returns is never overwritten. Short strings that arrive one after the other share a block of memory: entries of
// a log are of the same age and are forgotten together.
type frames struct {
	r     *bufio.Reader
	block []byte // free part of the current block
	read  int    // bytes taken from r since reset by the owner
}

func newFrames(r io.Reader) *frames { return &frames{r: bufio.NewReaderSize(r, 32<<10)} }

// byte reads one byte.
func (f *frames) byte() (byte, error) {
	b, err := f.r.ReadByte()
	if err == nil {
		f.read++
	}
	return b, err
}

// uint64 reads a number in eight bytes, highest first. io.EOF means that the stream ended before the first byte.
func (f *frames) uint64() (uint64, error) {
	b, err := f.r.Peek(8)
	if err != nil {
		if err == io.EOF && len(b) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return 0, err
	}
	v := binary.BigEndian.Uint64(b)
	_, err = f.r.Discard(8)
	f.read += 8
	return v, err
}

// bytes reads n bytes, which may not be more than limit. The memory grows as the bytes arrive.
func (f *frames) bytes(n, limit uint64) ([]byte, error) {
	if n > limit {
		return nil, fmt.Errorf("message of %d bytes, at most %d are accepted", n, limit)
	}
	f.read += int(n)
	if n <= firstReadBytes {
		b := f.allocate(int(n))
		_, err := io.ReadFull(f.r, b)
		return b, noEOF(err)
	}
	b := make([]byte, 0, firstReadBytes)
	for len(b) < int(n) {
		b = slices.Grow(b, min(int(n)-len(b), max(len(b), firstReadBytes)))
		part := b[len(b):min(cap(b), int(n))]
		k, err := io.ReadFull(f.r, part)
		b = b[:len(b)+k]
		if err != nil {
			return nil, noEOF(err)
		}
	}
	return b, nil
}

// allocate returns n bytes that nobody else has.
func (f *frames) allocate(n int) []byte {
	if n > blockBytes/4 {
		return make([]byte, n)
	}
	if n > len(f.block) {
		f.block = make([]byte, blockBytes)
	}
	b := f.block[:n:n]
	f.block = f.block[n:]
	return b
}

// noEOF makes the end of a stream in the middle of something what it is.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
