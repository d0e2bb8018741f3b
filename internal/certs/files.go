package certs

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"
)

// settled is the age that a file must have for its times to tell whether it changes again: two changes within the tick of a file
// system's clock look the same.
const settled = 2 * time.Second

// cached is what was read from some files, as they are now.
type cached[T any] struct {
	load  func() (T, error)
	paths []string
	mu    struct {
		sync.Mutex
		infos []fs.FileInfo // of the files when value was loaded; nil: it must be loaded
		value T
	}
}

func newCached[T any](load func() (T, error), paths ...string) *cached[T] {
	return &cached[T]{load: load, paths: paths}
}

// get returns what the files hold, the zero value if c is nil. It reads them only if they have changed; after an error the next call reads
// again.
func (c *cached[T]) get() (value T, err error) {
	if c == nil {
		return value, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	infos, old, err := c.stat()
	if err != nil {
		c.mu.infos = nil
		return value, err
	}
	if c.unchanged(infos) {
		return c.mu.value, nil
	}
	c.mu.infos = nil
	if value, err = c.load(); err != nil {
		return value, err
	}
	if old {
		c.mu.infos = infos
	}
	c.mu.value = value
	return value, nil
}

// stat looks at the files and reports whether all have settled.
func (c *cached[T]) stat() (infos []fs.FileInfo, old bool, err error) {
	old = true
	for _, p := range c.paths {
		info, err := os.Stat(p)
		if err != nil {
			return nil, false, err // names the file
		}
		infos, old = append(infos, info), old && time.Since(info.ModTime()) > settled
	}
	return infos, old, nil
}

func (c *cached[T]) unchanged(infos []fs.FileInfo) bool {
	if c.mu.infos == nil {
		return false
	}
	for i, info := range infos {
		was := c.mu.infos[i]
		if !os.SameFile(was, info) || was.Size() != info.Size() || !was.ModTime().Equal(info.ModTime()) {
			return false
		}
	}
	return true
}

// newPair is a certificate, with those that lead to its authority, and its key.
func newPair(cert, key string) *cached[*tls.Certificate] {
	return newCached(func() (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("certificate %s with key %s: %w", cert, key, err)
		}
		return &pair, nil
	}, cert, key)
}

// readCertificates reads a file of certificates. Every block in it must be one; there may be none.
func readCertificates(path string) (list []*x509.Certificate, err error) {
	rest, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return list, nil
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s, certificate %d: %w", path, len(list)+1, err)
		}
		list = append(list, cert)
	}
}

// readPool reads a file of authorities.
func readPool(path string) (*x509.CertPool, error) {
	list, err := readCertificates(path)
	if err != nil {
		return nil, fmt.Errorf("trusted CA file: %w", err)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("trusted CA file %s holds no certificate in PEM form", path)
	}
	pool := x509.NewCertPool()
	for _, cert := range list {
		pool.AddCert(cert)
	}
	return pool, nil
}

// revoked holds the serial numbers of certificates that are not valid any more.
type revoked map[string]bool

// check says which certificate of a chain is revoked.
func (r revoked) check(chain []*x509.Certificate) error {
	for _, c := range chain {
		if r[string(c.SerialNumber.Bytes())] {
			return fmt.Errorf("transport: certificate serial %x revoked", c.SerialNumber)
		}
	}
	return nil
}

// readRevoked reads the lists in a file: one in DER, or those of several authorities in PEM.
func readRevoked(path string) (revoked, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := revoked{}
	block, rest := pem.Decode(data)
	if block == nil {
		return r, r.add(path, data)
	}
	for ; block != nil; block, rest = pem.Decode(rest) {
		if err := r.add(path, block.Bytes); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// add adds the numbers in a list.
func (r revoked) add(path string, der []byte) error {
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return fmt.Errorf("revocation list %s: %w", path, err)
	}
	for _, e := range list.RevokedCertificateEntries {
		r[string(e.SerialNumber.Bytes())] = true
	}
	return nil
}
