package grpcwire

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
)

// breach is something that a client must not do, by the section of RFC 9113 that says so, and what becomes of its stream or connection.
type breach struct {
	section, name string
	send          func(r *raw)
	want          string // the beginning of it
}

const (
	protocol = " GOAWAY PROTOCOL_ERROR"
	size     = " GOAWAY FRAME_SIZE_ERROR"
	flow     = " GOAWAY FLOW_CONTROL_ERROR"
)

func (r *raw) frame(kind http2.FrameType, flags http2.Flags, stream uint32, payload string) {
	r.check(r.framer.WriteRawFrame(kind, flags, stream, []byte(payload)))
}

// begun sends the header of a call and leaves it open.
func (r *raw) begun(stream uint32) { r.headers(stream, false, request("/test.S/Echo")...) }

func frameBreach(section, name string, kind http2.FrameType, flags http2.Flags, stream uint32, payload, want string) breach {
	return breach{section, name, func(r *raw) {
		r.begun(1)
		r.frame(kind, flags, stream, payload)
	}, want}
}

func breaches() []breach {
	const u32 = "\x00\x00\x00\x01"
	list := []breach{
		frameBreach("4.2", "large frame", http2.FrameData, 0, 1, strings.Repeat("x", frameBytesMax+1), size),
		frameBreach("6.1", "data of no stream", http2.FrameData, 0, 0, "x", protocol),
		frameBreach("5.1", "data of an idle stream", http2.FrameData, 0, 3, "x", protocol),
		frameBreach("6.1", "padding", http2.FrameData, http2.FlagDataPadded, 1, "\x05x", protocol),
		frameBreach("6.1", "no padding", http2.FrameData, http2.FlagDataPadded, 1, "", protocol),
		frameBreach("6.2", "header of no stream", http2.FrameHeaders, http2.FlagHeadersEndHeaders, 0, "\x83", protocol),
		frameBreach("5.1.1", "even stream", http2.FrameHeaders, http2.FlagHeadersEndHeaders, 2, "\x83", protocol),
		frameBreach("6.2", "header padding", http2.FrameHeaders, http2.FlagHeadersEndHeaders|http2.FlagHeadersPadded, 3, "\x05\x83", protocol),
		frameBreach("6.2", "short priority", http2.FrameHeaders, http2.FlagHeadersEndHeaders|http2.FlagHeadersPriority, 3, "\x83", size),
		frameBreach("6.3", "priority of no stream", http2.FramePriority, 0, 0, u32+"\x00", protocol),
		frameBreach("6.3", "priority", http2.FramePriority, 0, 1, u32, " RST FRAME_SIZE_ERROR"),
		frameBreach("5.3.1", "priority over itself", http2.FramePriority, 0, 1, u32+"\x00", " RST PROTOCOL_ERROR"),
		frameBreach("6.4", "reset of no stream", http2.FrameRSTStream, 0, 0, u32, protocol),
		frameBreach("6.4", "reset of an idle stream", http2.FrameRSTStream, 0, 3, u32, protocol),
		frameBreach("6.4", "short reset", http2.FrameRSTStream, 0, 1, "x", size),
		frameBreach("6.5", "settings of a stream", http2.FrameSettings, 0, 1, "", protocol),
		frameBreach("6.5", "full acknowledgement", http2.FrameSettings, http2.FlagSettingsAck, 0, "\x00\x04"+u32, size),
		frameBreach("6.5", "short settings", http2.FrameSettings, 0, 0, "x", size),
		frameBreach("6.5.2", "push", http2.FrameSettings, 0, 0, "\x00\x02\x00\x00\x00\x02", protocol),
		frameBreach("6.5.2", "window", http2.FrameSettings, 0, 0, "\x00\x04\x80\x00\x00\x00", flow),
		frameBreach("6.5.2", "small frames", http2.FrameSettings, 0, 0, "\x00\x05\x00\x00\x00\x01", protocol),
		frameBreach("6.5.2", "large frames", http2.FrameSettings, 0, 0, "\x00\x05\x01\x00\x00\x00", protocol),
		frameBreach("6.6", "push promise", http2.FramePushPromise, 0, 1, u32, protocol),
		frameBreach("6.7", "ping of a stream", http2.FramePing, 0, 1, "12345678", protocol),
		frameBreach("6.7", "short ping", http2.FramePing, 0, 0, "1234567", size),
		frameBreach("6.8", "farewell of a stream", http2.FrameGoAway, 0, 1, u32+u32, protocol),
		frameBreach("6.8", "short farewell", http2.FrameGoAway, 0, 0, u32, size),
		frameBreach("6.9", "short window update", http2.FrameWindowUpdate, 0, 1, "x", size),
		frameBreach("6.9", "window update of nothing", http2.FrameWindowUpdate, 0, 0, "\x00\x00\x00\x00", protocol),
		frameBreach("6.9", "window update of nothing for a stream", http2.FrameWindowUpdate, 0, 1, "\x00\x00\x00\x00", " RST PROTOCOL_ERROR"),
		frameBreach("6.9.1", "window too large", http2.FrameWindowUpdate, 0, 0, "\x7f\xff\xff\xff", flow),
		frameBreach("6.9.1", "window of a stream too large", http2.FrameWindowUpdate, 0, 1, "\x7f\xff\xff\xff", " RST FLOW_CONTROL_ERROR"),
		frameBreach("6.9", "window of an idle stream", http2.FrameWindowUpdate, 0, 3, u32, protocol),
		frameBreach("6.10", "continuation of nothing", http2.FrameContinuation, 0, 1, "\x83", protocol),
		frameBreach("4.3", "block", http2.FrameHeaders, http2.FlagHeadersEndHeaders, 3, "\xff\xff\xff\xff\xff\xff", " GOAWAY COMPRESSION_ERROR"),
		frameBreach("4.3", "table too large", http2.FrameHeaders, http2.FlagHeadersEndHeaders, 3, "\x3f\xe2\x1f", " GOAWAY COMPRESSION_ERROR"),
	}
	return append(list, streamBreaches()...)
}

