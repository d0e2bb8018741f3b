package peer

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/membership"
	"github.com/quoin-kv/quoin/internal/mvcc"
	"github.com/quoin-kv/quoin/internal/request"
)

const membersJSON = `[{"id":2750249758798236044,"peerURLs":["http://127.0.0.1:21180"],"name":"m1","clientURLs":["http://127.0.0.1:21179"]},` +
	`{"id":4688542081471871724,"peerURLs":["http://127.0.0.1:22180"],"name":"m2","clientURLs":["http://127.0.0.1:22179"]},` +
	`{"id":7018281163937450193,"peerURLs":["http://127.0.0.1:24180"],"isLearner":true}]` + "\n"

// TestHandler: status, body and headers are those that etcd 3.7.3 gave to the same requests.
func TestHandler(t *testing.T) {
	const plain = "text/plain; charset=utf-8"
	malformed := new(request.LeaseKeepAlive).Unmarshal([]byte("z"))
	long := strings.Repeat("\x00", 65<<10)
	for _, tc := range []struct {
		name, method, path, body string
		other                    bool // the request is of another cluster
		err                      error
		status                   int
		want, contentType        string
		signed                   bool // X-Etcd-Cluster-ID
	}{
		{name: "members", method: "GET", path: "/members", status: 200, want: membersJSON, contentType: "application/json", signed: true},
		{name: "members, other cluster", method: "GET", path: "/members", other: true, status: 200, want: membersJSON, contentType: "application/json", signed: true},
		{name: "members, method", method: "POST", path: "/members", status: 405, want: "Method Not Allowed\n", contentType: plain},
		{name: "members, slash", method: "GET", path: "/members/", status: 404, want: "404 page not found\n", contentType: plain},
		{name: "members, below", method: "GET", path: "/members/x", status: 404, want: "404 page not found\n", contentType: plain},
		{name: "root", method: "GET", path: "/", status: 404, want: "404 page not found\n", contentType: plain},
		{name: "not cleaned", method: "GET", path: "//members", status: 404, want: "404 page not found\n", contentType: plain},
		{name: "promote", method: "POST", path: "/members/promote/12", status: 200, want: membersJSON, contentType: "application/json", signed: true},
		{name: "promote, zeros", method: "POST", path: "/members/promote/0012", status: 200, want: membersJSON, contentType: "application/json", signed: true},
		{name: "promote, method", method: "GET", path: "/members/promote/12", status: 405, want: "Method Not Allowed\n", contentType: plain},
		{name: "promote nobody", method: "POST", path: "/members/promote/", status: 404, want: "member  not found in cluster\n", contentType: plain, signed: true},
		{name: "promote words", method: "POST", path: "/members/promote/zz", status: 404, want: "member zz not found in cluster\n", contentType: plain, signed: true},
		{name: "promote too large", method: "POST", path: "/members/promote/18446744073709551616", status: 404, want: "member 18446744073709551616 not found in cluster\n", contentType: plain, signed: true},
		{name: "promote unknown", method: "POST", path: "/members/promote/12", err: membership.ErrIDNotFound, status: 404, want: "membership: ID not found\n", contentType: plain, signed: true},
		{name: "promote unknown, for clients", method: "POST", path: "/members/promote/12", err: kverr.MemberNotFound, status: 404, want: "membership: ID not found\n", contentType: plain, signed: true},
		{name: "promote voter", method: "POST", path: "/members/promote/12", err: membership.ErrNotLearner, status: 412, want: "membership: can only promote a learner member\n", contentType: plain, signed: true},
		{name: "promote early", method: "POST", path: "/members/promote/12", err: kverr.LearnerNotReady, status: 412, want: "etcdserver: can only promote a learner member which is in sync with leader\n", contentType: plain, signed: true},
		{name: "promote elsewhere", method: "POST", path: "/members/promote/12", err: kverr.NotLeader, status: 500, want: "etcdserver: not leader\n", contentType: plain, signed: true},
		{name: "hash", method: "GET", path: "/members/hashkv", body: `{"revision":4}`, status: 200, want: `{"header":{"revision":5},"hash":3593804405,"compact_revision":-1,"hash_revision":4}`, contentType: "application/json", signed: true},
		{name: "hash, nothing asked", method: "GET", path: "/members/hashkv", body: `null`, status: 200, want: `{"header":{"revision":5},"hash":3593804405,"compact_revision":-1,"hash_revision":4}`, contentType: "application/json", signed: true},
		{name: "hash, compacted", method: "GET", path: "/members/hashkv", body: `{}`, err: kverr.Compacted, status: 400, want: "mvcc: required revision has been compacted\n", contentType: plain},
		{name: "hash, future", method: "GET", path: "/members/hashkv", body: `{}`, err: kverr.FutureRev, status: 400, want: "mvcc: required revision is a future revision\n", contentType: plain},
		{name: "hash, failed", method: "GET", path: "/members/hashkv", body: `{}`, err: errors.New("disk"), status: 400, want: "disk\n", contentType: plain},
		{name: "hash, no body", method: "GET", path: "/members/hashkv", status: 400, want: "error unmarshalling request\n", contentType: plain},
		{name: "hash, fraction", method: "GET", path: "/members/hashkv", body: `{"revision":1.5}`, status: 400, want: "error unmarshalling request\n", contentType: plain},
		{name: "hash, more behind", method: "GET", path: "/members/hashkv", body: `{"revision":0} x`, status: 400, want: "error unmarshalling request\n", contentType: plain},
		{name: "hash, too long", method: "GET", path: "/members/hashkv", body: long, status: 413, want: "request body too large\n", contentType: plain},
		{name: "hash, method", method: "POST", path: "/members/hashkv", body: `{}`, status: 405, want: "Method Not Allowed\n", contentType: plain},
		{name: "hash, other cluster", method: "GET", path: "/members/hashkv", body: `{}`, other: true, status: 412, want: "cluster ID mismatch\n", contentType: plain},
		{name: "renew", method: "POST", path: "/leases", body: "\x08\x01", status: 200, want: "\x10\x01\x18\x64", contentType: "application/protobuf"},
		{name: "renew, other cluster", method: "POST", path: "/leases", body: "\x08\x01", other: true, status: 200, want: "\x10\x01\x18\x64", contentType: "application/protobuf"},
		{name: "renew, method", method: "GET", path: "/leases", status: 405, want: "Method Not Allowed\n", contentType: plain},
		{name: "renew, below", method: "POST", path: "/leases/foo", status: 404, want: "404 page not found\n", contentType: plain},
		{name: "renew unknown", method: "POST", path: "/leases", err: kverr.LeaseNotFound, status: 404, want: "lease not found\n", contentType: plain},
		{name: "renew garbage", method: "POST", path: "/leases", body: "zzz", err: malformed, status: 400, want: "error unmarshalling request\n", contentType: plain},
		{name: "renew too long", method: "POST", path: "/leases", body: long, status: 413, want: "request body too large\n", contentType: plain},
		{name: "renew elsewhere", method: "POST", path: "/leases", err: kverr.NotPrimaryLessor, status: 400, want: "not a primary lessor\n", contentType: plain},
		{name: "renew late", method: "POST", path: "/leases", err: kverr.Timeout, status: 408, want: "apply timeout\n", contentType: plain},
		{name: "renew behind", method: "POST", path: "/leases", err: kverr.TimeoutWaitAppliedIndex, status: 408, want: "apply timeout\n", contentType: plain},
		{name: "time to live", method: "POST", path: "/leases/internal", body: "\x0a\x02\x08\x01", status: 200, want: "\x0a\x04\x10\x01\x18\x64", contentType: "application/protobuf"},
		{name: "time to live, unknown", method: "POST", path: "/leases/internal", body: "\x0a\x02\x08\x05", err: kverr.LeaseNotFound, status: 404, want: "lease not found\n", contentType: plain},
		{name: "time to live, garbage", method: "POST", path: "/leases/internal", body: "zzz", status: 400, want: "error unmarshalling request\n", contentType: plain},
		{name: "time to live, garbage inside", method: "POST", path: "/leases/internal", body: "\x0a\x01z", err: malformed, status: 400, want: "error unmarshalling request\n", contentType: plain},
		{name: "time to live, too long", method: "POST", path: "/leases/internal", body: long, status: 413, want: "request body too large\n", contentType: plain},
		{name: "downgrade", method: "GET", path: "/downgrade/enabled", status: 200, want: "false", contentType: "text/plain", signed: true},
		{name: "downgrade, method", method: "POST", path: "/downgrade/enabled", status: 405, want: "Method Not Allowed\n", contentType: plain},
		{name: "version", method: "GET", path: "/version", status: 200, want: `{"etcdserver":"3.7.3","etcdcluster":"3.7.0","storage":"3.7.0"}`, contentType: "application/json"},
		{name: "version, head", method: "HEAD", path: "/version", status: 405, want: "Method Not Allowed\n", contentType: plain},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := &member{
				members: three(), cluster: "3.7.0", revision: 5, err: tc.err, reply: []byte("\x10\x01\x18\x64"),
				hash: mvcc.Hash{Hash: 3593804405, CompactRev: -1, Rev: 4},
			}
			r := httptest.NewRequest(tc.method, "http://member", strings.NewReader(tc.body))
			r.URL.Path = tc.path
			if tc.other {
				r.Header.Set("X-Etcd-Cluster-ID", "12")
			}
			w := httptest.NewRecorder()
			Handler(m, testCluster).ServeHTTP(w, r)
			if w.Code != tc.status || w.Body.String() != tc.want {
				t.Errorf("answer %d %q, want %d %q", w.Code, w.Body, tc.status, tc.want)
			}
			if got := w.Header().Get("Content-Type"); got != tc.contentType {
				t.Errorf("type %s, want %s", got, tc.contentType)
			}
			if got := w.Header().Get("X-Etcd-Cluster-ID"); got != "" != tc.signed || tc.signed && got != "55e7d9dac8894f3" {
				t.Errorf("cluster id %q", got)
			}
			if (w.Header().Get("Allow") != "") != (tc.status == http.StatusMethodNotAllowed) {
				t.Errorf("Allow: %q", w.Header().Get("Allow"))
			}
		})
	}
}

