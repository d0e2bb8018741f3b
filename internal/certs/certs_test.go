package certs

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/quoin-kv/quoin/internal/certs/certstest"
)

// authority signs certificates into files of a directory.
type authority struct {
	*certstest.Authority
	t         *testing.T
	dir, file string // file is the authority's certificate
}

func newAuthority(t *testing.T, dir, name string) *authority {
	t.Helper()
	a := &authority{Authority: certstest.New(t, name), t: t, dir: dir}
	a.file = certstest.Write(t, filepath.Join(dir, name+".ca"), a.Cert)
	return a
}

// issue writes a certificate for hosts under name.
func (a *authority) issue(name string, hosts ...string) (cert, key string, serial *big.Int) {
	a.t.Helper()
	id := a.Issue(name, certstest.Hosts(hosts...))
	cert, key = id.Write(a.dir, name)
	return cert, key, id.Serial
}

// revoke writes a list of serial numbers.
func (a *authority) revoke(name string, serials ...*big.Int) string {
	a.t.Helper()
	return certstest.Write(a.t, filepath.Join(a.dir, name), a.Revoke(serials...))
}

// talk lets a client of the one configuration say something to a server of the other, on the loopback device.
func talk(t *testing.T, server, client *tls.Config) (state tls.ConnectionState, err error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	served := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			served <- err
			return
		}
		defer conn.Close()
		s := tls.Server(conn, server)
		if err = s.HandshakeContext(t.Context()); err == nil {
			_, err = io.WriteString(s, "hello")
		}
		served <- err
	}()
	client = client.Clone()
	if client.ServerName == "" {
		client.ServerName = "127.0.0.1"
	}
	conn, clientErr := tls.Dial("tcp", l.Addr().String(), client)
	if clientErr == nil {
		defer conn.Close()
		_, clientErr = io.ReadFull(conn, make([]byte, 5))
		state = conn.ConnectionState()
	}
	return state, errors.Join(<-served, clientErr)
}

// dialing makes the configuration of a connection to the loopback device.
func dialing(f Files) func() (*tls.Config, error) {
	return func() (*tls.Config, error) {
		d, err := f.Dialer()
		if err != nil {
			return nil, err
		}
		return d.Config("127.0.0.1")
	}
}

// names is a resolver with a fixed table.
type names map[string][]string

func (n names) LookupHost(_ context.Context, host string) ([]string, error) { return n.lookup(host) }

func (n names) LookupAddr(_ context.Context, addr string) ([]string, error) { return n.lookup(addr) }

func (n names) lookup(s string) ([]string, error) {
	if found, ok := n[s]; ok {
		return found, nil
	}
	return nil, errors.New("no such host")
}

