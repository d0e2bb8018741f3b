package vfs

import (
	"maps"
	"slices"
)

const pageBytes = 4096

// sparse is a file's content. Pages that were never written, or were cut off, take no memory and read as zero, so a
// preallocated file costs nothing.
//
// Invariants:
//  1. No page lies wholly at or beyond size.
//  2. Bytes of the last page at or beyond size are zero.
type sparse struct {
	size  int64
	pages map[int64]*[pageBytes]byte
}

func (s *sparse) clone() sparse {
	c := sparse{size: s.size, pages: make(map[int64]*[pageBytes]byte, len(s.pages))}
	for n, p := range s.pages {
		copied := *p
		c.pages[n] = &copied
	}
	return c
}

// readAt fills b from the content and returns how many bytes were there.
func (s *sparse) readAt(b []byte, offset int64) int {
	if offset >= s.size {
		return 0
	}
	b = b[:min(int64(len(b)), s.size-offset)]
	for done := 0; done < len(b); {
		n, from := (offset+int64(done))/pageBytes, int((offset+int64(done))%pageBytes)
		part := b[done:min(len(b), done+pageBytes-from)]
		if p := s.pages[n]; p != nil {
			copy(part, p[from:])
		} else {
			clear(part)
		}
		done += len(part)
	}
	return len(b)
}

func (s *sparse) writeAt(b []byte, offset int64) {
	s.size = max(s.size, offset+int64(len(b)))
	for len(b) > 0 {
		n, from := offset/pageBytes, offset%pageBytes
		wrote := copy(s.page(n)[from:], b)
		b, offset = b[wrote:], offset+int64(wrote)
	}
}

func (s *sparse) page(n int64) *[pageBytes]byte {
	p := s.pages[n]
	if p == nil {
		if s.pages == nil {
			s.pages = make(map[int64]*[pageBytes]byte)
		}
		p = new([pageBytes]byte)
		s.pages[n] = p
	}
	return p
}

func (s *sparse) resize(size int64) {
	if size < s.size {
		maps.DeleteFunc(s.pages, func(n int64, _ *[pageBytes]byte) bool { return n*pageBytes >= size })
		if p := s.pages[size/pageBytes]; p != nil {
			clear(p[size%pageBytes:])
		}
	}
	s.size = size
}

// written lists the numbers of the pages that take memory, ascending.
func (s *sparse) written() []int64 { return slices.Sorted(maps.Keys(s.pages)) }
