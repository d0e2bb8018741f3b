// Package certs turns the names of certificate files, and the rules around them, into configurations of TLS for listeners and
// dialers, and makes self-signed certificates.
//
// Listeners and dialers look at their files at every handshake and read those that have changed: certificates, authorities and revocation
// lists can be replaced while a member runs. A file that cannot be read refuses the handshake; nothing that was read earlier takes its place.
package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// Files names the certificates of one side and says whom it lets in. The zero Files is TLS without a certificate: good for dialing
// servers that the system trusts, not for listening.
type Files struct {
	Cert, Key             string // of the listener, and of the dialer if it has none of its own
	ClientCert, ClientKey string // of the dialer
	TrustedCA             string // authorities for the other side's certificates; empty: those of the system
	ClientAuth            bool   // clients must have a certificate; with TrustedCA they must in any case
	CRL                   string // revoked certificates of the other side, PEM or DER

	// AllowedCNs and AllowedHostnames restrict the certificates of clients, one or the other: the common name is in the list, or the
	// certificate is valid for a name in the list.
	AllowedCNs, AllowedHostnames []string
	// SkipClientSAN leaves out the check that a client's address is one of those that its certificate names.
	SkipClientSAN bool
	// SkipServerVerify makes a dialer accept any certificate: for clusters whose members sign their own.
	SkipServerVerify bool

	MinVersion, MaxVersion string   // "TLS1.2" or "TLS1.3"; empty: TLS1.2, and whatever is the newest
	CipherSuites           []string // by Go's or the standard's name; empty: Go's choice
	ServerName             string   // that a dialer expects; empty: the host it dials

	Resolver Resolver // for client certificates that name hosts; nil: the system's
}

// Resolver looks up names, as net.Resolver does.
type Resolver interface {
	LookupHost(ctx context.Context, host string) (addrs []string, err error)
	LookupAddr(ctx context.Context, addr string) (names []string, err error)
}

// Server returns the configuration of a listener that offers the protocols in the order given ("h2", "http/1.1"). All files
// are read once, so that what is wrong shows at the start. The errors name the file or the option.
func (f Files) Server(protocols ...string) (*tls.Config, error) {
	s, err := f.newServer(protocols)
	if err != nil {
		return nil, err
	}
	if _, err := s.config(context.Background(), nil); err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: s.base.MinVersion,
		NextProtos: protocols,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			return s.config(hello.Context(), hello.Conn.RemoteAddr())
		},
	}, nil
}

// base is what listeners and dialers have in common.
func (f Files) base() (*tls.Config, error) {
	oldest, err := version(f.MinVersion, tls.VersionTLS12)
	if err != nil {
		return nil, err
	}
	newest, err := version(f.MaxVersion, 0)
	if err != nil {
		return nil, err
	}
	if newest != 0 && oldest > newest {
		return nil, fmt.Errorf("min version (%s) is greater than max version (%s)", f.MinVersion, f.MaxVersion)
	}
	if oldest == tls.VersionTLS13 && len(f.CipherSuites) > 0 {
		return nil, errors.New("cipher suites cannot be configured when only TLS1.3 is enabled")
	}
	suites, err := cipherSuites(f.CipherSuites)
	return &tls.Config{MinVersion: oldest, MaxVersion: newest, CipherSuites: suites}, err
}

func version(name string, otherwise uint16) (uint16, error) {
	switch name {
	case "":
		return otherwise, nil
	case "TLS1.2":
		return tls.VersionTLS12, nil
	case "TLS1.3":
		return tls.VersionTLS13, nil
	}
	return 0, fmt.Errorf("unexpected TLS version %q (must be one of: TLS1.2, TLS1.3)", name)
}

