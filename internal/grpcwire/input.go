package grpcwire

import "io"

// Sizes of the buffer that a connection reads into. An idle one has a small buffer.
const (
	inputMin = 4 << 10
	inputMax = 64 << 10
	// calmReads is how many reads in a row must leave most of a large buffer empty before it becomes small again.
	calmReads = 64
)

// input is what was read from a connection and not looked at yet.
//
// Invariant: 0 <= start <= end <= len(buf), and there is always room for a whole frame after start, or will be after the next read.
type input struct {
	buf        []byte
	start, end int
	calm       int
}

func (in *input) unread() []byte { return in.buf[in.start:in.end] }

func (in *input) skip(n int) { in.start += n }

// read reads once. It returns no error as long as there were bytes.
func (in *input) read(r io.Reader) error {
	in.makeRoom()
	n, err := r.Read(in.buf[in.end:])
	in.end += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// makeRoom moves what is left to the front of a buffer of the right size.
func (in *input) makeRoom() {
	size := len(in.buf)
	switch left := in.end - in.start; {
	case size == 0:
		size = inputMin
	case in.end == size && size < inputMax:
		size = min(4*size, inputMax) // it was full
		in.calm = 0
	case size > inputMin && in.end < size/8 && left == 0:
		if in.calm++; in.calm > calmReads {
			size, in.calm = inputMin, 0
		}
	default:
		in.calm = 0
	}
	if size == len(in.buf) {
		in.end = copy(in.buf, in.unread())
	} else {
		grown := make([]byte, size)
		in.end = copy(grown, in.unread())
		in.buf = grown
	}
	in.start = 0
}
