package v2

import (
	"context"
	"errors"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/quoin-kv/quoin/internal/kverr"
)

// level is how much around a node is looked at. Who may not see or write one level is served at the next. Below the first one, parents are
// neither checked nor made.
type level int

const (
	levelPath level = iota // the parents, the node and what is below
	levelNode              // the node and what is below
	levelDir               // the node as a directory alone
	levelFile              // the node as a file alone
	noLevel
)

// atLevels does something at the first level at which nothing is forbidden.
func atLevels(do func(level) error) (err error) {
	for l := levelPath; l < noLevel; l++ {
		if err = do(l); !errors.Is(err, kverr.PermissionDenied) {
			return err
		}
	}
	return err
}

// element is one element of a path.
type element struct {
	path   string
	file   *mvccpb.KeyValue // nil if there is no file
	inside *mvccpb.KeyValue // the first key of the directory, its marker if it has one; nil if there is no directory
	marked bool             // inside is the marker
	full   bool             // the directory has something in it
}

func (e *element) exists() bool { return e.file != nil || e.inside != nil }

// lease is the marker's.
func (e *element) lease() leaseID {
	if !e.marked {
		return 0
	}
	return leaseID(e.inside.Lease)
}

// found is what a path leads to, as of one revision.
type found struct {
	level   level
	rev     int64
	parents []element // from the top
	target  element   // the root has neither file nor directory of its own
}

// lookup reads what a path leads to.
func (h *Handler) lookup(ctx context.Context, p string, l level, serializable bool) (*found, error) {
	paths := elements(p)
	if l > levelPath && len(paths) > 0 {
		paths = paths[len(paths)-1:]
	}
	in := new(pb.TxnRequest)
	for _, one := range paths {
		if l != levelDir {
			in.Success = append(in.Success, rangeOp(&pb.RangeRequest{Key: []byte(h.space.file(one)), Serializable: serializable}))
		}
		if l != levelFile {
			dir := h.space.dir(one)
			in.Success = append(in.Success, rangeOp(&pb.RangeRequest{Key: []byte(dir), RangeEnd: []byte(end(dir)), Limit: 2, Serializable: serializable}))
		}
	}
	if len(paths) == 0 { // the root is always there; its revision is all there is to know
		in.Success = append(in.Success, rangeOp(&pb.RangeRequest{Key: []byte(h.space.prefix), Serializable: serializable, CountOnly: true}))
	}
	out, err := h.txn(ctx, in)
	if err != nil {
		return nil, err
	}
	f := &found{level: l, rev: out.Header.Revision, target: element{path: p}}
	for answers := out.Responses; len(paths) > 0; paths = paths[1:] {
		e := element{path: paths[0]}
		if l != levelDir {
			e.file, answers = first(answers[0]), answers[1:]
		}
		if l != levelFile {
			e.readDir(h.space.dir(e.path), answers[0].GetResponseRange())
			answers = answers[1:]
		}
		f.parents = append(f.parents, e)
	}
	if last := len(f.parents) - 1; last >= 0 {
		f.target, f.parents = f.parents[last], f.parents[:last]
	}
	return f, nil
}

func first(r *pb.ResponseOp) *mvccpb.KeyValue {
	if kvs := r.GetResponseRange().GetKvs(); len(kvs) > 0 {
		return kvs[0]
	}
	return nil
}

func (e *element) readDir(marker string, r *pb.RangeResponse) {
	if len(r.Kvs) == 0 {
		return
	}
	e.inside, e.marked = r.Kvs[0], string(r.Kvs[0].Key) == marker
	e.full = !e.marked || len(r.Kvs) > 1
}

// through refuses a path that leads through a file.
func (f *found) through() error {
	for i := range f.parents {
		if f.parents[i].file != nil {
			return refuse(codeNotDirectory, f.parents[i].path)
		}
	}
	return nil
}

// present refuses a path that leads to nothing.
func (f *found) present() error {
	for i := range f.parents {
		switch e := &f.parents[i]; {
		case e.file != nil:
			return refuse(codeNotDirectory, e.path)
		case !e.exists():
			return refuse(codeKeyNotFound, e.path)
		}
	}
	if f.target.path != "/" && !f.target.exists() {
		return refuse(codeKeyNotFound, f.target.path)
	}
	return nil
}

// isFile refuses what is no file.
func (f *found) isFile() error {
	if err := f.present(); err != nil {
		return err
	}
	if f.target.file == nil {
		return refuse(codeNotFile, f.target.path)
	}
	return nil
}

// leaseOfParent is the lease with which the directory of the target expires, 0 for none.
func (f *found) leaseOfParent() leaseID {
	for i := len(f.parents) - 1; i >= 0; i-- {
		if f.parents[i].marked {
			if l := f.parents[i].lease(); l.ofDir() {
				return l
			}
			return 0
		}
	}
	return 0
}

// child is what is found of a new child of the target.
func (f *found) child(name string) *found {
	out := &found{level: f.level, rev: f.rev, parents: f.parents}
	if f.level == levelDir { // the child is inside, its directory's name is not
		out.level, out.target.path = levelNode, strings.TrimSuffix(f.target.path, "/")+"/"+name
		return out
	}
	if f.target.path != "/" {
		out.parents = append(f.parents[:len(f.parents):len(f.parents)], f.target)
		out.target.path = f.target.path + "/" + name
		return out
	}
	out.target.path = "/" + name
	return out
}
