package embed

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/quoin-kv/quoin/internal/api/port"
	"github.com/quoin-kv/quoin/internal/certs"
	"github.com/quoin-kv/quoin/internal/config"
)

// clientTLS is how this member proves itself to clients, and they to it. nil where no URL asks for it.
type clientTLS struct {
	server *tls.Config
	expiry func() (certs.Expiry, error)
}

// newClientTLS reads the files that cfg names, or makes them.
func newClientTLS(cfg *config.Config, logger *slog.Logger) (c clientTLS, err error) {
	urls := slices.Concat(cfg.ListenClientURLs, cfg.ListenClientHTTPURLs, cfg.ListenMetricsURLs)
	files := tlsFiles(cfg, &cfg.ClientTLS)
	warnOfPlain(urls, &cfg.ClientTLS, "client-url", logger)
	if !slices.ContainsFunc(urls, config.UsesTLS) {
		return c, nil
	}
	if cfg.ClientTLS.AutoTLS && files.Cert == "" {
		dir := filepath.Join(cfg.DataDir, "fixtures", "client")
		if files.Cert, files.Key, err = certs.SelfSigned(dir, hosts(urls), int(cfg.SelfSignedYears)); err != nil {
			return c, fmt.Errorf("auto-tls: %w", err)
		}
	}
	if c.server, err = files.Server("h2", "http/1.1"); err != nil {
		return c, fmt.Errorf("TLS for clients: %w", err)
	}
	// The certificate that this member would show to itself is not needed: the gateway's calls stay inside the process.
	own := certs.Files{ClientCert: files.ClientCert, ClientKey: files.ClientKey}
	if _, err := own.Dialer(); err != nil {
		return c, fmt.Errorf("TLS to this member itself (--client-cert-file, --client-key-file): %w", err)
	}
	c.expiry = files.Expiry()
	return c, nil
}

// tlsFiles names the files and rules of one side of a member.
func tlsFiles(cfg *config.Config, c *config.TLS) certs.Files {
	return certs.Files{
		Cert: c.CertFile, Key: c.KeyFile, ClientCert: c.ClientCertFile, ClientKey: c.ClientKeyFile,
		TrustedCA: c.TrustedCAFile, ClientAuth: c.ClientCertAuth, CRL: c.CRLFile,
		AllowedCNs: c.AllowedCNs, AllowedHostnames: c.AllowedHostnames, SkipClientSAN: c.SkipClientSANVerification,
		MinVersion: cfg.TLSMinVersion, MaxVersion: cfg.TLSMaxVersion, CipherSuites: cfg.CipherSuites,
	}
}

// warnOfPlain warns of URLs without TLS where there are files for it.
func warnOfPlain(urls config.URLs, c *config.TLS, name string, logger *slog.Logger) {
	for _, u := range urls {
		switch {
		case config.UsesTLS(u):
		case c.CertFile != "" || c.KeyFile != "":
			logger.Warn("scheme is HTTP while key and cert files are present; ignoring key and cert files", name, u.String())
		case c.ClientCertAuth:
			logger.Warn("scheme is HTTP while --client-cert-auth is enabled; ignoring client cert auth for this URL", name, u.String())
		}
	}
}

// arrived is the credentials of gRPC connections that have come through TLS already, or need none.
type arrived struct{}

// ServerHandshake tells what the connection has come through.
func (arrived) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	state := port.TLS(conn)
	if state == nil {
		return conn, noTLS{credentials.CommonAuthInfo{SecurityLevel: credentials.NoSecurity}}, nil
	}
	return conn, credentials.TLSInfo{
		State: *state, CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
	}, nil
}

// noTLS is what is known of a connection without TLS.
type noTLS struct{ credentials.CommonAuthInfo }

// AuthType names what there is: nothing.
func (noTLS) AuthType() string { return "insecure" }

// errNotForClients says that nobody dials with these credentials.
var errNotForClients = errors.New("credentials of a server")

// ClientHandshake fails: the credentials are for servers.
func (arrived) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errNotForClients
}

// Info says what the credentials are.
func (arrived) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

// Clone returns the same: there is nothing in it.
func (a arrived) Clone() credentials.TransportCredentials { return a }

// OverrideServerName does nothing.
func (arrived) OverrideServerName(string) error { return nil }

// rejectionPause is the time between two lines in the log about handshakes that failed. A client that tries again and again fills no disk.
const rejectionPause = time.Second

// rejections tells the log about handshakes that failed.
type rejections struct {
	logger *slog.Logger
	what   string // the line that says so
	mu     struct {
		sync.Mutex
		next   time.Time
		unsaid int
	}
}

// note tells of one, or counts it for the next line.
func (r *rejections) note(remote net.Addr, err error) {
	r.mu.Lock()
	now := time.Now()
	if now.Before(r.mu.next) {
		r.mu.unsaid++
		r.mu.Unlock()
		return
	}
	unsaid := r.mu.unsaid
	r.mu.next, r.mu.unsaid = now.Add(rejectionPause), 0
	r.mu.Unlock()
	r.logger.Warn(r.what, "remote-addr", remote.String(), "others", unsaid, "error", err)
}
