// Package discover finds where the members of a cluster serve clients by the SRV records of the cluster's DNS domain.
package discover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// Timeout bounds Find, whatever its context allows.
const Timeout = 30 * time.Second

// A Resolver is the part of net.Resolver that is needed.
type Resolver interface {
	LookupSRV(ctx context.Context, service, proto, name string) (cname string, records []*net.SRV, err error)
}

// Clients says where to look.
type Clients struct {
	Domain   string
	Name     string // suffix of the services etcd-client-ssl and etcd-client, empty for none
	Insecure bool   // endpoints without TLS count too
	Resolver Resolver
}

// An Endpoint is where a member serves clients.
type Endpoint struct {
	Address  string // host:port
	Priority uint16 // the lower, the better
	TLS      bool
}

// URL is the endpoint as clients name it, with a scheme.
func (e Endpoint) URL() string {
	if e.TLS {
		return "https://" + e.Address
	}
	return "http://" + e.Address
}

// Find returns the endpoints that DNS knows, those with TLS first. That there is none is an error.
func (c Clients) Find(ctx context.Context) ([]Endpoint, error) {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	found, err := c.look(ctx, "etcd-client-ssl", true)
	plain, plainErr := c.look(ctx, "etcd-client", false)
	if err != nil && plainErr != nil {
		return nil, fmt.Errorf("dns lookup errors: %w and %w", err, plainErr)
	}
	if c.Insecure {
		found = append(found, plain...)
	}
	if len(found) == 0 {
		return nil, errors.Join(fmt.Errorf("no endpoint of %s was found by SRV records", c.Domain), err)
	}
	return found, nil
}

func (c Clients) look(ctx context.Context, service string, secure bool) (list []Endpoint, err error) {
	if c.Name != "" {
		service += "-" + c.Name
	}
	_, records, err := c.Resolver.LookupSRV(ctx, service, "tcp", c.Domain)
	if err != nil {
		return nil, err
	}
	for _, r := range records {
		list = append(list, Endpoint{net.JoinHostPort(strings.TrimSuffix(r.Target, "."), strconv.Itoa(int(r.Port))), r.Priority, secure})
	}
	return list, nil
}
