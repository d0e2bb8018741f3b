package embed

import (
	"context"
	"log/slog"
	"net/http"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	v2 "github.com/quoin-kv/quoin/internal/api/v2"
	"github.com/quoin-kv/quoin/internal/config"
	"github.com/quoin-kv/quoin/internal/service"
)

// registerV2 serves the old API of keys if that is asked for.
func registerV2(cfg *config.Config, svc *service.Service, mux *http.ServeMux, logger *slog.Logger) {
	if !cfg.EnableV2 {
		return
	}
	head := svc.Header()
	mux.Handle("/v2/", v2.New(v2.Options{
		Store: svc, Prefix: cfg.V2Prefix, Logger: logger,
		ClusterID: head.ClusterID, MemberID: head.MemberID, Name: cfg.Name,
		MaxBodyBytes: int64(grpcLimit(cfg)), MinTTL: minLeaseTTL(cfg), As: callAs,
	}))
}

// callAs is the context of a call that is made for an HTTP request, with a token or with what its connection proves.
func callAs(ctx context.Context, r *http.Request, token string) context.Context {
	if token != "" {
		return metadata.NewIncomingContext(ctx, metadata.Pairs("token", token))
	}
	if r.TLS == nil {
		return ctx
	}
	return peer.NewContext(ctx, &peer.Peer{AuthInfo: credentials.TLSInfo{State: *r.TLS}})
}
