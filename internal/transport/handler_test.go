package transport

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/quoin-kv/quoin/raft/wire"
)

// ask sends a request of member 2 to a handler, changed by change.
func ask(t *testing.T, h http.Handler, method, path string, body io.Reader, change func(http.Header)) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, path, body)
	r.Header = http.Header{
		headerFrom: {"2"}, headerVersion: {"3.7.3"}, headerMinVersion: {"3.0.0"}, headerCluster: {hexID(cluster)}, headerTo: {"1"},
	}
	if change != nil {
		change(r.Header)
	}
	w := &recorder{httptest.NewRecorder()}
	h.ServeHTTP(w, r)
	return w.ResponseRecorder
}

// recorder lets deadlines be set, as the writers of a server do.
type recorder struct{ *httptest.ResponseRecorder }

func (*recorder) SetReadDeadline(time.Time) error  { return nil }
func (*recorder) SetWriteDeadline(time.Time) error { return nil }

// isolated returns a transport of member 1 that reaches nobody. Member 2 is its peer, 9 was removed.
func isolated(t *testing.T, change func(*Config)) (*Transport, *local) {
	t.Helper()
	l := newLocal()
	l.remove(9)
	cfg := Config{
		ID: 1, ClusterID: cluster, Version: "3.7.3", PeerURLs: peerOf(1).URLs, Local: l,
		Dial: newNetwork().dial,
	}
	if change != nil {
		change(&cfg)
	}
	tr := New(cfg)
	t.Cleanup(tr.Close)
	tr.SetPeers([]Peer{{ID: 1}, {ID: 2, URLs: peerOf(2).URLs}})
	return tr, l
}

func set(name, value string) func(http.Header) {
	return func(h http.Header) { h.Set(name, value) }
}

func TestRefusals(t *testing.T) {
	const message = "/raft/stream/message/"
	pair := func(fs ...func(http.Header)) func(http.Header) {
		return func(h http.Header) {
			for _, f := range fs {
				f(h)
			}
		}
	}
	oldVersion, otherCluster := set(headerVersion, "2.3.8"), set(headerCluster, "c2")
	for _, tc := range []struct {
		name, method, path string
		change             func(http.Header)
		code               int
		text               string
	}{
		{"stream: method before version", "POST", message + "2", oldVersion, 405, "Method Not Allowed"},
		{"stream: version before cluster", "GET", message + "2", pair(oldVersion, otherCluster), 412, "incompatible version"},
		{"stream: no version", "GET", message + "2", func(h http.Header) { h.Del(headerVersion) }, 412, "incompatible version"},
		{"stream: bad version", "GET", message + "2", set(headerVersion, "three"), 412, "incompatible version"},
		{"stream: wants a newer one", "GET", message + "2", set(headerMinVersion, "3.8.0"), 412, "incompatible version"},
		{"stream: cluster before path", "GET", "/raft/stream/x/2", otherCluster, 412, "cluster ID mismatch"},
		{"stream: no cluster", "GET", message + "2", func(h http.Header) { h.Del(headerCluster) }, 412, "cluster ID mismatch"},
		{"stream: path", "GET", "/raft/stream/x/2", nil, 404, "invalid path"},
		{"stream: short path", "GET", "/raft/stream/message", nil, 404, "invalid path"},
		{"stream: long path", "GET", "/raft/stream/message/2/3", nil, 404, "invalid path"},
		{"stream: from", "GET", message + "xyz", nil, 404, "invalid from"},
		{"stream: no from", "GET", message, nil, 404, "invalid from"},
		{"stream: removed before to", "GET", message + "9", set(headerTo, "5"), 410, "removed member"},
		{"stream: unknown before to", "GET", message + "8", set(headerTo, "5"), 404, "error sender not found"},
		{"stream: to", "GET", message + "2", set(headerTo, "5"), 412, "to field mismatch"},
		{"stream: no to", "GET", "/raft/stream/msgapp/2", func(h http.Header) { h.Del(headerTo) }, 412, "to field mismatch"},
		{"pipeline: method", "GET", "/raft", oldVersion, 405, "Method Not Allowed"},
		{"pipeline: version", "POST", "/raft", pair(oldVersion, otherCluster), 412, "incompatible version"},
		{"pipeline: cluster", "POST", "/raft", otherCluster, 412, "cluster ID mismatch"},
		{"snapshot: method", "PUT", "/raft/snapshot", oldVersion, 405, "Method Not Allowed"},
		{"snapshot: version", "POST", "/raft/snapshot", oldVersion, 412, "incompatible version"},
		{"snapshot: cluster", "POST", "/raft/snapshot", otherCluster, 412, "cluster ID mismatch"},
		{"snapshot: nothing", "POST", "/raft/snapshot", nil, 400, "error reading raft message: unexpected EOF"},
		{"unknown path", "GET", "/raft/other", nil, 404, "404 page not found"},
		{"unknown path below", "POST", "/raft/snapshot/x", nil, 404, "404 page not found"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tr, _ := isolated(t, nil)
			w := ask(t, tr.Handler(), tc.method, tc.path, http.NoBody, tc.change)
			if got := strings.TrimSuffix(w.Body.String(), "\n"); w.Code != tc.code || got != tc.text {
				t.Fatalf("answer %d %q, want %d %q", w.Code, got, tc.code, tc.text)
			}
			if allow := w.Header().Get("Allow"); (allow != "") != (tc.code == 405) {
				t.Errorf("Allow is %q", allow)
			}
			if strings.HasPrefix(tc.path, message) && w.Header().Get("X-Server-Version") != "3.7.3" {
				t.Error("no version in the answer to a stream")
			}
			if tc.code != 405 && tc.text != "404 page not found" && w.Header().Get("X-Etcd-Cluster-ID") != hexID(cluster) {
				t.Error("no cluster id in the answer")
			}
		})
	}
}

