package v2

import (
	"context"
	"fmt"
	"net/http"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/quoin-kv/quoin/internal/kverr"
)

// Actions, as clients see them.
const (
	actionGet              = "get"
	actionSet              = "set"
	actionCreate           = "create"
	actionUpdate           = "update"
	actionDelete           = "delete"
	actionExpire           = "expire"
	actionCompareAndSwap   = "compareAndSwap"
	actionCompareAndDelete = "compareAndDelete"
)

// action names what a request asks for.
func (c *call) action() string {
	switch {
	case c.method == http.MethodPost:
		return actionCreate
	case c.method == http.MethodDelete && c.conditional():
		return actionCompareAndDelete
	case c.method == http.MethodDelete:
		return actionDelete
	case c.method != http.MethodPut:
		return actionGet
	case c.prevExist != nil && !*c.prevExist:
		return actionCreate
	case c.conditional():
		return actionCompareAndSwap
	case c.prevExist != nil:
		return actionUpdate
	}
	return actionSet
}

// perform carries out what is not a watch.
func (h *Handler) perform(ctx context.Context, c *call) (*event, error) {
	action := c.action()
	if action == actionGet {
		return h.get(ctx, c)
	}
	if c.path == "/" && c.method != http.MethodPost {
		code := codeRootReadOnly
		if action == actionCompareAndDelete {
			code = codeNotFile
		}
		return nil, asRefusal(refuse(code, "/"), h.store.KeySpace().Revision)
	}
	return h.change(ctx, c.path, func(ctx context.Context, f *found) (*plan, error) {
		switch action {
		case actionCreate:
			return h.create(ctx, f, c)
		case actionUpdate, actionCompareAndSwap:
			return h.replace(ctx, f, c, action)
		case actionDelete:
			return h.remove(f, c)
		case actionCompareAndDelete:
			return h.removeFile(f, c, action)
		}
		return h.set(ctx, f, c)
	})
}

// set writes a file or makes a directory, whatever file was there.
func (h *Handler) set(ctx context.Context, f *found, c *call) (*plan, error) {
	if c.refresh {
		return h.replace(ctx, f, c, actionSet)
	}
	if err := f.through(); err != nil {
		return nil, err
	}
	if f.target.file == nil && f.target.inside != nil {
		return nil, refuse(codeNotFile, f.target.path)
	}
	return h.write(ctx, f, c, actionSet)
}

// create makes what was not there; a POST makes a child with a name of its own.
func (h *Handler) create(ctx context.Context, f *found, c *call) (*plan, error) {
	var guard *pb.Compare
	if c.method == http.MethodPost {
		if f.target.file != nil {
			return nil, refuse(codeNotDirectory, f.target.path)
		}
		dir := h.space.dir(f.target.path)
		// Until it is committed nobody knows the index. The next one it is unless something comes in between; in any case names grow in the
		// order of commits, as no name that others may have guessed meanwhile is taken.
		guard = nothingIn(dir+inOrder(f.rev+1), dir+inOrder(f.rev+guesses))
		f = f.child(inOrder(f.rev + 1))
	}
	if err := f.through(); err != nil {
		return nil, err
	}
	if f.target.exists() {
		return nil, refuse(codeExists, f.target.path)
	}
	p, err := h.write(ctx, f, c, actionCreate)
	if err == nil && guard != nil {
		p.compares = append(p.compares, guard)
	}
	return p, err
}

// guesses is more than the names that can be guessed for children of one directory at the same time.
const guesses = 1_000_000

// write plans a new version of the target, which is a file or nothing.
func (h *Handler) write(ctx context.Context, f *found, c *call, action string) (*plan, error) {
	p := h.newPlan(f)
	h.guardTarget(p, f)
	h.makeParents(p, f)
	lease, err := h.lease(ctx, p, f, c, c.dir)
	if err != nil {
		return nil, err
	}
	target := &f.target
	p.event = &event{Action: action, Node: &node{Key: target.path, Dir: c.dir}, created: target.file == nil}
	if old := target.file; old != nil {
		p.event.Prev = h.shower(ctx).file(target.path, old)
		p.dropped = append(p.dropped, leaseID(old.Lease))
	}
	if c.dir {
		value := asked
		if c.ttl != nil {
			value = timed
		}
		if target.file != nil {
			p.ops = append(p.ops, deleteOp(h.space.file(target.path), ""))
		}
		p.ops = append(p.ops, putOp(h.space.dir(target.path), string(value), lease))
	} else {
		value := c.value
		p.event.Node.Value = &value
		if target.file != nil {
			p.event.Node.Created = target.file.CreateRevision
		}
		p.ops = append(p.ops, putOp(h.space.file(target.path), value, lease))
	}
	h.showTTL(p)
	return p, nil
}

// showTTL tells until when the node of the plan lives.
func (h *Handler) showTTL(p *plan) {
	switch {
	case p.lapse:
		ends := h.now().UTC()
		p.event.Node.Expiration = &ends
	case p.granted != 0:
		(&shower{now: h.now}).expire(p.event.Node, int64(p.granted))
	}
}

