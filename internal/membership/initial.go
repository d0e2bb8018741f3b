package membership

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/raft/wire"
)

// InitialCluster is the first membership as an operator writes it: sorted peer
// URLs by member name.
type InitialCluster map[string][]string

// ParseInitialCluster reads "name=url,name=url". A member with several URLs is
// named once for each of them.
func ParseInitialCluster(text string) (InitialCluster, error) {
	cluster := make(InitialCluster)
	for part := range strings.SplitSeq(text, ",") {
		if part != "" {
			name, u, _ := strings.Cut(part, "=")
			cluster[name] = append(cluster[name], u)
		}
	}
	for _, name := range cluster.Names() {
		urls, err := ParseURLs(cluster[name])
		if err != nil {
			return nil, err
		}
		cluster[name] = urls
	}
	return cluster, nil
}

// Names returns the names in order.
func (c InitialCluster) Names() []string { return slices.Sorted(maps.Keys(c)) }

// String returns the form that ParseInitialCluster reads, sorted.
func (c InitialCluster) String() string {
	var parts []string
	for name, urls := range c {
		for _, u := range urls {
			parts = append(parts, name+"="+u)
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, ",")
}

// Check verifies that the local member is named and that no URL occurs twice.
func (c InitialCluster) Check(local string) error {
	if c[local] == nil {
		return fmt.Errorf("couldn't find local name %q in the initial cluster configuration", local)
	}
	seen := make(map[string]bool)
	for _, urls := range c {
		for _, u := range urls {
			if seen[u] {
				return fmt.Errorf("initial cluster %s has duplicate url", c)
			}
			seen[u] = true
		}
	}
	return nil
}

// CheckAdvertised verifies that the peer URLs that the local member advertises
// are those under its name. URLs are compared as texts: who wants to accept
// different names of one host has to resolve them first.
func (c InitialCluster) CheckAdvertised(local string, advertised []string) error {
	var missing []string
	for _, u := range without(c[local], advertised) {
		missing = append(missing, local+"="+u)
	}
	if len(missing) > 0 {
		return fmt.Errorf("--initial-cluster has %s but missing from --initial-advertise-peer-urls=%s",
			strings.Join(missing, ","), strings.Join(advertised, ","))
	}
	if missing = without(advertised, c[local]); len(missing) > 0 {
		return fmt.Errorf("--initial-advertise-peer-urls has %s but missing from --initial-cluster=%s",
			strings.Join(missing, ","), InitialCluster{local: c[local]})
	}
	return nil
}

// without returns the elements of a that are not in b.
func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}

// Members returns the initial members with their ids, sorted by id. All are
// voters and carry their names.
func (c InitialCluster) Members(token string) []schema.Member {
	members := make([]schema.Member, 0, len(c))
	for name, urls := range c {
		members = append(members, schema.Member{ID: MemberID(urls, token, nil), Name: name, PeerURLs: urls})
	}
	sortMembers(members)
	return members
}

// InitialClusterID is the id of the cluster that begins with these members.
func InitialClusterID(members []schema.Member) uint64 { return ClusterID(ids(members)) }

// BootstrapChanges returns the configuration changes with which the log of a
// new cluster begins, in the order of members.
func BootstrapChanges(members []schema.Member) []wire.ConfChange {
	changes := make([]wire.ConfChange, len(members))
	for i, m := range members {
		changes[i] = AddChange(0, m)
	}
	return changes
}

// AdoptIDs gives the members that were configured here the ids that the
// existing cluster knows for the same peer URLs, and returns them sorted by id.
// URLs are compared as texts.
func AdoptIDs(configured, existing []schema.Member) ([]schema.Member, error) {
	if len(configured) != len(existing) {
		return nil, errors.New("member count is unequal")
	}
	adopted := slices.Clone(configured)
	taken := make(map[uint64]bool)
	for i := range adopted {
		match := slices.IndexFunc(existing, func(e schema.Member) bool {
			return !taken[e.ID] && sameURLs(e.PeerURLs, adopted[i].PeerURLs)
		})
		if match < 0 {
			return nil, fmt.Errorf("PeerURLs: no match found for existing member (%s, %v)", FormatID(adopted[i].ID), adopted[i].PeerURLs)
		}
		taken[existing[match].ID] = true
		adopted[i].ID = existing[match].ID
	}
	sortMembers(adopted)
	return adopted, nil
}

func sameURLs(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

func sortMembers(members []schema.Member) {
	slices.SortFunc(members, func(a, b schema.Member) int { return cmp.Compare(a.ID, b.ID) })
}