func TestPipelineAnswers(t *testing.T) {
	body := func(m wire.Message) []byte { return m.Append(nil) }
	for _, tc := range []struct {
		name string
		body []byte
		code int
		text string
		step bool
	}{
		{"accepted", body(heartbeat(2, 1)), 204, "", true},
		{"no message", []byte{0x80}, 400, "error unmarshalling raft message\n", false},
		{"from a removed member", body(heartbeat(9, 1)), 403, `{"message":"cannot process message from removed member"}` + "\n", false},
		{"to another", body(heartbeat(2, 5)), 403, `{"message":"cannot process message to mismatch member"}` + "\n", false},
		{"from a stranger", body(heartbeat(7, 1)), 404, "error sender not found\n", false},
		{"local type", body(wire.Message{Type: 11, From: 2, To: 1}), 204, "", false},
		{"type of storage", body(wire.Message{Type: 19, From: 2, To: 1}), 204, "", false},
		{"snapshot without a file", body(wire.Message{Type: wire.MsgSnap, From: 2, To: 1}), 204, "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tr, l := isolated(t, nil)
			w := ask(t, tr.Handler(), "POST", "/raft", bytes.NewReader(tc.body), nil)
			if w.Code != tc.code || w.Body.String() != tc.text {
				t.Fatalf("answer %d %q, want %d %q", w.Code, w.Body.String(), tc.code, tc.text)
			}
			if got := len(l.steps) == 1; got != tc.step {
				t.Fatalf("stepped %v, want %v", got, tc.step)
			}
		})
	}
	t.Run("body breaks", func(t *testing.T) {
		tr, _ := isolated(t, nil)
		w := ask(t, tr.Handler(), "POST", "/raft", &broken{}, nil)
		if w.Code != 400 || w.Body.String() != "error reading raft message\n" {
			t.Fatalf("answer %d %q", w.Code, w.Body.String())
		}
	})
}

type broken struct{}

func (*broken) Read([]byte) (int, error) { return 0, errors.New("broken") }

