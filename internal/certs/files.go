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

// get returns what the files hold. It reads them only if they have changed; after an error the next call reads again.
func (c *cached[T]) get() (value T, err error) {
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

// readPool reads a file of authorities. Every block in it must be a certificate.
func readPool(path string) (*x509.CertPool, error) {
	rest, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool, n := x509.NewCertPool(), 0
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("trusted CA file %s, certificate %d: %w", path, n+1, err)
		}
		pool.AddCert(cert)
		n++
	}
	if n == 0 {
		return nil, fmt.Errorf("trusted CA file %s holds no certificate in PEM form", path)
	}
	return pool, nil
}

// revoked holds the serial numbers of certificates that are not valid any more.
type revoked map[string]bool

func (r revoked) has(c *x509.Certificate) bool { return r[string(c.SerialNumber.Bytes())] }

func readRevoked(path string) (revoked, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if block, _ := pem.Decode(data); block != nil {
		data = block.Bytes
	}
	list, err := x509.ParseRevocationList(data)
	if err != nil {
		return nil, fmt.Errorf("revocation list %s: %w", path, err)
	}
	r := revoked{}
	for _, e := range list.RevokedCertificateEntries {
		r[string(e.SerialNumber.Bytes())] = true
	}
	return r, nil
}
