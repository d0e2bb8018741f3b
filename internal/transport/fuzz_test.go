package transport

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/quoin-kv/quoin/raft/wire"
)

// FuzzHandler sends anything to the handler of peers, from senders that may be peers: it is answered in bounded time, and only messages to this
// member and from somebody who fits get through.
func FuzzHandler(f *testing.F) {
	l := newLocal()
	l.remove(9)
	tr := New(Config{ID: 1, ClusterID: cluster, Version: "3.7.3", PeerURLs: peerOf(1).URLs, Local: l, Dial: newNetwork().dial})
	f.Cleanup(tr.Close)
	tr.SetPeers([]Peer{{ID: 1}, {ID: 2, URLs: peerOf(2).URLs}})
	message := (&wire.Message{Type: wire.MsgAppResp, From: 2, To: 1, Term: 1}).Append(nil)
	fits := hexID(cluster)
	for _, path := range []string{"/raft", "/raft/snapshot", "/raft/probing", "/raft/stream/message/2", "/raft/stream/msgapp/2", "/raft/stream/x/9"} {
		f.Add("POST", path, "2", "3.7.3", "3.0.0", fits, "http://peer2:2380", message)
		f.Add("GET", path, "9", "3.7.3", "", fits, "", []byte{0, 0, 0, 0, 0, 0, 0, 9})
		f.Add("GET", path, "-", "3", "9.9.9.9", "x", "://,", append([]byte{0, 0, 0, 0, 0, 0, 0, byte(len(message))}, message...))
	}
	h := tr.Handler()
	f.Fuzz(func(t *testing.T, method, path, from, version, lowest, in, urls string, body []byte) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, method, "http://peer1/", bytes.NewReader(body))
		if err != nil {
			return
		}
		r.URL = &url.URL{Path: path}
		r.Header = http.Header{
			headerFrom: {from}, headerVersion: {version}, headerMinVersion: {lowest}, headerCluster: {in}, headerTo: {"1"}, headerPeerURLs: {urls},
		}
		w := &recorder{httptest.NewRecorder()}
		h.ServeHTTP(w, r)
		if w.Code < 200 || w.Code > 599 {
			t.Errorf("status %d", w.Code)
		}
		taken(t, l, in == fits)
	})
}

// taken empties what the member has received.
func taken(t *testing.T, l *local, fits bool) {
	t.Helper()
	for {
		select {
		case m := <-l.steps:
			if !fits {
				t.Errorf("a message of another cluster got through: %v", m)
			}
		case <-l.lost:
		case <-l.stopped:
		default:
			return
		}
	}
}
