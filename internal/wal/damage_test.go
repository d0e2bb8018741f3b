package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/quoin-kv/quoin/internal/vfs"
	"github.com/quoin-kv/quoin/raft/wire"
)

// wantCorrupt opens a log and checks that the damage is named.
func wantCorrupt(t *testing.T, c Config, cause string, offset int64, record int) {
	t.Helper()
	_, _, err := Open(c)
	var corrupt *CorruptionError
	if !errors.As(err, &corrupt) {
		t.Fatalf("error = %v, want a CorruptionError", err)
	}
	if !strings.Contains(corrupt.Err.Error(), cause) || corrupt.Offset != offset || corrupt.Record != record {
		t.Fatalf("error = %v, want %q at offset %d, record %d", err, cause, offset, record)
	}
	if errors.Is(err, vfs.ErrLocked) {
		t.Fatal("locks were kept")
	}
	f, err := c.FS.OpenWrite(corrupt.File)
	must(t, err)
	must(t, f.Lock(vfs.LockOFD))
	must(t, f.Close())
}

// TestEveryBitFlip turns over each bit of a small log of two segments. Each flip must be refused or change nothing of
// what is recovered: it hit padding, or the unused space behind the last record.
func TestEveryBitFlip(t *testing.T) {
	more := append(firstBoot(),
		Batch{Entries: entries(5, 5, 2, 90), HardState: state(2, 4), Sync: true},
		Batch{Entries: entries(6, 7, 3, 90), HardState: state(3, 4), Sync: true})
	for name, batches := range map[string][]Batch{
		"two segments": more, "ends with a mark": firstBoot(), "ends with a hard state": firstBoot()[:4],
		"ends with a commit at the mark": append(firstBoot()[:3], Batch{Mark: &Mark{Index: 2, Term: 2}}, firstBoot()[2]),
	} {
		t.Run(name, func(t *testing.T) { flipAll(t, batches) })
	}
}

func flipAll(t *testing.T, batches []Batch) {
	mem, c := memConfig(t)
	c.SegmentBytes = 700
	l := createLog(t, c)
	for _, b := range batches {
		write(t, l, b)
	}
	must(t, l.Close())
	before, err := Read(c)
	must(t, err)
	count := map[string]int{}
	for _, name := range strings.Fields(segmentsIn(t, c)) {
		path := c.Dir + "/" + name
		content := fileBytes(t, mem, path)
		written := int64(len(bytes.TrimRight(content, "\x00"))) + 16
		for bit := range min(written, int64(len(content))) * 8 {
			count[flip(t, c, mem, path, bit, before)]++
		}
	}
	if t.Logf("%v", count); count["refused"] < 5*count["harmless"] {
		t.Fatalf("outcomes %v", count)
	}
}

// flip opens a copy of the log in which one bit is turned over and says what came of it.
func flip(t *testing.T, c Config, mem *vfs.Mem, path string, bit int64, before *Recovered) string {
	t.Helper()
	f, err := mem.OpenWrite(path)
	must(t, err)
	defer f.Close()
	var b [1]byte
	_, err = f.ReadAt(b[:], bit/8)
	must(t, err)
	_, err = f.WriteAt([]byte{b[0] ^ 1<<(bit%8)}, bit/8)
	must(t, err)
	defer f.WriteAt(b[:], bit/8)
	must(t, f.Sync())
	must(t, mem.SyncDir(c.Dir))
	c.FS = mem.Crash(vfs.CrashOptions{})
	l, r, err := Open(c)
	var corrupt *CorruptionError
	switch {
	case errors.As(err, &corrupt):
		return "refused"
	case err != nil:
		t.Fatalf("byte %d: %v", bit/8, err)
	}
	must(t, l.Close())
	if recoveredText(r) != recoveredText(before) {
		t.Fatalf("byte %d, bit %d: recovered\n%s\nwant\n%s", bit/8, bit%8, recoveredText(r), recoveredText(before))
	}
	return "harmless"
}

// records builds a segment from records that were not written by Log.
func records(fill func(e *encoder)) []byte {
	var e encoder
	e.seed()
	e.metadata(testMeta.append(nil))
	e.mark(&Mark{})
	fill(&e)
	return e.frames
}

func put(e *encoder, list ...wire.Entry) {
	for i := range list {
		e.entry(&list[i])
	}
}

