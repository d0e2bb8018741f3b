package flags

import (
	"io"
	"log"
	"path/filepath"
	"testing"

	"github.com/quoin-kv/quoin/internal/certs/certstest"
)

// authority signs certificates into files.
type authority struct {
	*certstest.Authority
	dir, file string // file is its own certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{Authority: certstest.New(t, "authority"), dir: t.TempDir()}
	a.file, _ = a.Write(a.dir, "ca")
	return a
}

// issue writes a certificate for a common name and hosts, and its key.
func (a *authority) issue(name string, hosts ...string) (cert, key string) {
	return a.Issue(name, certstest.Hosts(hosts...)).Write(a.dir, name)
}

// revoke writes a list of revoked certificates.
func (a *authority) revoke(t *testing.T, id certstest.Identity) string {
	t.Helper()
	return certstest.Write(t, filepath.Join(a.dir, "crl.pem"), a.Revoke(id.Serial))
}

func discard() *log.Logger { return log.New(io.Discard, "", 0) }
