package certs

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quoin-kv/quoin/internal/certs/certstest"
)

// TestReload: what is replaced on disk holds from the next handshake on.
func TestReload(t *testing.T) {
	dir := t.TempDir()
	first, second := newAuthority(t, dir, "first"), newAuthority(t, dir, "second")
	cert, key, firstSerial := first.issue("server", "127.0.0.1")
	clientCert, clientKey, clientSerial := first.issue("client")
	trusted := filepath.Join(dir, "trusted")
	move := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	move(first.file, trusted)
	crl := first.revoke("crl")
	server, err := Files{Cert: cert, Key: key, TrustedCA: trusted, CRL: crl}.Server()
	if err != nil {
		t.Fatal(err)
	}
	client := dialing(Files{ClientCert: clientCert, ClientKey: clientKey, SkipServerVerify: true})
	expect := func(what string, want string) tls.ConnectionState {
		t.Helper()
		config, err := client()
		if err != nil {
			t.Fatal(err)
		}
		state, err := talk(t, server, config)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Fatalf("%s: got %v, want %q", what, err, want)
		}
		return state
	}
	if s := expect("first", ""); s.PeerCertificates[0].SerialNumber.Cmp(firstSerial) != 0 {
		t.Fatal("another certificate")
	}
	if s := expect("again", ""); s.DidResume {
		t.Fatal("a session was taken up again without verification")
	}
	_, _, secondSerial := second.issue("server", "127.0.0.1")
	if s := expect("new certificate", ""); s.PeerCertificates[0].SerialNumber.Cmp(secondSerial) != 0 {
		t.Fatal("the old certificate")
	}
	first.revoke("crl", clientSerial)
	expect("revoked", "revoked")
	first.revoke("crl")
	expect("not revoked any more", "")
	move(crl, crl+".away")
	expect("no list of revocations", "crl: no such file")
	move(crl+".away", crl)
	move(trusted, trusted+".first")
	move(second.file, trusted)
	expect("other authorities", "unknown authority")
	second.issue("client")
	expect("a client's new certificate", "")
	move(key, key+".away")
	expect("no key", "server.key: no such file")
}

