package vfs

import (
	"errors"
	"io/fs"
	"math"
	"math/rand/v2"
	"syscall"
	"testing"
)

func TestSpace(t *testing.T) {
	each(t, func(t *testing.T, fsys FS, dir string) {
		space, err := fsys.Space(dir)
		must(t, err)
		if space.FreeBytes <= 0 || space.TotalBytes < space.FreeBytes {
			t.Errorf("%+v", space)
		}
		create(t, fsys, dir+"/a", "x")
		if of, err := fsys.Space(dir + "/a"); err != nil || of.Device != space.Device {
			t.Errorf("of a file: %+v, %v; of its directory %+v", of, err, space)
		}
		_, err = fsys.Space(dir + "/none")
		wantIs(t, err, fs.ErrNotExist)
	})
}

func TestBlocks(t *testing.T) {
	for _, c := range []struct {
		n    uint64
		size int64
		want int64
	}{{3, 4096, 12288}, {0, 4096, 0}, {1, 0, math.MaxInt64}, {1, -1, math.MaxInt64}, {math.MaxUint64, 2, math.MaxInt64}} {
		if got := blocks(c.n, c.size); got != c.want {
			t.Errorf("%d blocks of %d: %d", c.n, c.size, got)
		}
	}
}

func free(t *testing.T, m *Mem) int64 {
	t.Helper()
	space, err := m.Space("/dir")
	must(t, err)
	return space.FreeBytes
}

// TestMemLimit: a limited file system behaves as a small one does.
func TestMemLimit(t *testing.T) {
	m := memWithDir(t)
	m.Limit(10 * pageBytes)
	f := create(t, m, "/dir/a", "x")
	if got := free(t, m); got != 9*pageBytes {
		t.Fatalf("%d bytes free behind the first page", got)
	}
	must(t, f.Preallocate(8*pageBytes-1))
	if got := free(t, m); got != 2*pageBytes {
		t.Fatalf("%d bytes free behind what was reserved", got)
	}
	wantIs(t, f.Preallocate(11*pageBytes), syscall.ENOSPC)
	n, err := f.WriteAt(make([]byte, 5*pageBytes), 6*pageBytes-100)
	wantIs(t, err, syscall.ENOSPC)
	if n != 4*pageBytes+100 || free(t, m) != 0 {
		t.Fatalf("%d bytes written, %d free", n, free(t, m))
	}
	if !NoSpace(err) {
		t.Error("not taken for a lack of room")
	}
	_, err = f.WriteAt(make([]byte, 100), 0) // there is room where there was room before
	must(t, err)
	must(t, f.Truncate(pageBytes))
	if got := free(t, m); got != 9*pageBytes {
		t.Fatalf("%d bytes free behind the cut", got)
	}
	must(t, m.Remove("/dir/a"))
	if got := free(t, m); got != 10*pageBytes {
		t.Fatalf("%d bytes free in the end", got)
	}
}

// look is a Look that must go well.
func look(t *testing.T, r *Reserve) Room {
	t.Helper()
	room, err := r.Look()
	must(t, err)
	return room
}

const reserveBytes = 8 * pageBytes

func newReserve(t *testing.T, m *Mem) *Reserve {
	t.Helper()
	r, err := NewReserve(m, "reserve", reserveBytes, "/dir", "/dir")
	must(t, err)
	return r
}

