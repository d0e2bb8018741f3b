package join

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/quoin-kv/quoin/internal/membership"
)

// Discovery is a discovery service: a cluster in whose key space the members of a new one find each other.
type Discovery struct {
	Token string // sets the new cluster apart from others; empty: there is no discovery
	// Open connects. It need not wait until the service answers.
	Open func(ctx context.Context) (Registry, error)
}

func (d *Discovery) enabled() bool { return d.Token != "" }

// Registry is a discovery service's key space. Errors that wrap ErrRefused are final, others are met with another try.
type Registry interface {
	// Get returns a value, and false if there is none.
	Get(ctx context.Context, key string) (value string, ok bool, err error)
	// List returns what lies under prefix, in the order in which it was created, and the revision of the answer.
	List(ctx context.Context, prefix string) (entries []Entry, revision int64, err error)
	// Put stores a value. The place of an entry that exists in the order of List stays.
	Put(ctx context.Context, key, value string) error
	// Wait returns when something under prefix has changed after a revision, or perhaps earlier.
	Wait(ctx context.Context, prefix string, after int64) error
	// Close ends the connection.
	Close() error
}

// Entry is a key and its value.
type Entry struct{ Key, Value string }

// Errors of discovery.
var (
	// ErrRefused is wrapped by errors of a Registry that another try would not mend.
	ErrRefused      = errors.New("discovery: the service refuses")
	errFull         = errors.New("discovery: cluster is full")
	errSizeNotFound = errors.New("discovery: size key not found")
	errBadSize      = errors.New("discovery: size key is bad")
	errSameName     = errors.New("discovery: two members have the same name")
)

// maxDiscovered bounds the size of a cluster that a discovery service may ask for.
const maxDiscovered = 1000

// listInterval is how long news is waited for before the members are listed all the same.
const listInterval = 30 * time.Second

// Pauses between two tries to reach the discovery service.
const (
	firstPause = 2 * time.Second
	lastPause  = 64 * time.Second
)

// discover founds the cluster that a discovery service gathers. The token there is that of the new cluster's ids.
func (f *finder) discover(ctx context.Context) (Cluster, error) {
	if f.Existing {
		return Cluster{}, errDiscovery
	}
	urls, err := membership.ParseURLs(f.PeerURLs)
	if err != nil {
		return Cluster{}, err
	}
	own := membership.InitialCluster{f.Name: urls}
	g := &gathering{
		finder: f,
		prefix: "/_etcd/registry/" + f.Discovery.Token + "/",
		key:    membership.FormatID(membership.MemberID(urls, f.Discovery.Token, nil)),
		value:  own.String(),
	}
	initial, err := g.run(ctx)
	if err != nil {
		return Cluster{}, fmt.Errorf("failed to join discovery cluster (%w)", err)
	}
	if err := initial.Check(f.Name); err != nil {
		return Cluster{}, err
	}
	return f.found(ctx, initial, f.Discovery.Token)
}

// gathering is a new cluster that comes together in a registry. Under its prefix are _config/size, the number of founding members, and
// members/id for each member, name=url,…; the first so many to be created are the founders.
type gathering struct {
	*finder
	registry   Registry
	prefix     string
	key, value string // of this member: the key without what is before it
}

func (g *gathering) members() string { return g.prefix + "members/" }

