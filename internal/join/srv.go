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
	case cluster[f.Name] == nil:
		return nil, fmt.Errorf("cannot find local etcd member %q in SRV records", f.Name)
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
		switch f.compare(ctx, urls[0]) {
		case ownURL:
			cluster[f.Name] = append(cluster[f.Name], urls[0])
		case ownHost:
			f.Logger.Warn("SRV record of this member has another scheme than the URLs it advertises", "url", urls[0], "advertised", f.PeerURLs)
		case others:
			cluster[f.freeNumber(cluster)] = urls
		}
	}
	return nil
}

// kinship is what a URL has to do with this member.
type kinship int

const (
	others  kinship = iota
	ownHost         // it leads here, by another scheme
	ownURL          // it is one of those that this member advertises, perhaps by another name
)

// compare tells what a URL has to do with this member. The names of others are not waited for.
func (f *finder) compare(ctx context.Context, text string) kinship {
	other := f.hosts.resolveNow(ctx, text)
	found := others
	for _, own := range f.PeerURLs {
		if own == text {
			return ownURL
		}
		mine := f.hosts.resolve(ctx, own)
		if other.err != nil || mine.err != nil {
			continue
		}
		if mine.same(other) {
			return ownURL
		}
		if mine.scheme = other.scheme; mine.same(other) {
			found = ownHost
		}
	}
	return found
}

// freeNumber is the name of the next member whose name is not known.
func (f *finder) freeNumber(cluster membership.InitialCluster) string {
	for i := 0; ; i++ {
		name := strconv.Itoa(i)
		if _, taken := cluster[name]; !taken && name != f.Name {
			return name
		}
	}
}
