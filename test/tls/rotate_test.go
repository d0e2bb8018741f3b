package tlstest

import (
	"crypto/tls"
	"math/big"
	"testing"

	"github.com/quoin-kv/quoin/internal/certs/certstest"
)

// TestRotation: a member's certificate, the authorities that it trusts and its list of revocations are replaced while it runs. Connections that
// are open go on.
func TestRotation(t *testing.T) {
	before, after := certstest.New(t, "before"), certstest.New(t, "after")
	f := newFolder(t)
	leaf := before.Issue("server", certstest.Hosts("127.0.0.1"))
	f.show(leaf)
	f.put("ca", before.Cert)
	f.put("crl", before.Revoke())
	m := start(t, secureConfig(t, f))
	address, metrics := m.ClientAddrs()[0].String(), m.MetricsAddrs()[0].String()
	both := func(id certstest.Identity) *tls.Config {
		c := before.Client(id)
		c.RootCAs.AddCert(after.Certificate)
		return c
	}
	oldClient, newClient := before.Issue("old"), after.Issue("new")
	open, err := dialGRPC(address, both(oldClient))
	check(t, err)
	defer open.Close()
	try := func(what string, id certstest.Identity, want string, serial *big.Int) {
		t.Helper()
		c := both(id)
		for _, w := range ways() {
			refused(t, what+", "+w.name, w.ask(t.Context(), address, c.Clone()), want)
		}
		refused(t, what+", metrics", askMetrics(t.Context(), metrics, c.Clone()), want)
		if want == "" {
			shows(t, address, c.Clone(), serial)
		}
		expect(t, what+", open connection", get(t.Context(), open), "")
	}
	try("at first", oldClient, "", leaf.Serial)
	try("at first, the other authority", newClient, "unknown certificate authority", nil)

	second := before.Issue("server", certstest.Hosts("127.0.0.1"))
	f.show(second)
	try("new leaf", oldClient, "", second.Serial)

	f.put("ca", before.Cert, after.Cert)
	try("two roots", oldClient, "", second.Serial)
	try("two roots, the other authority", newClient, "", second.Serial)

	third := after.Issue("server", certstest.Hosts("127.0.0.1"))
	f.show(third)
	f.put("ca", after.Cert)
	try("new root", newClient, "", third.Serial)
	try("new root, the old authority", oldClient, "unknown certificate authority", nil)

	f.put("crl", before.Revoke(oldClient.Serial), after.Revoke(newClient.Serial))
	try("revoked", newClient, "bad certificate", nil)
	f.put("crl", after.Revoke())
	try("not revoked any more", newClient, "", third.Serial)
}

// shows checks which certificate a server shows.
func shows(t *testing.T, address string, c *tls.Config, serial *big.Int) {
	t.Helper()
	conn, err := tls.Dial("tcp", address, c)
	check(t, err)
	defer conn.Close()
	if got := conn.ConnectionState().PeerCertificates[0].SerialNumber; got.Cmp(serial) != 0 {
		t.Errorf("the server shows %x, want %x", got, serial)
	}
}