// cipherSuites finds suites by name.
func cipherSuites(names []string) (ids []uint16, err error) {
	for _, name := range names {
		id, ok := CipherSuite(name)
		if !ok {
			return nil, fmt.Errorf("unexpected TLS cipher suite %q", name)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// CipherSuite finds a suite by its name, or by the one that it had in Go before its hash was part of it. Those that Go calls insecure are there
// for who asks for them.
func CipherSuite(name string) (id uint16, ok bool) {
	if strings.HasSuffix(name, "_WITH_CHACHA20_POLY1305") {
		name += "_SHA256"
	}
	for _, s := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		if s.Name == name {
			return s.ID, true
		}
	}
	return 0, false
}

// server makes the configuration for each handshake.
type server struct {
	files   Files
	base    *tls.Config
	pair    *cached[*tls.Certificate]
	pool    *cached[*x509.CertPool] // nil: the system's authorities
	revoked *cached[revoked]        // nil: none are known
}

func (f Files) newServer(protocols []string) (*server, error) {
	base, err := f.base()
	if err != nil {
		return nil, err
	}
	if f.Cert == "" || f.Key == "" {
		return nil, fmt.Errorf("a listener needs a certificate and its key: certificate %q, key %q", f.Cert, f.Key)
	}
	if len(f.AllowedCNs) > 0 && len(f.AllowedHostnames) > 0 {
		return nil, fmt.Errorf("AllowedCNs and AllowedHostnames are mutually exclusive (cns=%v, hostnames=%v)", f.AllowedCNs, f.AllowedHostnames)
	}
	demand := f.ClientAuth || f.TrustedCA != ""
	if !demand && len(f.AllowedCNs)+len(f.AllowedHostnames) > 0 {
		return nil, errors.New("restricting the certificates of clients needs a trusted CA file, or that clients must have certificates")
	}
	base.NextProtos = protocols
	s := &server{files: f, base: base, pair: newPair(f.Cert, f.Key)}
	if demand {
		base.ClientAuth = tls.RequireAndVerifyClientCert
		// A session that is taken up again is not verified against what the files say by then.
		base.SessionTicketsDisabled = true
	}
	s.pool, s.revoked = f.others()
	return s, nil
}

// others is by what the certificates of the other side are judged; nil for what is not said.
func (f Files) others() (pool *cached[*x509.CertPool], list *cached[revoked]) {
	if f.TrustedCA != "" {
		pool = newCached(func() (*x509.CertPool, error) { return readPool(f.TrustedCA) }, f.TrustedCA)
	}
	if f.CRL != "" {
		list = newCached(func() (revoked, error) { return readRevoked(f.CRL) }, f.CRL)
	}
	return pool, list
}

// config returns the configuration for a handshake with remote.
func (s *server) config(ctx context.Context, remote net.Addr) (*tls.Config, error) {
	pair, err := s.pair.get()
	if err != nil {
		return nil, err
	}
	c := s.base.Clone()
	c.Certificates = []tls.Certificate{*pair}
	if c.ClientCAs, err = s.pool.get(); err != nil {
		return nil, err
	}
	list, err := s.revoked.get()
	if err != nil {
		return nil, err
	}
	c.VerifyConnection = func(state tls.ConnectionState) error {
		return s.files.admit(ctx, state.PeerCertificates, list, remote)
	}
	return c, nil
}

// lookupTimeout bounds looking up the names in one certificate.
const lookupTimeout = 5 * time.Second

// admit says why a client whose certificates crypto/tls has verified is not let in.
func (f Files) admit(ctx context.Context, chain []*x509.Certificate, list revoked, remote net.Addr) error {
	if len(chain) == 0 {
		return nil // none was demanded
	}
	if err := list.check(chain); err != nil {
		return err
	}
	leaf := chain[0]
	if len(f.AllowedCNs) > 0 && !slices.Contains(f.AllowedCNs, leaf.Subject.CommonName) {
		return fmt.Errorf("client certificate authentication failed: the common name is not allowed: %q", leaf.Subject.CommonName)
	}
	if len(f.AllowedHostnames) > 0 && !validForAny(leaf, f.AllowedHostnames) {
		return fmt.Errorf("client certificate authentication failed: that of %q is not valid for an allowed host name", leaf.Subject.CommonName)
	}
	if f.SkipClientSAN {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	return f.checkAddress(ctx, leaf, remote)
}

func validForAny(c *x509.Certificate, hosts []string) bool {
	return slices.ContainsFunc(hosts, func(h string) bool { return c.VerifyHostname(h) == nil })
}
