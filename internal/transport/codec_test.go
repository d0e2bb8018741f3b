package transport

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/quoin-kv/quoin/raft/wire"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestGoldenBytes: what an etcd of version 3.7 reads and writes.
func TestGoldenBytes(t *testing.T) {
	app := func(index, logTerm uint64, entries int) *wire.Message {
		m := &wire.Message{Type: wire.MsgApp, From: 2, To: 1, Term: 3, LogTerm: logTerm, Index: index, Commit: 4}
		for i := range entries {
			m.Entries = append(m.Entries, wire.Entry{Term: 3, Index: index + 1 + uint64(i)})
		}
		return m
	}
	for _, tc := range []struct {
		name string
		kind streamKind
		msgs []*wire.Message // nil: a sign of life
		hex  string
	}{
		{"message: heartbeat of the link", messageStream, []*wire.Message{nil}, "0000000000000002 0808"},
		{"message", messageStream, []*wire.Message{{Type: wire.MsgAppResp, To: 1, From: 2, Index: 9}}, "0000000000000008 0804 1001 1802 3009"},
		{"msgapp: heartbeat of the link", msgAppStream, []*wire.Message{nil}, "00"},
		{
			"msgapp: the first is whole, the next goes on", msgAppStream,
			[]*wire.Message{app(4, 2, 1), app(5, 3, 2), app(7, 3, 0)},
			"02 0000000000000014 0803 1001 1802 2003 2802 3004 3a04 10031805 4004" +
				"01 0000000000000002 0000000000000004 10031806 0000000000000004 10031807 0000000000000004" +
				"01 0000000000000000 0000000000000004",
		},
		{
			"msgapp: a gap and another term are whole", msgAppStream,
			[]*wire.Message{app(4, 3, 0), app(5, 3, 0), app(5, 2, 0)},
			"02 000000000000000e 0803 1001 1802 2003 2803 3004 4004" +
				"02 000000000000000e 0803 1001 1802 2003 2803 3005 4004" +
				"02 000000000000000e 0803 1001 1802 2003 2802 3005 4004",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			want := unhex(t, tc.hex)
			got := []byte(nil)
			enc := newEncoder(tc.kind)
			for _, m := range tc.msgs {
				if m == nil {
					got = enc.heartbeat(got)
				} else {
					got = enc.encode(got, m)
				}
			}
			if !bytes.Equal(got, want) {
				t.Fatalf("wrote\n%x, want\n%x", got, want)
			}
			dec := newDecoder(tc.kind, newFrames(bytes.NewReader(want)), 2, 1)
			for _, m := range tc.msgs {
				back, err := dec.decode()
				if err != nil {
					t.Fatal(err)
				}
				if m == nil && !isLinkHeartbeat(&back) || m != nil && !equal(&back, m) {
					t.Fatalf("read %+v, want %+v", back, m)
				}
			}
			if _, err := dec.decode(); err != io.EOF {
				t.Fatalf("at the end: %v", err)
			}
		})
	}
}

// equal compares messages; no entries and an empty list of entries are the same.
func equal(a, b *wire.Message) bool {
	x, y := *a, *b
	if len(x.Entries) == 0 && len(y.Entries) == 0 {
		x.Entries, y.Entries = nil, nil
	}
	return reflect.DeepEqual(x, y)
}

// randomMessage draws messages that often go on where the last one ended.
func randomMessage(r *rand.Rand, kind streamKind, end *logEnd) *wire.Message {
	m := &wire.Message{Type: wire.MsgApp, From: 2, To: 1, Term: 1 + r.Uint64N(3), Index: r.Uint64N(5), Commit: r.Uint64N(9)}
	m.LogTerm = 1 + r.Uint64N(m.Term)
	if kind == messageStream {
		m.Type, m.Context = wire.MessageType(2+r.IntN(8)), bytes.Repeat([]byte{7}, 1+r.IntN(9))
	}
	if r.IntN(2) == 0 {
		m.Term, m.LogTerm, m.Index = max(end.term, 1), max(end.term, 1), end.index
	}
	for i := range r.Uint64N(4) {
		data := make([]byte, 1+r.IntN(8)*r.IntN(8)*r.IntN(8)*r.IntN(200))
		data[len(data)-1] = byte(r.Uint32())
		m.Entries = append(m.Entries, wire.Entry{Term: m.Term, Index: m.Index + 1 + i, Data: data})
	}
	end.note(m)
	return m
}

