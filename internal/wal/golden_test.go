package wal

import (
	"bytes"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/quoin-kv/quoin/internal/vfs"
	"github.com/quoin-kv/quoin/raft/wire"
)

// golden returns the bytes of a commented hex file in testdata.
func golden(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	must(t, err)
	var b []byte
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		part, err := hex.DecodeString(strings.Join(strings.Fields(line), ""))
		must(t, err)
		b = append(b, part...)
	}
	return b
}

// firstBoot is what first-boot.hex holds, as batches.
func firstBoot() []Batch {
	conf := []byte("\x10\x00\x18\xcd\xd2\x91\x8b\xd2\xb8\x81\xcf\x8e\x01\x22\x02{}")
	return []Batch{
		{
			Entries:   []wire.Entry{{Type: wire.EntryConfChange, Term: 1, Index: 1, Data: conf}},
			HardState: wire.HardState{Term: 1, Commit: 1}, Sync: true,
		},
		{Entries: []wire.Entry{{Term: 2, Index: 2}}, HardState: state(2, 1), Sync: true},
		{HardState: state(2, 2)},
		{
			Entries:   []wire.Entry{entry(3, 2, strings.Repeat("q", 300)), entry(4, 2, "uoin")},
			HardState: state(2, 3), Sync: true,
		},
		{Mark: &Mark{Index: 2, Term: 2, ConfState: &wire.ConfState{Voters: []uint64{testMeta.NodeID}}}},
	}
}

func fileBytes(t testing.TB, fsys vfs.FS, path string) []byte {
	t.Helper()
	f, err := fsys.Open(path)
	must(t, err)
	defer f.Close()
	size, err := f.Size()
	must(t, err)
	b := make([]byte, size)
	_, err = f.ReadAt(b, 0)
	must(t, err)
	return b
}

// TestGoldenFirstBoot: what we write at a member's first start is what etcd writes, byte for byte.
func TestGoldenFirstBoot(t *testing.T) {
	_, c := memConfig(t)
	l := createLog(t, c)
	for _, b := range firstBoot() {
		write(t, l, b)
	}
	want := golden(t, "first-boot.hex")
	got := fileBytes(t, c.FS, l.tail.path)
	if int64(len(got)) != c.SegmentBytes || !zero(got[len(want):]) {
		t.Fatalf("%d bytes, or the rest is not zero", len(got))
	}
	if got = got[:len(want)]; !bytes.Equal(got, want) {
		t.Fatalf("segment\n%swant\n%s", hex.Dump(got), hex.Dump(want))
	}
}

func TestGoldenIsRead(t *testing.T) {
	c := segmentWith(t, golden(t, "first-boot.hex"))
	_, r := openLog(t, c)
	wantEntries(t, r.Entries, []wire.Entry{entry(3, 2, strings.Repeat("q", 300)), entry(4, 2, "uoin")})
	if r.Metadata != testMeta || r.HardState != state(2, 3) || r.Mark.Index != 2 || r.Mark.ConfState == nil {
		t.Fatalf("recovered %+v", r)
	}
}

// segmentWith makes a log of one segment that holds those bytes.
func segmentWith(t testing.TB, content []byte) Config {
	t.Helper()
	mem, c := memConfig(t)
	must(t, mem.Mkdir(c.Dir))
	f, err := mem.Create(c.Dir + "/" + segmentName(0, 0))
	must(t, err)
	_, err = f.WriteAt(content, 0)
	must(t, err)
	must(t, f.Preallocate(c.SegmentBytes))
	must(t, f.Close())
	return c
}

// TestGoldenOldEntries: entries before etcd 3.7 spell out type 0 and leave out empty data.
func TestGoldenOldEntries(t *testing.T) {
	for data, want := range map[string]wire.Entry{
		"\x08\x00\x10\x02\x18\x05":          entry(5, 2, ""),
		"\x08\x00\x10\x02\x18\x05\x22\x00":  entry(5, 2, ""),
		"\x08\x00\x10\x02\x18\x05\x22\x01x": entry(5, 2, "x"),
		"\x10\x02\x18\x05\x22\x01x":         entry(5, 2, "x"),
	} {
		got, err := unmarshalEntry([]byte(data))
		must(t, err)
		wantEntries(t, []wire.Entry{got}, []wire.Entry{want})
	}
}

