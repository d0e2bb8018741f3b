package vfs

import "math"

// Limit gives the file system a size in bytes, or none if it is 0. Pages that were written or reserved take room as long as their file has a
// name; a write that finds too little is done in part and fails with ENOSPC, and Preallocate fails at once. What is there already stays.
func (m *Mem) Limit(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.limit = bytes
}

// Space implements FS.
func (m *Mem) Space(name string) (Space, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.find(name); err != nil {
		return Space{}, pathError("statfs", name, err)
	}
	if m.mu.limit == 0 {
		return Space{FreeBytes: math.MaxInt64, TotalBytes: math.MaxInt64}, nil
	}
	return Space{FreeBytes: m.free(), TotalBytes: m.mu.limit}, nil
}

// free is the room left under a limit. The caller holds the lock, as in all functions below.
func (m *Mem) free() int64 { return max(0, m.mu.limit-m.mu.root.takes(map[*memInode]bool{})) }

// takes is the room that a directory's files take which were not counted yet.
func (d *memDir) takes(counted map[*memInode]bool) (bytes int64) {
	for _, node := range d.live {
		switch n := node.(type) {
		case *memDir:
			bytes += n.takes(counted)
		case *memInode:
			if !counted[n] {
				counted[n] = true
				bytes += n.takes()
			}
		}
	}
	return bytes
}

func (n *memInode) takes() int64 {
	bytes := n.reserved
	for page := range n.live.pages {
		if page*pageBytes >= n.reserved {
			bytes += pageBytes
		}
	}
	return bytes
}

// fits is how many bytes of a write find room.
func (m *Mem) fits(n *memInode, b []byte, offset int64) int {
	if m.mu.limit == 0 {
		return len(b)
	}
	free, end := m.free(), offset+int64(len(b))
	for at := offset - offset%pageBytes; at < end; at += pageBytes {
		if at < n.reserved || n.live.pages[at/pageBytes] != nil {
			continue
		}
		if free -= pageBytes; free < 0 {
			return int(max(at-offset, 0))
		}
	}
	return len(b)
}

// reserve gives a file room for its first bytes, if there is enough.
func (m *Mem) reserve(n *memInode, bytes int64) bool {
	reserved := max(n.reserved, wholePages(bytes))
	if m.mu.limit > 0 {
		there := n.takes()
		if after := (&memInode{live: n.live, reserved: reserved}).takes(); after-there > m.free() {
			return false
		}
	}
	n.reserved = reserved
	return true
}

func wholePages(bytes int64) int64 { return (bytes + pageBytes - 1) / pageBytes * pageBytes }