func TestDamagedContent(t *testing.T) {
	cases := map[string]struct {
		cause string
		fill  func(e *encoder)
	}{
		"gap": {"entries are missing", func(e *encoder) { put(e, entry(2, 1, "x")) }},
		"falling term": {"has term 1, the one before it term 2", func(e *encoder) {
			put(e, entry(1, 2, "x"), entry(2, 1, "x"))
		}},
		"state behind its entries": {"hard state has term 1", func(e *encoder) {
			put(e, entry(1, 2, "x"))
			e.state(state(1, 0))
		}},
		"entry without a term": {"index 1 and term 0", func(e *encoder) { put(e, entry(1, 0, "x")) }},
		"unknown entry type": {"unknown type 9", func(e *encoder) {
			put(e, wire.Entry{Type: 9, Index: 1, Term: 1})
		}},
		"state that is an entry": {"field 4", func(e *encoder) {
			one := entry(1, 1, "x")
			e.data = one.Append(nil)
			e.frame(RecordState)
		}},
		"state without a vote": {"incomplete hard state", func(e *encoder) {
			e.data = append(e.data[:0], 8, 1, 24, 1)
			e.frame(RecordState)
		}},
		"state without a term": {"incomplete hard state", func(e *encoder) { e.state(state(0, 1)) }},
		"second metadata":      {"cannot be of type 1", func(e *encoder) { e.metadata(testMeta.append(nil)) }},
		"unknown record":       {"unknown record type 6", func(e *encoder) { e.frame(6) }},
		"two terms of a mark": {"an earlier one term 0", func(e *encoder) {
			e.mark(&Mark{Index: 0, Term: 4})
		}},
		"checksum": {"checksum is", func(e *encoder) {
			e.crc++
			put(e, entry(1, 1, "xyz"))
		}},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			content := records(test.fill)
			good := int64(len(records(func(*encoder) {})))
			offset, record := good, 3
			if strings.Contains(name, "falling") || strings.Contains(name, "behind") {
				offset, record = good+int64(len(content)-int(good))-lastFrame(content, good), 4
			}
			wantCorrupt(t, segmentWith(t, content), test.cause, offset, record)
		})
	}
}

// lastFrame returns the length of the second of two frames that begin at that offset.
func lastFrame(content []byte, at int64) int64 {
	n, err := parseFrameField(binary.LittleEndian.Uint64(content[at:]))
	if err != nil {
		return 0
	}
	return int64(len(content)) - at - frameHeadBytes - n - padding(n)
}

func TestDamagedFrames(t *testing.T) {
	content := records(func(*encoder) {})
	at := int64(len(content))
	for name, test := range map[string]struct {
		cause string
		frame []byte
	}{
		"length beyond reason":     {"record of 1125899906842624 bytes", binary.LittleEndian.AppendUint64(nil, 1<<50)},
		"padding that is none":     {"impossible length field", []byte{16, 0, 0, 0, 0, 0, 0, 0x81}},
		"missing padding":          {"impossible length field", []byte{15, 0, 0, 0, 0, 0, 0, 0}},
		"record too short":         {"impossible length field", []byte{1, 0, 0, 0, 0, 0, 0, 0x87}},
		"zero length, data behind": {"length field is zero", []byte{0, 0, 0, 0, 0, 0, 0, 0, 8, 2}},
		"longer than it says":      {"unexpected EOF", []byte{24, 0, 0, 0, 0, 0, 0, 0, 8, 2, 16, 1, 26, 99}},
		"not a record":             {"unexpected field", []byte{8, 0, 0, 0, 0, 0, 0, 0, 34, 4, 1, 1, 1, 1, 8, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			wantCorrupt(t, segmentWith(t, append(bytes.Clone(content), test.frame...)), test.cause, at, 3)
		})
	}
}

// TestDamageInEarlierSegment: only the last segment can be torn.
func TestDamageInEarlierSegment(t *testing.T) {
	mem, c := memConfig(t)
	l := createLog(t, c)
	write(t, l, Batch{Entries: entries(1, 5, 1, 1000), HardState: state(1, 0), Sync: true})
	must(t, l.Close())
	path := c.Dir + "/" + segmentName(0, 0)
	tear(t, mem, path, 1024)
	_, _, err := Open(c)
	var corrupt *CorruptionError
	if !errors.As(err, &corrupt) || corrupt.File != path {
		t.Fatalf("error = %v", err)
	}
	f, err := mem.OpenWrite(path)
	must(t, err)
	must(t, f.Truncate(1024))
	must(t, f.Close())
	if _, _, err := Open(c); !errors.As(err, &corrupt) || corrupt.File != path {
		t.Fatalf("error = %v", err)
	}
}

