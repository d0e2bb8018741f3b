package tlstest

import (
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
	"sync/atomic"
	"testing"
	"time"
)

// authority signs certificates.
type authority struct {
	t      *testing.T
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	pem    []byte
	serial atomic.Int64 // the last
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{t: t, key: newKey(t)}
	a.serial.Store(time.Now().UnixNano())
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(100 * 24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, SubjectKeyId: []byte(name),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	check(t, err)
	a.cert, err = x509.ParseCertificate(der)
	check(t, err)
	a.pem = encode("CERTIFICATE", der)
	return a
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	return key
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// identity is a certificate and its key.
type identity struct {
	cert, key []byte // PEM
	serial    *big.Int
}

// pair is the identity as a client shows it.
func (id identity) pair(t *testing.T) tls.Certificate {
	t.Helper()
	pair, err := tls.X509KeyPair(id.cert, id.key)
	check(t, err)
	return pair
}

// change changes a certificate before it is signed.
type change func(*x509.Certificate)

// hosts makes a certificate valid for names and addresses.
func hosts(list ...string) change {
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

// valid sets the time of a certificate, relative to now.
func valid(from, to time.Duration) change {
	return func(c *x509.Certificate) { c.NotBefore, c.NotAfter = time.Now().Add(from), time.Now().Add(to) }
}

// issue signs a certificate for name, valid for an hour unless it is changed.
func (a *authority) issue(name string, changes ...change) identity {
	a.t.Helper()
	key := newKey(a.t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(a.serial.Add(1)), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, c := range changes {
		c(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	check(a.t, err)
	keyDER, err := x509.MarshalECPrivateKey(key)
	check(a.t, err)
	return identity{encode("CERTIFICATE", der), encode("EC PRIVATE KEY", keyDER), template.SerialNumber}
}

// revoke is the authority's list of certificates that are not valid any more.
func (a *authority) revoke(list ...identity) []byte {
	a.t.Helper()
	template := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour)}
	for _, id := range list {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: id.serial, RevocationTime: time.Now()})
	}
	der, err := x509.CreateRevocationList(rand.Reader, template, a.cert, a.key)
	check(a.t, err)
	return encode("X509 CRL", der)
}

// folder is where a member reads its certificates.
type folder struct {
	t   *testing.T
	dir string
}

func newFolder(t *testing.T) folder { return folder{t, t.TempDir()} }

func (f folder) path(name string) string { return filepath.Join(f.dir, name) }

// put replaces a file as a whole.
func (f folder) put(name string, parts ...[]byte) {
	f.t.Helper()
	var all []byte
	for _, p := range parts {
		all = append(all, p...)
	}
	next := f.path(name + ".next")
	check(f.t, os.WriteFile(next, all, 0o600))
	check(f.t, os.Rename(next, f.path(name)))
}

// show makes id the certificate that is shown.
func (f folder) show(id identity) {
	f.t.Helper()
	f.put("key", id.key)
	f.put("cert", id.cert)
}
