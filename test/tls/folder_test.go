package tlstest

import (
	"path/filepath"
	"testing"

	"github.com/quoin-kv/quoin/internal/certs/certstest"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
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
	certstest.Write(f.t, f.path(name), parts...)
}

// show makes id the certificate that is shown.
func (f folder) show(id certstest.Identity) {
	f.t.Helper()
	f.put("key", id.Key)
	f.put("cert", id.Cert)
}
