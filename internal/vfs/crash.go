package vfs

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// CrashOptions says what else than the synced state a crash leaves. The zero value leaves exactly that.
type CrashOptions struct {
	// Seed decides everything below. The same history and options give the same clone.
	Seed uint64
	// KeepUnsynced is the probability, 0 to 1, with which each sector of each unsynced write and each unsynced change of
	// length survives, independently of other sectors. If it is above 0, a random number of the oldest unsynced changes of each
	// directory survives too.
	KeepUnsynced float64
	// TearLast leaves of the last sector of each file's last unsynced write only a random first part, which is less than
	// disks promise.
	TearLast bool
	// FlipBits is the number of random bits to turn over in bytes that were ever written, synced or not.
	FlipBits int
}

// Crash returns what a new start would find if the power failed now: synced bytes under synced names and, as the options
// say, some of the rest. Nobody holds a lock in the result. The receiver is not changed and goes on living.
func (m *Mem) Crash(o CrashOptions) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := &crash{
		options: o,
		rng:     rand.New(rand.NewPCG(o.Seed, 0x6372617368)),
		inodes:  map[*memInode]*memInode{},
	}
	clone := NewMem()
	clone.mu.root, clone.mu.limit = c.dir(m.mu.root), m.mu.limit
	c.flipBits()
	return clone
}

// crash is one cloning under way.
type crash struct {
	options CrashOptions
	rng     *rand.Rand
	inodes  map[*memInode]*memInode // a file may be found under two names when only one end of a rename was synced
	order   []*memInode
}

func (c *crash) keep() bool { return c.rng.Float64() < c.options.KeepUnsynced }

func (c *crash) dir(d *memDir) *memDir {
	names := maps.Clone(d.durable)
	if c.options.KeepUnsynced > 0 {
		for _, changes := range d.pending[:c.rng.IntN(len(d.pending)+1)] {
			applyEntries(names, changes)
		}
	}
	clone := newMemDir()
	for _, name := range slices.Sorted(maps.Keys(names)) {
		clone.durable[name] = c.node(names[name])
	}
	clone.live = maps.Clone(clone.durable)
	return clone
}

func (c *crash) node(n memNode) memNode {
	if d, ok := n.(*memDir); ok {
		return c.dir(d)
	}
	return c.inode(n.(*memInode))
}

func (c *crash) inode(n *memInode) *memInode {
	if done := c.inodes[n]; done != nil {
		return done
	}
	content, history := n.durable.clone(), n.durable.clone()
	for i, ch := range n.pending {
		history.apply(ch)
		switch {
		case ch.data != nil:
			c.write(&content, &history, ch, c.options.TearLast && i == len(n.pending)-1)
		case c.keep():
			content.resize(ch.size)
		}
	}
	clone := &memInode{durable: content, live: content.clone(), reserved: min(n.reserved, wholePages(content.size))}
	c.inodes[n] = clone
	c.order = append(c.order, clone)
	return clone
}

// write lets each sector that a write touches survive or not. A sector that survives does so with all it held at that
// time, earlier writes included, as history says.
func (c *crash) write(content, history *sparse, w change, tear bool) {
	end := w.offset + int64(len(w.data))
	for at := w.offset; at < end; {
		sector := at - at%SectorBytes
		next := min(end, sector+SectorBytes)
		keep, until := c.keep(), min(sector+SectorBytes, history.size)
		if tear && next == end {
			keep, until = true, at+c.rng.Int64N(next-at)
		}
		if keep {
			held := make([]byte, until-sector)
			history.readAt(held, sector)
			content.writeAt(held, sector)
		}
		at = next
	}
}

func (c *crash) flipBits() {
	type place struct {
		inode *memInode
		page  int64
	}
	var places []place
	for _, inode := range c.order {
		for _, n := range inode.durable.written() {
			places = append(places, place{inode, n})
		}
	}
	if len(places) == 0 {
		return
	}
	for range c.options.FlipBits {
		at := places[c.rng.IntN(len(places))]
		within := min(pageBytes, at.inode.durable.size-at.page*pageBytes)
		offset, bit := c.rng.Int64N(within), byte(1)<<c.rng.IntN(8)
		at.inode.durable.pages[at.page][offset] ^= bit
		at.inode.live.pages[at.page][offset] ^= bit
	}
}
