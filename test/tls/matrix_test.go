package tlstest

import (
	"crypto/tls"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/quoin-kv/quoin/internal/certs/certstest"
	"github.com/quoin-kv/quoin/internal/config"
)

// visitor is a client that shows a certificate, and what it is told; empty: it is let in.
type visitor struct {
	name  string
	shown []certstest.Identity
	want  string
}

// visitors are clients with every fault that a certificate can have. Those that are let in are of ours.
func visitors(ours, others *certstest.Authority, revoked certstest.Identity) []visitor {
	return []visitor{
		{"right", []certstest.Identity{ours.Issue("right", certstest.Hosts("127.0.0.1", "localhost"))}, ""},
		{"right, without addresses", []certstest.Identity{ours.Issue("plain")}, ""},
		{"none", nil, "certificate required"},
		{"wrong authority", []certstest.Identity{others.Issue("foreign", certstest.Hosts("127.0.0.1"))}, "unknown certificate authority"},
		{"revoked", []certstest.Identity{revoked}, "bad certificate"},
		{"expired", []certstest.Identity{ours.Issue("expired", certstest.Valid(-time.Hour, -time.Minute))}, "expired certificate"},
		{"not yet valid", []certstest.Identity{ours.Issue("early", certstest.Valid(time.Hour, 2*time.Hour))}, "expired certificate"},
		{"wrong address", []certstest.Identity{ours.Issue("elsewhere", certstest.Hosts("192.0.2.1"))}, "bad certificate"},
		{"wrong name", []certstest.Identity{ours.Issue("named", certstest.Hosts("nowhere.invalid"))}, "bad certificate"},
	}
}

// TestClients: every kind of client with every kind of certificate.
func TestClients(t *testing.T) {
	ours, others := certstest.New(t, "ours"), certstest.New(t, "others")
	revoked := ours.Issue("revoked", certstest.Hosts("127.0.0.1"))
	f := newFolder(t)
	f.show(ours.Issue("server", certstest.Hosts("127.0.0.1", "localhost")))
	f.put("ca", ours.Cert)
	f.put("crl", ours.Revoke(revoked.Serial))
	m := start(t, secureConfig(t, f))
	address, metrics := m.ClientAddrs()[0].String(), m.MetricsAddrs()[0].String()
	for _, v := range visitors(ours, others, revoked) {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			c := ours.Client(v.shown...)
			for _, w := range ways() {
				refused(t, w.name, w.ask(t.Context(), address, c.Clone()), v.want)
			}
			refused(t, "metrics", askMetrics(t.Context(), metrics, c.Clone()), v.want)
		})
	}
}

// TestServerIsVerified: what clients refuse.
func TestServerIsVerified(t *testing.T) {
	ours, others := certstest.New(t, "ours"), certstest.New(t, "others")
	f := newFolder(t)
	f.show(ours.Issue("server", certstest.Hosts("127.0.0.1", "member.example")))
	f.put("ca", ours.Cert)
	f.put("crl", ours.Revoke())
	address := start(t, secureConfig(t, f)).ClientAddrs()[0].String()
	for _, tc := range []struct {
		name    string
		trusted *certstest.Authority
		server  string
		want    string
	}{
		{"by address", ours, "", ""},
		{"by name", ours, "member.example", ""},
		{"by another name", ours, "other.example", "not other.example"},
		{"unknown authority", others, "", "unknown authority"},
	} {
		for _, w := range ways() {
			c := tc.trusted.Client(ours.Issue("client"))
			c.ServerName = tc.server
			expect(t, tc.name+", "+w.name, w.ask(t.Context(), address, c), tc.want)
		}
	}
	for _, w := range ways() {
		if err := w.ask(t.Context(), address, nil); err == nil {
			t.Errorf("%s without TLS was answered", w.name)
		}
	}
}

// TestAllowedNames: certificates are let in by a name that they are valid for.
func TestAllowedNames(t *testing.T) {
	ours := certstest.New(t, "ours")
	f := newFolder(t)
	f.show(ours.Issue("server", certstest.Hosts("127.0.0.1")))
	f.put("ca", ours.Cert)
	f.put("crl", ours.Revoke())
	cfg := secureConfig(t, f)
	cfg.ClientTLS.AllowedHostnames = []string{"good.example", "better.example"}
	address := start(t, cfg).ClientAddrs()[0].String()
	for _, tc := range []struct {
		name, want string
	}{{"better.example", ""}, {"worse.example", "bad certificate"}} {
		c := ours.Client(ours.Issue("x", certstest.Hosts(tc.name, "127.0.0.1")))
		for _, w := range ways() {
			refused(t, tc.name+", "+w.name, w.ask(t.Context(), address, c.Clone()), tc.want)
		}
	}
}

