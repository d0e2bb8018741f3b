package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"

	"github.com/quoin-kv/quoin/internal/discover"
)

// discovery is how endpoints are found by SRV records.
type discovery struct {
	discover.Clients
	trustedCA string // file; endpoints with TLS must have a certificate of it, if it is not empty
	logger    *slog.Logger
}

// find returns the endpoints that DNS knows.
func (d *discovery) find(ctx context.Context) (list []Endpoint, err error) {
	found, err := d.trusted(ctx)
	for _, e := range found {
		list = append(list, Endpoint{e.Address, e.Priority})
	}
	return list, err
}

// trusted returns the endpoints that DNS knows and that can prove who they are.
func (d *discovery) trusted(ctx context.Context) ([]discover.Endpoint, error) {
	found, err := d.Find(ctx)
	if err != nil {
		return nil, err
	}
	good := func(discover.Endpoint) bool { return true }
	if d.trustedCA != "" {
		if good, err = d.trust(ctx); err != nil {
			return nil, err
		}
	}
	list := slices.DeleteFunc(found, func(e discover.Endpoint) bool { return !good(e) })
	if len(list) == 0 {
		return nil, fmt.Errorf("no endpoint of %s is one of --trusted-ca-file", d.Domain)
	}
	return list, nil
}

// trust returns whether an endpoint, if it has TLS, can prove who it is.
func (d *discovery) trust(ctx context.Context) (func(discover.Endpoint) bool, error) {
	pem, err := os.ReadFile(d.trustedCA)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", d.trustedCA)
	}
	dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: dialTimeout}, Config: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	return func(e discover.Endpoint) bool {
		if !e.TLS {
			return true
		}
		conn, err := dialer.DialContext(ctx, "tcp", e.Address)
		if err != nil {
			d.logger.Warn("an endpoint that was found is left out", "address", e.Address, "error", err)
			return false
		}
		conn.Close()
		return true
	}, nil
}
