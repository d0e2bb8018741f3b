package wal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/quoin-kv/quoin/internal/vfs"
)

// one is a batch of one entry with a hard state.
func one(index uint64, size int) Batch {
	return Batch{Entries: entries(index, index, 1, size), HardState: state(1, index-1), Sync: true}
}

// fillUp writes one entry after the other until there is no room, and returns the index of the last one.
func fillUp(t *testing.T, l *Log, last uint64, size int) uint64 {
	t.Helper()
	for range 10_000 {
		err := l.Write(one(last+1, size))
		if err != nil {
			var full *NoRoomError
			if !errors.As(err, &full) || !errors.Is(err, syscall.ENOSPC) || full.File != l.tail.path {
				t.Fatalf("error = %v", err)
			}
			l.check(t)
			return last
		}
		last++
	}
	t.Fatal("there is room without end")
	return 0
}

// TestNoRoom: wherever in a record a disk is full that takes writes in part, the batch is taken back. A start finds what was written, and when
// there is room again the same log goes on.
func TestNoRoom(t *testing.T) {
	for room := int64(1); room < 6000; room += 97 {
		mem, c := memConfig(t)
		full := true
		limit := vfs.FullAfter(room)
		c.FS = vfs.Intercept(mem, func(o vfs.Op) error {
			if full {
				return limit(o)
			}
			return nil
		})
		l, err := Create(Config{FS: mem, Dir: c.Dir, SegmentBytes: c.SegmentBytes}, testMeta)
		must(t, err)
		must(t, l.Close())
		l, _ = openLog(t, c)
		last := fillUp(t, l, 0, 300)

		crashed := c
		crashed.FS = mem.Crash(vfs.CrashOptions{Seed: uint64(room), KeepUnsynced: 0.5})
		_, r := openLog(t, crashed)
		wantEntries(t, r.Entries, entries(1, last, 1, 300))

		full = false
		for range 40 {
			last++
			must(t, l.Write(one(last, 300)))
		}
		must(t, l.Close())
		_, r = openLog(t, c)
		wantEntries(t, r.Entries, entries(1, last, 1, 300))
	}
}

// TestFullDisk: a log on a small file system uses what it had reserved, waits, and goes on when there is room; a start while it is full finds
// everything and goes on likewise.
func TestFullDisk(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	for range 25 {
		mem, c := memConfig(t)
		c.SegmentBytes = 32 << 10
		size := 1 + rng.IntN(3000)
		l := createLog(t, c)
		if rng.IntN(2) == 0 {
			must(t, l.Prepare())
		}
		ballast := rng.Int64N(100 << 10)
		mem.Limit(33<<10 + ballast)
		last := fillUp(t, l, 0, size)
		if last*uint64(size+80) < uint64(c.SegmentBytes)*3/4 {
			t.Fatalf("only %d entries of %d bytes fit", last, size)
		}
		if rng.IntN(2) == 0 {
			must(t, l.Close())
			c.FS = mem.Crash(vfs.CrashOptions{})
			var r *Recovered
			l, r = openLog(t, c)
			wantEntries(t, r.Entries, entries(1, last, 1, size))
			last = fillUp(t, l, last, size)
		}
		c.FS.(*vfs.Mem).Limit(1 << 20)
		for range 30 {
			last++
			must(t, l.Write(one(last, size)))
		}
		l.check(t)
		must(t, l.Close())
		_, r := openLog(t, c)
		wantEntries(t, r.Entries, entries(1, last, 1, size))
	}
}

// TestFullDiskGoesOnInSegment: while there is no room for the next segment the present one grows, and the next batch after that moves on.
func TestFullDiskGoesOnInSegment(t *testing.T) {
	mem, c := memConfig(t)
	l := createLog(t, c)
	mem.Limit(11_000) // one segment, and less than another
	for i := uint64(1); i <= 12; i++ {
		must(t, l.Write(one(i, 400)))
	}
	if l.tail.seq != 0 || l.offset < c.SegmentBytes {
		t.Fatalf("segment %d at %d", l.tail.seq, l.offset)
	}
	mem.Limit(1 << 20)
	must(t, l.Write(one(13, 400)))
	if l.tail.seq != 1 {
		t.Fatal("no new segment")
	}
	must(t, l.Close())
	_, r := openLog(t, c)
	wantEntries(t, r.Entries, entries(1, 13, 1, 400))
}

// TestNoRoomInNextSegment: a prepared segment that cannot be written to after all does not end the log.
func TestNoRoomInNextSegment(t *testing.T) {
	mem, c := memConfig(t)
	refuse := true
	c.FS = vfs.Intercept(mem, func(o vfs.Op) error {
		if o.Kind == vfs.OpWrite && refuse && o.Offset == 0 && o.Path != c.Dir+".tmp/0.tmp" {
			return syscall.ENOSPC
		}
		return nil
	})
	l := createLog(t, c)
	must(t, l.Prepare())
	for i := uint64(1); i <= 10; i++ {
		must(t, l.Write(one(i, 500)))
	}
	if l.tail.seq != 0 {
		t.Fatal("a segment without its head")
	}
	l.check(t)
	refuse = false
	must(t, l.Write(one(11, 500)))
	if l.tail.seq != 1 {
		t.Fatal("no new segment")
	}
	must(t, l.Close())
	_, r := openLog(t, c)
	wantEntries(t, r.Entries, entries(1, 11, 1, 500))
}

func TestNoRoomErrorText(t *testing.T) {
	err := &NoRoomError{File: "/w/a.wal", Offset: 7, Err: syscall.ENOSPC}
	if want := "no room for the write-ahead log: /w/a.wal up to offset 7: " + fmt.Sprint(syscall.ENOSPC); err.Error() != want {
		t.Errorf("%q", err)
	}
}
