package certs

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// maxYears bounds the validity of a self-signed certificate: what a certificate can express, and more than a mistyped number means.
const maxYears = 1000

// SelfSigned returns the files of a certificate that is its own authority, under dir: cert.pem and key.pem. Those that are
// there are used; if there are none, or if the certificate's time is over, new ones are made, for the hosts given (names or addresses, a port
// is cut off) and valid for so many years. Only the owner may read the key.
func SelfSigned(dir string, hosts []string, years int) (cert, key string, err error) {
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if years < 1 || years > maxYears {
		return "", "", fmt.Errorf("a self-signed certificate valid for %d years, want 1 to %d", years, maxYears)
	}
	usable, err := stillValid(cert, key)
	if err != nil || usable {
		return cert, key, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", "", err
	}
	return cert, key, makeSelfSigned(cert, key, hosts, years)
}

// stillValid reports whether the files are there and the certificate's time is not over. A pair that is there and does not work is an error:
// somebody put it there.
func stillValid(cert, key string) (bool, error) {
	_, certErr := os.Stat(cert)
	_, keyErr := os.Stat(key)
	if err := cmp.Or(certErr, keyErr); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return false, err
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return false, fmt.Errorf("self-signed certificate %s with key %s: %w", cert, key, err)
	}
	return time.Now().Before(pair.Leaf.NotAfter), nil
}

func makeSelfSigned(cert, key string, hosts []string, years int) error {
	private, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 128))
	if err != nil {
		return err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{Organization: []string{"quoin"}},
		NotBefore:             now,
		NotAfter:              now.AddDate(years, 0, 0),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	nameHosts(template, hosts)
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		return err
	}
	// Whenever the certificate is there, the key beside it is its own.
	if err := os.Remove(cert); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := writePEM(key, "EC PRIVATE KEY", keyDER); err != nil {
		return err
	}
	return writePEM(cert, "CERTIFICATE", der)
}

// nameHosts makes a certificate valid for hosts.
func nameHosts(c *x509.Certificate, hosts []string) {
	for _, h := range hosts {
		if host, _, err := net.SplitHostPort(h); err == nil {
			h = host
		}
		if ip := net.ParseIP(h); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else if h != "" {
			c.DNSNames = append(c.DNSNames, h)
		}
	}
}

// writePEM replaces the file at path as a whole.
func writePEM(path, kind string, der []byte) error {
	next := path + ".tmp"
	if err := os.WriteFile(next, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		return err
	}
	return os.Rename(next, path)
}
