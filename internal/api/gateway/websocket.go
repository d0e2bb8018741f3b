package gateway

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"

	"golang.org/x/net/websocket"
)

// bearer is the subprotocol behind which a page may put its token: a page cannot set other headers of an upgrade.
const bearer = "Bearer"

// upgrade lets every path be called through a WebSocket as well: a message from the client is one of the request's, and each line of the answer
// a message to it. maxBytes bounds a frame of the client's.
func upgrade(next http.Handler, maxBytes int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, able := w.(http.Hijacker)
		if !able || !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
			next.ServeHTTP(w, r)
			return
		}
		websocket.Server{
			Handshake: chooseProtocol,
			Handler: func(conn *websocket.Conn) {
				conn.MaxPayloadBytes = maxBytes
				(&socket{conn: conn}).serve(next, r)
			},
		}.ServeHTTP(w, r)
	})
}

// chooseProtocol answers what the client offers: only who brings a token offers something.
func chooseProtocol(cfg *websocket.Config, _ *http.Request) error {
	if len(cfg.Protocol) > 0 && strings.EqualFold(cfg.Protocol[0], bearer) {
		cfg.Protocol = []string{cfg.Protocol[0]}
	} else {
		cfg.Protocol = nil
	}
	return nil
}

// socket is a call through a WebSocket; it is the writer of its answer.
type socket struct {
	conn   *websocket.Conn
	header http.Header
	line   []byte // of the answer, not complete
}

// serve carries the call out. When it returns nobody reads from the client any more and the connection is closed.
func (s *socket) serve(next http.Handler, upgraded *http.Request) {
	ctx, cancel := context.WithCancel(upgraded.Context())
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = s.conn.Close() })()
	body, feed := io.Pipe()
	received := make(chan struct{})
	go func() {
		defer close(received)
		defer cancel() // the client is gone
		s.receive(feed, Endless(upgraded))
	}()
	s.header = http.Header{}
	next.ServeHTTP(s, unwrapped(ctx, upgraded, body))
	if len(s.line) > 0 {
		_ = s.send(s.line)
	}
	_ = s.conn.Close()
	_ = body.Close()
	<-received
}

// receive passes on what the client sends, until it has gone. If the call takes only one message its body ends with the first.
func (s *socket) receive(feed *io.PipeWriter, several bool) {
	for first := true; ; first = false {
		var message []byte
		if err := websocket.Message.Receive(s.conn, &message); err != nil {
			_ = feed.Close()
			return
		}
		if !several && !first {
			continue
		}
		if _, err := feed.Write(message); err != nil {
			return
		}
		if !several {
			_ = feed.Close()
		}
	}
}

// unwrapped is the request that a client makes with an upgrade.
func unwrapped(ctx context.Context, upgraded *http.Request, body io.ReadCloser) *http.Request {
	r := upgraded.Clone(ctx)
	r.Method, r.Body, r.ContentLength, r.Header = http.MethodPost, body, -1, http.Header{}
	for _, name := range []string{"Origin", "Referer", readableHeader} {
		if v := upgraded.Header.Values(name); len(v) > 0 {
			r.Header[name] = v
		}
	}
	if kind, token, ok := strings.Cut(upgraded.Header.Get("Sec-WebSocket-Protocol"), ","); ok && strings.EqualFold(strings.TrimSpace(kind), bearer) {
		r.Header.Set("Authorization", bearer+" "+strings.TrimSpace(token))
	}
	if cookie, err := upgraded.Cookie("token"); err == nil {
		r.Header.Set("Authorization", bearer+" "+cookie.Value)
	}
	return r
}

// Header is that of an answer, which a WebSocket has no place for.
func (s *socket) Header() http.Header { return s.header }

// WriteHeader does nothing, as Header.
func (s *socket) WriteHeader(int) {}

// Flush does nothing: a message goes out when it is complete.
func (s *socket) Flush() {}

// Write sends the lines that p completes.
func (s *socket) Write(p []byte) (int, error) {
	n := len(p)
	for {
		end, rest, ok := bytes.Cut(p, []byte("\n"))
		s.line = append(s.line, end...)
		if !ok {
			return n, nil
		}
		err := s.send(s.line)
		s.line, p = s.line[:0], rest
		if err != nil {
			return 0, err
		}
	}
}

func (s *socket) send(line []byte) error { return websocket.Message.Send(s.conn, string(line)) }
