package v2

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/quoin-kv/quoin/internal/kverr"
)

// Bounds of a listing.
const (
	pageKeys        = 512      // in one read
	maxListingBytes = 64 << 20 // keys and values of the whole answer
)

// get answers with a file, or a directory and what is in it.
func (h *Handler) get(ctx context.Context, c *call) (*event, error) {
	var e *event
	err := atLevels(func(l level) error {
		for {
			f, err := h.lookup(ctx, c.path, l, !c.quorum)
			if err != nil {
				return err
			}
			n, err := h.show(ctx, f, c)
			if errors.Is(err, kverr.Compacted) {
				continue // while it was read; the next revision is younger
			}
			e = &event{Action: actionGet, Node: n, index: f.rev}
			return asDecided(err, f.rev)
		}
	})
	return e, err
}

func (h *Handler) show(ctx context.Context, f *found, c *call) (*node, error) {
	if err := f.present(); err != nil {
		return nil, err
	}
	if f.target.file != nil {
		return h.shower(ctx).file(f.target.path, f.target.file), nil
	}
	l := listing{
		space: h.space, show: h.shower(ctx), top: f.target.path, recursive: c.recursive,
		nodes: map[string]*node{f.target.path: h.shower(ctx).dir(f.target.path, f.target.inside, f.target.marked)},
	}
	if err := h.fill(ctx, &l, f.rev); err != nil {
		return nil, err
	}
	if c.sorted {
		l.sort()
	}
	return l.nodes[l.top], nil
}

// fill reads what is in a directory as of a revision.
func (h *Handler) fill(ctx context.Context, l *listing, rev int64) error {
	dir := h.space.dir(l.top)
	cursor, bytes := dir, 0
	for {
		page, err := h.query(ctx, &pb.RangeRequest{
			Key: []byte(cursor), RangeEnd: []byte(end(dir)), Limit: pageKeys, Revision: rev, Serializable: true,
		})
		if err != nil {
			return err
		}
		for _, kv := range page.Kvs {
			if bytes += len(kv.Key) + len(kv.Value); bytes > maxListingBytes {
				return refuse(codeInternal, "the directory is too large to be listed at once")
			}
			l.add(kv)
		}
		if !page.More {
			return nil
		}
		cursor = l.after(string(page.Kvs[len(page.Kvs)-1].Key))
	}
}

// listing builds the tree of nodes in a directory from keys in order.
type listing struct {
	space     space
	show      *shower
	top       string
	recursive bool
	nodes     map[string]*node // by path, the top among them
}

// add takes in the next key.
func (l *listing) add(kv *mvccpb.KeyValue) {
	p, dir, ok := l.space.path(string(kv.Key))
	if !ok || p == l.top || !below(p, l.top) || hiddenBelow(p, l.top) {
		return
	}
	parent := l.top
	for _, one := range elements(p) {
		if !below(one, l.top) {
			continue
		}
		n := l.nodes[one]
		if n == nil {
			n = l.node(one, p, dir, kv)
			l.nodes[one] = n
			l.nodes[parent].Nodes = append(l.nodes[parent].Nodes, n)
		}
		if !n.Dir || !l.recursive {
			return // files hide what is below them
		}
		parent = one
	}
}

// node makes the node of an element of the path p, whose key is kv.
func (l *listing) node(one, p string, dir bool, kv *mvccpb.KeyValue) *node {
	if one == p && !dir {
		return l.show.file(one, kv)
	}
	return l.show.dir(one, kv, one == p)
}

// after is where to read on after a key: behind the child in which the key lies, if what is inside is not shown.
func (l *listing) after(key string) string {
	dir := l.space.dir(l.top)
	if i := strings.IndexByte(key[len(dir):], '/'); i > 0 && !l.recursive {
		return end(key[:len(dir)+i+1])
	}
	return key + "\x00"
}

// sort orders the children of every directory by key.
func (l *listing) sort() {
	for _, n := range l.nodes {
		slices.SortFunc(n.Nodes, func(a, b *node) int { return strings.Compare(a.Key, b.Key) })
	}
}

// shower shows nodes in the time of a request.
func (h *Handler) shower(ctx context.Context) *shower {
	known := map[int64]*time.Time{}
	return &shower{now: h.now, foreign: func(lease int64) (time.Time, bool) {
		ends, ok := known[lease]
		if !ok {
			out := new(pb.LeaseTimeToLiveResponse)
			if err := invoke(ctx, h.store.LeaseTimeToLive, &pb.LeaseTimeToLiveRequest{ID: lease}, out); err == nil && out.TTL >= 0 {
				t := h.now().Add(time.Duration(out.TTL) * time.Second).UTC()
				ends = &t
			}
			known[lease] = ends
		}
		if ends == nil {
			return time.Time{}, false
		}
		return *ends, true
	}}
}
