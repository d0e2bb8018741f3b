package grpcwire

import (
	"bytes"
	"errors"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// exchange sends bytes to a server, then nothing more, and returns all that it says.
func exchange(t testing.TB, s *Server, sent []byte) []byte {
	client, server := net.Pipe()
	done := make(chan struct{})
	if !s.enter(server) {
		t.Fatal("closed")
	}
	go func() {
		defer close(done)
		s.connection(server)
	}()
	heard := make(chan []byte, 1)
	last := appendPing(nil, http2.FlagPingAck, []byte("the last"))
	go func() {
		var all bytes.Buffer
		b := make([]byte, 4096)
		for !bytes.HasSuffix(all.Bytes(), last) {
			n, err := client.Read(b)
			if all.Write(b[:n]); err != nil {
				break
			}
		}
		heard <- all.Bytes()
	}()
	_ = client.SetWriteDeadline(time.Now().Add(10 * time.Second))
	_, _ = client.Write(appendPing(sent, 0, []byte("the last")))
	_ = client.SetReadDeadline(time.Now().Add(20 * time.Millisecond)) // if the last frame is not understood
	out := <-heard
	_ = client.Close()
	<-done
	s.workers.running.Wait()
	return out
}

// seeds are exchanges that reach most of the code.
func seeds() [][]byte {
	var block bytes.Buffer
	var list [][]byte
	for _, data := range []string{string(message("hello")), "\x00\x00\x00\x00\x05hel", string(message("a")) + string(message("b")), ""} {
		for _, method := range []string{"/test.S/Echo", "/test.S/Both", "/test.S/Many", "/nope"} {
			block.Reset()
			enc := hpack.NewEncoder(&block)
			fields := request(method, "a-bin", "AAA", "grpc-timeout", "5S")
			for i := 0; i < len(fields); i += 2 {
				_ = enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
			}
			b := appendFrameHeader(nil, block.Len(), http2.FrameHeaders, http2.FlagHeadersEndHeaders, 1)
			b = append(b, block.Bytes()...)
			b = append(appendFrameHeader(b, len(data), http2.FrameData, 0, 1), data...)
			b = appendSettings(b, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1})
			b = appendPing(appendWindowUpdate(b, 1, 5), 0, []byte("12345678"))
			b = appendReset(appendWindowUpdate(b, 0, 5), 1, 8)
			list = append(list, b)
		}
	}
	return list
}

// FuzzFrames: whatever a client sends, the server says frames, and lets go of the connection.
func FuzzFrames(f *testing.F) {
	for _, b := range seeds() {
		f.Add(b, false)
	}
	quick := directFunc(func(c *Call) { c.Answer(c.Request()) })
	ordinary, direct := newServer(Options{}), newServer(Options{})
	direct.Direct("/test.S/Echo", &quick)
	f.Cleanup(ordinary.Stop)
	f.Cleanup(direct.Stop)
	f.Fuzz(func(t *testing.T, b []byte, directly bool) {
		s := ordinary
		if directly {
			s = direct
		}
		out := exchange(t, s, append(appendSettings([]byte(http2.ClientPreface)), b...))
		for len(out) >= frameHeaderBytes {
			_, n, err := parseFrame(out)
			if err != nil {
				t.Fatal(err)
			}
			if n == 0 {
				break // cut off by us
			}
			out = out[n:]
		}
	})
}