func streamBreaches() []breach {
	return []breach{
		{"6.10", "interrupted block", func(r *raw) {
			r.check(r.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x83}}))
			r.frame(http2.FramePing, 0, 0, "12345678")
		}, protocol},
		{"6.10", "continuation of another stream", func(r *raw) {
			r.check(r.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x83}}))
			r.check(r.framer.WriteContinuation(3, true, []byte{0x84}))
		}, protocol},
		{"5.1.1", "smaller stream", func(r *raw) {
			r.begun(5)
			r.begun(3)
		}, protocol},
		{"5.1", "header on a closed stream", func(r *raw) {
			r.call(1, "/test.S/Echo", "x")
			r.outcome(1)
			r.begun(1)
		}, " GOAWAY STREAM_CLOSED"},
		{"5.1", "data on a closed stream", func(r *raw) {
			r.call(1, "/test.S/Echo", "x")
			r.outcome(1)
			r.check(r.framer.WriteData(1, true, []byte("x")))
		}, " RST STREAM_CLOSED"},
		{"5.1", "data after the end", func(r *raw) {
			r.call(1, "/test.S/Wait", "x")
			r.check(r.framer.WriteData(1, true, []byte("x")))
		}, " RST STREAM_CLOSED"},
		{"5.1", "header after the end", func(r *raw) {
			r.call(1, "/test.S/Wait", "x")
			r.headers(1, true, "a", "b")
		}, " RST STREAM_CLOSED"},
		{"8.1", "second header without an end", func(r *raw) {
			r.begun(1)
			r.headers(1, false, "a", "b")
		}, " RST PROTOCOL_ERROR"},
		{"8.1", "pseudo-header in trailers", func(r *raw) {
			r.begun(1)
			r.headers(1, true, ":path", "b")
		}, " RST PROTOCOL_ERROR"},
		{"6.9.1", "more data than the window of a stream", func(r *raw) {
			r.headers(1, false, request("/test.S/Large")...)
			data := append([]byte{0, 0, 0x3f, 0xff, 0xff}, make([]byte, 10000)...)
			r.check(r.framer.WriteData(1, false, data))
			for range 6 {
				r.check(r.framer.WriteData(1, false, make([]byte, 10000)))
			}
			r.check(r.framer.WriteData(3, false, nil)) // an answer is sure
		}, ""},
		{"6.5.2", "window of a stream beyond its end", func(r *raw) {
			r.begun(1)
			r.check(r.framer.WriteWindowUpdate(1, windowMax-windowStart))
			r.check(r.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: windowStart + 1}))
		}, flow},
		{"8.3", "pseudo-header twice", func(r *raw) { r.headers(1, true, append(request("/a"), ":path", "/b")...) }, " RST PROTOCOL_ERROR"},
		{"8.3", "pseudo-header late", func(r *raw) { r.headers(1, true, "a", "b", ":path", "/b") }, " RST PROTOCOL_ERROR"},
		{"8.3", "unknown pseudo-header", func(r *raw) { r.headers(1, true, append([]string{":x", "y"}, request("/a")...)...) }, " RST PROTOCOL_ERROR"},
		{"8.3", "pseudo-header of answers", func(r *raw) { r.headers(1, true, append([]string{":status", "200"}, request("/a")...)...) }, " RST PROTOCOL_ERROR"},
		{"8.2.1", "new line", func(r *raw) { r.headers(1, true, request("/a", "b", "c\nd")...) }, " RST PROTOCOL_ERROR"},
		{"5.3.1", "stream over itself", func(r *raw) {
			r.check(r.framer.WriteHeaders(http2.HeadersFrameParam{
				StreamID: 1, BlockFragment: r.encode(request("/test.S/Echo")...), EndHeaders: true, Priority: http2.PriorityParam{StreamDep: 1},
			}))
		}, " RST PROTOCOL_ERROR"},
	}
}

