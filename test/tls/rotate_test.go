package tlstest

import (
	"crypto/tls"
	"math/big"
	"testing"
)

// TestRotation: a member's certificate, the authorities that it trusts and its list of revocations are replaced while it runs. Connections that
// are open go on.
func TestRotation(t *testing.T) {
	before, after := newAuthority(t, "before"), newAuthority(t, "after")
	f := newFolder(t)
	leaf := before.issue("server", hosts("127.0.0.1"))
	f.show(leaf)
	f.put("ca", before.pem)
	f.put("crl", before.revoke())
	m := start(t, secureConfig(t, f))
	address, metrics := m.ClientAddrs()[0].String(), m.MetricsAddrs()[0].String()
	both := []*authority{before, after}
	oldClient, newClient := before.issue("old"), after.issue("new")
	open, err := dialGRPC(address, clientConfig(t, both, oldClient))
	check(t, err)
	defer open.Close()
	try := func(what string, id identity, want string, serial *big.Int) {
		t.Helper()
		c := clientConfig(t, both, id)
		for _, w := range ways() {
			refused(t, what+", "+w.name, w.ask(t.Context(), address, c.Clone()), want)
		}
		refused(t, what+", metrics", askMetrics(t.Context(), metrics, c.Clone()), want)
		if want == "" {
			shows(t, address, c.Clone(), serial)
		}
		expect(t, what+", open connection", get(t.Context(), open), "")
	}
	try("at first", oldClient, "", leaf.serial)
	try("at first, the other authority", newClient, "unknown certificate authority", nil)

	second := before.issue("server", hosts("127.0.0.1"))
	f.show(second)
	try("new leaf", oldClient, "", second.serial)

	f.put("ca", before.pem, after.pem)
	try("two roots", oldClient, "", second.serial)
	try("two roots, the other authority", newClient, "", second.serial)

	third := after.issue("server", hosts("127.0.0.1"))
	f.show(third)
	f.put("ca", after.pem)
	try("new root", newClient, "", third.serial)
	try("new root, the old authority", oldClient, "unknown certificate authority", nil)

	f.put("crl", before.revoke(oldClient), after.revoke(newClient))
	try("revoked", newClient, "bad certificate", nil)
	f.put("crl", after.revoke())
	try("not revoked any more", newClient, "", third.serial)
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
