package embed

import (
	"fmt"

	"github.com/quoin-kv/quoin/internal/datadir"
	"github.com/quoin-kv/quoin/internal/node"
	"github.com/quoin-kv/quoin/internal/vfs"
)

// reserveName is the name of the file that holds the reserve, in the directory of the member and, if that is on another file system, of the
// log.
const reserveName = "reserve"

// scarce is what opening the data takes, in bytes, generously.
const scarce = 8 << 20

// keepRoom begins to watch the room on the disks. If there is next to none left, the reserve is given away at once, so that the member can
// start.
func (d *data) keepRoom(paths datadir.Paths, bytes int64) error {
	var fsys vfs.OS
	dirs := []string{paths.Member}
	there, err := vfs.Exists(fsys, paths.WAL)
	if err != nil {
		return err
	}
	if there { // a new member's is looked at once it is made
		dirs = append(dirs, paths.WAL)
	}
	if d.reserve, err = vfs.NewReserve(fsys, reserveName, bytes, dirs...); err != nil {
		return fmt.Errorf("looking at the room on the disk: %w", err)
	}
	d.dir.KeepFreeBytes = bytes
	room, err := d.room()
	if err != nil || !room.Short {
		return err
	}
	d.logger.Warn("disk space is short", "directory", room.Dir, "free_bytes", room.Free)
	if room.Free < scarce {
		_, err = d.reserve.Release()
	}
	return err
}

// room looks at the room on the disks.
func (d *data) room() (node.Room, error) {
	room, err := d.reserve.Look()
	if err != nil {
		return node.Room{}, fmt.Errorf("looking at the room on the disk: %w", err)
	}
	return node.Room{Short: room.Short, Dir: room.Dir, Free: room.Free}, nil
}

// explainNoSpace says what to do about an error that a full disk has caused.
func explainNoSpace(err error, dataDir string) error {
	if !vfs.NoSpace(err) {
		return err
	}
	return fmt.Errorf("the disk of %s is too full to start: free some space on its file system and start again: %w", dataDir, err)
}
