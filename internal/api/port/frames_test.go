package port

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"testing"
	"time"
)

// appendFrame appends a frame of HTTP/2.
func appendFrame(b []byte, kind, flags byte, stream uint32, payload ...byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload))<<8|uint32(kind))
	b = append(b, flags)
	b = binary.BigEndian.AppendUint32(b, stream)
	return append(b, payload...)
}

var ackFrame = appendFrame(nil, typeSettings, flagAck, 0)

// someFrames is a stream of random frames, and the same without the first confirmations of settings.
func someFrames(r *rand.Rand, drop int) (all, without []byte) {
	for range r.IntN(30) {
		if r.IntN(4) == 0 {
			all = append(all, ackFrame...)
			if drop--; drop < 0 {
				without = append(without, ackFrame...)
			}
			continue
		}
		f := appendFrame(nil, byte(r.IntN(10)), byte(r.IntN(64))&^flagAck, r.Uint32()>>1, make([]byte, r.IntN(100))...)
		all, without = append(all, f...), append(without, f...)
	}
	return all, without
}

// chopped reads b in random pieces.
type chopped struct {
	r *rand.Rand
	b []byte
}

func (c *chopped) read(p []byte) (int, error) {
	if len(c.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), 1+c.r.IntN(20))], c.b)
	c.b = c.b[n:]
	return n, nil
}

// TestFramesPass: whatever the pieces in which frames come, all pass but the confirmations to be left out, in both directions.
func TestFramesPass(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 300 {
		drop := r.IntN(4)
		all, want := someFrames(r, drop)
		in := &inbound{preface: len(clientPreface), drop: drop}
		source := &chopped{r, append([]byte(clientPreface), all...)}
		var got []byte
		for {
			p := make([]byte, 1+r.IntN(30))
			n, err := in.read(source.read, p)
			got = append(got, p[:n]...)
			if err != nil {
				break
			}
		}
		if !bytes.Equal(got, append([]byte(clientPreface), want...)) {
			t.Fatalf("read %q\nof   %q\nwant %q", got, all, want)
		}
		out, w := &outbound{drop: drop}, new(bytes.Buffer)
		for rest := all; len(rest) > 0; {
			n := 1 + r.IntN(len(rest))
			if k, err := out.write(w, rest[:n]); k != n || err != nil {
				t.Fatal(k, err)
			}
			rest = rest[n:]
		}
		if !bytes.Equal(w.Bytes(), want) {
			t.Fatalf("wrote %q\nof    %q\nwant  %q", w.Bytes(), all, want)
		}
	}
}

// TestScan: when a client is in the middle of a header, and when it has made a request.
func TestScan(t *testing.T) {
	headers := appendFrame(nil, typeHeaders, flagEndHeaders, 1, 1, 2, 3)
	begun := appendFrame(nil, typeHeaders, 0, 1, 1, 2, 3)
	more := appendFrame(nil, typeContinuation, 0, 1)
	last := appendFrame(nil, typeContinuation, flagEndHeaders, 1, 4)
	for _, tc := range []struct {
		name                 string
		bytes                []byte
		requests, unfinished bool
	}{
		{"nothing", nil, false, false},
		{"settings", appendFrame(nil, typeSettings, 0, 0), false, false},
		{"header of a frame", headers[:8], false, false},
		{"frame without its end", headers[:len(headers)-1], false, true},
		{"whole", headers, true, false},
		{"without the last frame", append(begun, more...), false, true},
		{"with the last frame", bytes.Join([][]byte{begun, more, more, last}, nil), true, false},
		{"a second one", append(headers, begun...), true, true},
		{"empty payload", appendFrame(nil, typeHeaders, flagEndHeaders, 1), true, false},
	} {
		for _, step := range []int{1, 1000} {
			in := &inbound{preface: 2}
			all := append([]byte("PR"), tc.bytes...)
			for len(all) > 0 {
				n := min(step, len(all))
				in.scan(all[:n])
				all = all[n:]
			}
			if in.requests != tc.requests || in.unfinished != tc.unfinished {
				t.Errorf("%s, %d at a time: requests %v, unfinished %v", tc.name, step, in.requests, in.unfinished)
			}
		}
	}
}

// FuzzScan: whatever comes, all of it passes when nothing is to be left out.
func FuzzScan(f *testing.F) {
	f.Add(append([]byte(clientPreface), ackFrame...), 7)
	f.Fuzz(func(t *testing.T, b []byte, step int) {
		in := &inbound{preface: len(clientPreface)}
		source := bytes.NewReader(b)
		var got []byte
		p := make([]byte, 1+max(0, step)%1000)
		for {
			n, err := in.read(source.Read, p)
			got = append(got, p[:n]...)
			if err != nil {
				break
			}
		}
		if !bytes.Equal(got, b) {
			t.Fatalf("read %d bytes of %d", len(got), len(b))
		}
	})
}

func BenchmarkScan(b *testing.B) {
	b.ReportAllocs()
	in := &inbound{}
	request := append(appendFrame(nil, typeHeaders, flagEndHeaders, 1, make([]byte, 60)...), appendFrame(nil, 0, 1, 1, make([]byte, 100)...)...)
	b.SetBytes(int64(len(request)))
	for b.Loop() {
		in.scan(request)
	}
}
