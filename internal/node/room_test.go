package node_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quoin-kv/quoin/internal/backend"
	"github.com/quoin-kv/quoin/internal/node"
	"github.com/quoin-kv/quoin/internal/vfs"
)

// fullAfter is a disk with room for that many bytes more. It writes what there is room for, in whole sectors, as file systems do.
func fullAfter(room int64) func(vfs.Op) error {
	return func(op vfs.Op) error {
		if op.Kind != vfs.OpWrite {
			return nil
		}
		if op.Bytes <= room {
			room -= op.Bytes
			return nil
		}
		end := op.Offset + room
		room = 0
		return &vfs.PartialWrite{Bytes: max(0, end-end%vfs.SectorBytes-op.Offset), Err: syscall.ENOSPC}
	}
}

// fullDisk is a disk that can be made full for writes.
type fullDisk struct {
	armed atomic.Bool
	full  func(vfs.Op) error
}

func (f *fullDisk) fill(room int64) {
	f.full = fullAfter(room)
	f.armed.Store(true)
}

func (f *fullDisk) before(op vfs.Op) error {
	if !f.armed.Load() {
		return nil
	}
	return f.full(op)
}

// numbered is a value that is longer than most and greater than those before it.
func numbered(i int) string { return fmt.Sprintf("%05d%s", i, strings.Repeat("x", 1000)) }

// putUntilFull puts values until one gets no answer, and returns the last one that was acknowledged.
func putUntilFull(t *testing.T, n *node.Node, from int) (last int) {
	t.Helper()
	for i := from; i < from+1000; i++ {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		err := put(ctx, n, "a", numbered(i))
		cancel()
		if err != nil {
			return i - 1
		}
	}
	t.Fatal("the disk is not full")
	return 0
}

// TestFullDisk fills the disk of the log: the put that meets it gets no answer, reads go on, and with room everything goes on. What was
// acknowledged is there, also after a crash while the disk is full.
func TestFullDisk(t *testing.T) {
	for _, room := range []int64{0, 100, 5000, 64 << 10, 100 << 10} {
		t.Run(fmt.Sprint(room), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, disk := newDisks(t), &fullDisk{}
				n := start(t, d, vfs.Intercept(d.fs, disk.before))
				check(t, put(t.Context(), n, "a", numbered(0)))
				disk.fill(room)
				last := putUntilFull(t, n, 1)
				if got := get(t, n, "a"); got != numbered(last) {
					t.Errorf("a is %.5q, acknowledged was %05d", got, last)
				}
				crashed := d.crash(uint64(room))

				disk.armed.Store(false)
				check(t, put(t.Context(), n, "a", numbered(5000)))
				disk.fill(room)
				last = putUntilFull(t, n, 5001)
				if err := n.Stop(); err != nil {
					t.Errorf("stopped while the disk is full: %v", err)
				}
				for name, place := range map[string]disks{"stopped": d, "crashed": crashed} {
					want := last
					if name == "crashed" {
						want = 0
					}
					n = start(t, place, place.fs)
					if got := get(t, n, "a"); got < numbered(want) {
						t.Errorf("%s: a is %.5q, but %05d was acknowledged", name, got, want)
					}
					check(t, n.Stop())
				}
			})
		})
	}
}

// TestFullFile: while there is no room for the database file members go on, and it catches up when there is.
func TestFullFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisks(t)
		var released atomic.Int64
		n := options{node: func(c *node.Config) {
			c.ReleaseRoom = func() (bool, error) { return released.Add(1) == 1, nil }
		}}.start(t, d)
		check(t, put(t.Context(), n, "a", numbered(0)))
		check(t, n.Flush(t.Context()))
		d.db.Fail(syscall.ENOSPC)
		for i := range 100 {
			check(t, put(t.Context(), n, "a", numbered(i)))
		}
		if err := n.Flush(t.Context()); !errors.Is(err, backend.ErrNoRoom) {
			t.Errorf("a flush without room: %v", err)
		}
		if released.Load() == 0 {
			t.Error("the reserve was kept")
		}
		d.db.Fail(nil)
		check(t, n.Flush(t.Context()))
		d.db.Fail(syscall.ENOSPC)
		check(t, put(t.Context(), n, "a", numbered(200)))
		check(t, n.Stop())
		d.db.Fail(nil)
		n = start(t, d, d.fs)
		if got := get(t, n, "a"); got != numbered(200) {
			t.Errorf("a is %.5q", got)
		}
		check(t, n.Stop())
	})
}

// TestShortOfRoom: what is known of the room on the disks shows in the status, and is looked at again.
func TestShortOfRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisks(t)
		var short, broken atomic.Bool
		n := options{node: func(c *node.Config) {
			c.Room = func() (node.Room, error) {
				if broken.Load() {
					return node.Room{}, syscall.EIO
				}
				return node.Room{Short: short.Load(), Dir: "/", Free: 5}, nil
			}
		}}.start(t, d)
		for _, want := range []bool{false, true, false, true} {
			short.Store(want)
			pass(time.Second)
			if n.Status().Short != want {
				t.Errorf("short %v, want %v", n.Status().Short, want)
			}
		}
		broken.Store(true)
		pass(time.Second)
		if !n.Status().Short || n.Room() != (node.Room{Short: true, Dir: "/", Free: 5}) {
			t.Error("forgotten when it could not be found out")
		}
		check(t, n.Stop())
	})
}

// pass lets fake time pass.
func pass(d time.Duration) { <-time.After(d) }