func TestMissingSegments(t *testing.T) {
	for i, cause := range []string{"no usable snapshot mark", "files are missing", ""} {
		_, c := memConfig(t)
		l := createLog(t, c)
		write(t, l, Batch{Entries: entries(1, 5, 1, 1000), HardState: state(1, 5), Sync: true})
		write(t, l, Batch{Entries: entries(6, 10, 1, 1000), HardState: state(1, 5), Sync: true})
		write(t, l, Batch{Mark: &Mark{Index: 2, Term: 1}})
		must(t, l.Close())
		names := strings.Fields(segmentsIn(t, c))
		must(t, c.FS.Remove(c.Dir+"/"+names[i]))
		_, r, err := Open(c)
		switch {
		case cause == "" && err == nil:
			wantEntries(t, r.Entries, entries(1, 10, 1, 1000))
		case cause == "" || err == nil || !strings.Contains(err.Error(), cause):
			t.Fatalf("without segment %d: error = %v, want %q", i, err, cause)
		}
	}
}

func TestConflictingMetadata(t *testing.T) {
	mem, c := memConfig(t)
	l := createLog(t, c)
	write(t, l, Batch{Entries: entries(1, 5, 1, 1000), HardState: state(1, 5), Sync: true})
	path := l.tail.path
	var s scanner
	must(t, s.start(l.mu.held[0], false))
	for s.offset < s.size {
		_, err := s.next()
		must(t, err)
	}
	e := encoder{crc: s.crc}
	must(t, l.Close())
	e.seed()
	e.metadata(Metadata{NodeID: 1, ClusterID: 2}.append(nil))
	f, err := mem.OpenWrite(path)
	must(t, err)
	must(t, f.Truncate(0))
	_, err = f.WriteAt(e.frames, 0)
	must(t, err)
	must(t, f.Close())
	wantCorrupt(t, c, "metadata differs", 16, 1)
}

// TestRepair: a batch that lost a sector is cut off, the file is kept aside, and the log goes on behind the last good
// record. The same for a file that ends within a record.
func TestRepair(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, c Config, path string, good int64){
		"lost sector": func(t *testing.T, c Config, path string, good int64) { tear(t, c.FS, path, good+900) },
		"short file": func(t *testing.T, c Config, path string, good int64) {
			f, err := c.FS.OpenWrite(path)
			must(t, err)
			must(t, f.Truncate(good+700))
			must(t, f.Close())
		},
		"short length field": func(t *testing.T, c Config, path string, good int64) {
			f, err := c.FS.OpenWrite(path)
			must(t, err)
			must(t, f.Truncate(good+3))
			must(t, f.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			mem, c := memConfig(t)
			l := createLog(t, c)
			write(t, l, Batch{Entries: entries(1, 3, 1, 100), HardState: state(1, 2), Sync: true})
			good, path := l.offset, l.tail.path
			write(t, l, Batch{Entries: entries(4, 6, 1, 700), Sync: true})
			must(t, l.Close())
			damage(t, c, path, good)
			torn := fileBytes(t, mem, path)
			l, r := openLog(t, c)
			if name == "lost sector" {
				good = r.Repaired.Offset // the record before the lost sector is good
			}
			want := RepairInfo{File: path, Copy: path + ".broken", Offset: good, Lost: int64(len(torn)) - good}
			if *r.Repaired != want {
				t.Fatalf("repaired %+v, want %+v", *r.Repaired, want)
			}
			if !bytes.Equal(fileBytes(t, mem, want.Copy), torn) {
				t.Fatal("the copy is not what was there")
			}
			if !zero(fileBytes(t, mem, path)[good:]) {
				t.Fatal("something was left behind the last good record")
			}
			next := l.lastIndex + 1
			write(t, l, Batch{Entries: entries(next, next, 1, 10), Sync: true})
			must(t, l.Close())
			_, r = openLog(t, c)
			if r.Repaired != nil || r.Entries[len(r.Entries)-1].Index != next {
				t.Fatalf("after the repair %s, %+v", recoveredText(r), r.Repaired)
			}
		})
	}
}

// TestTornAcrossFrameHead tears a write so that the length field is the last thing of its sector that survived.
func TestTornAcrossFrameHead(t *testing.T) {
	mem, c := memConfig(t)
	l := createLog(t, c)
	write(t, l, Batch{Entries: entries(1, 1, 1, 300), HardState: state(1, 0), Sync: true})
	fill := vfs.SectorBytes - frameHeadBytes - l.offset%vfs.SectorBytes
	data := 0
	for ; ; data++ { // find the entry whose frame ends there
		probe := encoder{crc: l.encoder.crc}
		put(&probe, entry(2, 1, strings.Repeat("x", data)))
		if int64(len(probe.frames)) == fill {
			break
		}
	}
	write(t, l, Batch{Entries: []wire.Entry{entry(2, 1, strings.Repeat("x", data))}, Sync: true})
	end := l.offset
	write(t, l, Batch{Entries: entries(3, 3, 1, 100), Sync: true})
	must(t, l.Close())
	tear(t, mem, l.tail.path, end+frameHeadBytes)
	_, r := openLog(t, c)
	if r.Repaired == nil || r.Repaired.Offset != end || len(r.Entries) != 2 {
		t.Fatalf("recovered %s, repaired %+v", recoveredText(r), r.Repaired)
	}
}

