package grpcwire

import (
	"strings"
	"testing"

	"golang.org/x/net/http2"
)

// answerCase is something that a client sends on stream 1.
type answerCase struct {
	name string
	send func(r *raw)
}

func headerCase(name string, pairs ...string) answerCase {
	return answerCase{name, func(r *raw) {
		r.headers(1, false, request("/test.S/Echo", pairs...)...)
		_ = r.framer.WriteData(1, true, message("hello"))
	}}
}

func pathCase(name, path string) answerCase {
	return answerCase{name, func(r *raw) { r.call(1, path, "x") }}
}

func dataCase(name, method, data string, pairs ...string) answerCase {
	return answerCase{name, func(r *raw) {
		r.headers(1, false, request(method, pairs...)...)
		_ = r.framer.WriteData(1, true, []byte(data))
	}}
}

func answerCases() []answerCase {
	return []answerCase{
		headerCase("whole"),
		headerCase("subtype", "content-type", "application/grpc+proto"),
		headerCase("other subtype", "content-type", "application/grpc+json"),
		headerCase("parameter", "content-type", "application/grpc; charset=x"),
		headerCase("no content type", "content-type", ""),
		headerCase("other content type", "content-type", "text/plain"),
		headerCase("nearly a content type", "content-type", "application/grpcx"),
		headerCase("GET", ":method", "GET"),
		headerCase("no method", ":method", ""),
		headerCase("no path", ":path", ""),
		headerCase("no scheme", ":scheme", ""),
		headerCase("no authority", ":authority", ""),
		headerCase("host", ":authority", "", "host", "x"),
		headerCase("no te", "te", ""),
		headerCase("other te", "te", "gzip"),
		headerCase("connection", "connection", "close"),
		headerCase("timeout", "grpc-timeout", "5S"),
		headerCase("timeout without unit", "grpc-timeout", "5"),
		headerCase("timeout of nine digits", "grpc-timeout", "123456789S"),
		headerCase("negative timeout", "grpc-timeout", "-5S"),
		headerCase("empty timeout", "grpc-timeout", "S"),
		headerCase("passed timeout", "grpc-timeout", "0n"),
		headerCase("bad binary", "a-bin", "!!"),
		headerCase("unknown encoding", "grpc-encoding", "snappy"),
		headerCase("identity", "grpc-encoding", "identity"),
		headerCase("content length", "content-length", "10"),
		headerCase("wrong content length", "content-length", "11"),
		headerCase("upper case", "Foo", "x"),
		headerCase("large header", "foo", strings.Repeat("x", 70<<10)),
		pathCase("unknown method", "/test.S/Nope"),
		pathCase("unknown service", "/nope.S/Nope"),
		pathCase("no slash", "test.S"),
		pathCase("one slash", "/test.S"),
		pathCase("relative", "test.S/Echo"),
		pathCase("fails", "/test.S/Fail"),
		pathCase("fails plainly", "/test.S/Plain"),
		dataCase("unreadable", "/test.S/Echo", string(message("unreadable"))),
		dataCase("unreadable in a stream", "/test.S/Both", string(message("unreadable"))),
		dataCase("unspeakable", "/test.S/Echo", string(message("unspeakable"))),
		dataCase("unspeakable in a stream", "/test.S/Both", string(message("unspeakable"))),
		dataCase("no message", "/test.S/Echo", ""),
		dataCase("half a prefix", "/test.S/Echo", "\x00\x00"),
		dataCase("half a message", "/test.S/Echo", "\x00\x00\x00\x00\x05hel"),
		dataCase("two messages", "/test.S/Echo", string(message("a"))+string(message("b"))),
		dataCase("a message and a bit", "/test.S/Echo", string(message("a"))+"\x00"),
		dataCase("two messages for many", "/test.S/Many", string(message("2"))+string(message("b"))),
		dataCase("empty message", "/test.S/Echo", string(message(""))),
		dataCase("compressed without encoding", "/test.S/Echo", "\x01\x00\x00\x00\x01x"),
		dataCase("compressed with identity", "/test.S/Echo", "\x01\x00\x00\x00\x01x", "grpc-encoding", "identity"),
		dataCase("badly compressed", "/test.S/Echo", "\x01\x00\x00\x00\x01x", "grpc-encoding", "gzip"),
		dataCase("odd flag", "/test.S/Echo", "\x02\x00\x00\x00\x01x"),
		dataCase("compression unknown in a stream", "/test.S/Both", "\x00\x00\x00\x00\x01x", "grpc-encoding", "snappy"),
		dataCase("too large", "/test.S/Echo", "\x00\x7f\xff\xff\xffx"),
		dataCase("too large in a stream", "/test.S/Both", "\x00\x7f\xff\xff\xffx"),
		dataCase("far too large", "/test.S/Echo", "\x00\xff\xff\xff\xffx"),
		dataCase("no message in a stream", "/test.S/Both", ""),
		dataCase("half a prefix in a stream", "/test.S/Both", "\x00\x00"),
		dataCase("half a message in a stream", "/test.S/Both", "\x00\x00\x00\x00\x05hel"),
		dataCase("messages in a stream", "/test.S/Both", string(message("a"))+string(message("b"))),
		dataCase("a stream that ends itself", "/test.S/Both", string(message("a"))+string(message("end"))+string(message("b"))),
		dataCase("no message for many", "/test.S/Many", ""),
		dataCase("many", "/test.S/Many", string(message("3"))),
		dataCase("metadata", "/test.S/Metadata", string(message("a")), "a", "1", "a", "2"),
		dataCase("binary metadata", "/test.S/Metadata", string(message("a-bin")), "a-bin", "AQI,Aw=="),
		dataCase("user agent", "/test.S/Metadata", string(message("user-agent")), "user-agent", "me"),
		dataCase("authority", "/test.S/Metadata", string(message(":authority"))),
		dataCase("host as metadata", "/test.S/Metadata", string(message("host")), "host", "x"),
		dataCase("host as authority", "/test.S/Metadata", string(message(":authority")), ":authority", "", "host", "x"),
		dataCase("path as metadata", "/test.S/Metadata", string(message(":path"))),
		dataCase("content type as metadata", "/test.S/Metadata", string(message("content-type"))),
		dataCase("accepted encodings as metadata", "/test.S/Metadata", string(message("grpc-accept-encoding")), "grpc-accept-encoding", "gzip"),
		dataCase("content length as metadata", "/test.S/Metadata", string(message("content-length")), "content-length", "19"),
		dataCase("timeout as metadata", "/test.S/Metadata", string(message("grpc-timeout")), "grpc-timeout", "5S"),
		dataCase("te as metadata", "/test.S/Metadata", string(message("te"))),
		dataCase("encoding as metadata", "/test.S/Metadata", string(message("grpc-encoding")), "grpc-encoding", "gzip"),
		dataCase("status as metadata", "/test.S/Metadata", string(message("grpc-status")), "grpc-status", "1"),
		dataCase("cookie", "/test.S/Metadata", string(message("cookie")), "cookie", "1"),
		dataCase("replied metadata", "/test.S/Reply", string(message("a"))),
		dataCase("replied metadata with an error", "/test.S/Reply", string(message("fail"))),
		{"no data at all", func(r *raw) { r.headers(1, true, request("/test.S/Echo")...) }},
		{"trailers", func(r *raw) {
			r.headers(1, false, request("/test.S/Echo")...)
			_ = r.framer.WriteData(1, false, message("a"))
			r.headers(1, true, "after", "x")
		}},
		{"padded", func(r *raw) {
			r.headers(1, false, request("/test.S/Echo")...)
			_ = r.framer.WriteDataPadded(1, true, message("a"), make([]byte, 100))
		}},
		{"bits", func(r *raw) {
			r.headers(1, false, request("/test.S/Echo")...)
			for i, b := range message("hello") {
				_ = r.framer.WriteData(1, i == 9, []byte{b})
			}
		}},
		{"continued", func(r *raw) {
			block := r.encode(request("/test.S/Echo")...)
			_ = r.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:5]})
			_ = r.framer.WriteContinuation(1, false, nil)
			_ = r.framer.WriteContinuation(1, true, block[5:])
			_ = r.framer.WriteData(1, true, message("a"))
		}},
	}
}