// FuzzBlocks: header blocks mean the same to us as to the library, one after the other.
func FuzzBlocks(f *testing.F) {
	f.Add([]byte("\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"), []byte("\x82\xbe\x58\x08no-cache"))
	f.Add([]byte("\x40\x0acustom-key\x0dcustom-header"), []byte("\x3f\xe1\x1f\xbe"))
	f.Add([]byte("\x20\x40\x01a\x01b"), []byte("\x04\x0c/sample/path\x10\x08password\x06secret"))
	static := newStaticTable()
	f.Fuzz(func(t *testing.T, one, two []byte) {
		ours, theirs := newDecoder(static), hpack.NewDecoder(tableBytesMax, nil)
		theirs.SetMaxStringLength(1 << 20)
		for _, block := range [][]byte{one, two} {
			list, _, err := ours.decode(block, nil, 1<<30)
			want, wantErr := theirs.DecodeFull(block)
			if (err == nil) != (wantErr == nil) {
				if errors.Is(err, errLateResize) || err != nil && huge(block) {
					return // we are stricter
				}
				t.Fatalf("%x: %v, want %v", block, err, wantErr)
			}
			if err != nil {
				return
			}
			if len(list) != len(want) {
				t.Fatalf("%x: %d fields, want %d", block, len(list), len(want))
			}
			for i, e := range list {
				if e.name != want[i].Name || e.value != want[i].Value {
					t.Fatalf("%x: %s: %s, want %v", block, e.name, e.value, want[i])
				}
			}
		}
	})
}

// huge reports whether a block may hold an integer beyond what we take, which the library takes if it does not matter.
func huge(block []byte) bool {
	return bytes.Count(block, []byte{0x80})+bytes.Count(block, []byte{0xff}) > 2
}

// FuzzMessages: messages arrive whole, however they are cut into frames.
func FuzzMessages(f *testing.F) {
	f.Add([]byte("hello"), uint16(3), false)
	f.Add(bytes.Repeat([]byte("x"), 70000), uint16(1000), true)
	s := newServer(Options{})
	f.Fuzz(func(t *testing.T, body []byte, cut uint16, pad bool) {
		if len(body) > windowStart-prefixBytes || string(body) == "unreadable" || string(body) == "unspeakable" {
			return
		}
		c := newConn(s, nil)
		h := s.newHead(nil)
		h.method, h.malformed, h.refusal = s.methods["/test.S/Echo"], false, nil
		st := c.newStream(h, timeout{})
		st.id, c.mu.last = 1, 1
		c.mu.table.put(st)
		rest := message(string(body))
		for {
			n := min(int(cut)%frameBytesMax+1, len(rest))
			flags := http2.Flags(0)
			payload := rest[:n:n]
			if n == len(rest) {
				flags |= http2.FlagDataEndStream
			}
			if pad && n < frameBytesMax-1 {
				flags |= http2.FlagDataPadded
				payload = append([]byte{0}, payload...)
			}
			if err := c.data(&frame{kind: http2.FrameData, flags: flags, stream: 1, payload: payload}); err != nil {
				return // padding beyond the window
			}
			if rest = rest[n:]; len(rest) == 0 {
				break
			}
		}
		if len(c.work.calls) != 1 || !bytes.Equal(c.work.calls[0].inbox[0].data, body) || c.mu.held != 0 {
			t.Fatalf("%d calls", len(c.work.calls))
		}
	})
}

// FuzzTimeout: what is a timeout is within its bounds.
func FuzzTimeout(f *testing.F) {
	for _, s := range []string{"1S", "99999999H", "0n", "-1S", "1", "+1m", "1.5S"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := parseTimeout(s)
		if err == nil && (d < 0 || strings.Trim(s[:len(s)-1], "0123456789") != "") {
			t.Errorf("%q: %v", s, d)
		}
	})
}

// FuzzMetadata: texts and binary values come back as they were.
func FuzzMetadata(f *testing.F) {
	f.Add("50% “of” it\n", "\x00\xff")
	f.Fuzz(func(t *testing.T, s, binary string) {
		code := percentEncode(s)
		if back, err := url.PathUnescape(code); err != nil || back != strings.ToValidUTF8(s, "\uFFFD") && !strings.Contains(back, "\uFFFD") || !plain(strings.ReplaceAll(code, "%", "")) {
			t.Errorf("%q: %q, %q, %v", s, code, back, err)
		}
		if back, err := decodeBinary(encodeBinary(binary)); err != nil || back != binary {
			t.Errorf("%q: %q, %v", binary, back, err)
		}
	})
}
