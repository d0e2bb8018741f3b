package flags

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// peer plays the part of another member, which never answers a vote.
type peer struct {
	*httptest.Server
	types   chan byte          // types of the messages that came
	streams chan time.Duration // how long the member kept a stream on which nothing came
	hashes  chan struct{}      // questions for the hash of the data
	shown   chan string        // common names of the certificates that the member showed
}

// newPeer starts a peer, with TLS if there is a configuration.
func newPeer(t *testing.T, security *tls.Config) *peer {
	t.Helper()
	p := &peer{types: make(chan byte, 1), streams: make(chan time.Duration, 1), hashes: make(chan struct{}, 1), shown: make(chan string, 1)}
	p.Server = httptest.NewUnstartedServer(http.HandlerFunc(p.serve))
	p.Config.ErrorLog = discard()
	if security != nil {
		p.TLS = security
		p.StartTLS()
	} else {
		p.Start()
	}
	t.Cleanup(func() {
		p.CloseClientConnections()
		p.Close()
	})
	return p
}

func (p *peer) serve(w http.ResponseWriter, r *http.Request) {
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		offer(p.shown, r.TLS.PeerCertificates[0].Subject.CommonName)
	}
	w.Header().Set("X-Etcd-Cluster-Id", r.Header.Get("X-Etcd-Cluster-Id"))
	w.Header().Set("X-Server-Version", r.Header.Get("X-Server-Version"))
	switch {
	case r.URL.Path == "/raft":
		body, _ := io.ReadAll(r.Body)
		if len(body) > 1 {
			offer(p.types, body[1]) // the first field, of the protocol buffer, is the type
		}
		w.WriteHeader(http.StatusNoContent)
	case strings.HasPrefix(r.URL.Path, "/raft/stream/"):
		begin := time.Now()
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		offer(p.streams, time.Since(begin))
	case r.URL.Path == "/members/hashkv":
		offer(p.hashes, struct{}{})
		http.NotFound(w, r)
	default:
		http.NotFound(w, r)
	}
}

// offer puts v into the channel if there is room.
func offer[T any](c chan T, v T) {
	select {
	case c <- v:
	default:
	}
}

// expect waits for something from a channel.
func expect[T any](t *testing.T, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatalf("no %s", what)
	}
	return v
}

// with are the options of a member that believes the peer to be another founder.
func (p *peer) with(o options) options {
	return o.with(options{"initial-cluster": "a=http://localhost:2380,b=" + p.URL})
}
