package flags

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/quoin-kv/quoin/internal/certs/certstest"
	"github.com/quoin-kv/quoin/test/freeport"
)

// door is one kind of connections whose security is looked at.
type door struct {
	listen, advertise string // flags
	path              string // something to ask for
	prefix            string // of flags that both doors have
	fixtures          string // where own certificates go
}

func clientDoor() door {
	return door{"listen-client-urls", "advertise-client-urls", "/version", "", "client"}
}

func peerDoor() door {
	return door{"listen-peer-urls", "initial-advertise-peer-urls", "/version", "peer-", "peer"}
}

// secured is a member with TLS at a door.
type secured struct {
	*member
	*authority
	address string
	path    string
}

// secure starts a member whose door has a certificate, and more options of that door.
func (d door) secure(t *testing.T, f form, change func(a *authority) options) *secured {
	t.Helper()
	a := newAuthority(t)
	s := &secured{authority: a, address: freeport.Address(t), path: d.path}
	cert, key := a.issue("server", "127.0.0.1", "localhost")
	o := options{d.listen: "https://" + s.address, d.advertise: "https://" + s.address, d.prefix + "cert-file": cert, d.prefix + "key-file": key}
	if d.prefix != "" { // the member also founds a cluster under that address
		o["initial-cluster"] = "a=https://" + s.address
	}
	s.member = start(t, f, t.TempDir(), o.with(change(a)))
	return s
}

