package transport

import (
	"context"
	"net"
	"net/http"
)

// anywhere sends a request over TCP, or to a unix socket if that is what its URL names: the host and port of a unix or unixs URL are the
// name of the socket in the working directory, as they are to whoever listens there.
type anywhere struct{ tcp, socket *http.Transport }

// Anywhere returns what sends requests as t does, and to unix sockets as well. t must have functions that dial, and is not changed any more.
func Anywhere(t *http.Transport) http.RoundTripper {
	s := t.Clone()
	s.DialContext = onSocket(t.DialContext)
	if t.DialTLSContext != nil {
		s.DialTLSContext = onSocket(t.DialTLSContext)
	}
	return anywhere{t, s}
}

func onSocket(dial DialFunc) DialFunc {
	return func(ctx context.Context, _, address string) (net.Conn, error) { return dial(ctx, "unix", address) }
}

// RoundTrip sends a request, as http.RoundTripper says.
func (a anywhere) RoundTrip(req *http.Request) (*http.Response, error) {
	var over string
	switch req.URL.Scheme {
	case "unix":
		over = "http"
	case "unixs":
		over = "https"
	default:
		return a.tcp.RoundTrip(req)
	}
	own, u := *req, *req.URL
	u.Scheme, own.URL = over, &u
	return a.socket.RoundTrip(&own)
}

// CloseIdleConnections is for http.Client.
func (a anywhere) CloseIdleConnections() {
	a.tcp.CloseIdleConnections()
	a.socket.CloseIdleConnections()
}
