package interop

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// certificates are files: of an authority, of members that use certain addresses, and of a client.
type certificates struct {
	t    *testing.T
	dir  string
	root *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newCertificates(t *testing.T, addresses ...string) *certificates {
	t.Helper()
	c := &certificates{t: t, dir: t.TempDir()}
	c.root = &x509.Certificate{
		Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, SubjectKeyId: []byte("authority"),
	}
	c.issue("ca", c.root)
	usage := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	member := &x509.Certificate{Subject: pkix.Name{CommonName: "member"}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: usage}
	for _, a := range addresses {
		member.IPAddresses = append(member.IPAddresses, net.ParseIP(a))
	}
	c.issue("member", member)
	c.issue("client", &x509.Certificate{Subject: pkix.Name{CommonName: "client"}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: usage[1:]})
	return c
}

// issue writes a certificate, signed by the authority, and its key. The first one is the authority's.
func (c *certificates) issue(name string, cert *x509.Certificate) {
	c.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(c.t, err)
	if c.key == nil {
		c.key = key
	}
	cert.SerialNumber, cert.NotBefore, cert.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, cert, c.root, key.Public(), c.key)
	check(c.t, err)
	secret, err := x509.MarshalECPrivateKey(key)
	check(c.t, err)
	for file, block := range map[string]*pem.Block{c.file(name): {Type: "CERTIFICATE", Bytes: der}, c.file(name + "-key"): {Type: "EC PRIVATE KEY", Bytes: secret}} {
		check(c.t, os.WriteFile(file, pem.EncodeToMemory(block), 0o600))
	}
}

func (c *certificates) file(name string) string { return filepath.Join(c.dir, name+".pem") }

// variables have members, of either program, use the certificates and ask clients and each other for theirs; and tools show the client's.
func (c *certificates) variables() (all []string) {
	for _, door := range []string{"ETCD_", "ETCD_PEER_"} {
		all = append(all, door+"CERT_FILE="+c.file("member"), door+"KEY_FILE="+c.file("member-key"), door+"TRUSTED_CA_FILE="+c.file("ca"), door+"CLIENT_CERT_AUTH=true")
	}
	return append(all, "ETCDCTL_CACERT="+c.file("ca"), "ETCDCTL_CERT="+c.file("client"), "ETCDCTL_KEY="+c.file("client-key"))
}