// TestAdmission: who is let in, and what those are told who are not.
func TestAdmission(t *testing.T) {
	dir := t.TempDir()
	ours, others := newAuthority(t, dir, "ours"), newAuthority(t, dir, "others")
	cert, key, _ := ours.issue("server", "127.0.0.1", "server.example")
	plainCert, plainKey, plainSerial := ours.issue("plain")
	here, hereKey, _ := ours.issue("here", "127.0.0.1")
	away, awayKey, _ := ours.issue("away", "10.0.0.1")
	named, namedKey, _ := ours.issue("named", "client.example")
	wild, wildKey, _ := ours.issue("wild", "*.example")
	foreign, foreignKey, _ := others.issue("foreign")
	type edit func(*Files)
	base := func(edits ...edit) Files {
		f := Files{Cert: cert, Key: key, TrustedCA: ours.file, Resolver: names{}}
		for _, e := range edits {
			e(&f)
		}
		return f
	}
	resolver := func(n names) edit { return func(f *Files) { f.Resolver = n } }
	for _, tc := range []struct {
		name      string
		server    Files
		cert, key string
		want      string // in the error; empty: let in
	}{
		{"no certificate", base(), "", "", "didn't provide a certificate"},
		{"no certificate, none demanded", base(func(f *Files) { f.TrustedCA = "" }), "", "", ""},
		{"no certificate, demanded without an authority", base(func(f *Files) { f.TrustedCA, f.ClientAuth = "", true }), "", "", "didn't provide a certificate"},
		{"certificate of ours", base(), plainCert, plainKey, ""},
		{"certificate of ours, the system's authorities", base(func(f *Files) { f.TrustedCA, f.ClientAuth = "", true }), plainCert, plainKey, "unknown authority"},
		{"certificate of others", base(), foreign, foreignKey, "unknown authority"},
		{"address is the certificate's", base(), here, hereKey, ""},
		{"address is another", base(), away, awayKey, "certificate is valid for 10.0.0.1, not 127.0.0.1"},
		{"address is another, not looked at", base(func(f *Files) { f.SkipClientSAN = true }), away, awayKey, ""},
		{"name is unknown", base(), named, namedKey, "none of the names [client.example]"},
		{"name has the address", base(resolver(names{"client.example": {"10.0.0.1", "127.0.0.1"}})), named, namedKey, ""},
		{"name has another address", base(resolver(names{"client.example": {"10.0.0.1"}})), named, namedKey, "none of the names"},
		{"address has the name", base(resolver(names{"127.0.0.1": {"localhost.", "client.example."}})), named, namedKey, ""},
		{"address has a name that matches", base(resolver(names{"127.0.0.1": {"c.example."}})), wild, wildKey, ""},
		{"pattern is not looked up", base(resolver(names{"*.example": {"127.0.0.1"}})), wild, wildKey, "none of the names"},
		{"address calls itself an address", base(resolver(names{"127.0.0.1": {"10.0.0.1"}})), away, awayKey, "certificate is valid for 10.0.0.1, not 127.0.0.1"},
		{"common name allowed", base(func(f *Files) { f.AllowedCNs = []string{"x", "plain"} }), plainCert, plainKey, ""},
		{"common name not allowed", base(func(f *Files) { f.AllowedCNs = []string{"x", "y"} }), plainCert, plainKey, "the common name is not allowed"},
		{"host name allowed", base(func(f *Files) { f.AllowedHostnames, f.SkipClientSAN = []string{"x", "client.example"}, true }), named, namedKey, ""},
		{"host name not allowed", base(func(f *Files) { f.AllowedHostnames, f.SkipClientSAN = []string{"x"}, true }), named, namedKey, "allowed host name"},
		{"revoked", base(func(f *Files) { f.CRL = ours.revoke("a.crl", plainSerial) }), plainCert, plainKey, fmt.Sprintf("serial %x revoked", plainSerial)},
		{"another is revoked", base(func(f *Files) { f.CRL = ours.revoke("b.crl", plainSerial) }), here, hereKey, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server, err := tc.server.Server("http/1.1")
			if err != nil {
				t.Fatal(err)
			}
			client, err := dialing(Files{ClientCert: tc.cert, ClientKey: tc.key, TrustedCA: ours.file})()
			if err != nil {
				t.Fatal(err)
			}
			_, err = talk(t, server, client)
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Fatalf("got %v, want %q", err, tc.want)
			}
		})
	}
}

