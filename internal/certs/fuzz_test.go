package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// FuzzFilesRead reads any bytes as a list of revoked certificates, as certificates and as authorities: they are read or refused, and
// what was read can be used.
func FuzzFilesRead(f *testing.F) {
	for _, seed := range seeds(f) {
		f.Add(seed)
	}
	path := filepath.Join(f.TempDir(), "file")
	f.Fuzz(func(t *testing.T, content []byte) {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		list, err := readCertificates(path)
		if err != nil && list != nil {
			t.Errorf("certificates and an error: %v", err)
		}
		pool, err := readPool(path)
		if (err == nil) != (pool != nil) || pool != nil && len(list) == 0 {
			t.Errorf("%d certificates are a pool %v, %v", len(list), pool != nil, err)
		}
		r, err := readRevoked(path)
		if err != nil {
			return
		}
		for _, c := range list {
			if err := r.check([]*x509.Certificate{c}); (err != nil) != r[string(c.SerialNumber.Bytes())] {
				t.Errorf("check: %v", err)
			}
		}
	})
}

// seeds are a certificate and a list that revokes it, in both forms.
func seeds(f *testing.F) [][]byte {
	f.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(7), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCRLSign, SubjectKeyId: []byte{1}}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		f.Fatal(err)
	}
	list, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(1), RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: big.NewInt(7), RevocationTime: time.Unix(1, 0)}},
	}, template, key)
	if err != nil {
		f.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	listPEM := pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: list})
	return [][]byte{cert, list, certPEM, listPEM, append(certPEM, certPEM...), append(listPEM, certPEM...), {}}
}