func TestRoundTrip(t *testing.T) {
	for _, kind := range []streamKind{messageStream, msgAppStream} {
		for seed := range uint64(40) {
			r := rand.New(rand.NewPCG(seed, 1))
			var end logEnd
			var sent []*wire.Message
			var b []byte
			enc := newEncoder(kind)
			for range 20 {
				m := randomMessage(r, kind, &end)
				sent, b = append(sent, m), enc.encode(b, m)
				if r.IntN(3) == 0 {
					b = enc.heartbeat(b)
				}
			}
			in := io.Reader(bytes.NewReader(b))
			if seed%3 == 0 {
				in = iotest.HalfReader(in)
			}
			got := decodeAll(t, newDecoder(kind, newFrames(in), 2, 1))
			if len(got) != len(sent) {
				t.Fatalf("%s, seed %d: %d messages, want %d", kind, seed, len(got), len(sent))
			}
			for i := range got {
				if !equal(&got[i], sent[i]) {
					t.Fatalf("%s, seed %d, message %d: got %+v, want %+v", kind, seed, i, got[i], sent[i])
				}
			}
		}
	}
}

func decodeAll(t *testing.T, dec decoder) (list []wire.Message) {
	t.Helper()
	for {
		m, err := dec.decode()
		if err == io.EOF {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		if !isLinkHeartbeat(&m) {
			list = append(list, m)
		}
	}
}

// TestCutAnywhere: a stream that ends inside a message is not a stream that ends.
func TestCutAnywhere(t *testing.T) {
	for _, kind := range []streamKind{messageStream, msgAppStream} {
		enc := newEncoder(kind)
		m1, m2 := appendMessage(2, 1, 4, "a", "bc"), appendMessage(2, 1, 6, "d")
		first := enc.encode(nil, &m1)
		whole := enc.encode(first, &m2)
		for n := range whole {
			dec := newDecoder(kind, newFrames(bytes.NewReader(whole[:n])), 2, 1)
			_, err := dec.decode()
			if n >= len(first) {
				if err != nil {
					t.Fatalf("%s cut at %d: %v", kind, n, err)
				}
				_, err = dec.decode()
			}
			clean := n == 0 || n == len(first)
			if want := io.ErrUnexpectedEOF; clean && err != io.EOF || !clean && !errors.Is(err, want) {
				t.Fatalf("%s cut at %d of %d: %v", kind, n, len(whole), err)
			}
		}
	}
}

// TestHostileLengths: a length costs nothing before its bytes are there.
func TestHostileLengths(t *testing.T) {
	start := "02 000000000000000e 0803 1001 1802 2003 2803 3004 4004"
	for _, tc := range []struct {
		name string
		kind streamKind
		hex  string
		want string
	}{
		{"message above the bound", messageStream, "0000000020000001", "at most"},
		{"message of all bits", messageStream, "ffffffffffffffff", "at most"},
		{"message at the bound", messageStream, "0000000020000000 0808", "unexpected EOF"},
		{"whole append above the bound", msgAppStream, "02 0000000020000001", "at most"},
		{"whole append at the bound", msgAppStream, "02 0000000020000000", "unexpected EOF"},
		{"too many entries", msgAppStream, start + "01 0000000001000000", "at most"},
		{"many entries", msgAppStream, start + "01 0000000000800000", "unexpected EOF"},
		{"entry of all bits", msgAppStream, start + "01 0000000000000001 ffffffffffffffff", "at most"},
		{"entry at the bound", msgAppStream, start + "01 0000000000000001 0000000020000000", "unexpected EOF"},
		{"no such kind", msgAppStream, "03", "no kind 0x3"},
		{"entries first", msgAppStream, "01 0000000000000000 0000000000000001", "before a message"},
		{"not an append", msgAppStream, "02 0000000000000002 0808", "type 8"},
		{"not a message", messageStream, "0000000000000001 80", "decode Message"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in := unhex(t, tc.hex)
			before := allocated()
			dec := newDecoder(tc.kind, newFrames(bytes.NewReader(in)), 2, 1)
			var err error
			for err == nil {
				_, err = dec.decode()
			}
			if used := allocated() - before; used > 1<<20 {
				t.Errorf("%d bytes of memory for %d bytes", used, len(in))
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("error %q, want %q", err, tc.want)
			}
		})
	}
}