// ask asks for something with a TLS configuration and returns what the handshake came to.
func (s *secured) ask(t *testing.T, c *tls.Config) (*tls.ConnectionState, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(soon(t), http.MethodGet, "https://"+s.address+s.path, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{TLSClientConfig: c, DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("status %d, %v", resp.StatusCode, err)
	}
	return resp.TLS, nil
}

// admits checks whether a client is let in.
func (s *secured) admits(t *testing.T, who string, c *tls.Config, want bool) {
	t.Helper()
	if _, err := s.ask(t, c); (err == nil) != want {
		t.Errorf("%s: %v", who, err)
	}
}

// certificates are the scenarios that both doors have.
func (d door) certificates(name string) []scenario {
	p := d.prefix
	return []scenario{
		{name: name + " certificate", flags: p + "cert-file " + p + "key-file", play: func(t *testing.T, f form) {
			s := d.secure(t, f, func(*authority) options { return nil })
			state, err := s.ask(t, s.Client())
			if err != nil || state.PeerCertificates[0].Subject.CommonName != "server" {
				t.Errorf("%v, %v", state, err)
			}
		}},
		{name: name + " authority", flags: p + "trusted-ca-file", play: func(t *testing.T, f form) {
			s := d.secure(t, f, func(a *authority) options { return options{p + "trusted-ca-file": a.file} })
			s.admits(t, "nobody", s.Client(), false)
			s.admits(t, "somebody", s.Client(s.Issue("somebody")), true)
			s.admits(t, "a stranger", s.Client(newAuthority(t).Issue("stranger")), false)
		}},
		{name: name + " proof", flags: p + "client-cert-auth", play: func(t *testing.T, f form) {
			s := d.secure(t, f, func(a *authority) options {
				return options{p + "client-cert-auth": true, p + "trusted-ca-file": a.file}
			})
			s.admits(t, "nobody", s.Client(), false)
			s.admits(t, "somebody", s.Client(s.Issue("somebody")), true)
		}},
		{name: name + " revocation", flags: d.crl(), play: func(t *testing.T, f form) {
			var good, bad certstest.Identity
			s := d.secure(t, f, func(a *authority) options {
				good, bad = a.Issue("good"), a.Issue("bad")
				return options{p + "trusted-ca-file": a.file, d.crl(): a.revoke(t, bad)}
			})
			s.admits(t, "one that is good", s.Client(good), true)
			s.admits(t, "one that is revoked", s.Client(bad), false)
		}},
		{name: name + " host names", flags: d.hostnames(), play: func(t *testing.T, f form) {
			s := d.secure(t, f, func(a *authority) options { return options{p + "trusted-ca-file": a.file, d.hostnames(): "localhost"} })
			s.admits(t, "a right name", s.Client(s.Issue("right", certstest.Hosts("localhost", "127.0.0.1"))), true)
			s.admits(t, "a wrong name", s.Client(s.Issue("wrong", certstest.Hosts("elsewhere.example", "127.0.0.1"))), false)
		}},
		{name: name + " own certificate", flags: p + "auto-tls self-signed-cert-validity", play: d.seeOwnCertificate},
	}
}

func (d door) crl() string {
	if d.prefix == "" {
		return "client-crl-file"
	}
	return "peer-crl-file"
}

func (d door) hostnames() string {
	if d.prefix == "" {
		return "client-cert-allowed-hostname"
	}
	return "peer-cert-allowed-hostname"
}

// seeOwnCertificate: a member makes a certificate that is valid as long as it should be.
func (d door) seeOwnCertificate(t *testing.T, f form) {
	address := freeport.Address(t)
	o := options{d.listen: "https://" + address, d.advertise: "https://" + address, d.prefix + "auto-tls": true, "self-signed-cert-validity": 3}
	if d.prefix != "" {
		o["initial-cluster"] = "a=https://" + address
	}
	m := start(t, f, t.TempDir(), o)
	content, err := os.ReadFile(filepath.Join(m.dir, "data", "fixtures", d.fixtures, "cert.pem"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(content)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if years := time.Until(cert.NotAfter).Hours() / 24 / 365; years < 2.9 || years > 3.1 {
		t.Errorf("valid for %.1f years", years)
	}
	conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}

func clientTLSScenarios() []scenario {
	d := clientDoor()
	return append(
		d.certificates("clients:"),
		scenario{name: "TLS versions", flags: "tls-min-version tls-max-version", play: func(t *testing.T, f form) {
			s := d.secure(t, f, func(*authority) options { return options{"tls-min-version": "TLS1.2", "tls-max-version": "TLS1.2"} })
			if state, err := s.ask(t, s.Client()); err != nil || state.Version != tls.VersionTLS12 {
				t.Errorf("%v, %v", state, err)
			}
			s = d.secure(t, f, func(*authority) options { return options{"tls-min-version": "TLS1.3"} })
			old := s.Client()
			old.MaxVersion = tls.VersionTLS12
			s.admits(t, "an old client", old, false)
		}},
		scenario{name: "cipher suites", flags: "cipher-suites", play: func(t *testing.T, f form) {
			s := d.secure(t, f, func(*authority) options {
				return options{"cipher-suites": "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "tls-max-version": "TLS1.2"}
			})
			if state, err := s.ask(t, s.Client()); err != nil || state.CipherSuite != tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 {
				t.Errorf("%v, %v", state, err)
			}
		}},
	)
}

func peerTLSScenarios() []scenario {
	d := peerDoor()
	return append(
		d.certificates("members:"),
		scenario{name: "members: common names", flags: "peer-cert-allowed-cn", play: func(t *testing.T, f form) {
			s := d.secure(t, f, func(a *authority) options {
				return options{"peer-trusted-ca-file": a.file, "peer-cert-allowed-cn": "right,other"}
			})
			s.admits(t, "a right name", s.Client(s.Issue("right")), true)
			s.admits(t, "a wrong name", s.Client(s.Issue("wrong")), false)
		}},
		scenario{name: "members: addresses", flags: "peer-skip-client-san-verification", play: func(t *testing.T, f form) {
			for _, skip := range []bool{false, true} {
				s := d.secure(t, f, func(a *authority) options {
					return options{"peer-trusted-ca-file": a.file, "peer-skip-client-san-verification": skip}
				})
				s.admits(t, "one from elsewhere", s.Client(s.Issue("elsewhere", certstest.Hosts("192.0.2.77"))), skip)
			}
		}},
		scenario{name: "members: certificate as a client", flags: "peer-client-cert-file peer-client-key-file", play: func(t *testing.T, f form) {
			a := newAuthority(t)
			server := a.Issue("server", certstest.Hosts("127.0.0.1"))
			cert, key := server.Write(a.dir, "server")
			clientCert, clientKey := a.issue("client")
			security := &tls.Config{RootCAs: a.Pool(), Certificates: []tls.Certificate{server.Pair()}}
			security.ClientAuth = tls.RequireAnyClientCert
			p := newPeer(t, security)
			launch(t, f, t.TempDir(), p.with(options{
				"peer-cert-file": cert, "peer-key-file": key, "peer-trusted-ca-file": a.file, "peer-client-cert-file": clientCert, "peer-client-key-file": clientKey,
			}))
			if name := expect(t, "certificate", p.shown); name != "client" {
				t.Errorf("the member shows the certificate of %s", name)
			}
		}},
	)
}

// securityScenarios are of pages in browsers.
func securityScenarios() []scenario {
	return []scenario{
		{name: "foreign pages", flags: "cors host-whitelist", options: fixed(options{"cors": "http://a.example:80", "host-whitelist": "127.0.0.1,b.example"}), see: func(t *testing.T, m *member) {
			for origin, want := range map[string]string{"http://a.example:80": "http://a.example:80", "http://x.example:80": ""} {
				if _, _, h := m.get(t, "/version", "Origin", origin); h.Get("Access-Control-Allow-Origin") != want {
					t.Errorf("%s: %v", origin, h)
				}
			}
			for host, want := range map[string]int{"b.example": http.StatusOK, "x.example": http.StatusMisdirectedRequest} {
				if status, _, _ := m.get(t, "/version", "Host", host); status != want {
					t.Errorf("%s: %d", host, status)
				}
			}
		}},
	}
}