// differences are the cases in which we answer differently on purpose.
func differences() map[string]string {
	const malformed = " RST PROTOCOL_ERROR"
	return map[string]string{
		// RFC 9113, section 8.3.1 and 8.2.2: malformed.
		"no method": malformed, "no path": malformed, "no scheme": malformed, "other te": malformed, "wrong content length": malformed,
		// grpc-go closes the connection.
		"large header": `[:status: 431][content-type: application/grpc][grpc-message: grpc: metadata larger than max (65536)][grpc-status: 8]`,
		// The parameter is no part of a subtype.
		"parameter": `[:status: 200][content-type: application/grpc] body="\x00\x00\x00\x00\x05hello" [grpc-status: 0]`,
		// Trailers of a client are allowed.
		"trailers": `[:status: 200][content-type: application/grpc] body="\x00\x00\x00\x00\x01a" [grpc-status: 0]`,
	}
}

// TestAnswersLikeGRPC: a client cannot tell which server it has, whatever it sends, but for the differences.
func TestAnswersLikeGRPC(t *testing.T) {
	theirs, ours := reference(t), serve(t, Options{})
	different := differences()
	for _, c := range answerCases() {
		t.Run(c.name, func(t *testing.T) {
			ask := func(addr string) string {
				r := dialRaw(t, addr)
				c.send(r)
				return strings.ReplaceAll(r.outcome(1).String(), "[grpc-message: ]", "")
			}
			want, ok := different[c.name]
			if !ok {
				want = ask(theirs)
			}
			if got := ask(ours); got != want {
				t.Errorf("answer:\n%s, want\n%s", got, want)
			}
		})
	}
}