func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

func TestLargeMessage(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789"), 500_000)
	m := wire.Message{Type: wire.MsgProp, From: 2, To: 1, Entries: []wire.Entry{{Data: data}}}
	got := decodeAll(t, newDecoder(messageStream, newFrames(iotest.HalfReader(bytes.NewReader(messageEncoder{}.encode(nil, &m)))), 2, 1))
	if len(got) != 1 || !equal(&got[0], &m) {
		t.Fatal("a message of 5 MB came out different")
	}
}

// TestMessagesDoNotOverlap: messages that share a block of memory do not write into each other.
func TestMessagesDoNotOverlap(t *testing.T) {
	var b []byte
	for range 100 {
		b = messageEncoder{}.encode(b, &wire.Message{Type: wire.MsgHeartbeat, From: 2, To: 1, Context: []byte("context")})
	}
	for i, m := range decodeAll(t, newDecoder(messageStream, newFrames(bytes.NewReader(b)), 2, 1)) {
		if string(m.Context) != "context" {
			t.Fatalf("message %d: context %q", i, m.Context)
		}
		_ = append(m.Context, "xxxxxxxxxxxxxxxxxxxx"...)
		clear(m.Context)
	}
}

func TestEnvelope(t *testing.T) {
	m := wire.Message{Type: wire.MsgSnap, From: 2, To: 1, Snapshot: &wire.Snapshot{Data: []byte("{}"), Meta: wire.SnapshotMeta{Index: 7, Term: 2}}}
	in := bytes.NewReader(append(messageEncoder{}.encode(nil, &m), "database"...))
	got, err := readEnvelope(in)
	if err != nil || !bytes.Equal(got.Append(nil), m.Append(nil)) {
		t.Fatalf("got %+v, %v", got, err)
	}
	if rest, _ := io.ReadAll(in); string(rest) != "database" {
		t.Fatalf("the file begins with %q", rest)
	}
	for _, in := range []string{"", "00", "0000000004000001", "0000000004000000 00", "0000000000000001 80"} {
		if _, err := readEnvelope(bytes.NewReader(unhex(t, in))); err == nil {
			t.Errorf("%s was accepted", in)
		}
	}
}

// TestAllocate: short byte strings share blocks, not bytes.
func TestAllocate(t *testing.T) {
	f := newFrames(nil)
	a, b := f.allocate(10), f.allocate(20)
	if len(a) != 10 || cap(a) != 10 || len(b) != 20 || len(f.block) != blockBytes-30 {
		t.Fatalf("got %d of %d and %d, %d left", len(a), cap(a), len(b), len(f.block))
	}
	if c := f.allocate(blockBytes); len(c) != blockBytes || len(f.block) != blockBytes-30 {
		t.Fatalf("a long one took from the block: %d left", len(f.block))
	}
}

// fuzzDecoder: no input breaks a decoder, and what it accepts is what an encoder writes.
func fuzzDecoder(f *testing.F, kind streamKind) {
	for seed := range uint64(4) {
		r := rand.New(rand.NewPCG(seed, 2))
		var end logEnd
		enc := newEncoder(kind)
		b := enc.heartbeat(nil)
		for range 4 {
			b = enc.encode(b, randomMessage(r, kind, &end))
		}
		f.Add(b[:min(len(b), 4096)])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		dec := newDecoder(kind, newFrames(bytes.NewReader(data)), 2, 1)
		enc := newEncoder(kind)
		var list []wire.Message
		var b []byte
		for {
			m, err := dec.decode()
			if err != nil {
				break
			}
			if !isLinkHeartbeat(&m) {
				list, b = append(list, m), enc.encode(b, &m)
			}
		}
		again := newDecoder(kind, newFrames(bytes.NewReader(b)), 2, 1)
		for i := range list {
			m, err := again.decode()
			if err != nil {
				t.Fatalf("message %d of %d does not come back: %v", i, len(list), err)
			}
			if !bytes.Equal(m.Append(nil), list[i].Append(nil)) && (kind == messageStream || ordinary(&list[i])) {
				t.Fatalf("message %d: %+v came back as %+v", i, list[i], m)
			}
		}
	})
}