// TestBreaches: each is answered as RFC 9113 says.
func TestBreaches(t *testing.T) {
	addr := serve(t, Options{})
	for _, b := range breaches() {
		t.Run(b.section+" "+b.name, func(t *testing.T) {
			r := dialRaw(t, addr)
			b.send(r)
			if got := r.outcome(1).String(); !strings.HasPrefix(got, b.want) {
				t.Errorf("%q, want %q", got, b.want)
			}
		})
	}
}

// TestGreeting: what does not begin with the preface and settings gets no further.
func TestGreeting(t *testing.T) {
	addr := serve(t, Options{Limits: Limits{HandshakeTime: 200 * time.Millisecond}})
	for name, hello := range map[string]string{
		"HTTP/1":      "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"no settings": http2.ClientPreface + "\x00\x00\x08\x06\x00\x00\x00\x00\x0012345678",
		"a part":      http2.ClientPreface[:10],
		"nothing":     "",
		"slow":        http2.ClientPreface + "\x00\x00\x00",
	} {
		r := connectRaw(t, addr)
		if _, err := io.WriteString(r.conn, hello); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r.conn); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// dataUntil reads until there are so many bytes of DATA of streams 1 and 3, and returns how many by stream.
func (r *raw) dataUntil(n int, bytes map[uint32]int) {
	r.t.Helper()
	for bytes[1]+bytes[3] < n {
		f, err := r.framer.ReadFrame()
		if err != nil {
			r.t.Fatal(err, bytes)
		}
		if d, ok := f.(*http2.DataFrame); ok {
			bytes[d.StreamID] += len(d.Data())
		}
	}
}

// TestWindows: not a byte more than the windows allow, and all of it when they grow.
func TestWindows(t *testing.T) {
	r := dialRaw(t, serve(t, Options{}), http2.Setting{ID: http2.SettingInitialWindowSize, Val: 3})
	r.call(1, "/test.S/Large", "100")
	bytes := map[uint32]int{}
	r.dataUntil(3, bytes)
	r.check(r.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})) // 3 less than nothing
	r.check(r.framer.WriteWindowUpdate(1, 7))
	r.dataUntil(7, bytes)
	r.call(3, "/test.S/Fail", "x") // has no data
	if o := r.outcome(3); !strings.Contains(o.String(), "grpc-status: 5") {
		t.Fatalf("a call without data: %s", o)
	}
	if bytes[1] != 7 {
		t.Errorf("%d bytes for a window of 7", bytes[1])
	}
	r.check(r.framer.WriteWindowUpdate(1, 1000))
	if o := r.outcome(1); len(o.body) != 105-7 {
		t.Errorf("%d bytes at last", len(o.body))
	}
}

