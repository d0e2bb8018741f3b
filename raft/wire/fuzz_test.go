package wire

import (
	"bytes"
	"reflect"
	"testing"
)

// fuzzCodec feeds a decoder with anything. What it accepts must survive a round trip: written and read again it is the
// same, and the second writing equals the first.
func fuzzCodec[T any, P interface {
	*T
	codec
}](f *testing.F) {
	for _, g := range golden() {
		f.Add(g.msg.Append(nil))
	}
	f.Add([]byte{0x3a, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Add([]byte{0x0a, 0x02, 0x80, 0x80})
	f.Fuzz(func(t *testing.T, data []byte) {
		first, second := P(new(T)), P(new(T))
		if first.Unmarshal(data) != nil {
			return
		}
		written := first.Append(nil)
		if len(written) != first.Size() {
			t.Fatalf("%+v: size %d, written %d", first, first.Size(), len(written))
		}
		if err := second.Unmarshal(written); err != nil {
			t.Fatalf("%+v: written as %x, which does not read: %v", first, written, err)
		}
		if again := second.Append(nil); !bytes.Equal(again, written) {
			t.Fatalf("%+v: written as %x, then as %x", first, written, again)
		}
	})
}

func FuzzEntry(f *testing.F)            { fuzzCodec[Entry](f) }
func FuzzHardState(f *testing.F)        { fuzzCodec[HardState](f) }
func FuzzConfState(f *testing.F)        { fuzzCodec[ConfState](f) }
func FuzzSnapshotMeta(f *testing.F)     { fuzzCodec[SnapshotMeta](f) }
func FuzzSnapshot(f *testing.F)         { fuzzCodec[Snapshot](f) }
func FuzzMessage(f *testing.F)          { fuzzCodec[Message](f) }
func FuzzConfChange(f *testing.F)       { fuzzCodec[ConfChange](f) }
func FuzzConfChangeSingle(f *testing.F) { fuzzCodec[ConfChangeSingle](f) }
func FuzzConfChangeV2(f *testing.F)     { fuzzCodec[ConfChangeV2](f) }

// TestUnmarshalAliases: byte fields are the input's bytes, and appending to them does not write into what follows.
func TestUnmarshalAliases(t *testing.T) {
	in := (&Message{Type: MsgApp, Entries: []Entry{{Term: 1, Index: 1, Data: []byte("data")}}, Context: []byte("context")}).Append(nil)
	before := bytes.Clone(in)
	var m Message
	if err := m.Unmarshal(in); err != nil {
		t.Fatal(err)
	}
	_ = append(m.Entries[0].Data, "more"...)
	if !bytes.Equal(in, before) {
		t.Fatal("appending to a field wrote into the input")
	}
	in[bytes.Index(in, []byte("data"))] = 'D'
	if string(m.Entries[0].Data) != "Data" {
		t.Fatal("data was copied")
	}
}

func TestBrokenInput(t *testing.T) {
	for name, data := range map[string][]byte{
		"cut tag":         {0x80},
		"cut number":      {0x08, 0x80},
		"cut bytes":       {0x22, 0x05, 1},
		"huge length":     {0x22, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
		"field zero":      {0x00, 0x00},
		"field too large": {0x80, 0x80, 0x80, 0x80, 0x10, 0x00},
		"end of no group": {0x0c},
	} {
		for _, g := range golden() {
			if err := g.msg.Unmarshal(data); err == nil {
				t.Errorf("%s: %T accepts %x", name, g.msg, data)
			}
		}
	}
	var m Message
	if err := m.Unmarshal([]byte{0x3a, 0x02, 0x22, 0x07}); err == nil {
		t.Error("a broken entry within a message was accepted")
	}
	if err := m.Unmarshal([]byte{0x4a, 0x04, 0x12, 0x02, 0x0a, 0x07}); err == nil {
		t.Error("a broken snapshot within a message was accepted")
	}
}

func TestCloneSharesNothing(t *testing.T) {
	c := ConfState{Voters: []uint64{1}, Learners: []uint64{2}, VotersOutgoing: []uint64{3}, LearnersNext: []uint64{4}, AutoLeave: true}
	d := c.Clone()
	if !reflect.DeepEqual(c, d) {
		t.Fatalf("%+v cloned to %+v", c, d)
	}
	d.Voters[0], d.Learners[0], d.VotersOutgoing[0], d.LearnersNext[0] = 9, 9, 9, 9
	if c.Voters[0] != 1 || c.Learners[0] != 2 || c.VotersOutgoing[0] != 3 || c.LearnersNext[0] != 4 {
		t.Fatalf("the clone shares memory: %+v", c)
	}
}

func benchmarkMessage() *Message {
	m := &Message{Type: MsgApp, To: 1 << 60, From: 1 << 61, Term: 7, LogTerm: 7, Index: 123456, Commit: 123450}
	for i := range uint64(16) {
		m.Entries = append(m.Entries, Entry{Term: 7, Index: 123457 + i, Data: make([]byte, 256)})
	}
	return m
}

func BenchmarkMessageAppend(b *testing.B) {
	b.ReportAllocs()
	m := benchmarkMessage()
	buf := make([]byte, 0, m.Size())
	b.SetBytes(int64(m.Size()))
	for b.Loop() {
		buf = m.Append(buf[:0])
	}
}

func BenchmarkMessageUnmarshal(b *testing.B) {
	b.ReportAllocs()
	data := benchmarkMessage().Append(nil)
	b.SetBytes(int64(len(data)))
	var m Message
	for b.Loop() {
		if err := m.Unmarshal(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEntryUnmarshal(b *testing.B) {
	b.ReportAllocs()
	data := (&Entry{Term: 7, Index: 123457, Data: make([]byte, 256)}).Append(nil)
	var e Entry
	for b.Loop() {
		if err := e.Unmarshal(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHardStateUnmarshal(b *testing.B) {
	b.ReportAllocs()
	data := (&HardState{Term: 7, Vote: 1 << 60, Commit: 12345}).Append(nil)
	var s HardState
	for b.Loop() {
		if err := s.Unmarshal(data); err != nil {
			b.Fatal(err)
		}
	}
}
