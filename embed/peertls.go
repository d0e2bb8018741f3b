package embed

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"

	"github.com/quoin-kv/quoin/internal/api/port"
	"github.com/quoin-kv/quoin/internal/certs"
	"github.com/quoin-kv/quoin/internal/config"
)

// peerTLS is how this member proves itself to others, and they to it. nil where no URL asks for it.
type peerTLS struct {
	server *tls.Config // of the listeners
	dialer *certs.Dialer
	expiry func() (certs.Expiry, error)
}

// newPeerTLS reads the files that cfg names, or makes them.
func newPeerTLS(cfg *config.Config, logger *slog.Logger) (p peerTLS, err error) {
	listens := slices.ContainsFunc(cfg.ListenPeerURLs, config.UsesTLS)
	warnOfPlain(cfg.ListenPeerURLs, &cfg.PeerTLS, "peer-url", logger)
	if !listens && !slices.ContainsFunc(cfg.AdvertisePeerURLs, config.UsesTLS) && cfg.PeerTLS.TrustedCAFile == "" {
		return p, nil
	}
	files := tlsFiles(cfg, &cfg.PeerTLS)
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
	p.expiry = files.Expiry()
	if listens {
		if p.server, err = files.Server("http/1.1"); err != nil {
			return p, fmt.Errorf("TLS for other members: %w", err)
		}
	}
	return p, nil
}

// over returns how connections to other members are taken through TLS, nil if the configuration says nothing of it.
func (p *peerTLS) over() func(certs.DialFunc) certs.DialFunc {
	if p.dialer == nil {
		return nil
	}
	return p.dialer.Over
}

func hosts(urls config.URLs) (list []string) {
	for i := range urls {
		list = append(list, urls[i].Host)
	}
	return list
}

// listen opens the listeners for other members, with TLS where the URL says so.
func (p *peerTLS) listen(ctx context.Context, cfg *config.Config, logger *slog.Logger) ([]*port.Splitter, error) {
	listeners, err := listen(ctx, cfg, cfg.ListenPeerURLs)
	if err != nil {
		return nil, err
	}
	rejected := &rejections{logger: logger, what: "rejected connection on peer endpoint"}
	var all []*port.Splitter
	for i, l := range listeners {
		opts := port.Options{HTTP: true, Plain: !config.UsesTLS(cfg.ListenPeerURLs[i]), Rejected: rejected.note}
		if !opts.Plain {
			opts.TLS = p.server
		}
		all = append(all, port.NewSplitter(l, opts))
	}
	return all, nil
}