// TestFairness: one stream that has much to send leaves room for the others.
func TestFairness(t *testing.T) {
	r := dialRaw(t, serve(t, Options{}), http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
	bytes := map[uint32]int{}
	r.call(1, "/test.S/Large", "900000")
	r.dataUntil(windowStart, bytes)
	r.call(3, "/test.S/Large", "900000")
	for {
		f, err := r.framer.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if f.Header().StreamID == 3 {
			break // it is in the queue
		}
	}
	r.check(r.framer.WriteWindowUpdate(0, 200000))
	r.dataUntil(windowStart+200000, bytes)
	if bytes[1] < windowStart+80000 || bytes[3] < 80000 {
		t.Errorf("bytes by stream: %v", bytes)
	}
}

// TestLargeUploads: many large messages at once come one after the other if they must.
func TestLargeUploads(t *testing.T) {
	s := newServer(Options{Limits: Limits{ReceiveBytes: 12 << 20}})
	conn := dial(t, listen(t, s))
	failed := make(chan error)
	in := strings.Repeat("x", 11<<20)
	for range 3 { // of which two are let in at a time
		go func() {
			_, err := echo(soon(t), conn, in)
			failed <- err
		}()
	}
	for range 3 {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
}

// TestTooManyStreams: one too many is refused in a way that clients try again, until a handler has returned.
func TestTooManyStreams(t *testing.T) {
	s := New(Options{Codec: newCodec(), Limits: Limits{Streams: 2}})
	release := make(chan struct{})
	s.RegisterService(&grpc.ServiceDesc{ServiceName: "test.W", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{
		unary("Hold", func(context.Context, string) (any, error) {
			<-release
			return &text{}, nil
		}),
	}}, nil)
	r := dialRaw(t, listen(t, s))
	r.call(1, "/test.W/Hold", "x")
	r.call(3, "/test.W/Hold", "x")
	r.call(5, "/test.W/Hold", "x")
	if o := r.outcome(5); o.String() != " RST REFUSED_STREAM" {
		t.Errorf("%q", o)
	}
	r.check(r.framer.WriteRSTStream(3, http2.ErrCodeCancel))
	r.call(7, "/test.W/Hold", "x") // the handler of 3 is still there
	if o := r.outcome(7); o.String() != " RST REFUSED_STREAM" {
		t.Errorf("%q", o)
	}
	close(release)
	r.outcome(1)
	r.call(9, "/test.W/Hold", "x")
	if o := r.outcome(9); !strings.Contains(o.String(), "grpc-status: 0") {
		t.Errorf("%q", o)
	}
}

// floods are frames that a client sends without end, and that bring nobody forward.
func floods() map[string]func(r *raw, i int) error {
	return map[string]func(r *raw, i int) error{
		"settings":     func(r *raw, _ int) error { return r.framer.WriteSettings() },
		"ping answers": func(r *raw, _ int) error { return r.framer.WritePing(true, [8]byte{}) },
		"unknown":      func(r *raw, _ int) error { return r.framer.WriteRawFrame(99, 0, 0, nil) },
		"priorities":   func(r *raw, _ int) error { return r.framer.WritePriority(1, http2.PriorityParam{StreamDep: 3}) },
		"empty data":   func(r *raw, _ int) error { return r.framer.WriteData(1, false, nil) },
		"resets": func(r *raw, i int) error {
			id := uint32(2*i + 3)
			err := r.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: r.encode(request("/test.S/Wait")...), EndHeaders: true})
			if err == nil {
				err = r.framer.WriteRSTStream(id, http2.ErrCodeCancel)
			}
			return err
		},
		"empty continuations": func(r *raw, i int) error {
			if i == 0 {
				return r.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: []byte{0x83}})
			}
			return r.framer.WriteContinuation(3, false, nil)
		},
		"continuations": func(r *raw, i int) error {
			if i == 0 {
				return r.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: []byte{0x83}})
			}
			return r.framer.WriteContinuation(3, false, make([]byte, 10000))
		},
	}
}

// TestFloods: whoever sends them is cut off, with the word for it.
func TestFloods(t *testing.T) {
	addr := serve(t, Options{})
	for name, send := range floods() {
		t.Run(name, func(t *testing.T) {
			r := dialRaw(t, addr)
			r.begun(1)
			many := bufio.NewWriterSize(r.conn, 16<<10)
			reading := *r
			r.framer = http2.NewFramer(many, nil)
			ended := make(chan outcome, 1)
			go func() { ended <- reading.outcome(1) }()
			var err error
			for i := 0; err == nil && i < 30*patienceMax; i++ {
				err = send(r, i)
			}
			err = errors.Join(err, many.Flush())
			if o := <-ended; !strings.HasPrefix(o.goAway, "ENHANCE_YOUR_CALM") && err == nil {
				t.Errorf("ended with %s", o)
			}
		})
	}
}

// TestClientTables: the client's table of header fields is never used beyond the size that it has said, at the beginning or later.
func TestClientTables(t *testing.T) {
	addr := serve(t, Options{})
	for _, sizes := range [][]uint32{{0}, {0, 4096}, {300}, {4096, 0}, {100000}, {4096, 1000, 2000, 100}} {
		r := dialRaw(t, addr, http2.Setting{ID: http2.SettingHeaderTableSize, Val: sizes[0]})
		dec := hpack.NewDecoder(min(sizes[0], tableBytesMax), nil)
		r.framer.ReadMetaHeaders = dec
		dec.SetAllowedMaxDynamicTableSize(sizes[0])
		id := uint32(1)
		for i, size := range sizes {
			if i > 0 {
				r.check(r.framer.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: size}))
				dec.SetAllowedMaxDynamicTableSize(size)
			}
			for range 3 {
				r.call(id, "/test.S/Echo", "x")
				if o := r.outcome(id); !strings.Contains(o.String(), "grpc-status: 0") {
					t.Fatalf("%v: %s", sizes, o)
				}
				id += 2
			}
		}
	}
}
