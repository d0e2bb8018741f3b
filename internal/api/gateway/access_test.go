package gateway

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestAccess: who is answered, and which page may read it. The order of the rules shows where two of them apply.
func TestAccess(t *testing.T) {
	named := &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{Subject: pkix.Name{CommonName: "root"}}}}
	nameless := &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{}}}
	open := AccessRules{Origins: []string{"*"}, Hosts: []string{"*"}}
	strict := AccessRules{Origins: []string{"http://a.example:80", "http://b.example:81"}, Hosts: []string{"good.example", "::1"}}
	certs := AccessRules{Origins: []string{"*"}, Hosts: []string{"good.example"}, CertAuth: true, AuthEnabled: func() bool { return true }}
	noAuth := certs
	noAuth.AuthEnabled = func() bool { return false }
	for _, tc := range []struct {
		name         string
		rules        AccessRules
		method       string
		path, host   string
		origin       string
		tls          *tls.ConnectionState
		status       int
		body, allows string
	}{
		{"anybody", open, "GET", "/health", "x:1", "", nil, 200, "GET /health", "*"},
		{"any page", open, "GET", "/health", "x", "http://page", nil, 200, "GET /health", "*"},
		{"options", open, "OPTIONS", "/nothing", "x", "http://page", nil, 200, "", "*"},
		{"old prefix", open, "POST", "/v3beta/kv/range", "x", "", nil, 200, "POST /v3/kv/range", "*"},
		{"older prefix", open, "POST", "/v3alpha/kv/range", "x", "", nil, 200, "POST /v3alpha/kv/range", "*"},
		{"prefix inside", open, "POST", "/x/v3beta/kv", "x", "", nil, 200, "POST /x/v3beta/kv", "*"},
		{"host on the list", strict, "GET", "/health", "good.example", "", nil, 200, "GET /health", ""},
		{"host on the list, with port", strict, "GET", "/health", "good.example:2379", "", nil, 200, "GET /health", ""},
		{"address on the list", strict, "GET", "/health", "[::1]:2379", "", nil, 200, "GET /health", ""},
		{"host in other letters", strict, "GET", "/health", "GOOD.example", "", nil, 421, `--host-whitelist "GOOD.example"`, ""},
		{"host not on the list", strict, "GET", "/health", "bad.example:1", "http://a.example:80", nil, 421, `--host-whitelist "bad.example"`, ""},
		{"host not on the list, options", strict, "OPTIONS", "/health", "bad", "", nil, 421, "rebinding", ""},
		{"host not on the list, TLS", strict, "GET", "/health", "bad", "", named, 200, "GET /health", ""},
		{"page on the list", strict, "GET", "/health", "good.example", "http://b.example:81", nil, 200, "GET /health", "http://b.example:81"},
		{"page not on the list", strict, "GET", "/health", "good.example", "http://a.example", nil, 200, "GET /health", ""},
		{"page not on the list, options", strict, "OPTIONS", "/x", "good.example", "http://c", nil, 200, "", ""},
		{"certificate that names somebody", certs, "POST", "/v3/kv/put", "x", "http://page", named, 400, "CommonName of client sending a request against gateway will be ignored and not used as expected\n", ""},
		{"likewise by the old prefix", certs, "OPTIONS", "/v3beta/kv/put", "x", "", named, 400, "CommonName", ""},
		{"certificate that names nobody", certs, "POST", "/v3/kv/put", "x", "", nameless, 200, "POST /v3/kv/put", "*"},
		{"no certificate", certs, "POST", "/v3/kv/put", "x", "", &tls.ConnectionState{}, 200, "POST /v3/kv/put", "*"},
		{"another path", certs, "GET", "/health", "x", "", named, 200, "GET /health", "*"},
		{"no authentication", noAuth, "POST", "/v3/kv/put", "x", "", named, 200, "POST /v3/kv/put", "*"},
		{"no certificates asked for", open, "POST", "/v3/kv/put", "x", "", named, 200, "POST /v3/kv/put", "*"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.rules.Logger = slog.New(slog.DiscardHandler)
			h := Access(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Method+" "+r.URL.Path) }), tc.rules)
			r := httptest.NewRequest(tc.method, tc.path, nil)
			r.Host, r.TLS = tc.host, tc.tls
			if tc.origin != "" {
				r.Header.Set("Origin", tc.origin)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if got := w.Body.String(); w.Code != tc.status || !strings.Contains(got, tc.body) || tc.body == "" && got != "" {
				t.Errorf("%d %q, want %d %q", w.Code, got, tc.status, tc.body)
			}
			if got := w.Header().Get("Access-Control-Allow-Origin"); got != tc.allows {
				t.Errorf("allows %q, want %q", got, tc.allows)
			}
			if methods := w.Header().Get("Access-Control-Allow-Methods"); (methods != "") != (tc.allows != "") {
				t.Errorf("methods %q", methods)
			}
		})
	}
}

func TestEndless(t *testing.T) {
	for path, want := range map[string]bool{
		"/v3/watch": true, "/v3beta/watch": true, "/v3/lease/keepalive": true, "/v3/kv/put": false, "/v3/kv/lease/keepalive": false, "/watch": false, "/v3/watchx": false,
	} {
		if got := Endless(httptest.NewRequest("POST", path, nil)); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
}
