package wal

import "github.com/quoin-kv/quoin/internal/vfs"

// walk calls visit with every record of the log in dir, oldest first, without taking locks or changing anything. It ends
// without an error at a torn record, and with visit's error if there is one.
func walk(fsys vfs.FS, dir string, visit func(Record) error) error {
	segments, err := openSegments(&Config{FS: fsys, Dir: dir}, false)
	if err != nil {
		return err
	}
	_, err = scan(segments, visit)
	if closeErr := closeSegments(segments); err == nil {
		err = closeErr
	}
	return err
}