// TestChecksumByHand computes CRC-32C bit by bit over the data of the golden segment.
func TestChecksumByHand(t *testing.T) {
	var crc uint32
	c := segmentWith(t, golden(t, "first-boot.hex"))
	must(t, walk(c.FS, c.Dir, func(r Record) error {
		crc = ^crc
		for _, b := range r.Data {
			crc ^= uint32(b)
			for range 8 {
				crc = crc>>1 ^ 0x82F63B78&-(crc&1)
			}
		}
		crc = ^crc
		return nil
	}))
	if crc != 0x127ba308 { // "88 c6 ee 93 01" as the checksum of the last golden record
		l, _ := openLog(t, c)
		t.Fatalf("by hand %08x, log %08x", crc, l.encoder.crc)
	}
}

// TestDurabilityProtocol compares what a log does to its files, and in which order, with testdata/durability.txt. With
// UPDATE_GOLDEN set it writes that file instead.
func TestDurabilityProtocol(t *testing.T) {
	mem, c := memConfig(t)
	var trace strings.Builder
	c.FS = vfs.Intercept(mem, func(o vfs.Op) error {
		switch o.Kind {
		case vfs.OpOpen, vfs.OpList, vfs.OpStat, vfs.OpRead:
		default:
			trace.WriteString(o.String() + "\n")
		}
		return nil
	})
	step := func(name string, do func() error) {
		trace.WriteString("\n# " + name + "\n")
		must(t, do())
	}
	var l *Log
	step("create", func() (err error) { l, err = Create(c, testMeta); return err })
	batch := func(b Batch) func() error { return func() error { return l.Write(b) } }
	step("write a batch with entries", batch(Batch{Entries: entries(1, 3, 1, 100), HardState: state(1, 1), Sync: true}))
	step("write a commit index", batch(Batch{HardState: state(1, 3)}))
	step("prepare the next segment", func() error { return l.Prepare() })
	step("write a batch that fills the segment", batch(Batch{Entries: entries(4, 4, 1, 4000), Sync: true}))
	step("fill a segment without having prepared", batch(Batch{Entries: entries(5, 5, 1, 4000), HardState: state(1, 5), Sync: true}))
	step("write a mark", batch(Batch{Mark: &Mark{Index: 5, Term: 1}}))
	step("release what lies before the mark", func() error { return l.Release(5) })
	step("purge", func() error { return l.Purge(1) })
	step("write without sync and close", func() error { return l.Write(Batch{HardState: state(1, 5)}) })
	end := l.offset
	must(t, l.Close())
	step("open", func() (err error) { l, _, err = Open(c); return err })
	must(t, l.Write(Batch{Entries: entries(6, 6, 1, 900), Sync: true}))
	must(t, l.Close())
	tear(t, mem, l.tail.path, end+512)
	step("open and repair a torn batch", func() (err error) { l, _, err = Open(c); return err })
	must(t, l.Close())
	compareText(t, "testdata/durability.txt", strings.TrimSpace(trace.String())+"\n")
}

// tear makes the sector at that offset zero.
func tear(t testing.TB, fsys vfs.FS, path string, offset int64) {
	t.Helper()
	f, err := fsys.OpenWrite(path)
	must(t, err)
	_, err = f.WriteAt(make([]byte, vfs.SectorBytes), offset-offset%vfs.SectorBytes)
	must(t, err)
	must(t, f.Close())
}

func compareText(t *testing.T, path, got string) {
	t.Helper()
	if os.Getenv("UPDATE_GOLDEN") != "" {
		must(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	must(t, err)
	if got != string(want) {
		t.Fatalf("%s differs; now it is\n%s", path, got)
	}
}
