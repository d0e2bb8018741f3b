package join

import (
	"context"
	"log/slog"

	"github.com/quoin-kv/quoin/internal/config"
)

// Options is what the operator's configuration says about the cluster. version is that of this server.
func Options(cfg *config.Config, version string, client Client, logger *slog.Logger) Config {
	c := Config{
		Name: cfg.Name, PeerURLs: cfg.AdvertisePeerURLs.Strings(),
		InitialCluster: cfg.InitialCluster, Token: cfg.InitialClusterToken, Existing: cfg.InitialClusterState == "existing",
		SRV:         SRV{Domain: cfg.DiscoverySRV, Name: cfg.DiscoverySRVName},
		MaxLearners: cfg.MaxLearners, Version: version,
		Client: client, Logger: logger,
	}
	if cfg.Discovery.Enabled() {
		c.Discovery = Discovery{Token: cfg.Discovery.Token, Open: func(ctx context.Context) (Registry, error) { return openEtcd(ctx, &cfg.Discovery) }}
	}
	return c
}