// TestDialerReload: so it is for the side that dials.
func TestDialerReload(t *testing.T) {
	dir := t.TempDir()
	first, second := newAuthority(t, dir, "first"), newAuthority(t, dir, "second")
	cert, key, _ := first.issue("server", "127.0.0.1")
	otherCert, otherKey, otherSerial := second.issue("other", "127.0.0.1")
	clientCert, clientKey, _ := first.issue("client")
	trusted, crl := filepath.Join(dir, "trusted"), second.revoke("crl")
	copyFile := func(from, to string) {
		t.Helper()
		if err := os.WriteFile(to, []byte(read(t, from)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	copyFile(first.file, trusted)
	dialer, err := Files{ClientCert: clientCert, ClientKey: clientKey, TrustedCA: trusted, CRL: crl}.Dialer()
	if err != nil {
		t.Fatal(err)
	}
	expect := func(what, cert, key, trusts, want string) {
		t.Helper()
		server, err := Files{Cert: cert, Key: key, TrustedCA: trusts}.Server()
		if err != nil {
			t.Fatal(err)
		}
		config, err := dialer.Config("127.0.0.1")
		if err == nil {
			_, err = talk(t, server, config)
		}
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Fatalf("%s: got %v, want %q", what, err, want)
		}
	}
	expect("first", cert, key, first.file, "")
	expect("another authority", otherCert, otherKey, first.file, "unknown authority")
	copyFile(second.file, trusted)
	expect("it is trusted now", otherCert, otherKey, first.file, "")
	expect("the first is not any more", cert, key, first.file, "unknown authority")
	expect("a client unknown to the server", otherCert, otherKey, second.file, "unknown authority")
	second.issue("client")
	expect("the client's new certificate", otherCert, otherKey, second.file, "")
	second.revoke("crl", otherSerial)
	expect("revoked", otherCert, otherKey, second.file, "revoked")
	if err := os.Remove(crl); err != nil {
		t.Fatal(err)
	}
	expect("no list of revocations", otherCert, otherKey, second.file, "crl: no such file")
}

// TestExpiry: the certificate that ends first, of all that are shown.
func TestExpiry(t *testing.T) {
	dir := t.TempDir()
	ca := newAuthority(t, dir, "ca")
	server, key, _ := ca.issue("server")
	client, _, _ := ca.issue("client")
	leaf, err := readCertificates(server)
	if err != nil {
		t.Fatal(err)
	}
	expiry := Files{Cert: server, Key: key, ClientCert: client}.Expiry()
	if e, err := expiry(); err != nil || !e.At.Equal(leaf[0].NotAfter) || e.File != server && e.File != client {
		t.Errorf("%+v, %v", e, err)
	}
	early := certstest.New(t, "early", certstest.Valid(-time.Hour, time.Minute))
	certstest.Write(t, client, []byte(read(t, client)), early.Cert)
	if e, err := expiry(); err != nil || e.File != client || time.Until(e.At) > time.Minute {
		t.Errorf("%+v, %v", e, err)
	}
	if err := os.Remove(server); err != nil {
		t.Fatal(err)
	}
	if _, err := expiry(); err == nil {
		t.Error("a file that is gone has an expiry")
	}
	if e, err := (Files{}).Expiry()(); err != nil || !e.At.IsZero() {
		t.Errorf("nothing expires: %+v, %v", e, err)
	}
}

// TestListsOfSeveral: a file may hold the lists of several authorities, or one in DER.
func TestListsOfSeveral(t *testing.T) {
	dir := t.TempDir()
	a, b := newAuthority(t, dir, "a"), newAuthority(t, dir, "b")
	both := filepath.Join(dir, "both")
	text := read(t, a.revoke("a.crl", big.NewInt(7))) + read(t, b.revoke("b.crl", big.NewInt(8)))
	if err := os.WriteFile(both, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(text))
	der := filepath.Join(dir, "der")
	if err := os.WriteFile(der, block.Bytes, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][]int64{both: {7, 8}, der: {7}} {
		list, err := readRevoked(path)
		if err != nil || len(list) != len(want) {
			t.Fatalf("%s: %v, %v", path, list, err)
		}
		for _, n := range want {
			if list.check([]*x509.Certificate{{SerialNumber: big.NewInt(n)}}) == nil {
				t.Errorf("%s: %d is not revoked", path, n)
			}
		}
	}
}

// TestCached: files are read when they have changed or may have, not at each look.
func TestCached(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	loads := 0
	c := newCached(func() (string, error) {
		loads++
		b, err := os.ReadFile(path)
		if string(b) == "bad" {
			err = errors.New("bad")
		}
		return string(b), err
	}, path)
	long := time.Now().Add(-time.Hour)
	write := func(s string, at time.Time) {
		t.Helper()
		if err := errors.Join(os.WriteFile(path, []byte(s), 0o600), os.Chtimes(path, at, at)); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(what, want string, wantLoads int) {
		t.Helper()
		got, err := c.get()
		if got != want && err == nil || (want == "") != (err != nil) || loads != wantLoads {
			t.Fatalf("%s: %q, %v after %d loads, want %q after %d", what, got, err, loads, want, wantLoads)
		}
	}
	write("one", long)
	expect("first", "one", 1)
	expect("unchanged", "one", 1)
	write("four", long)
	expect("another size", "four", 2)
	write("five", long.Add(time.Second))
	expect("another time", "five", 3)
	write("bad", long)
	expect("bad", "", 4)
	write("five", long.Add(time.Second))
	expect("good again", "five", 5)
	write("new1", time.Now())
	expect("just written", "new1", 6)
	expect("just written, may change within the tick", "new1", 7)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	expect("gone", "", 7)
	write("back", long)
	expect("back", "back", 8)
	other := path + ".other"
	if err := errors.Join(os.WriteFile(other, []byte("swap"), 0o600), os.Chtimes(other, long, long), os.Rename(other, path)); err != nil {
		t.Fatal(err)
	}
	expect("another file of the same size and time", "swap", 9)
	expect("unchanged", "swap", 9)
}

func TestSelfSigned(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "fixtures", "peer")
	cert, key, err := SelfSigned(dir, []string{"127.0.0.1:2380", "host.example", "[::1]:1", "", "plain:5"}, 3)
	if err != nil {
		t.Fatal(err)
	}
	if cert != filepath.Join(dir, "cert.pem") || key != filepath.Join(dir, "key.pem") {
		t.Fatalf("files %s and %s", cert, key)
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf := pair.Leaf
	if !slices.Equal(leaf.DNSNames, []string{"host.example", "plain"}) || len(leaf.IPAddresses) != 2 || !leaf.IsCA {
		t.Fatalf("names %v, addresses %v, authority %v", leaf.DNSNames, leaf.IPAddresses, leaf.IsCA)
	}
	if years := leaf.NotAfter.Sub(time.Now().AddDate(3, 0, 0)).Abs(); years > time.Minute {
		t.Fatalf("valid until %v", leaf.NotAfter)
	}
	for _, f := range []string{cert, key} {
		if info, err := os.Stat(f); err != nil || info.Mode() != 0o600 {
			t.Fatalf("%s has mode %v, %v", f, info.Mode(), err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.tmp")); len(left) > 0 {
		t.Fatalf("left behind: %v", left)
	}
	before := read(t, cert)
	if _, _, err := SelfSigned(dir, nil, 1); err != nil || read(t, cert) != before {
		t.Fatalf("made again: %v", err)
	}
	server, err := Files{Cert: cert, Key: key}.Server()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []Files{{SkipServerVerify: true}, {TrustedCA: cert}} {
		client, err := dialing(f)()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := talk(t, server, client); err != nil {
			t.Fatal(err)
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestSelfSignedAgain(t *testing.T) {
	dir := t.TempDir()
	cert, key, err := SelfSigned(dir, []string{"a"}, 1)
	if err != nil {
		t.Fatal(err)
	}
	before := read(t, cert)
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	if _, _, err := SelfSigned(dir, []string{"a"}, 1); err != nil || read(t, cert) == before {
		t.Fatalf("a certificate without its key: %v", err)
	}
	expire(t, dir)
	before = read(t, cert)
	if _, _, err := SelfSigned(dir, []string{"a"}, 1); err != nil || read(t, cert) == before {
		t.Fatalf("a certificate whose time is over: %v", err)
	}
	if err := os.WriteFile(key, []byte("torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := SelfSigned(dir, []string{"a"}, 1); err == nil || !strings.Contains(err.Error(), key) {
		t.Fatalf("a torn key: %v", err)
	}
	for _, years := range []int{0, -1, maxYears + 1} {
		if _, _, err := SelfSigned(t.TempDir(), nil, years); err == nil {
			t.Fatalf("%d years were accepted", years)
		}
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := SelfSigned(filepath.Join(file, "x"), nil, 1); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("a directory below a file: %v", err)
	}
}

// expire replaces the pair in dir by one whose time is over.
func expire(t *testing.T, dir string) {
	t.Helper()
	certstest.New(t, "ca", certstest.Valid(-2*time.Hour, -time.Hour)).Write(dir, "cert")
	if err := os.Rename(filepath.Join(dir, "cert.key"), filepath.Join(dir, "key.pem")); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkServerConfig(b *testing.B) {
	b.ReportAllocs()
	dir := b.TempDir()
	cert, key, err := SelfSigned(dir, []string{"127.0.0.1"}, 1)
	if err != nil {
		b.Fatal(err)
	}
	long := time.Now().Add(-time.Hour)
	for _, f := range []string{cert, key} {
		if err := os.Chtimes(f, long, long); err != nil {
			b.Fatal(err)
		}
	}
	s, err := Files{Cert: cert, Key: key, TrustedCA: cert}.newServer(nil)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := s.config(b.Context(), nil); err != nil {
			b.Fatal(err)
		}
	}
}
