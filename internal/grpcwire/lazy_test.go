package grpcwire

import (
	"fmt"
	"io"
	"strings"

	"google.golang.org/grpc/mem"
)

// lazyBuffer fills when it is read.
type lazyBuffer struct {
	mem.SliceBuffer
	log    io.Writer
	number int
	size   int
	data   []byte
}

// lazy is a message of buffers that fill when they are read.
func lazy(log io.Writer, buffers, size int) mem.BufferSlice {
	var list mem.BufferSlice
	for i := range buffers {
		list = append(list, &lazyBuffer{log: log, number: i, size: size})
	}
	return list
}

func (b *lazyBuffer) ReadOnlyData() []byte {
	fmt.Fprintf(b.log, "read %d\n", b.number)
	b.data = []byte(strings.Repeat(string(rune('a'+b.number)), b.size))
	return b.data
}

func (b *lazyBuffer) Len() int { return b.size }

func (b *lazyBuffer) Ref() {}

func (b *lazyBuffer) Free() {
	fmt.Fprintf(b.log, "freed %d\n", b.number)
	clear(b.data)
}
