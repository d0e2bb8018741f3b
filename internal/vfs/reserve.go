package vfs

import (
	"errors"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"sync"
)

// reserveShare bounds a reserve: it is at most this part of its file system.
const reserveShare = 16

// Reserve watches the room on the file systems of some directories, and holds back some of it in a file on each, for the time when nothing
// else is left.
//
// Room is short as soon as a file system has less than the reserve free, whether the reserve is held or has been given away; and it is not
// short any more once the reserve is held and one and a quarter times as much is free. What is free while the reserve is held is for what
// still has to be written then; the reserve itself is given away only when that is gone, by Release.
//
// Its methods may be called from many goroutines.
//
// Invariants:
//  1. short is false only if every place holds its reserve, or never had one.
//  2. A file of the reserve is never read; whatever it holds can be deleted at any time.
type Reserve struct {
	fs     FS
	mu     sync.Mutex
	places []*place
	short  bool
}

// place is one file system.
type place struct {
	dir   string
	path  string // of the reserve
	bytes int64  // of the reserve
	held  bool
	free  int64 // when it was last looked at
}

// Room is what a Reserve found.
type Room struct {
	Short bool   // there is too little
	Dir   string // the directory with least free
	Free  int64  // bytes there, without the reserve
	Held  bool   // the reserve is held everywhere
	Bytes int64  // of the reserve there
}

// NewReserve watches directories, which must be there. Of each file system the first one gets a file name with bytes in it, or with the
// sixteenth part of the file system if that is less; 0 is no reserve, and room is never short. What an earlier process left under that name
// is taken over.
func NewReserve(fsys FS, name string, bytes int64, dirs ...string) (*Reserve, error) {
	r := &Reserve{fs: fsys}
	var devices []uint64
	for _, dir := range dirs {
		space, err := fsys.Space(dir)
		if err != nil {
			return nil, err
		}
		if slices.Contains(devices, space.Device) {
			continue
		}
		devices = append(devices, space.Device)
		p := &place{dir: dir, path: filepath.Join(dir, name), bytes: min(bytes, space.TotalBytes/reserveShare)}
		if p.held, err = p.found(fsys); err != nil {
			return nil, err
		}
		r.places = append(r.places, p)
	}
	return r, nil
}

// found reports whether an earlier process left a whole reserve.
func (p *place) found(fsys FS) (bool, error) {
	info, err := fsys.Stat(p.path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil && (info.SizeBytes != p.bytes || p.bytes == 0) {
		return false, fsys.Remove(p.path)
	}
	return err == nil, err
}

// Look finds out how much room there is, and takes the reserve back where it was given away, if there is enough for that.
func (r *Reserve) Look() (Room, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	room := Room{Held: true, Free: math.MaxInt64}
	short, margin := false, r.short
	for _, p := range r.places {
		if err := p.look(r.fs); err != nil {
			return Room{}, err
		}
		need := p.bytes
		if margin { // lest it goes to and fro
			need += p.bytes / 4
		}
		short = short || p.free < need || !p.held && p.bytes > 0
		room.Held = room.Held && p.held
		if p.free < room.Free {
			room.Free, room.Dir, room.Bytes = p.free, p.dir, p.bytes
		}
	}
	r.short, room.Short = short, short
	return room, nil
}

func (p *place) look(fsys FS) error {
	space, err := fsys.Space(p.dir)
	if err != nil {
		return err
	}
	p.free = space.FreeBytes
	if p.held || p.bytes == 0 || p.free < 2*p.bytes+p.bytes/4 {
		return nil
	}
	if err := p.hold(fsys); err != nil && !NoSpace(err) {
		return err
	}
	if space, err = fsys.Space(p.dir); err == nil {
		p.free = space.FreeBytes
	}
	return err
}

// hold makes the file. It need not survive a power failure.
func (p *place) hold(fsys FS) error {
	if err := fsys.Remove(p.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := fsys.Create(p.path)
	if err != nil {
		return err
	}
	err = errors.Join(f.Preallocate(p.bytes), f.Close())
	if err != nil {
		return errors.Join(err, fsys.Remove(p.path))
	}
	p.held = true
	return nil
}

// Release gives the reserve away, after something found no room. It reports whether there was any left.
func (r *Reserve) Release() (released bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.short = true
	for _, p := range r.places {
		if !p.held {
			continue
		}
		if err := r.fs.Remove(p.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return released, err
		}
		p.held, released = false, true
	}
	return released, nil
}
