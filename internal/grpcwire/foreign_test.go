package grpcwire

import (
	"strings"
	"testing"

	"golang.org/x/net/http2"
)

// TestForeignRequest: what is none of gRPC gets its answer when it is whole, or so large that it is clear that nobody waits for its end; what is
// wrong with it until then is said first.
func TestForeignRequest(t *testing.T) {
	at := serve(t, Options{})
	foreign := request("/any", "content-type", "text/plain")
	for name, c := range map[string]struct {
		send func(r *raw)
		want string
	}{
		"whole":      {func(r *raw) { r.headers(1, true, foreign...) }, "[:status: 415]"},
		"in pieces":  {func(r *raw) { r.headers(1, false, foreign...); r.data(1, false, "a"); r.data(1, true, "b") }, "[:status: 415]"},
		"method":     {func(r *raw) { r.headers(1, true, request("/any", ":method", "GET")...) }, "[:status: 405]"},
		"large":      {func(r *raw) { r.headers(1, false, foreign...); r.large(1) }, "[:status: 415]"},
		"wrong size": {func(r *raw) { r.headers(1, false, append(foreign, "content-length", "2")...); r.data(1, true, "a") }, " RST PROTOCOL_ERROR"},
		"trailers":   {func(r *raw) { r.headers(1, false, foreign...); r.headers(1, false, "a", "b") }, " RST PROTOCOL_ERROR"},
		"after end":  {func(r *raw) { r.headers(1, false, foreign...); r.reset(1); r.data(1, true, "a") }, " RST STREAM_CLOSED"},
	} {
		t.Run(name, func(t *testing.T) {
			r := dialRaw(t, at)
			c.send(r)
			got := r.outcome(1).String()
			if !strings.HasPrefix(got, c.want) {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func (r *raw) data(stream uint32, end bool, s string) {
	r.t.Helper()
	r.check(r.framer.WriteData(stream, end, []byte(s)))
}

func (r *raw) reset(stream uint32) {
	r.t.Helper()
	r.check(r.framer.WriteRSTStream(stream, http2.ErrCodeCancel))
}

// large sends as much as a stream's window takes at first, and no end.
func (r *raw) large(stream uint32) {
	r.t.Helper()
	for left := windowStart; left > 0; left -= min(left, frameBytesMax) {
		r.data(stream, false, strings.Repeat("x", min(left, frameBytesMax)))
	}
}