func TestHandlerBeforeTheClusterAgreed(t *testing.T) {
	for path, want := range map[string]string{
		"/version": `{"etcdserver":"3.7.3","etcdcluster":"not_decided","storage":""}`,
		"/members": "[]\n",
	} {
		w := httptest.NewRecorder()
		Handler(&member{}, testCluster).ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Body.String() != want {
			t.Errorf("%s: %q, want %q", path, w.Body, want)
		}
	}
}

func TestHandlerWhoseCallerBreaksOff(t *testing.T) {
	w := httptest.NewRecorder()
	Handler(&member{}, testCluster).ServeHTTP(w, httptest.NewRequest("POST", "/leases", brokenReader{}))
	if w.Code != http.StatusBadRequest || w.Body.String() != "error reading body\n" {
		t.Errorf("answer %d %q", w.Code, w.Body)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, context.Canceled }

// FuzzHandler: no request makes a handler panic or answer without a status.
func FuzzHandler(f *testing.F) {
	f.Add("POST", "/leases/internal", []byte("\x0a\x02\x08\x01"))
	f.Add("GET", "/members/hashkv", []byte(`{"revision":4}`))
	f.Add("POST", "/members/promote/12", []byte{})
	f.Fuzz(func(t *testing.T, method, path string, body []byte) {
		r := httptest.NewRequest("GET", "http://member", strings.NewReader(string(body)))
		r.Method, r.URL.Path = method, path
		w := httptest.NewRecorder()
		Handler(&member{members: three()}, testCluster).ServeHTTP(w, r)
		if w.Code < 200 {
			t.Errorf("status %d", w.Code)
		}
	})
}
