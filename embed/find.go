package embed

import (
	"context"
	"net"
	"net/http"

	"go.etcd.io/etcd/api/v3/version"

	"github.com/quoin-kv/quoin/internal/api/peer"
	"github.com/quoin-kv/quoin/internal/certs"
	"github.com/quoin-kv/quoin/internal/join"
	"github.com/quoin-kv/quoin/internal/transport"
)

// finder finds the cluster of a member without data, by asking those that are named in its configuration.
func (m *Member) finder(ctx context.Context, cfg *Config, overTLS func(certs.DialFunc) certs.DialFunc) finder {
	return func() (join.Cluster, error) {
		dialer := &net.Dialer{Timeout: dialTimeout(cfg)}
		over := &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}
		if overTLS != nil {
			over.DialTLSContext = overTLS(dialer.DialContext)
		}
		hc := &http.Client{Transport: transport.Anywhere(over)}
		return join.Find(ctx, join.Options(cfg, version.Version, peer.NewClient(hc, 0, 0, nil), m.logger))
	}
}
