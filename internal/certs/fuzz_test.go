package certs

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/quoin-kv/quoin/internal/certs/certstest"
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
	a := certstest.New(f, "a")
	list := a.Revoke(a.Serial)
	block, _ := pem.Decode(list)
	return [][]byte{a.Certificate.Raw, block.Bytes, a.Cert, list, slices.Concat(a.Cert, a.Cert), slices.Concat(list, a.Cert), {}}
}
