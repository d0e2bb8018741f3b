package v2

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/service"
	"github.com/quoin-kv/quoin/internal/watch"
)

// follow answers with what happens to a node, or in a directory: one event, or a stream of them. The view's watcher is a cursor like any other,
// so a slow client misses nothing that is not compacted.
func (h *Handler) follow(ctx context.Context, w http.ResponseWriter, c *call) error {
	now := h.store.KeySpace()
	from := now.Revision + 1
	if c.waitIndex != 0 {
		from = int64(min(c.waitIndex, math.MaxInt64))
	}
	stream, err := h.watch(ctx, c, from)
	if err != nil {
		return err
	}
	defer stream.Close()
	if from < now.Compacted {
		return &refusal{codeHistoryIsCleared, fmt.Sprintf("the requested history has been cleared [%d/%d]", now.Compacted, c.waitIndex), now.Revision}
	}
	h.counts.watchers.Add(1)
	defer h.counts.watchers.Add(-1)
	h.success(w, now.Revision)
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush()
	f := &follower{handler: h, path: c.path, recursive: c.recursive}
	f.run(ctx, stream, func(e *event) bool {
		err := json.NewEncoder(w).Encode(e)
		if err == nil {
			err = http.NewResponseController(w).Flush()
		}
		return err == nil && c.stream
	})
	return nil
}

// watch opens a watcher of what concerns a node. Who may not see its surroundings watches
// what is inside alone, or the file alone.
func (h *Handler) watch(ctx context.Context, c *call, from int64) (*service.WatchStream, error) {
	first, last := h.space.file(c.path), h.space.dir(c.path)+"\x00"
	if c.recursive {
		last = end(h.space.dir(c.path))
	}
	stream, err := h.watchRange(ctx, first, last, from)
	switch {
	case !errors.Is(err, kverr.PermissionDenied):
		return stream, err
	case c.recursive:
		return h.watchRange(ctx, h.space.dir(c.path), last, from)
	}
	return h.watchRange(ctx, first, "", from)
}

func (h *Handler) watchRange(ctx context.Context, first, last string, from int64) (*service.WatchStream, error) {
	stream := h.store.Watch()
	err := stream.Create(ctx, watch.CreateRequest{Key: []byte(first), RangeEnd: []byte(last), StartRevision: from, PrevKV: true})
	if err == nil {
		err = accepted(ctx, stream)
	}
	if err != nil {
		stream.Close()
		return nil, err
	}
	return stream, nil
}

// accepted waits for the answer to the creation.
func accepted(ctx context.Context, stream *service.WatchStream) error {
	r, err := next(ctx, stream)
	if err != nil {
		return err
	}
	if !r.Canceled {
		return nil
	}
	for _, one := range []*kverr.Error{kverr.InvalidAuthToken, kverr.AuthOldRevision} {
		if strings.Contains(r.CancelReason, one.Text) {
			return one
		}
	}
	return kverr.PermissionDenied
}

func next(ctx context.Context, stream *service.WatchStream) (*pb.WatchResponse, error) {
	raw, err := stream.Next(ctx)
	if err != nil {
		return nil, err
	}
	out := new(pb.WatchResponse)
	return out, proto.Unmarshal(raw, out)
}

// follower makes events of this API out of those of the store.
type follower struct {
	handler   *Handler
	path      string
	recursive bool
}

// run tells events until tell wants no more, the client goes or the watcher ends.
func (f *follower) run(ctx context.Context, stream *service.WatchStream, tell func(*event) bool) {
	for {
		r, err := next(ctx, stream)
		if err != nil || r.Canceled {
			return
		}
		for list := r.Events; len(list) > 0; {
			n := 1
			for n < len(list) && list[n].Kv.ModRevision == list[0].Kv.ModRevision {
				n++
			}
			for _, e := range f.revision(ctx, list[:n]) {
				if !tell(e) {
					return
				}
			}
			list = list[n:]
		}
	}
}

// revision makes the events of one revision.
func (f *follower) revision(ctx context.Context, list []*mvccpb.Event) (out []*event) {
	c := change{follower: f, show: f.handler.shower(ctx), rev: list[0].Kv.ModRevision, made: map[string]bool{}, files: map[string]*node{}}
	c.noted = sync.OnceValue(func() bool { return f.handler.noted(ctx, c.rev) })
	for _, ev := range list {
		if p, dir, ok := f.handler.space.path(string(ev.Kv.Key)); ok && dir && ev.Type == mvccpb.PUT {
			c.made[p] = true
		}
	}
	for _, ev := range list {
		p, dir, ok := f.handler.space.path(string(ev.Kv.Key))
		if !ok || !f.concerns(p) {
			continue
		}
		if e := c.event(ctx, p, dir, ev); e != nil {
			out = append(out, e)
		}
	}
	return out
}

