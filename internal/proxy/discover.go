package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// resolver is the part of net.Resolver that is needed.
type resolver interface {
	LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)
}

const discoverTimeout = 30 * time.Second

// discovery is how endpoints are found by SRV records.
type discovery struct {
	domain, name string // name is the suffix of the service, empty for none
	insecure     bool   // endpoints without TLS count too
	trustedCA    string // file; endpoints with TLS must have a certificate of it, if it is not empty
	resolver     resolver
	logger       *slog.Logger
}

// find returns the endpoints that DNS knows.
func (d *discovery) find(ctx context.Context) ([]Endpoint, error) {
	ctx, cancel := context.WithTimeout(ctx, discoverTimeout)
	defer cancel()
	found, err := d.look(ctx, "etcd-client-ssl")
	if err == nil && d.trustedCA != "" {
		if found, err = d.trusted(ctx, found); err != nil {
			return nil, err
		}
	}
	if d.insecure {
		plain, plainErr := d.look(ctx, "etcd-client")
		found, err = append(found, plain...), errors.Join(err, plainErr)
	}
	if len(found) == 0 {
		return nil, errors.Join(fmt.Errorf("no endpoint of %s was found by SRV records", d.domain), err)
	}
	return found, nil
}

func (d *discovery) look(ctx context.Context, service string) ([]Endpoint, error) {
	if d.name != "" {
		service += "-" + d.name
	}
	_, records, err := d.resolver.LookupSRV(ctx, service, "tcp", d.domain)
	if err != nil {
		return nil, err
	}
	var list []Endpoint
	for _, r := range records {
		list = append(list, Endpoint{net.JoinHostPort(strings.TrimSuffix(r.Target, "."), strconv.Itoa(int(r.Port))), r.Priority})
	}
	return list, nil
}

// trusted leaves out endpoints that cannot prove who they are.
func (d *discovery) trusted(ctx context.Context, list []Endpoint) ([]Endpoint, error) {
	pem, err := os.ReadFile(d.trustedCA)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", d.trustedCA)
	}
	dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: dialTimeout}, Config: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	var good []Endpoint
	for _, e := range list {
		conn, err := dialer.DialContext(ctx, "tcp", e.Address)
		if err != nil {
			d.logger.Warn("an endpoint that was found is left out", "address", e.Address, "error", err)
			continue
		}
		conn.Close()
		good = append(good, e)
	}
	return good, nil
}
