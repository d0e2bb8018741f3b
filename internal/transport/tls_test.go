package transport

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/quoin-kv/quoin/internal/certs/certstest"
	"github.com/quoin-kv/quoin/raft/wire"
)

// certificate returns one that is its own authority, for this machine.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	a := certstest.New(t, "test", certstest.Hosts("127.0.0.1"))
	return a.Pair(), a.Pool()
}

// overTLS starts a member on the loopback device.
func overTLS(t *testing.T, id uint64, cert tls.Certificate, pool *x509.CertPool) (*member, Peer) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return overTLSAt(t, id, l, "https://"+l.Addr().String(), cert, pool)
}

// overTLSAt starts a member that listens on l and is known by a URL.
func overTLSAt(t *testing.T, id uint64, l net.Listener, url string, cert tls.Certificate, pool *x509.CertPool) (*member, Peer) {
	t.Helper()
	m := &member{id: id, local: newLocal(), done: make(chan struct{})}
	self := Peer{ID: id, URLs: []string{url}}
	m.Transport = New(Config{
		ID: id, ClusterID: cluster, Version: "3.7.3", PeerURLs: self.URLs, Local: m.local,
		OverTLS: func(dial DialFunc) DialFunc {
			return func(ctx context.Context, network, address string) (net.Conn, error) {
				conn, err := dial(ctx, network, address)
				if err != nil {
					return nil, err
				}
				session := tls.Client(conn, &tls.Config{RootCAs: pool, ServerName: "127.0.0.1", Certificates: []tls.Certificate{cert}})
				if err := session.HandshakeContext(ctx); err != nil {
					_ = conn.Close()
					return nil, err
				}
				return session, nil
			}
		},
	})
	m.server = &http.Server{
		Handler: m.Handler(), ErrorLog: log.New(io.Discard, "", 0), ReadTimeout: time.Second, // streams outlive it
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	l = tls.NewListener(l, &tls.Config{
		Certificates: []tls.Certificate{cert}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
		NextProtos: []string{"h2", "http/1.1"}, // as etcd: the first is offered and not spoken
	})
	go func() { defer close(m.done); _ = m.server.Serve(l) }()
	t.Cleanup(m.stop)
	return m, self
}

// TestTLS: streams, pipeline, probes and a snapshot on real connections.
func TestTLS(t *testing.T) {
	cert, pool := certificate(t)
	a, peerA := overTLS(t, 1, cert, pool)
	b, peerB := overTLS(t, 2, cert, pool)
	converse(t, a, b, peerA, peerB)
}

// TestSockets is TestTLS over unix sockets, whose names look like hosts and ports.
func TestSockets(t *testing.T) {
	t.Chdir(t.TempDir())
	cert, pool := certificate(t)
	start := func(id uint64, name string) (*member, Peer) {
		l, err := net.Listen("unix", name)
		if err != nil {
			t.Fatal(err)
		}
		return overTLSAt(t, id, l, "unixs://"+name, cert, pool)
	}
	a, peerA := start(1, "localhost:1")
	b, peerB := start(2, "localhost:2")
	converse(t, a, b, peerA, peerB)
}

// converse has two members send each other everything that there is.
func converse(t *testing.T, a, b *member, peerA, peerB Peer) {
	t.Helper()
	a.SetPeers([]Peer{peerA, peerB})
	a.Send([]wire.Message{heartbeat(1, 2)})
	sameMessage(t, b.expect(t), heartbeat(1, 2))
	b.SetPeers([]Peer{peerA, peerB})
	deadline := time.Now().Add(time.Minute)
	for i := uint64(0); ; i++ {
		a.Send([]wire.Message{appendMessage(1, 2, i, "a", "b")})
		sameMessage(t, b.expect(t), appendMessage(1, 2, i, "a", "b"))
		since, ok := a.Connected(2)
		if ok && since > 1500*time.Millisecond {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("not connected")
		}
	}
	files := b.store()
	body, digest := file(3_000_000)
	if err := a.SendSnapshot(t.Context(), snapshotMessage(1, 2), body); err != nil {
		t.Fatal(err)
	}
	if got := <-files; got.err != nil || !bytes.Equal(got.digest, digest.Sum(nil)) {
		t.Fatalf("stored %d bytes, %v", got.bytes, got.err)
	}
	resp, err := a.Client().Get(peerB.URLs[0] + "/raft/probing")
	if err != nil || resp.StatusCode != http.StatusOK || resp.ProtoMajor != 1 {
		t.Fatalf("client: %v, %v", resp, err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
}

// TestTLSUntrusted: a peer with an unknown authority is not connected.
func TestTLSUntrusted(t *testing.T) {
	cert, pool := certificate(t)
	other, otherPool := certificate(t)
	a, peerA := overTLS(t, 1, cert, pool)
	b, peerB := overTLS(t, 2, other, otherPool)
	a.SetPeers([]Peer{peerA, peerB})
	b.SetPeers([]Peer{peerA, peerB})
	a.Send([]wire.Message{heartbeat(1, 2)})
	if id := <-a.local.lost; id != 2 {
		t.Fatalf("lost one to %x", id)
	}
	if _, ok := a.Connected(2); ok || len(b.local.steps) != 0 {
		t.Fatal("an untrusted peer is connected")
	}
}
