package datadir

import (
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"slices"
	"testing"

	"github.com/quoin-kv/quoin/internal/vfs"
	"github.com/quoin-kv/quoin/raft/wire"
)

func TestSnapFile(t *testing.T) {
	fsys := vfs.NewMem()
	d := open(t, fsys, "/data")
	p := d.Plan().Paths
	for index := uint64(1); index <= 4; index++ {
		s := wire.Snapshot{Data: []byte("{}"), Meta: wire.SnapshotMeta{Index: index, Term: 2, ConfState: wire.ConfState{Voters: []uint64{1}}}}
		must(t, WriteSnapFile(fsys, p, s))
		must(t, WriteSnapFile(fsys, p, s)) // again, after a crash
	}
	must(t, PurgeSnapFiles(fsys, p, 2))
	names, err := fsys.List(p.Snap)
	must(t, err)
	if want := []string{"0000000000000002-0000000000000003.snap", "0000000000000002-0000000000000004.snap"}; !slices.Equal(names, want) {
		t.Errorf("files %v, want %v", names, want)
	}
	f, err := fsys.Crash(vfs.CrashOptions{}).Open(p.SnapFile(2, 4))
	must(t, err)
	defer f.Close()
	b := make([]byte, 64)
	n, _ := f.ReadAt(b, 0) // the end comes early
	// The checksum, then the snapshot: its data, and the mark with configuration, index and term.
	const snapshot = "0a027b7d" + "120a0a040801280010041802"
	sum := crc32.Checksum(unhex(t, snapshot), crc32.MakeTable(crc32.Castagnoli))
	want := hex.EncodeToString(binary.AppendUvarint([]byte{0x08}, uint64(sum))) + "1210" + snapshot
	if got := hex.EncodeToString(b[:n]); got != want {
		t.Errorf("content %s, want %s", got, want)
	}
}

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	must(t, err)
	return b
}

func TestReadSnapFile(t *testing.T) {
	fsys := vfs.NewMem()
	p := open(t, fsys, "/data").Plan().Paths
	must(t, WriteSnapFile(fsys, p, wire.Snapshot{Data: []byte("{}"), Meta: wire.SnapshotMeta{Index: 4, Term: 2}}))
	data, err := ReadSnapFile(fsys, p, 2, 4)
	if err != nil || string(data) != "{}" {
		t.Errorf("%q, %v", data, err)
	}
	if data, err := ReadSnapFile(fsys, p, 2, 5); err != nil || data != nil {
		t.Errorf("of another mark: %q, %v", data, err)
	}
	must(t, fsys.Rename(p.SnapFile(2, 4), p.SnapFile(2, 5)))
	if data, err := ReadSnapFile(fsys, p, 2, 5); err != nil || data != nil {
		t.Errorf("under a wrong name: %q, %v", data, err)
	}
	f, err := fsys.OpenWrite(p.SnapFile(2, 5))
	must(t, err)
	must(t, fsys.Rename(p.SnapFile(2, 5), p.SnapFile(2, 4)))
	_, err = f.WriteAt([]byte{0}, 12)
	must(t, err)
	must(t, f.Close())
	if data, err := ReadSnapFile(fsys, p, 2, 4); err != nil || data != nil {
		t.Errorf("damaged: %q, %v", data, err)
	}
}

func FuzzParseSnapFile(f *testing.F) {
	whole := appendSnapFile(nil, wire.Snapshot{Data: []byte("{}"), Meta: wire.SnapshotMeta{Index: 4, Term: 2, ConfState: wire.ConfState{Voters: []uint64{1}}}})
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add([]byte{snapFileData, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, content []byte) {
		s, err := parseSnapFile(content)
		if err != nil {
			return
		}
		again, err := parseSnapFile(appendSnapFile(nil, s))
		if err != nil || string(again.Data) != string(s.Data) || again.Meta.Index != s.Meta.Index {
			t.Errorf("%+v became %+v, %v", s, again, err)
		}
	})
}
