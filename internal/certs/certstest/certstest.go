// Package certstest makes certificates for tests: authorities, what they sign for servers and clients, and their lists of what they have
// revoked. Whatever fails ends the test that asked for the authority.
package certstest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
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

// Identity is a certificate and its key, in PEM.
type Identity struct {
	Cert, Key []byte
	Serial    *big.Int
	t         testing.TB
}

// Authority signs certificates. Its own identity is one that it has signed itself, and may be shown like any other. Its methods may be called
// by several goroutines.
type Authority struct {
	Identity
	Certificate *x509.Certificate
	private     crypto.Signer
}

// Change changes a certificate before it is signed.
type Change func(*x509.Certificate)

// Hosts makes a certificate valid for names and addresses.
func Hosts(list ...string) Change {
	return func(c *x509.Certificate) {
		for _, h := range list {
			if ip := net.ParseIP(h); ip != nil {
				c.IPAddresses = append(c.IPAddresses, ip)
			} else {
				c.DNSNames = append(c.DNSNames, h)
			}
		}
	}
}

// Valid sets the time of a certificate, relative to now.
func Valid(from, to time.Duration) Change {
	return func(c *x509.Certificate) { c.NotBefore, c.NotAfter = time.Now().Add(from), time.Now().Add(to) }
}

// New makes an authority with a common name, valid from an hour ago for an hour unless it is changed.
func New(t testing.TB, name string, changes ...Change) *Authority {
	t.Helper()
	a := &Authority{Identity: Identity{t: t}}
	template := a.template(name, changes)
	template.IsCA, template.BasicConstraintsValid, template.SubjectKeyId = true, true, []byte(name)
	template.KeyUsage |= x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	private := a.newKey()
	a.Identity = a.sign(template, template, private, private)
	block, _ := pem.Decode(a.Cert)
	var err error
	a.Certificate, err = x509.ParseCertificate(block.Bytes)
	a.check(err)
	a.private = private
	return a
}

// Issue signs a certificate for a common name, for servers and clients, valid from an hour ago for an hour unless it is changed.
func (a *Authority) Issue(name string, changes ...Change) Identity {
	a.t.Helper()
	return a.sign(a.template(name, changes), a.Certificate, a.newKey(), a.private)
}

// Revoke returns the authority's list of certificates that are not valid any more, in PEM.
func (a *Authority) Revoke(serials ...*big.Int) []byte {
	a.t.Helper()
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: time.Now().Add(time.Hour)}
	for _, s := range serials {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: s, RevocationTime: time.Now()})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, a.Certificate, a.private)
	a.check(err)
	return encode("X509 CRL", der)
}

// Pool is what somebody has who trusts the authority alone.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.Certificate)
	return pool
}

// Client is the configuration of a client that trusts the authority alone and shows the last of these identities, whatever the server says that
// it accepts.
func (a *Authority) Client(shown ...Identity) *tls.Config {
	a.t.Helper()
	c := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: a.Pool()}
	for _, id := range shown {
		pair := id.Pair()
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	return c
}

// Pair is the identity as TLS takes it.
func (id Identity) Pair() tls.Certificate {
	id.t.Helper()
	pair, err := tls.X509KeyPair(id.Cert, id.Key)
	id.check(err)
	return pair
}

// Write writes the identity to name.pem and name.key in a directory, the certificate last.
func (id Identity) Write(dir, name string) (cert, key string) {
	id.t.Helper()
	key = Write(id.t, filepath.Join(dir, name+".key"), id.Key)
	return Write(id.t, filepath.Join(dir, name+".pem"), id.Cert), key
}

// Write replaces the file at path as a whole, by the parts together, and returns path.
func Write(t testing.TB, path string, parts ...[]byte) string {
	t.Helper()
	var all []byte
	for _, p := range parts {
		all = append(all, p...)
	}
	err := os.WriteFile(path+".next", all, 0o600)
	if err == nil {
		err = os.Rename(path+".next", path)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// template is a certificate to be signed. Its serial number is unique among all authorities.
func (id Identity) template(name string, changes []Change) *x509.Certificate {
	id.t.Helper()
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	id.check(err)
	c := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, change := range changes {
		change(c)
	}
	return c
}

func (id Identity) newKey() *ecdsa.PrivateKey {
	id.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	id.check(err)
	return key
}

// sign makes an identity of a template and a key.
func (id Identity) sign(template, parent *x509.Certificate, own *ecdsa.PrivateKey, signer crypto.Signer) Identity {
	id.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, own.Public(), signer)
	id.check(err)
	key, err := x509.MarshalECPrivateKey(own)
	id.check(err)
	return Identity{encode("CERTIFICATE", der), encode("EC PRIVATE KEY", key), template.SerialNumber, id.t}
}

func (id Identity) check(err error) {
	id.t.Helper()
	if err != nil {
		id.t.Fatal(err)
	}
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