func TestSnapshotAnswers(t *testing.T) {
	snap := func(change func(*wire.Message)) []byte {
		m := wire.Message{Type: wire.MsgSnap, From: 2, To: 1, Snapshot: &wire.Snapshot{Meta: wire.SnapshotMeta{Index: 7, Term: 2}}}
		change(&m)
		return append(messageEncoder{}.encode(nil, &m), "database"...)
	}
	for _, tc := range []struct {
		name   string
		change func(*wire.Message)
		err    error
		code   int
		text   string
	}{
		{"accepted", func(*wire.Message) {}, nil, 204, ""},
		{"disk full", func(*wire.Message) {}, errors.New("disk full"), 500, "failed to receive the snapshot: disk full\n"},
		{"another type", func(m *wire.Message) { m.Type = wire.MsgApp }, nil, 400, "wrong raft message type\n"},
		{"no snapshot", func(m *wire.Message) { m.Snapshot = nil }, nil, 400, "wrong raft message type\n"},
		{"removed", func(m *wire.Message) { m.From = 9 }, nil, 403, `{"message":"cannot process message from removed member"}` + "\n"},
		{"to another", func(m *wire.Message) { m.To = 5 }, nil, 400, "cannot process message to mismatch member\n"},
		{"stranger", func(m *wire.Message) { m.From = 7 }, nil, 404, "error sender not found\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tr, l := isolated(t, nil)
			stored := ""
			l.snapshot = func(_ context.Context, _ wire.Message, body io.Reader) error {
				b, err := io.ReadAll(body)
				stored = string(b)
				return errors.Join(err, tc.err)
			}
			w := ask(t, tr.Handler(), "POST", "/raft/snapshot", bytes.NewReader(snap(tc.change)), nil)
			if w.Code != tc.code || w.Body.String() != tc.text {
				t.Fatalf("answer %d %q, want %d %q", w.Code, w.Body.String(), tc.code, tc.text)
			}
			if want := tc.code == 204; (len(l.steps) == 1) != want || want && stored != "database" {
				t.Fatalf("stepped %d, stored %q", len(l.steps), stored)
			}
		})
	}
}

func TestProbeAnswer(t *testing.T) {
	tr, _ := isolated(t, nil)
	w := ask(t, tr.Handler(), "GET", "/raft/probing", http.NoBody, func(h http.Header) { clear(h) })
	var said struct {
		OK  bool
		Now time.Time
	}
	if err := json.Unmarshal(w.Body.Bytes(), &said); err != nil || w.Code != 200 || !said.OK || time.Since(said.Now).Abs() > time.Minute {
		t.Fatalf("answer %d %q: %v", w.Code, w.Body.String(), err)
	}
	if !strings.HasPrefix(w.Body.String(), `{"OK":true,"Now":"`) {
		t.Fatalf("answer %q", w.Body.String())
	}
}

// TestStrangersAreRemembered: who says where it is can be answered, within bounds.
func TestStrangersAreRemembered(t *testing.T) {
	tr, _ := isolated(t, nil)
	h := tr.Handler()
	say := func(id uint64, urls string) {
		ask(t, h, "POST", "/raft", http.NoBody, func(h http.Header) {
			h.Set(headerFrom, hexID(id))
			h.Set(headerPeerURLs, urls)
		})
	}
	say(0, "http://a:1")
	say(1, "http://a:1")
	say(2, "http://a:1")
	say(9, "http://a:1")
	say(20, "nonsense,ftp://a:1")
	say(21, strings.Repeat("http://a:1,", maxURLs)+"http://a:1")
	if n := len(*tr.peers.Load()); n != 1 {
		t.Fatalf("%d peers, want only member 2", n)
	}
	say(30, "http://a:1,nonsense,https://b:2")
	if p := tr.peer(30); p == nil || !p.remote || fmt.Sprint(p.urls.all()) != "[http://a:1 https://b:2]" {
		t.Fatalf("member 30 is not remembered: %+v", p)
	}
	w := ask(t, h, "GET", "/raft/stream/message/1f", http.NoBody, set(headerPeerURLs, "http://c:3"))
	if p := tr.peer(31); p == nil || !p.remote || w.Code != 404 {
		t.Fatalf("who asks for a stream is not remembered: %d, %+v", w.Code, p)
	}
	for id := range uint64(2 * maxRemotes) {
		say(100+id, "http://a:1")
	}
	if n := len(*tr.peers.Load()); n != 1+maxRemotes {
		t.Fatalf("%d peers, want member 2 and %d strangers", n, maxRemotes)
	}
	tr.SetPeers(peersOf(2, 30))
	if p := tr.peer(30); p == nil || p.remote || tr.peer(31) == nil {
		t.Fatal("a stranger that became a member is still one, or the others are forgotten")
	}
}

func TestHandlerAfterClose(t *testing.T) {
	tr, _ := isolated(t, nil)
	tr.Close()
	if w := ask(t, tr.Handler(), "GET", "/raft/probing", http.NoBody, nil); w.Code != 503 {
		t.Fatalf("answer %d", w.Code)
	}
	if err := tr.SendSnapshot(t.Context(), wire.Message{Type: wire.MsgSnap, To: 2, Snapshot: &wire.Snapshot{}}, nil); err == nil {
		t.Fatal("a snapshot was sent")
	}
	tr.SetPeers(peersOf(2, 3))
	tr.Send([]wire.Message{heartbeat(1, 2)})
}
