package cluster

import (
	"errors"
	"math"
	"time"

	"github.com/quoin-kv/quoin/internal/backend"
	"github.com/quoin-kv/quoin/internal/vfs"
	"github.com/quoin-kv/quoin/internal/wal"
)

// The reserve on a member's disk, and times in virtual nanoseconds.
const (
	reserveName  = "reserve"
	reserveBytes = 16 << 10
	lookTime     = 200e6 // between two looks at the room there is
	retryTime    = 100e6 // until what found no room is tried again
)

// disk is a host's file system, whose calls can fail, and which can be full.
type disk struct {
	vfs.FS
	host *host
}

func (h *host) disk() vfs.FS { return &disk{vfs.Intercept(h.fs, h.beforeDisk), h} }

// Space implements vfs.FS.
func (d *disk) Space(string) (vfs.Space, error) {
	free := d.host.room
	if free < 0 {
		free = math.MaxInt64
	}
	return vfs.Space{FreeBytes: free, TotalBytes: math.MaxInt64}, nil
}

// Remove implements vfs.FS: on a full disk, what the reserve took is of use again.
func (d *disk) Remove(name string) error {
	err := d.FS.Remove(name)
	if err == nil && name == "/"+reserveName && d.host.room >= 0 {
		d.host.room += reserveBytes
	}
	return err
}

// afterLook lets the member look at the room on its disk from time to time.
func (m *member) afterLook() {
	room, err := m.reserve.Look()
	if err != nil {
		m.w.engine.Comment(m.host.index, "room not known: %v", err)
	} else if room.Short != m.short {
		m.short = room.Short
		m.w.engine.Note("short", m.host.index, uint64(room.Free))
		m.w.faults["short of room"]++
	}
	m.proc.After(time.Duration(lookTime), m.afterLook)
}

// noRoom reports whether err says that there was no room, so that what was tried is to be tried again.
func (m *member) noRoom(err error) bool {
	if !errors.Is(err, backend.ErrNoRoom) && !errors.As(err, new(*wal.NoRoomError)) {
		return false
	}
	m.w.faults["no room"]++
	if _, releaseErr := m.reserve.Release(); releaseErr != nil {
		m.w.engine.Comment(m.host.index, "reserve not given away: %v", releaseErr)
	}
	return true
}

// saidShort reports whether another member has said that it is short of room, when it was last heard of.
func (m *member) saidShort(id uint64) bool {
	if to := m.w.byID[id]; to != nil && to.member != nil && m.w.network.connected(m.host, to) {
		m.told[id] = to.member.short
	}
	return m.told[id]
}
