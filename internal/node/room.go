package node

import (
	"context"
	"errors"
	"time"

	"github.com/quoin-kv/quoin/internal/backend"
	"github.com/quoin-kv/quoin/internal/wal"
)

// Room is what a member knows of the room on its disks.
type Room struct {
	Short bool   // there is too little for anything that makes the data grow
	Dir   string // the directory on the file system with least
	Free  int64  // bytes there
}

// How often the room is looked at, and how long who has found none waits before trying again.
const (
	roomInterval = 200 * time.Millisecond
	roomRetry    = 100 * time.Millisecond
	roomMarks    = 10 // looks between two marks in the log while room is short, which let go of what the database file holds
)

// Room is the state of the disks when they were last looked at.
func (n *Node) Room() Room { return *n.room.Load() }

// runRoom looks at the room on the disks from time to time.
func (n *Node) runRoom() {
	ticker := time.NewTicker(roomInterval)
	defer ticker.Stop()
	for looks := 0; ; looks++ {
		if looks%roomMarks == 0 && n.Room().Short {
			n.events.put(event{markFrom: n.applied.Load()})
		}
		select {
		case <-ticker.C:
			n.lookAtRoom()
		case <-n.ctx.Done():
			return
		}
	}
}

// lookAtRoom takes note of how much room there is, and says so when it becomes short and when it no longer is.
func (n *Node) lookAtRoom() {
	now, err := n.cfg.Room()
	if err != nil {
		n.roomUnknown.Do(func() { n.cfg.Logger.Warn("room on the disk not known", "error", err) })
		return
	}
	before := n.room.Swap(&now)
	switch {
	case now.Short && !before.Short:
		n.cfg.Logger.Warn("disk space is short: this member takes nothing that makes the data grow, until there is more", "directory", now.Dir, "free_bytes", now.Free)
		poke(n.roomChanged)
	case before.Short && !now.Short:
		n.cfg.Logger.Info("there is disk space again", "directory", now.Dir, "free_bytes", now.Free)
		poke(n.roomChanged)
	}
}

// noRoom reports whether err says that there was no room, so that what was tried is to be tried again. The reserve is given away for it.
func (n *Node) noRoom(err error) bool {
	if errors.Is(err, backend.ErrPoisoned) || !errors.Is(err, backend.ErrNoRoom) && !errors.As(err, new(*wal.NoRoomError)) {
		return false
	}
	if n.cfg.ReleaseRoom == nil {
		return true
	}
	released, releaseErr := n.cfg.ReleaseRoom()
	switch {
	case releaseErr != nil:
		n.cfg.Logger.Warn("reserve not given away", "error", releaseErr)
	case released:
		n.cfg.Logger.Warn("the disk is full: the reserve is given away", "error", err)
	}
	return true
}

// untilRoom does something again and again for as long as it finds no room. If the node stops before, the error is the last one.
func (n *Node) untilRoom(try func() error) error {
	for {
		err := try()
		if !n.noRoom(err) {
			return err
		}
		if wait(n.ctx, roomRetry) != nil {
			return err
		}
	}
}

// wait lets some time pass, unless ctx ends.
func wait(ctx context.Context, d time.Duration) error {
	pause := time.NewTimer(d)
	defer pause.Stop()
	select {
	case <-pause.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