// TestAutoTLS: the certificate that a member makes for itself, once.
func TestAutoTLS(t *testing.T) {
	cfg := newConfig(t, "https://127.0.0.1:0")
	cfg.ClientTLS.AutoTLS = true
	var first []byte
	for range 2 {
		m := start(t, cfg)
		cert, err := os.ReadFile(cfg.DataDir + "/fixtures/client/cert.pem")
		check(t, err)
		c := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true}
		for _, w := range ways() {
			expect(t, w.name, w.ask(t.Context(), m.ClientAddrs()[0].String(), c.Clone()), "")
		}
		if first != nil && string(first) != string(cert) {
			t.Error("another certificate after a restart")
		}
		first = cert
		check(t, m.Close())
	}
}

// TestVersionsAndSuites: the bounds of the configuration hold for all ways in.
func TestVersionsAndSuites(t *testing.T) {
	ours := certstest.New(t, "ours")
	f := newFolder(t)
	f.show(ours.Issue("server", certstest.Hosts("127.0.0.1")))
	const suite = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"
	for _, tc := range []struct {
		name        string
		change      func(*config.Config)
		client      uint16 // the newest version that the client speaks
		version     uint16 // spoken; 0: none
		cipherSuite uint16
	}{
		{"newest", func(*config.Config) {}, 0, tls.VersionTLS13, 0},
		{"at most 1.2", func(c *config.Config) { c.TLSMaxVersion = "TLS1.2" }, 0, tls.VersionTLS12, 0},
		{"at least 1.3", func(c *config.Config) { c.TLSMinVersion = "TLS1.3" }, tls.VersionTLS12, 0, 0},
		{"suite", func(c *config.Config) { c.CipherSuites, c.TLSMaxVersion = config.Words{suite}, "TLS1.2" }, 0, tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := newConfig(t, "https://127.0.0.1:0")
			cfg.ClientTLS = config.TLS{CertFile: f.path("cert"), KeyFile: f.path("key")}
			tc.change(cfg)
			address := start(t, cfg).ClientAddrs()[0].String()
			c := ours.Client()
			c.MaxVersion = tc.client
			conn, err := tls.Dial("tcp", address, c)
			if tc.version == 0 {
				expect(t, "dial", err, "protocol version")
				return
			}
			check(t, err)
			defer conn.Close()
			if s := conn.ConnectionState(); s.Version != tc.version || tc.cipherSuite != 0 && s.CipherSuite != tc.cipherSuite {
				t.Errorf("version %x, suite %x", s.Version, s.CipherSuite)
			}
			for _, w := range ways() {
				expect(t, w.name, w.ask(t.Context(), address, c.Clone()), "")
			}
		})
	}
}

// TestMistakes: files that do not work are said at the start.
func TestMistakes(t *testing.T) {
	ours := certstest.New(t, "ours")
	f := newFolder(t)
	f.show(ours.Issue("server", certstest.Hosts("127.0.0.1")))
	f.put("ca", ours.Cert)
	f.put("crl", ours.Revoke())
	for _, tc := range []struct {
		name   string
		change func(*config.TLS)
		want   string
	}{
		{"no certificate", func(c *config.TLS) { c.CertFile = f.path("missing") }, "missing"},
		{"no authorities", func(c *config.TLS) { c.TrustedCAFile = f.path("missing") }, "missing"},
		{"no revocations", func(c *config.TLS) { c.CRLFile = f.path("missing") }, "missing"},
		{"a client certificate that is not there", func(c *config.TLS) { c.ClientCertFile, c.ClientKeyFile = f.path("missing"), f.path("key") }, "missing"},
		{"a client certificate without its key", func(c *config.TLS) { c.ClientCertFile = f.path("cert") }, "must both be present or both absent"},
		{"no files at all", func(c *config.TLS) { *c = config.TLS{} }, "must be provided"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := secureConfig(t, f)
			tc.change(&cfg.ClientTLS)
			_, err := startError(t, cfg)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}