// run connects, gathers and disconnects.
func (g *gathering) run(ctx context.Context) (initial membership.InitialCluster, err error) {
	err = g.retry(ctx, "connecting", func() (err error) {
		g.registry, err = g.Discovery.Open(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, g.registry.Close()) }()
	return g.gather(ctx)
}

// gather registers this member and waits for the others.
func (g *gathering) gather(ctx context.Context) (membership.InitialCluster, error) {
	size, err := g.size(ctx)
	if err != nil {
		return nil, err
	}
	if _, _, err := g.founders(ctx, size, false); err != nil {
		return nil, err
	}
	if err := g.retry(ctx, "registering", func() error { return g.registry.Put(ctx, g.members()+g.key, g.value) }); err != nil {
		return nil, err
	}
	for {
		founders, revision, err := g.founders(ctx, size, true)
		if err != nil {
			return nil, err
		}
		if len(founders) == size {
			return combine(founders)
		}
		g.Logger.Info("waiting for peers from discovery service", "size", size, "found", len(founders))
		if err := g.retry(ctx, "waiting for members", func() error { return g.wait(ctx, revision) }); err != nil {
			return nil, err
		}
	}
}

// wait returns when it is time to list the members again.
func (g *gathering) wait(ctx context.Context, revision int64) error {
	limited, cancel := context.WithTimeout(ctx, listInterval)
	defer cancel()
	err := g.registry.Wait(limited, g.members(), revision)
	if limited.Err() != nil && ctx.Err() == nil {
		return nil
	}
	return err
}

// size asks how many members the cluster is to have.
func (g *gathering) size(ctx context.Context) (int, error) {
	var text string
	var ok bool
	err := g.retry(ctx, "asking for the size", func() (err error) {
		text, ok, err = g.registry.Get(ctx, g.prefix+"_config/size")
		return err
	})
	switch {
	case err != nil:
		return 0, err
	case !ok:
		return 0, errSizeNotFound
	}
	return parseSize(text)
}

func parseSize(text string) (int, error) {
	size, err := strconv.Atoi(text)
	if err != nil || size <= 0 || size > maxDiscovered {
		return 0, errBadSize
	}
	return size, nil
}

// founder is a member that registered.
type founder struct {
	key  string
	name string
	urls []string
}

// founders lists the members that have registered, not more than size. This one is among them, or, as long as it has not registered, can
// still become one; otherwise the cluster is full.
func (g *gathering) founders(ctx context.Context, size int, registered bool) (list []founder, revision int64, err error) {
	var entries []Entry
	err = g.retry(ctx, "listing members", func() (err error) {
		entries, revision, err = g.registry.List(ctx, g.members())
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	for _, e := range entries {
		m, err := parseFounder(e)
		if err != nil {
			g.Logger.Warn("invalid peer info returned from discovery service", "key", e.Key, "value", e.Value, "error", err)
		} else if len(list) < size {
			list = append(list, m)
		}
	}
	own := func(m founder) bool { return m.key == g.members()+g.key }
	if !slices.ContainsFunc(list, own) && (registered || len(list) == size) {
		return nil, 0, errFull
	}
	return list, revision, nil
}

// parseFounder reads an entry: one name and its URLs.
func parseFounder(e Entry) (founder, error) {
	cluster, err := membership.ParseInitialCluster(e.Value)
	if err != nil {
		return founder{}, err
	}
	names := cluster.Names()
	if len(names) != 1 {
		return founder{}, fmt.Errorf("%d names in place of one", len(names))
	}
	return founder{e.Key, names[0], cluster[names[0]]}, nil
}

// combine makes a cluster of its founders.
func combine(founders []founder) (membership.InitialCluster, error) {
	cluster := membership.InitialCluster{}
	for _, m := range founders {
		if _, taken := cluster[m.name]; taken {
			return nil, fmt.Errorf("%w: %s", errSameName, m.name)
		}
		cluster[m.name] = m.urls
	}
	return cluster, nil
}

// retry repeats what failed for reasons that may pass, with growing pauses, until ctx ends.
func (g *gathering) retry(ctx context.Context, what string, try func() error) error {
	pause := firstPause
	for {
		err := try()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, ErrRefused):
			return fmt.Errorf("%s: %w", what, err)
		}
		g.Logger.Warn("retry connecting to discovery service", "reason", what, "backoff", pause.String(), "error", err)
		if err := wait(ctx, pause); err != nil {
			return err
		}
		pause = min(2*pause, lastPause)
	}
}