func FuzzOpen(f *testing.F) {
	boot := golden(f, "first-boot.hex")
	f.Add(boot)
	f.Add(boot[:590])
	f.Add([]byte{})
	f.Add(records(func(e *encoder) {
		put(e, entry(1, 1, strings.Repeat("\x00", 2000)))
		e.state(state(1, 1))
	}))
	for i := 0; i < len(boot); i += 13 {
		flipped := bytes.Clone(boot)
		flipped[i] ^= 0x11
		f.Add(flipped)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		if len(content) > 1<<16 {
			return
		}
		c := segmentWith(t, content)
		l, r, err := Open(c)
		if err != nil {
			return
		}
		if err := goesOn(l, c, r); err != nil && r.HardState.Term < 1<<60 {
			t.Fatal(err)
		}
	})
}

// FuzzSequence reads segments whose checksums are right and whose records are anything: bytes of the input are taken as
// type, length and data of one record after the other.
func FuzzSequence(f *testing.F) {
	f.Add([]byte("\x02\x07\x10\x01\x18\x01\x22\x01x\x03\x06\x08\x01\x10\x00\x18\x01\x05\x04\x08\x01\x10\x01"))
	f.Add([]byte("\x05\x04\x08\x09\x10\x01\x03\x06\x08\x01\x10\x00\x18\x09\x02\x04\x10\x01\x18\x0a"))
	f.Add([]byte("\x04\x00\x01\x02\x08\x01\x06\x01x"))
	f.Fuzz(func(t *testing.T, input []byte) {
		c := segmentWith(t, records(func(e *encoder) {
			for len(input) > 2 && len(e.frames) < 3000 {
				n := min(int(input[1]), len(input)-2)
				e.data = append(e.data[:0], input[2:2+n]...)
				e.frame(RecordType(input[0] % 8))
				input = input[2+n:]
			}
		}))
		l, r, err := Open(c)
		if err != nil || r.HardState.Term > 1<<60 || l.lastIndex > 1<<60 {
			return
		}
		for i, e := range r.Entries {
			if e.Index != r.Mark.Index+uint64(i)+1 {
				t.Fatalf("entry %d is at position %d after mark %d", e.Index, i, r.Mark.Index)
			}
		}
		if err := goesOn(l, c, r); err != nil && !strings.Contains(err.Error(), "hard state has term") {
			t.Fatal(err)
		}
	})
}

// FuzzRecord: what parses is what the encoder writes, or at least parses to the same again.
func FuzzRecord(f *testing.F) {
	boot := golden(f, "first-boot.hex")
	f.Add(boot[8:12])
	f.Add(boot[64:78])
	f.Add([]byte{8, 2, 16, 1, 26, 200, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		typ, _, data, err := parseRecord(b)
		if err != nil {
			return
		}
		e := encoder{data: data}
		e.frame(typ)
		n, err := parseFrameField(binary.LittleEndian.Uint64(e.frames))
		must(t, err)
		again, crc, same, err := parseRecord(e.frames[frameHeadBytes : frameHeadBytes+n])
		if err != nil || again != typ || crc != e.crc || !bytes.Equal(same, data) {
			t.Fatalf("%d %x became %d %x: %v", typ, data, again, same, err)
		}
		if declared, ok := declaredBytes(e.frames[frameHeadBytes:]); ok != (typ != RecordCRC) || ok && declared != n {
			t.Fatalf("record of %d bytes declares %d, %t", n, declared, ok)
		}
	})
}

func TestErrorTexts(t *testing.T) {
	cause := errors.New("cause")
	corrupt := &CorruptionError{File: "f", Offset: 8, Record: 2, Err: cause}
	failed := &FailedError{Op: "sync", File: "f", Offset: 9, Err: cause}
	if !errors.Is(corrupt, cause) || !errors.Is(failed, cause) {
		t.Fatal("the cause is not to be found")
	}
	got := fmt.Sprint(corrupt, "\n", failed)
	want := "write-ahead log is damaged: f, offset 8, record 2: cause\n" +
		"write-ahead log failed for good: sync f at offset 9: cause"
	if got != want {
		t.Fatalf("texts\n%s", got)
	}
}
