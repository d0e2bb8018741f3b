package embed

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"slices"

	"github.com/quoin-kv/quoin/internal/certs"
	"github.com/quoin-kv/quoin/internal/config"
)

// peerTLS is how this member proves itself to others, and they to it. nil where no URL asks for it.
type peerTLS struct {
	server *tls.Config // of the listeners
	dialer *tls.Config
}

// newPeerTLS reads the files that cfg names, or makes them.
func newPeerTLS(cfg *config.Config) (p peerTLS, err error) {
	listens := slices.ContainsFunc(cfg.ListenPeerURLs, usesTLS)
	if !listens && !slices.ContainsFunc(cfg.AdvertisePeerURLs, usesTLS) && cfg.PeerTLS.TrustedCAFile == "" {
		return p, nil
	}
	files := peerFiles(cfg)
	if cfg.PeerTLS.AutoTLS && files.Cert == "" {
		files.SkipServerVerify = true
		dir := filepath.Join(cfg.DataDir, "fixtures", "peer")
		if files.Cert, files.Key, err = certs.SelfSigned(dir, hosts(cfg.ListenPeerURLs), int(cfg.SelfSignedYears)); err != nil {
			return p, fmt.Errorf("peer-auto-tls: %w", err)
		}
	}
	if p.dialer, err = files.Dialer(); err != nil {
		return p, fmt.Errorf("TLS to other members: %w", err)
	}
	if listens {
		if p.server, err = files.Server("http/1.1"); err != nil {
			return p, fmt.Errorf("TLS for other members: %w", err)
		}
	}
	return p, nil
}

func peerFiles(cfg *config.Config) certs.Files {
	c := &cfg.PeerTLS
	return certs.Files{
		Cert: c.CertFile, Key: c.KeyFile, ClientCert: c.ClientCertFile, ClientKey: c.ClientKeyFile,
		TrustedCA: c.TrustedCAFile, ClientAuth: c.ClientCertAuth, CRL: c.CRLFile,
		AllowedCNs: c.AllowedCNs, AllowedHostnames: c.AllowedHostnames, SkipClientSAN: c.SkipClientSANVerification,
		MinVersion: cfg.TLSMinVersion, MaxVersion: cfg.TLSMaxVersion, CipherSuites: cfg.CipherSuites,
	}
}

func usesTLS(u url.URL) bool { return u.Scheme == "https" || u.Scheme == "unixs" }

func hosts(urls config.URLs) (list []string) {
	for i := range urls {
		list = append(list, urls[i].Host)
	}
	return list
}

// listen opens the listeners for other members, with TLS where the URL says so.
func (p *peerTLS) listen(ctx context.Context, cfg *config.Config) ([]net.Listener, error) {
	listeners, err := listen(ctx, cfg, cfg.ListenPeerURLs)
	if err != nil {
		return nil, err
	}
	for i := range listeners {
		if usesTLS(cfg.ListenPeerURLs[i]) {
			listeners[i] = tls.NewListener(listeners[i], p.server)
		}
	}
	return listeners, nil
}
