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

// maxSnapFileBytes bounds what is read of a .snap file. Those of large clusters have some tens of kilobytes.
const maxSnapFileBytes = 64 << 20

// ReadSnapFile returns what [WriteSnapFile], or etcd, stored of the members at a mark of the log, nil if there is no such file or it is damaged:
// it is a witness, and nothing depends on it.
func ReadSnapFile(fsys vfs.FS, p Paths, term, index uint64) ([]byte, error) {
	content, err := readWhole(fsys, p.SnapFile(term, index))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s, err := parseSnapFile(content)
	if err != nil || s.Meta.Index != index || s.Meta.Term != term {
		return nil, nil
	}
	return s.Data, nil
}

func readWhole(fsys vfs.FS, path string) (content []byte, err error) {
	f, err := fsys.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Size()
	if err != nil || size > maxSnapFileBytes {
		return nil, err
	}
	content = make([]byte, size)
	n, err := f.ReadAt(content, 0)
	if n == len(content) {
		err = nil
	}
	return content, err
}

// parseSnapFile reverses appendSnapFile. Fields may come in any order.
func parseSnapFile(content []byte) (s wire.Snapshot, err error) {
	var sum uint64
	var data []byte
	for len(content) > 0 {
		tag, value, n := content[0], uint64(0), 0
		if value, n = binary.Uvarint(content[1:]); n <= 0 {
			return s, errSnapFile
		}
		content = content[1+n:]
		switch {
		case tag == snapFileCRC:
			sum = value
		case tag == snapFileData && value <= uint64(len(content)):
			data, content = content[:value], content[value:]
		default:
			return s, errSnapFile
		}
	}
	if uint64(crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))) != sum {
		return s, errSnapFile
	}
	return s, s.Unmarshal(data)
}

var errSnapFile = errors.New("damaged .snap file")

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
