package transport

import (
	"context"
	"net"
	"net/http"
	"strings"
	"time"
)

// The headers by which members know each other.
const (
	headerFrom       = "X-Server-From"
	headerVersion    = "X-Server-Version"
	headerMinVersion = "X-Min-Cluster-Version"
	headerCluster    = "X-Etcd-Cluster-Id" // as net/http spells X-Etcd-Cluster-ID
	headerTo         = "X-Raft-To"
	headerPeerURLs   = "X-Peerurls" // as net/http spells X-PeerURLs
)

// requestHeaders returns what every request to a peer says.
func requestHeaders(cfg Config) http.Header {
	return http.Header{
		headerFrom:       {hexID(cfg.ID)},
		headerVersion:    {cfg.Version},
		headerMinVersion: {minVersion},
		headerCluster:    {hexID(cfg.ClusterID)},
		headerPeerURLs:   {strings.Join(cfg.PeerURLs, ",")},
	}
}

// clients are the HTTP clients for the kinds of requests, which differ in the time that they give a peer.
type clients struct {
	stream *http.Client // reads and writes must go on all the time
	post   *http.Client // writes must go on, the answer comes soon after the request's end
	api    *http.Client // writes must go on; the caller's context limits the rest
}

func newClients(cfg Config) clients {
	stream := newHTTPTransport(cfg, cfg.Timing.Read)
	stream.MaxIdleConnsPerHost = -1 // an idle connection would run into its time for reading
	post := newHTTPTransport(cfg, 0)
	post.ResponseHeaderTimeout = cfg.Timing.Answer
	post.WriteBufferSize = 64 << 10
	return clients{stream: newClient(stream), post: newClient(post), api: newClient(newHTTPTransport(cfg, 0))}
}

func newClient(t *http.Transport) *http.Client {
	return &http.Client{
		Transport:     Anywhere(t),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func (c clients) close() {
	for _, one := range []*http.Client{c.stream, c.post, c.api} {
		one.CloseIdleConnections()
	}
}

// newHTTPTransport speaks HTTP/1.1 only. readTimeout zero is no limit.
func newHTTPTransport(cfg Config, readTimeout time.Duration) *http.Transport {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, cfg.DialTimeout)
		defer cancel()
		conn, err := cfg.Dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &timedConn{Conn: conn, read: readTimeout, write: cfg.Timing.Write}, nil
	}
	t := &http.Transport{
		Protocols:           &protocols,
		TLSHandshakeTimeout: 10 * time.Second,
		IdleConnTimeout:     cfg.Timing.IO * 9 / 10, // before the peer gives up on the connection, but not between two probes
		MaxIdleConnsPerHost: 4,
		DisableCompression:  true,
		ReadBufferSize:      32 << 10,
		DialContext:         dial,
	}
	if cfg.OverTLS != nil {
		t.DialTLSContext = cfg.OverTLS(dial)
	}
	return t
}

// timedConn gives every single read and write a time in which something must happen. Zero is no limit.
type timedConn struct {
	net.Conn
	read, write time.Duration
}

// Read reads, for as long as the connection allows.
func (c *timedConn) Read(b []byte) (int, error) {
	if c.read > 0 {
		if err := c.SetReadDeadline(time.Now().Add(c.read)); err != nil {
			return 0, err
		}
	}
	return c.Conn.Read(b)
}

// Write writes b in parts, each of which has its time: a large b on a slow line is no failure.
func (c *timedConn) Write(b []byte) (written int, err error) {
	for err == nil && len(b) > 0 {
		part := b[:min(len(b), writeBytes)]
		if err = c.SetWriteDeadline(time.Now().Add(c.write)); err != nil {
			break
		}
		var n int
		n, err = c.Conn.Write(part)
		written, b = written+n, b[n:]
	}
	return written, err
}
