package embed

import (
	"context"
	"time"

	v3 "github.com/quoin-kv/quoin/internal/api/v3"
	"github.com/quoin-kv/quoin/internal/config"
	"github.com/quoin-kv/quoin/internal/service"
	"github.com/quoin-kv/quoin/internal/token"
)

// newAccess is how calls prove who makes them. The key files of signed tokens are read.
func newAccess(cfg *config.Config) (service.Access, error) {
	kind, err := token.Parse(cfg.AuthToken, time.Now)
	if err != nil {
		return service.Access{}, err
	}
	a := service.Access{
		Of: v3.Credentials, Tokens: kind, TokenTTL: time.Duration(cfg.AuthTokenTTL) * time.Second, BcryptCost: int(cfg.BcryptCost),
	}
	if !cfg.ClientTLS.ClientCertAuth {
		a.Of = withoutCertificate
	}
	return a, nil
}

// withoutCertificate are the credentials of calls whose certificates say nothing about users.
func withoutCertificate(ctx context.Context) service.Credentials {
	c := v3.Credentials(ctx)
	c.CommonName = ""
	return c
}
