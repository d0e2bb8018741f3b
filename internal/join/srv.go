package join

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/quoin-kv/quoin/internal/membership"
)

// SRV is where DNS says who the initial members are.
type SRV struct {
	Domain string // empty: nowhere
	Name   string // suffix of the service, empty: none
}

// fromSRV makes the initial cluster of SRV records. Those for TLS and those without count both; one of the two must exist.
func (f *finder) fromSRV(ctx context.Context) (membership.InitialCluster, error) {
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	cluster := membership.InitialCluster{}
	var errs []error
	for _, s := range []struct{ service, scheme string }{{"etcd-server-ssl", "https"}, {"etcd-server", "http"}} {
		if f.SRV.Name != "" {
			s.service += "-" + f.SRV.Name
		}
		_, records, err := f.Resolver.LookupSRV(ctx, s.service, "tcp", f.SRV.Domain)
		if err != nil {
			errs = append(errs, fmt.Errorf("error querying DNS SRV records for _%s %w", s.service, err))
			continue
		}
		if err := f.addRecords(ctx, cluster, s.scheme, records); err != nil {
			return nil, err
		}
	}
	switch {
	case len(cluster) == 0 && len(errs) == 0:
		return nil, fmt.Errorf("no DNS SRV records of %s", f.SRV.Domain)
	case len(cluster) == 0:
		return nil, errors.Join(errs...)
	}
	return cluster, nil
}

// addRecords adds a member for each record. This member is recognised by its URLs; the others' names are not known, so they get numbers.
func (f *finder) addRecords(ctx context.Context, cluster membership.InitialCluster, scheme string, records []*net.SRV) error {
	for _, r := range records {
		host := strings.TrimSuffix(r.Target, ".")
		if host == "" || r.Port == 0 || strings.ContainsAny(host, ",=") { // the signs between members
			return fmt.Errorf("SRV record of %s: no target: %q", f.SRV.Domain, r.Target)
		}
		urls, err := membership.ParseURLs([]string{scheme + "://" + net.JoinHostPort(host, strconv.Itoa(int(r.Port)))})
		if err != nil {
			return fmt.Errorf("SRV record of %s: %w", f.SRV.Domain, err)
		}
		if f.isSelf(ctx, urls[0]) {
			cluster[f.Name] = append(cluster[f.Name], urls[0])
		} else {
			cluster[f.freeNumber(cluster)] = urls
		}
	}
	return nil
}

// isSelf tells whether a URL is one of this member's. The names of others are not waited for.
func (f *finder) isSelf(ctx context.Context, text string) bool {
	other := f.hosts.resolveNow(ctx, text)
	for _, own := range f.PeerURLs {
		if own == text || other.err == nil && f.hosts.resolve(ctx, own).same(other) {
			return true
		}
	}
	return false
}

func (f *finder) freeNumber(cluster membership.InitialCluster) string {
	for i := len(cluster); ; i++ {
		name := strconv.Itoa(i)
		if _, taken := cluster[name]; !taken && name != f.Name {
			return name
		}
	}
}
