package grpcwire

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// generator sends calls of Echo, many at a time, and reads the answers at next to no cost.
type generator struct {
	conn    net.Conn
	first   []byte // header block of the first call
	next    []byte // of the others
	id      uint32
	out, in []byte
	have    int
}

func newGenerator(b *testing.B, addr string, pairs ...string) *generator {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	g := &generator{conn: conn, id: 1, in: make([]byte, 1<<20)}
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, to := range []*[]byte{&g.first, &g.next} {
		block.Reset()
		list := request("/test.S/Echo", append([]string{"user-agent", "generator"}, pairs...)...)
		for i := 0; i < len(list); i += 2 {
			if err := enc.WriteField(hpack.HeaderField{Name: list[i], Value: list[i+1]}); err != nil {
				b.Fatal(err)
			}
		}
		*to = bytes.Clone(block.Bytes())
	}
	hello := appendSettings([]byte(http2.ClientPreface), http2.Setting{ID: http2.SettingInitialWindowSize, Val: windowMax})
	if _, err := conn.Write(appendWindowUpdate(hello, 0, windowMax-windowStart)); err != nil {
		b.Fatal(err)
	}
	return g
}

// round sends n calls and waits for their answers.
func (g *generator) round(b *testing.B, n int, message []byte) {
	g.out = g.out[:0]
	for range n {
		block := g.next
		if g.id == 1 {
			block = g.first
		}
		g.out = append(appendFrameHeader(g.out, len(block), http2.FrameHeaders, http2.FlagHeadersEndHeaders, g.id), block...)
		g.out = append(appendFrameHeader(g.out, len(message), http2.FrameData, http2.FlagDataEndStream, g.id), message...)
		g.id += 2
	}
	if _, err := g.conn.Write(g.out); err != nil {
		b.Fatal(err)
	}
	for n > 0 {
		k, err := g.conn.Read(g.in[g.have:])
		if err != nil {
			b.Fatal(err)
		}
		g.have += k
		n -= g.ends(b)
	}
}

// ends counts the streams that end in what was read, and answers what must be.
func (g *generator) ends(b *testing.B) (n int) {
	p := g.in[:g.have]
	for len(p) >= frameHeaderBytes {
		size := frameHeaderBytes + int(binary.BigEndian.Uint32(p)>>8)
		if len(p) < size {
			break
		}
		switch kind, flags := http2.FrameType(p[3]), http2.Flags(p[4]); {
		case kind == http2.FrameHeaders && flags&http2.FlagHeadersEndStream != 0:
			n++
		case kind == http2.FrameRSTStream, kind == http2.FrameGoAway:
			b.Fatalf("frame %x", p[:size])
		case kind == http2.FramePing && flags&http2.FlagPingAck == 0:
			if _, err := g.conn.Write(appendPing(nil, http2.FlagPingAck, p[frameHeaderBytes:size])); err != nil {
				b.Fatal(err)
			}
		}
		p = p[size:]
	}
	g.have = copy(g.in, p)
	return n
}

// BenchmarkUnary: calls that do nothing, many in flight on a connection. Times are of both sides together.
func BenchmarkUnary(b *testing.B) {
	var quick directFunc = func(c *Call) { c.Answer(c.Request()) }
	servers := []struct {
		name  string
		serve func() string
	}{
		{"direct", func() string {
			s := newServer(Options{})
			s.Direct("/test.S/Echo", &quick)
			return listen(b, s)
		}},
		{"ordinary", func() string { return serve(b, Options{}) }},
		{"grpc-go", func() string { return reference(b) }},
	}
	for _, s := range servers {
		for _, inFlight := range []int{1, 100} {
			for _, timeout := range []string{"none", "5S"} {
				b.Run(fmt.Sprintf("%s/inflight=%d/timeout=%s", s.name, inFlight, timeout), func(b *testing.B) {
					var pairs []string
					if timeout != "none" {
						pairs = []string{"grpc-timeout", timeout}
					}
					g := newGenerator(b, s.serve(), pairs...)
					hello := message("hello")
					g.round(b, 1, hello)
					b.ReportAllocs()
					b.ResetTimer()
					for left := b.N; left > 0; left -= inFlight {
						g.round(b, min(inFlight, left), hello)
					}
				})
			}
		}
	}
}

// BenchmarkHeaders: the header of a call as clients repeat it.
func BenchmarkHeaders(b *testing.B) {
	s := newServer(Options{})
	c := newConn(s, nil)
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	encode := func() []byte {
		block.Reset()
		list := request("/test.S/Echo", "user-agent", "x", "grpc-timeout", "5S")
		for i := 0; i < len(list); i += 2 {
			_ = enc.WriteField(hpack.HeaderField{Name: list[i], Value: list[i+1]})
		}
		return bytes.Clone(block.Bytes())
	}
	decode := func(block []byte) {
		list, _, err := c.blocks.decoder.decode(block, c.blocks.list[:0], 1<<16)
		if err != nil {
			b.Fatal(err)
		}
		c.head(list)
		c.blocks.list = list
	}
	decode(encode())
	again := encode()
	b.ReportAllocs()
	for b.Loop() {
		decode(again)
	}
}
