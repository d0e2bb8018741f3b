package datadir

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path/filepath"

	"github.com/quoin-kv/quoin/internal/vfs"
	"github.com/quoin-kv/quoin/raft/wire"
)

// Fields of a .snap file, which is a protobuf message around a raft snapshot.
const (
	snapFileCRC  = 1 << 3   // varint, CRC-32C of the data
	snapFileData = 2<<3 | 2 // bytes, the snapshot
	snapSuffix   = ".snap"
)

// SnapFile is the path of the file that says who the members were at a mark of the log.
func (p Paths) SnapFile(term, index uint64) string {
	return filepath.Join(p.Snap, fmt.Sprintf("%016x-%016x%s", term, index, snapSuffix))
}

// WriteSnapFile stores, durably, who the members were at a mark of the log: s.Meta is the mark, s.Data the members as etcd writes them. This
// program never reads the file; etcd 3.5 and 3.6 start from the newest one whose mark is in the log, so a directory that
// they are to take over needs it. It may be written after the mark, before what the mark makes superfluous is given up.
func WriteSnapFile(fsys vfs.FS, p Paths, s wire.Snapshot) error {
	path := p.SnapFile(s.Meta.Term, s.Meta.Index)
	building := filepath.Join(p.Snap, "tmp"+filepath.Base(path)) // a leftover to the next Open
	if err := vfs.RemoveAll(fsys, building); err != nil {
		return err
	}
	f, err := fsys.Create(building)
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(appendSnapFile(nil, s), 0); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, fsys.Remove(building))
	}
	if err := fsys.Rename(building, path); err != nil {
		return err
	}
	return fsys.SyncDir(p.Snap)
}

func appendSnapFile(b []byte, s wire.Snapshot) []byte {
	data := s.Append(nil)
	b = append(b, snapFileCRC)
	b = binary.AppendUvarint(b, uint64(crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))))
	b = append(b, snapFileData)
	b = binary.AppendUvarint(b, uint64(len(data)))
	return append(b, data...)
}

// PurgeSnapFiles deletes all but the newest keep files that WriteSnapFile, or etcd, wrote; 0 deletes none.
func PurgeSnapFiles(fsys vfs.FS, p Paths, keep int) error {
	names, err := fsys.List(p.Snap)
	if errors.Is(err, fs.ErrNotExist) || keep == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	var files []string // oldest first, as names ascend with term and index
	for _, name := range names {
		var term, index uint64
		if n, _ := fmt.Sscanf(name, "%016x-%016x", &term, &index); n == 2 && filepath.Base(p.SnapFile(term, index)) == name {
			files = append(files, name)
		}
	}
	for len(files) > keep {
		if err := fsys.Remove(filepath.Join(p.Snap, files[0])); err != nil {
			return err
		}
		files = files[1:]
	}
	return nil
}
