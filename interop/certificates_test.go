package interop

import (
	"crypto/x509"
	"testing"

	"github.com/quoin-kv/quoin/internal/certs/certstest"
)

// secured returns variables that have members, of either program, on certain addresses show certificates, and ask clients and each other for
// theirs; and tools show a client's.
func secured(t *testing.T, addresses ...string) (variables []string) {
	t.Helper()
	dir, authority := t.TempDir(), certstest.New(t, "authority")
	ca := certstest.Write(t, dir+"/ca.pem", authority.Cert)
	cert, key := authority.Issue("member", certstest.Hosts(addresses...)).Write(dir, "member")
	for _, door := range []string{"ETCD_", "ETCD_PEER_"} {
		variables = append(variables, door+"CERT_FILE="+cert, door+"KEY_FILE="+key, door+"TRUSTED_CA_FILE="+ca, door+"CLIENT_CERT_AUTH=true")
	}
	client := func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }
	cert, key = authority.Issue("client", client).Write(dir, "client")
	return append(variables, "ETCDCTL_CACERT="+ca, "ETCDCTL_CERT="+cert, "ETCDCTL_KEY="+key)
}