// replace changes the file that is there, or the time to live of the directory.
func (h *Handler) replace(ctx context.Context, f *found, c *call, action string) (*plan, error) {
	if err := f.present(); err != nil {
		return nil, err
	}
	if f.target.file == nil {
		if action != actionUpdate || c.value != "" {
			return nil, refuse(codeNotFile, f.target.path)
		}
		return h.renew(ctx, f, c)
	}
	if action == actionCompareAndSwap {
		if err := f.compare(c); err != nil {
			return nil, err
		}
	}
	again := *c
	again.dir = false
	if c.refresh {
		again.value = string(f.target.file.Value)
	}
	p, err := h.write(ctx, f, &again, action)
	if err == nil {
		p.event.created = false
	}
	return p, err
}

// compare refuses a file that is not as the request wants it.
func (f *found) compare(c *call) error {
	var cause string
	if have := string(f.target.file.Value); c.prevValue != "" && c.prevValue != have {
		cause = fmt.Sprintf("[%s != %s]", c.prevValue, have)
	}
	if have := uint64(f.target.file.ModRevision); c.prevIndex != 0 && c.prevIndex != have {
		if cause != "" {
			cause += " "
		}
		cause += fmt.Sprintf("[%d != %d]", c.prevIndex, have)
	}
	if cause != "" {
		return refuse(codeCompareFailed, cause)
	}
	return nil
}

// renew gives a directory another time to live, or none.
func (h *Handler) renew(ctx context.Context, f *found, c *call) (*plan, error) {
	p, dir := h.newPlan(f), h.space.dir(f.target.path)
	before := f.target.lease()
	p.compares = append(p.compares, nothingNewIn(dir, end(dir), f.rev))
	if f.level != levelDir {
		p.compares = append(p.compares, unchanged(h.space.file(f.target.path), 0))
	}
	lease, err := h.lease(ctx, p, f, c, true)
	if err != nil {
		return nil, err
	}
	value := asked
	switch {
	case c.ttl != nil && c.refresh:
		value = refreshed
	case c.ttl != nil:
		value = timed
	}
	p.ops = append(p.ops, putOp(dir, string(value), lease))
	if lease != before {
		if err := h.move(ctx, p, f, before, lease); err != nil {
			return nil, err
		}
		p.dropped = append(p.dropped, before)
	}
	prev := h.shower(ctx).dir(f.target.path, f.target.inside, f.target.marked)
	p.event = &event{Action: actionUpdate, Node: &node{Key: f.target.path, Dir: true, Created: prev.Created}, Prev: prev}
	h.showTTL(p)
	return p, nil
}

// maxMoves bounds what moves to another lease at once; the operations of a transaction bound it as well.
const maxMoves = 10_000

// move attaches what expires with a directory to the directory's new lease.
func (h *Handler) move(ctx context.Context, p *plan, f *found, from, to leaseID) error {
	dir := h.space.dir(f.target.path)
	for cursor := dir + "\x00"; cursor != ""; {
		page, err := h.query(ctx, &pb.RangeRequest{Key: []byte(cursor), RangeEnd: []byte(end(dir)), Limit: pageKeys, Revision: f.rev})
		if err != nil {
			return err
		}
		for _, kv := range page.Kvs {
			if leaseID(kv.Lease) == from {
				p.ops = append(p.ops, moveOp(kv.Key, to))
			}
		}
		if len(p.ops) > maxMoves {
			return kverr.TooManyOps
		}
		cursor = ""
		if page.More {
			cursor = string(page.Kvs[len(page.Kvs)-1].Key) + "\x00"
		}
	}
	return nil
}

// remove deletes a file or a directory.
func (h *Handler) remove(f *found, c *call) (*plan, error) {
	if err := f.present(); err != nil {
		return nil, err
	}
	if f.target.file != nil {
		return h.removeFile(f, &call{}, actionDelete)
	}
	if !c.dir && !c.recursive {
		return nil, refuse(codeNotFile, f.target.path)
	}
	if f.target.full && !c.recursive {
		return nil, refuse(codeNotEmpty, f.target.path)
	}
	p, dir := h.newPlan(f), h.space.dir(f.target.path)
	p.compares = append(p.compares, unchanged(dir, f.target.markedAt()))
	if !c.recursive {
		p.compares = append(p.compares, nothingIn(dir+"\x00", end(dir)))
	}
	p.ops = append(p.ops, deleteOp(dir, end(dir)))
	h.gone(p, f, actionDelete, h.shower(context.Background()).dir(f.target.path, f.target.inside, f.target.marked), f.target.lease(), c.recursive)
	return p, nil
}

// removeFile deletes the file if it is as the request wants it.
func (h *Handler) removeFile(f *found, c *call, action string) (*plan, error) {
	if err := f.isFile(); err != nil {
		return nil, err
	}
	if err := f.compare(c); err != nil {
		return nil, err
	}
	p := h.newPlan(f)
	key := h.space.file(f.target.path)
	p.compares = append(p.compares, unchanged(key, f.target.file.ModRevision))
	p.ops = append(p.ops, deleteOp(key, ""))
	h.gone(p, f, action, h.shower(context.Background()).file(f.target.path, f.target.file), leaseID(f.target.file.Lease), false)
	return p, nil
}

// gone completes the plan of a deletion: what had a lease, or may have had one, leaves the note.
func (h *Handler) gone(p *plan, f *found, action string, prev *node, lease leaseID, perhaps bool) {
	p.event = &event{Action: action, Node: prev.gone(0), Prev: prev}
	p.dropped = append(p.dropped, lease)
	if f.level == levelPath && (lease != 0 || perhaps) {
		p.ops = append(p.ops, putOp(h.space.note(), prev.Key, 0))
	}
}