// TestReserve goes through the life of a disk that runs full and is emptied again.
func TestReserve(t *testing.T) {
	m := memWithDir(t)
	m.Limit(200 * pageBytes)
	r := newReserve(t, m)
	if room := look(t, r); room.Short || !room.Held || free(t, m) != 192*pageBytes || room.Free != 192*pageBytes {
		t.Fatalf("at first: %+v", room)
	}
	ballast := create(t, m, "/dir/ballast", "")
	must(t, ballast.Preallocate(184*pageBytes))
	if room := look(t, r); room.Short {
		t.Fatalf("with just enough: %+v", room)
	}
	must(t, ballast.Preallocate(185*pageBytes))
	if room := look(t, r); !room.Short || !room.Held || room.Dir != "/dir" {
		t.Fatalf("with too little: %+v", room)
	}
	must(t, ballast.Truncate(184*pageBytes))
	if room := look(t, r); !room.Short {
		t.Fatalf("it goes to and fro: %+v", room)
	}
	must(t, ballast.Truncate(182*pageBytes))
	if room := look(t, r); room.Short {
		t.Fatalf("with enough again: %+v", room)
	}
	must(t, ballast.Preallocate(192*pageBytes))
	if released, err := r.Release(); err != nil || !released {
		t.Fatalf("%v, %v", released, err)
	}
	if released, err := r.Release(); err != nil || released {
		t.Fatalf("again: %v, %v", released, err)
	}
	if room := look(t, r); !room.Short || room.Held || room.Free != 8*pageBytes {
		t.Fatalf("released: %+v", room)
	}
	must(t, ballast.Truncate(183*pageBytes)) // 17 free: not enough to hold the reserve and have room
	if room := look(t, r); !room.Short || room.Held {
		t.Fatalf("with a little: %+v", room)
	}
	must(t, ballast.Truncate(182*pageBytes))
	if room := look(t, r); room.Short || !room.Held {
		t.Fatalf("in the end: %+v", room)
	}
}

// TestReserveTakenOver: what an earlier process held is held on; what it left half made is not.
func TestReserveTakenOver(t *testing.T) {
	m := memWithDir(t)
	m.Limit(200 * pageBytes)
	look(t, newReserve(t, m))
	ballast := create(t, m, "/dir/ballast", "")
	must(t, ballast.Preallocate(192*pageBytes))
	if room := look(t, newReserve(t, m)); !room.Held || !room.Short {
		t.Fatalf("taken over: %+v", room)
	}
	f, err := m.OpenWrite("/dir/reserve")
	must(t, err)
	must(t, f.Truncate(5))
	must(t, f.Close())
	if room := look(t, newReserve(t, m)); room.Held || !room.Short {
		t.Fatalf("half made: %+v", room)
	}
}

// TestReserveIsBounded: of a small file system only a part is held back, and of none nothing.
func TestReserveIsBounded(t *testing.T) {
	m := memWithDir(t)
	m.Limit(32 * pageBytes)
	if room := look(t, newReserve(t, m)); room.Short || room.Bytes != 2*pageBytes {
		t.Errorf("%+v", room)
	}
	none, err := NewReserve(m, "none", 0, "/dir")
	must(t, err)
	create(t, m, "/dir/ballast", string(make([]byte, 30*pageBytes)))
	if room := look(t, none); room.Short {
		t.Errorf("without a reserve: %+v", room)
	}
	if _, err := m.Stat("/dir/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file of no reserve: %v", err)
	}
}

// TestReserveProperty: whatever comes and goes, room is not short only with the reserve in its place and as much free.
func TestReserveProperty(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	m := memWithDir(t)
	m.Limit(200 * pageBytes)
	r := newReserve(t, m)
	ballast := create(t, m, "/dir/ballast", "")
	for range 2000 {
		if size := rng.Int64N(201) * pageBytes; rng.IntN(2) == 0 {
			must(t, ballast.Truncate(size))
		} else if err := ballast.Preallocate(size); err != nil {
			wantIs(t, err, syscall.ENOSPC)
		}
		if rng.IntN(10) == 0 {
			_, err := r.Release()
			must(t, err)
		}
		room := look(t, r)
		_, err := m.Stat("/dir/reserve")
		if there := err == nil; there != room.Held || !room.Short && (!there || free(t, m) < reserveBytes) {
			t.Fatalf("seed %d: %+v, %d free, file there %v", seed, room, free(t, m), there)
		}
		if room.Short && free(t, m) >= 3*reserveBytes {
			t.Fatalf("seed %d: short with %d free: %+v", seed, free(t, m), room)
		}
	}
}