// concerns reports whether something at p is to be told.
func (f *follower) concerns(p string) bool {
	return p == f.path || f.recursive && below(p, f.path) && !hiddenBelow(p, f.path)
}

// change is one revision while it is told.
type change struct {
	*follower
	show  *shower
	rev   int64
	made  map[string]bool  // directories
	files map[string]*node // files that gave way to directories
	gone  []string         // directories that have been told to be deleted
	above bool             // the directories above were looked at
	noted func() bool      // whether somebody asked here for a deletion in this revision
}

// event is what to tell of one key, nil for nothing.
func (c *change) event(ctx context.Context, p string, dir bool, ev *mvccpb.Event) *event {
	if ev.Type == mvccpb.DELETE {
		return c.deleted(ctx, p, dir, ev)
	}
	if moved(ev) || dir && (marker(ev.Kv.Value) == implied || marker(ev.Kv.Value) == refreshed) {
		return nil
	}
	e := &event{Action: actionSet, Node: c.node(p, dir, ev.Kv)}
	if ev.PrevKv != nil {
		e.Prev = c.node(p, dir, ev.PrevKv)
		if dir {
			e.Action = actionUpdate
		}
	} else if was := c.files[p]; dir && was != nil {
		e.Prev = was
	}
	return e
}

func (c *change) node(p string, dir bool, kv *mvccpb.KeyValue) *node {
	if dir {
		return c.show.dir(p, kv, true)
	}
	return c.show.file(p, kv)
}

// moved reports whether nothing changed but the lease, by a refresh or with that of the directory.
func moved(ev *mvccpb.Event) bool {
	if ev.PrevKv == nil || !bytes.Equal(ev.Kv.Value, ev.PrevKv.Value) {
		return false
	}
	is, was := leaseID(ev.Kv.Lease), leaseID(ev.PrevKv.Lease)
	inherited := func(l leaseID) bool { return l == 0 || l.ofDir() }
	return is.refresh() && !is.ofDir() || is != was && inherited(is) && inherited(was) && !marker(ev.Kv.Value).ownsLease()
}

// deleted is what to tell of a key that is gone: that the highest directory is gone that went with it.
func (c *change) deleted(ctx context.Context, p string, dir bool, ev *mvccpb.Event) *event {
	for _, top := range c.gone {
		if p == top || below(p, top) {
			return nil
		}
	}
	prev := &node{Key: p, Dir: dir}
	lease := int64(0)
	if ev.PrevKv != nil {
		prev, lease = c.node(p, dir, ev.PrevKv), ev.PrevKv.Lease
	}
	if !c.above {
		c.above = true
		if top, kv := c.highest(ctx); kv != nil {
			p, dir, prev, lease = top, true, c.node(top, true, kv), kv.Lease
		}
	}
	if !dir && c.made[p] {
		c.files[p] = prev
		return nil
	}
	if dir {
		c.gone = append(c.gone, p)
	}
	e := &event{Action: actionDelete, Node: prev.gone(c.rev), Prev: prev}
	if lease != 0 && !c.noted() {
		e.Action = actionExpire
	}
	return e
}

// highest is the highest directory above the watched node that went in this revision, and what its marker was.
func (c *change) highest(ctx context.Context) (string, *mvccpb.KeyValue) {
	paths := elements(c.path)
	for _, p := range paths[:max(0, len(paths)-1)] {
		key := []byte(c.handler.space.dir(p))
		before, err := c.handler.query(ctx, &pb.RangeRequest{Key: key, Revision: c.rev - 1, Serializable: true})
		if err != nil || len(before.Kvs) == 0 {
			continue
		}
		after, err := c.handler.query(ctx, &pb.RangeRequest{Key: key, Revision: c.rev, Serializable: true})
		if err == nil && len(after.Kvs) == 0 {
			return p, before.Kvs[0]
		}
	}
	return "", nil
}

// noted reports whether somebody asked here for a deletion in a revision.
func (h *Handler) noted(ctx context.Context, rev int64) bool {
	out, err := h.query(ctx, &pb.RangeRequest{Key: []byte(h.space.note()), Revision: rev, Serializable: true})
	return err == nil && len(out.Kvs) > 0 && out.Kvs[0].ModRevision == rev
}
