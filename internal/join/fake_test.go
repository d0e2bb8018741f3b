package join

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/quoin-kv/quoin/internal/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errRefusedConnection = errors.New("connection refused")

// remote is what one member says.
type remote struct {
	silent           bool // never answers
	after            time.Duration
	clusterID        uint64
	members          []schema.Member
	version          string
	downgrade        bool
	noVersion, noAll bool
}

// world is a Client: members by URL.
type world map[string]remote

func (w world) at(ctx context.Context, urls []string) (remote, error) {
	for _, u := range urls {
		if r, ok := w[u]; ok {
			if r.silent {
				<-ctx.Done()
				return remote{}, ctx.Err()
			}
			return r, wait(ctx, r.after)
		}
	}
	return remote{}, errRefusedConnection
}

func (w world) Members(ctx context.Context, urls []string) (uint64, []schema.Member, error) {
	r, err := w.at(ctx, urls)
	if err == nil && r.noAll {
		err = errors.New("no members")
	}
	return r.clusterID, r.members, err
}

func (w world) Version(ctx context.Context, urls []string) (server, cluster string, err error) {
	r, err := w.at(ctx, urls)
	if err == nil && r.noVersion {
		err = errors.New("no version")
	}
	return "3.7.3", r.version, err
}

func (w world) DowngradeEnabled(ctx context.Context, urls []string) (bool, error) {
	r, err := w.at(ctx, urls)
	return r.downgrade, err
}

// names is a Resolver: addresses by host, SRV records by service and domain.
type names struct {
	hosts map[string]string // comma separated
	srv   map[string][]*net.SRV
	fails map[string]int // tries that fail first
	asked map[string]int
}

func (n *names) LookupNetIP(_ context.Context, network, host string) ([]netip.Addr, error) {
	if n.asked == nil {
		n.asked = map[string]int{}
	}
	n.asked[host]++
	text, ok := n.hosts[host]
	if !ok || network != "ip" || n.asked[host] <= n.fails[host] {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	var out []netip.Addr
	for part := range strings.SplitSeq(text, ",") {
		out = append(out, netip.MustParseAddr(part))
	}
	return out, nil
}

func (n *names) LookupSRV(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
	key := "_" + service + "._" + proto + "." + name
	records, ok := n.srv[key]
	if !ok {
		return "", nil, &net.DNSError{Err: "no such host", Name: key, IsNotFound: true}
	}
	return key, records, nil
}

// registry is a discovery service.
type registry struct {
	mu       sync.Mutex
	revision int64
	keys     map[string]stored
	changed  chan struct{} // closed and replaced with each change
	fail     map[string][]error
	closed   int
	latency  time.Duration // of each call
}

// errLost makes a registry forget what is put while it says that all went well.
var errLost = errors.New("lost")

type stored struct {
	value   string
	created int64
}

func newRegistry(token, size string) *registry {
	r := &registry{keys: map[string]stored{}, changed: make(chan struct{}), fail: map[string][]error{}}
	if size != "" {
		_ = r.Put(context.Background(), "/_etcd/registry/"+token+"/_config/size", size)
	}
	return r
}

// failure takes the next error that a call is to return.
func (r *registry) failure(call string) error {
	queue := r.fail[call]
	if len(queue) == 0 {
		return nil
	}
	r.fail[call] = queue[1:]
	return queue[0]
}

func (r *registry) Get(ctx context.Context, key string) (string, bool, error) {
	if err := wait(ctx, r.latency); err != nil {
		return "", false, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.failure("get"); err != nil {
		return "", false, err
	}
	s, ok := r.keys[key]
	return s.value, ok, nil
}

func (r *registry) List(ctx context.Context, prefix string) ([]Entry, int64, error) {
	if err := wait(ctx, r.latency); err != nil {
		return nil, 0, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.failure("list"); err != nil {
		return nil, 0, err
	}
	var found []string
	for key := range r.keys {
		if strings.HasPrefix(key, prefix) {
			found = append(found, key)
		}
	}
	slices.SortFunc(found, func(a, b string) int { return cmp.Compare(r.keys[a].created, r.keys[b].created) })
	var entries []Entry
	for _, key := range found {
		entries = append(entries, Entry{key, r.keys[key].value})
	}
	return entries, r.revision, nil
}

func (r *registry) Put(ctx context.Context, key, value string) error {
	if err := wait(ctx, r.latency); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.failure("put"); errors.Is(err, errLost) {
		return nil
	} else if err != nil {
		return err
	}
	r.store(key, value)
	return nil
}

// store needs the lock.
func (r *registry) store(key, value string) {
	r.revision++
	s, ok := r.keys[key]
	if !ok {
		s.created = r.revision
	}
	s.value = value
	r.keys[key] = s
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *registry) Wait(ctx context.Context, _ string, after int64) error {
	if err := wait(ctx, r.latency); err != nil {
		return err
	}
	for {
		r.mu.Lock()
		err := r.failure("wait")
		changed, now := r.changed, r.revision
		r.mu.Unlock()
		if err != nil || now > after {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (r *registry) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed++
	return nil
}

func (r *registry) discovery(token string) Discovery {
	return Discovery{Token: token, Open: func(context.Context) (Registry, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r, r.failure("open")
	}}
}

// local is the configuration of a member "a" at port 1 that knows nobody.
func local(change func(*Config)) Config {
	c := Config{
		Name: "a", PeerURLs: []string{"http://127.0.0.1:1"}, InitialCluster: "a=http://127.0.0.1:1", Token: "etcd-cluster",
		MaxLearners: 1, Version: "3.7.3", Client: world{}, Resolver: &names{}, Logger: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&c)
	}
	return c
}

// listed are members with ids 101, 102, … at the given URLs; URLs of one member are joined by spaces.
func listed(urls ...string) (members []schema.Member) {
	for i, u := range urls {
		members = append(members, schema.Member{ID: uint64(101 + i), Name: fmt.Sprintf("m%d", i+1), PeerURLs: strings.Fields(u)})
	}
	return members
}
