// Package join finds the cluster that a member without data belongs to, and says who the member is in it.
//
// There are two ways. A founding member knows all initial members, from a text, from DNS SRV records or from a discovery service, and
// computes ids of which the others compute the same. A member that joins an existing cluster fetches the membership from members that are
// there already and looks its own peer URLs up in it. In both cases what the operator wrote is compared with what others say before
// anything is written to a disk, because a member that starts with the wrong id or in the wrong cluster cannot be corrected later.
//
// ForceNewCluster is the third way: it turns the log of a cluster that is lost into one of a cluster of a single member.
package join

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/quoin-kv/quoin/internal/membership"
	"github.com/quoin-kv/quoin/internal/schema"
)

// Limits of the time that others have to answer.
const (
	existingTimeout     = 10 * time.Second // members of a cluster that is to be joined
	bootstrappedTimeout = time.Second      // members of a new cluster, which mostly are not there yet
	resolveTimeout      = 30 * time.Second // all host names together
	resolvePause        = time.Second      // between two tries to resolve one
)

// Cluster is what a member finds.
type Cluster struct {
	ID      uint64
	Self    schema.Member   // this member, as the list has it; its name is the local one
	Members []schema.Member // all of them, by id
	// Founding: the cluster is new, and the log begins with the entries that name its members. If not, the log begins empty and the
	// leader sends everything.
	Founding bool
}

// Client asks other members, each at any of its URLs; *peer.Client is one.
type Client interface {
	// Members returns the members by id, none with id 0 and no id twice.
	Members(ctx context.Context, urls []string) (clusterID uint64, members []schema.Member, err error)
	// Version returns an empty cluster version if none is decided yet.
	Version(ctx context.Context, urls []string) (server, cluster string, err error)
	DowngradeEnabled(ctx context.Context, urls []string) (bool, error)
}

// Resolver looks names up; *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	LookupSRV(ctx context.Context, service, proto, name string) (cname string, records []*net.SRV, err error)
}

// Config is what the operator says about the cluster.
type Config struct {
	Name           string
	PeerURLs       []string // this member's, as others reach it
	InitialCluster string   // name=url,…; empty if SRV or Discovery tells it
	Token          string   // goes into the ids of a new cluster
	Existing       bool     // the cluster exists
	SRV            SRV
	Discovery      Discovery
	MaxLearners    int
	Version        string // of this server, like "3.7.3"

	Client   Client
	Resolver Resolver // nil: the system's
	Logger   *slog.Logger
}

// Errors of a start that has to be repaired by the operator.
var (
	ErrNoCluster    = errors.New("initial cluster unset and no discovery endpoints found")
	ErrIncompatible = errors.New("incompatible with current running cluster")
	errDiscovery    = errors.New("discovery URL should not be set when joining existing initial cluster")
	errNobody       = errors.New("could not retrieve cluster information from the given URLs")
	errCount        = errors.New("member count is unequal")
)

// finder is one search.
type finder struct {
	Config
	hosts hosts
}

// Find finds the cluster. It takes as long as the discovery service takes to gather all members, and half a minute otherwise at most;
// ctx ends it at once. It leaves nothing running.
func Find(ctx context.Context, cfg Config) (Cluster, error) {
	if cfg.Resolver == nil {
		cfg.Resolver = net.DefaultResolver
	}
	f := &finder{Config: cfg, hosts: newHosts(cfg.Resolver, cfg.Logger)}
	if f.Discovery.enabled() {
		return f.discover(ctx)
	}
	initial, err := f.initial(ctx)
	if err != nil {
		return Cluster{}, err
	}
	if err := initial.Check(f.Name); err != nil {
		return Cluster{}, err
	}
	if err := f.checkAdvertised(ctx, initial); err != nil {
		return Cluster{}, err
	}
	if f.Existing {
		return f.join(ctx, initial)
	}
	return f.found(ctx, initial, f.Token)
}

// initial is the initial cluster, from the text or from DNS.
func (f *finder) initial(ctx context.Context) (initial membership.InitialCluster, err error) {
	switch {
	case f.SRV.Domain != "":
		initial, err = f.fromSRV(ctx)
	case f.InitialCluster == "":
		return nil, ErrNoCluster
	default:
		initial, err = membership.ParseInitialCluster(f.InitialCluster)
	}
	if err != nil {
		return nil, fmt.Errorf("error setting up initial cluster: %w", err)
	}
	return initial, nil
}

// checkAdvertised verifies that this member's URLs are those that the initial cluster has for it, perhaps by other names of the same host.
func (f *finder) checkAdvertised(ctx context.Context, initial membership.InitialCluster) error {
	differs := initial.CheckAdvertised(f.Name, f.PeerURLs)
	if differs == nil {
		return nil
	}
	if err := f.hosts.sameURLs(ctx, f.PeerURLs, initial[f.Name]); err != nil {
		return fmt.Errorf("%w (%w)", differs, err)
	}
	return nil
}

// found makes the cluster whose members initial names.
func (f *finder) found(ctx context.Context, initial membership.InitialCluster, token string) (Cluster, error) {
	members := initial.Members(token)
	self := members[slices.IndexFunc(members, func(m schema.Member) bool { return m.Name == f.Name })]
	if err := f.checkNew(ctx, members, self); err != nil {
		return Cluster{}, err
	}
	return Cluster{ID: membership.InitialClusterID(members), Self: self, Members: members, Founding: true}, nil
}

// checkNew refuses to found a cluster in which others know this member already: it has lost its data, and with it the promises it made.
// Members that do not answer say nothing against it.
func (f *finder) checkNew(ctx context.Context, members []schema.Member, self schema.Member) error {
	ctx, cancel := context.WithTimeout(ctx, bootstrappedTimeout)
	defer cancel()
	known := false
	askOthers(ctx, members, self.ID, f.members, func(_ schema.Member, a membersAnswer, err error) (enough bool) {
		known = known || err == nil && slices.ContainsFunc(a.members, func(m schema.Member) bool { return m.ID == self.ID && len(m.ClientURLs) > 0 })
		return known
	})
	if known {
		return fmt.Errorf("member %s has already been bootstrapped", membership.FormatID(self.ID))
	}
	return ctxError(ctx)
}

// ctxError is the error of the caller who has gone; that time has passed is none.
func ctxError(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	return nil
}

type membersAnswer struct {
	clusterID uint64
	members   []schema.Member
}

func (f *finder) members(ctx context.Context, m schema.Member) (a membersAnswer, err error) {
	a.clusterID, a.members, err = f.Client.Members(ctx, m.PeerURLs)
	return a, err
}

// askOthers asks all members but self at once and hands over the answers in the order in which they come, until use has enough. The rest
// is broken off.
func askOthers[T any](
	ctx context.Context, members []schema.Member, self uint64,
	ask func(context.Context, schema.Member) (T, error), use func(schema.Member, T, error) (enough bool),
) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		member schema.Member
		answer T
		err    error
	}
	results := make(chan result)
	others := 0
	for _, m := range members {
		if m.ID == self {
			continue
		}
		others++
		go func() {
			answer, err := ask(ctx, m)
			results <- result{m, answer, err}
		}()
	}
	for enough := false; others > 0; others-- {
		r := <-results
		if !enough && use(r.member, r.answer, r.err) {
			enough = true
			cancel()
		}
	}
}