// TestDialerVerifies: a dialer knows the server by its authority and by the host it dials.
func TestDialerVerifies(t *testing.T) {
	dir := t.TempDir()
	ours, others := newAuthority(t, dir, "ours"), newAuthority(t, dir, "others")
	cert, key, _ := ours.issue("server", "127.0.0.1", "server.example")
	elsewhere, elsewhereKey, _ := ours.issue("elsewhere", "10.0.0.1")
	for _, tc := range []struct {
		name      string
		cert, key string
		dialer    Files
		want      string
	}{
		{"known", cert, key, Files{TrustedCA: ours.file}, ""},
		{"by name", cert, key, Files{TrustedCA: ours.file, ServerName: "server.example"}, ""},
		{"by another name", cert, key, Files{TrustedCA: ours.file, ServerName: "x.example"}, "not x.example"},
		{"another host", elsewhere, elsewhereKey, Files{TrustedCA: ours.file}, "not 127.0.0.1"},
		{"another authority", cert, key, Files{TrustedCA: others.file}, "unknown authority"},
		{"the system's authorities", cert, key, Files{}, "unknown authority"},
		{"not verified", elsewhere, elsewhereKey, Files{SkipServerVerify: true}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server, err := Files{Cert: tc.cert, Key: tc.key}.Server()
			if err != nil {
				t.Fatal(err)
			}
			client, err := dialing(tc.dialer)()
			if err != nil {
				t.Fatal(err)
			}
			_, err = talk(t, server, client)
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Fatalf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestProtocolsAndVersions(t *testing.T) {
	dir := t.TempDir()
	ca := newAuthority(t, dir, "ca")
	cert, key, _ := ca.issue("server", "127.0.0.1")
	files := Files{Cert: cert, Key: key, CipherSuites: []string{"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"}, MaxVersion: "TLS1.2"}
	server, err := files.Server("h2", "http/1.1")
	if err != nil {
		t.Fatal(err)
	}
	client, err := dialing(Files{TrustedCA: ca.file})()
	if err != nil {
		t.Fatal(err)
	}
	client.NextProtos = []string{"http/1.1"}
	state, err := talk(t, server, client)
	if err != nil || state.Version != tls.VersionTLS12 || state.NegotiatedProtocol != "http/1.1" ||
		state.CipherSuite != tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 {
		t.Fatalf("got version %x, protocol %q, suite %x: %v", state.Version, state.NegotiatedProtocol, state.CipherSuite, err)
	}
	server, err = Files{Cert: cert, Key: key, MinVersion: "TLS1.3"}.Server()
	if err != nil {
		t.Fatal(err)
	}
	client.MaxVersion = tls.VersionTLS12
	if _, err := talk(t, server, client); err == nil {
		t.Fatal("a version that is too old was accepted")
	}
	server, err = Files{Cert: cert, Key: key}.Server()
	if err != nil {
		t.Fatal(err)
	}
	client.MinVersion, client.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	if _, err := talk(t, server, client); err == nil {
		t.Fatal("a version older than TLS 1.2 was accepted by default")
	}
}

// TestMistakes: what is wrong is said at the start, with the file or the option.
func TestMistakes(t *testing.T) {
	dir := t.TempDir()
	ca := newAuthority(t, dir, "ca")
	cert, key, _ := ca.issue("server", "127.0.0.1")
	_, otherKey, _ := ca.issue("other")
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	torn := certstest.Write(t, filepath.Join(dir, "torn"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte{1, 2, 3}}))
	missing := filepath.Join(dir, "missing")
	server := func(f Files) func() (*tls.Config, error) { return func() (*tls.Config, error) { return f.Server() } }
	for _, tc := range []struct {
		name  string
		build func() (*tls.Config, error)
		want  string
	}{
		{"nothing", server(Files{}), "needs a certificate and its key"},
		{"no key", server(Files{Cert: cert}), "needs a certificate and its key"},
		{"missing certificate", server(Files{Cert: missing, Key: key}), missing},
		{"missing key", server(Files{Cert: cert, Key: missing}), missing},
		{"key of another", server(Files{Cert: cert, Key: otherKey}), otherKey},
		{"missing authorities", server(Files{Cert: cert, Key: key, TrustedCA: missing}), missing},
		{"empty authorities", server(Files{Cert: cert, Key: key, TrustedCA: empty}), empty + " holds no certificate"},
		{"torn authorities", server(Files{Cert: cert, Key: key, TrustedCA: torn}), torn},
		{"missing revocations", server(Files{Cert: cert, Key: key, CRL: missing}), missing},
		{"empty revocations", server(Files{Cert: cert, Key: key, CRL: empty}), empty},
		{
			"two restrictions", server(Files{Cert: cert, Key: key, TrustedCA: ca.file, AllowedCNs: []string{"a"}, AllowedHostnames: []string{"b"}}),
			"AllowedCNs and AllowedHostnames are mutually exclusive (cns=[a], hostnames=[b])",
		},
		{"restriction of nobody", server(Files{Cert: cert, Key: key, AllowedCNs: []string{"a"}}), "needs a trusted CA"},
		{"version", server(Files{Cert: cert, Key: key, MinVersion: "TLS1.1"}), `unexpected TLS version "TLS1.1" (must be one of: TLS1.2, TLS1.3)`},
		{"newest version", dialing(Files{MaxVersion: "x"}), `unexpected TLS version "x"`},
		{"versions", dialing(Files{MinVersion: "TLS1.3", MaxVersion: "TLS1.2"}), "min version (TLS1.3) is greater than max version (TLS1.2)"},
		{"suite", dialing(Files{CipherSuites: []string{"ROT13"}}), `unexpected TLS cipher suite "ROT13"`},
		{"suites of 1.3", dialing(Files{CipherSuites: []string{"TLS_RSA_WITH_AES_128_CBC_SHA"}, MinVersion: "TLS1.3"}), "cipher suites cannot be configured when only TLS1.3 is enabled"},
		{"dialer without key", dialing(Files{ClientCert: cert}), "needs its key"},
		{"dialer without certificate", dialing(Files{Cert: cert, Key: key, ClientKey: key}), "needs its key"},
		{"dialer's missing certificate", dialing(Files{ClientCert: missing, ClientKey: key}), missing},
		{"dialer's missing authorities", dialing(Files{TrustedCA: missing}), missing},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := tc.build(); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got %v, want %q", err, tc.want)
			}
		})
	}
}
