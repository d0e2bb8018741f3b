package interop

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"github.com/quoin-kv/quoin/interop/process"
)

// TestMixedJWT: signed tokens of members of either kind are accepted by those of the other.
func TestMixedJWT(t *testing.T) {
	t.Parallel()
	private, public := keyPair(t)
	option := "--auth-token=jwt,pub-key=" + public + ",priv-key=" + private + ",sign-method=RS256,ttl=10m"
	m := newMixed(t, []process.Program{process.Quoin(), process.Etcd(), process.Quoin()}, option, "--bcrypt-cost=4")
	for leader := range 2 {
		m.lead(leader)
		m.users()
	}
}

// keyPair writes a pair of keys to files.
func keyPair(t *testing.T) (private, public string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	check(t, err)
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	check(t, err)
	dir := t.TempDir()
	write := func(name, kind string, bytes []byte) string {
		path := filepath.Join(dir, name)
		check(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes}), 0o600))
		return path
	}
	return write("key.pem", "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)), write("public.pem", "PUBLIC KEY", der)
}
