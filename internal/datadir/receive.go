package datadir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"syscall"
	"time"

	"github.com/quoin-kv/quoin/internal/faultpoint"
	"github.com/quoin-kv/quoin/internal/vfs"
)

const (
	receiveBufferBytes = 256 << 10
	// receiveSyncBytes is what may wait for the disk at a time. The sender gives up a few seconds after its last byte, so the last sync
	// must not have all of a large file to do.
	receiveSyncBytes = 64 << 20
)

// Receive stores a storage file that another member sends, durably, and returns the log index at which it ends. check judges the whole
// file at a path before it counts as received, and says the index. A file of that index that is there already is replaced: both hold the
// same. Whatever fails leaves nothing behind. Several files may be received at the same time.
func (d *Dir) Receive(ctx context.Context, body io.Reader, check func(path string) (index uint64, err error)) (index uint64, err error) {
	f, path, err := d.createTemporary()
	if err != nil {
		return 0, fmt.Errorf("receive a storage file: %w", err)
	}
	err = errors.Join(d.copyTo(ctx, f, body), f.Close())
	if err == nil {
		index, err = check(path)
	}
	if err == nil {
		err = d.fs.Rename(path, d.paths.ReceivedSnapshot(index))
	}
	if err != nil {
		return 0, fmt.Errorf("receive a storage file: %w", errors.Join(err, d.fs.Remove(path)))
	}
	faultpoint.Hit(faultpoint.SnapDBRenameBeforeDirSync)
	if text, ok := faultpoint.Value(faultpoint.SnapDBDirSyncError); ok {
		return 0, errors.New(text)
	}
	return index, d.fs.SyncDir(d.paths.Snap)
}

// createTemporary makes a file under a name that the next Open takes for a leftover.
func (d *Dir) createTemporary() (vfs.File, string, error) {
	for n := 0; ; n++ {
		path := filepath.Join(d.paths.Snap, fmt.Sprintf("tmp%d", n))
		f, err := d.fs.Create(path)
		if !errors.Is(err, fs.ErrExist) {
			return f, path, err
		}
	}
}

// copyTo writes everything that body yields to f and makes it durable. Only io.EOF is body's end: one that is cut short has another error.
func (d *Dir) copyTo(ctx context.Context, f vfs.File, body io.Reader) error {
	buffer := make([]byte, receiveBufferBytes)
	var offset, synced int64
	for {
		if err := errors.Join(ctx.Err(), d.enough()); err != nil {
			return err
		}
		n, readErr := fill(body, buffer)
		if _, err := f.WriteAt(buffer[:n], offset); err != nil {
			return err
		}
		offset += int64(n)
		switch {
		case errors.Is(readErr, io.EOF):
			return d.sync(f)
		case readErr != nil:
			return readErr
		case offset-synced >= receiveSyncBytes:
			if err := d.sync(f); err != nil {
				return err
			}
			synced = offset
		}
	}
}

// enough refuses to go on when there is less room than is to stay free.
func (d *Dir) enough() error {
	if d.KeepFreeBytes == 0 {
		return nil
	}
	space, err := d.fs.Space(d.paths.Snap)
	if err != nil {
		return err
	}
	if keep := min(d.KeepFreeBytes, space.TotalBytes/16); space.FreeBytes < keep {
		return fmt.Errorf("%s has %d bytes free, of which %d are to stay: %w", d.paths.Snap, space.FreeBytes, keep, syscall.ENOSPC)
	}
	return nil
}

// sync makes what was received so far durable.
func (d *Dir) sync(f vfs.File) error {
	began := time.Now()
	err := f.Sync()
	if d.OnReceivedSync != nil {
		d.OnReceivedSync(time.Since(began))
	}
	return err
}

// fill reads until the buffer is full or reading fails. Unlike io.ReadFull it passes on every error as it is.
func fill(body io.Reader, buffer []byte) (n int, err error) {
	for n < len(buffer) && err == nil {
		var more int
		more, err = body.Read(buffer[n:])
		n += more
	}
	return n, err
}
