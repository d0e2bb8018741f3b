package gateway

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
)

// AccessRules say whom HTTP requests may come from.
type AccessRules struct {
	Origins []string // of pages whose scripts may read answers; "*" is all
	Hosts   []string // names under which requests without TLS are answered, in exactly this form; "*" is all
	Logger  *slog.Logger

	// CertAuth says that clients prove who they are by certificates, and AuthEnabled whether it matters who they are. The gateway cannot
	// pass on who a certificate names.
	CertAuth    bool
	AuthEnabled func() bool
}

// Access stands in front of every HTTP path of the client port: it maps the old /v3beta/ prefix, refuses requests by foreign names (so that a
// page cannot reach a member through a name that it owns), says which pages may read the answer, and answers OPTIONS requests itself.
func Access(next http.Handler, rules AccessRules) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if rest, ok := strings.CutPrefix(r.URL.Path, oldPrefix); ok {
			r.URL.Path = prefix + rest
		}
		if host := hostName(r.Host); r.TLS == nil && !allowed(rules.Hosts, host) {
			rules.Logger.Warn("rejecting HTTP request to prevent DNS rebinding attacks", "host", host)
			http.Error(w, misdirected(host), http.StatusMisdirectedRequest)
			return
		}
		if rules.ignoresCertificate(r) {
			http.Error(w, "CommonName of client sending a request against gateway will be ignored and not used as expected", http.StatusBadRequest)
			return
		}
		rules.allowOrigin(w.Header(), r.Header.Get("Origin"))
		if r.Method == http.MethodOptions {
			w.WriteHeader(http.StatusOK)
			return
		}
		next.ServeHTTP(w, r)
	})
}

const (
	prefix    = "/v3/"
	oldPrefix = "/v3beta/"
)

func allowed(list []string, one string) bool {
	return slices.Contains(list, "*") || slices.Contains(list, one)
}

// hostName is a Host header without its port.
func hostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return host
}

// misdirected explains why a name is not answered.
func misdirected(host string) string {
	return fmt.Sprintf(`
The request was received, but the name in its Host header is not one that this member answers to without TLS.

Either use HTTPS, where any name is answered, or add the name to the list: --host-whitelist %q

This keeps pages in a browser from reaching the member through a name of their own ("DNS rebinding", CVE-2018-5702).
`, host)
}

// ignoresCertificate reports whether a request comes with a certificate that its sender may believe to matter.
func (rules *AccessRules) ignoresCertificate(r *http.Request) bool {
	return rules.CertAuth && r.TLS != nil && strings.HasPrefix(r.URL.Path, prefix) &&
		len(r.TLS.PeerCertificates) > 0 && r.TLS.PeerCertificates[0].Subject.CommonName != "" && rules.AuthEnabled()
}

// allowOrigin tells a browser whether the page that asks may see the answer.
func (rules *AccessRules) allowOrigin(h http.Header, origin string) {
	if slices.Contains(rules.Origins, "*") {
		origin = "*"
	} else if origin == "" || !slices.Contains(rules.Origins, origin) {
		return
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Allow-Methods", "POST, GET, OPTIONS, PUT, DELETE")
	h.Set("Access-Control-Allow-Headers", "accept, content-type, authorization")
}

// Endless reports whether the body of a request may go on for as long as its client likes: it is the client's half of a stream.
func Endless(r *http.Request) bool {
	path := r.URL.Path
	if rest, ok := strings.CutPrefix(path, oldPrefix); ok {
		path = prefix + rest
	}
	return path == prefix+"watch" || path == prefix+"lease/keepalive"
}
