package port

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"time"
)

// HTTPOptions bound what HTTP clients may do. Zero fields take the values that the comments name.
type HTTPOptions struct {
	MaxStreams  int           // that an HTTP/2 connection may have open; 250
	HeaderTime  time.Duration // to send the header of a request; 5 min
	BodyTime    time.Duration // to send the body, unless Endless says otherwise; 2 min
	IdleTime    time.Duration // between two requests; 5 min
	Endless     func(*http.Request) bool
	BaseContext context.Context // of the requests; must not be nil
	ErrorLog    *log.Logger
}

// NewHTTPServer returns a server for the HTTP listeners of Splitters. It speaks HTTP/1.1 and HTTP/2; the requests' TLS field says what the
// connection went through. There is no bound on the time of an answer, as some are streams, but a client must read.
func NewHTTPServer(h http.Handler, o HTTPOptions) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true) // the Splitter lets it come from TLS only
	return &http.Server{
		Handler: arrive(boundBody(h, orElse(o.BodyTime, 2*time.Minute), o.Endless)), Protocols: protocols,
		ReadHeaderTimeout: orElse(o.HeaderTime, 5*time.Minute), IdleTimeout: orElse(o.IdleTime, 5*time.Minute), MaxHeaderBytes: MaxHeaderBytes,
		HTTP2:       &http.HTTP2Config{MaxConcurrentStreams: orElse(o.MaxStreams, 250), MaxDecoderHeaderTableSize: 4096},
		BaseContext: func(net.Listener) context.Context { return o.BaseContext },
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, find(conn))
		},
		ErrorLog: o.ErrorLog,
	}
}

func orElse[T int | time.Duration](v, otherwise T) T {
	if v == 0 {
		return otherwise
	}
	return v
}

// connKey is where the context of a request has its *Conn.
type connKey struct{}

// arrive notes that a connection has made a request, and gives the request the state of its connection's TLS session.
func arrive(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, _ := r.Context().Value(connKey{}).(*Conn); c != nil {
			c.settle()
			r.TLS = c.state
		}
		next.ServeHTTP(w, r)
	})
}

// boundBody gives every body a time to arrive, except those that may go on for ever.
func boundBody(next http.Handler, limit time.Duration, endless func(*http.Request) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body != nil && r.Body != http.NoBody && (endless == nil || !endless(r)) {
			c := http.NewResponseController(w)
			if c.SetReadDeadline(time.Now().Add(limit)) == nil {
				bounded := *r // the server looks at the body of its own request to see whether it was read
				bounded.Body = &boundedBody{r.Body, c}
				r = &bounded
			}
		}
		next.ServeHTTP(w, r)
	})
}

// boundedBody lifts the time limit at the body's end: what is read from the connection afterwards only tells whether the client is there.
type boundedBody struct {
	io.ReadCloser
	conn *http.ResponseController
}

// Read reads from the body.
func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		_ = b.conn.SetReadDeadline(time.Time{}) // it fails if the connection has, which reading shows
	}
	return n, err
}