// ordinary reports whether m has nothing that the short form of the msgapp codec leaves out.
func ordinary(m *wire.Message) bool {
	plain := wire.Message{Type: wire.MsgApp, From: 2, To: 1, Term: m.Term, LogTerm: m.LogTerm, Index: m.Index, Entries: m.Entries, Commit: m.Commit}
	return bytes.Equal(plain.Append(nil), m.Append(nil))
}

func FuzzMessageStream(f *testing.F) { fuzzDecoder(f, messageStream) }
func FuzzMsgAppStream(f *testing.F)  { fuzzDecoder(f, msgAppStream) }

func FuzzEnvelope(f *testing.F) {
	m := wire.Message{Type: wire.MsgSnap, Snapshot: &wire.Snapshot{Data: []byte("{}"), Meta: wire.SnapshotMeta{Index: 7}}}
	f.Add(messageEncoder{}.encode(nil, &m))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := readEnvelope(bytes.NewReader(data))
		if err != nil {
			return
		}
		if _, err := readEnvelope(bytes.NewReader(messageEncoder{}.encode(nil, &m))); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzVersion(f *testing.F) {
	for _, s := range []string{"3.7.3", "3.7.0-rc.1+git", "", "3.7", "a.b.c", "3.99999999999999999999.0", "-1.0.0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := parseVersion(s)
		if err == nil && (v.less(v) || atLeast(s, "0.0.1") == v.less(version{0, 0, 1})) {
			t.Fatalf("%q: %v", s, v)
		}
	})
}

func TestVersions(t *testing.T) {
	for _, tc := range []struct {
		header, min string
		want        bool
	}{
		{"3.0.0", "3.0.0", true},
		{"3.7.3", "3.0.0", true},
		{"2.9.99", "3.0.0", false},
		{"", "3.0.0", false},
		{"", "2.1.0", false},
		{"3.7.0-alpha.1", "3.7.0", true},
		{"10.0.0", "3.7.3", true},
		{"3.10.0", "3.9.9", true},
		{"3.7", "3.0.0", false},
		{"x", "0.0.0", false},
	} {
		if got := atLeast(tc.header, tc.min); got != tc.want {
			t.Errorf("%q at least %q: %v", tc.header, tc.min, got)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	for _, kind := range []streamKind{messageStream, msgAppStream} {
		b.Run(kind.String(), func(b *testing.B) {
			b.ReportAllocs()
			m := appendMessage(2, 1, 10, make([]string, 16)...)
			for i := range m.Entries {
				m.Entries[i].Data = make([]byte, 256)
			}
			enc := newEncoder(kind)
			buf := enc.encode(nil, &m)
			b.SetBytes(int64(len(buf)))
			for b.Loop() {
				buf = enc.encode(buf[:0], &m)
				m.Index += uint64(len(m.Entries))
			}
		})
	}
}

// endless repeats bytes.
type endless struct {
	b  []byte
	at int
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.b[e.at:])
	e.at = (e.at + n) % len(e.b)
	return n, nil
}

func BenchmarkDecode(b *testing.B) {
	for _, kind := range []streamKind{messageStream, msgAppStream} {
		b.Run(kind.String(), func(b *testing.B) {
			b.ReportAllocs()
			m := appendMessage(2, 1, 10, make([]string, 16)...)
			for i := range m.Entries {
				m.Entries[i].Data = make([]byte, 256)
			}
			enc := newEncoder(kind)
			first := enc.encode(nil, &m)
			if kind == msgAppStream {
				m.Index += 16
			}
			rest := enc.encode(nil, &m)
			dec := newDecoder(kind, newFrames(io.MultiReader(bytes.NewReader(first), &endless{b: rest})), 2, 1)
			b.SetBytes(int64(binary.Size(rest)))
			for b.Loop() {
				if _, err := dec.decode(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
