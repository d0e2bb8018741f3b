package embed

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"

	"go.etcd.io/etcd/api/v3/version"

	"github.com/quoin-kv/quoin/internal/api/peer"
	"github.com/quoin-kv/quoin/internal/join"
)

// finder finds the cluster of a member without data, by asking those that are named in its configuration.
func (m *Member) finder(ctx context.Context, cfg *Config, dialTLS *tls.Config) finder {
	return func() (join.Cluster, error) {
		dialer := &net.Dialer{Timeout: dialTimeout(cfg)}
		hc := &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext, TLSClientConfig: dialTLS, DisableKeepAlives: true}}
		return join.Find(ctx, join.Options(cfg, version.Version, peer.NewClient(hc, 0, 0, nil), m.logger))
	}
}
