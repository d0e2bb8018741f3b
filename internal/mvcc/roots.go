package mvcc

import (
	"slices"

	"github.com/quoin-kv/quoin/internal/ordtree"
)

// Root is the index as of one revision, without records. It is immutable.
//
// A client that pages through a range pins all pages at the revision of the
// first one, while the store moves on. The index of that revision knows the
// number of keys in any range at once; a later index would have to walk the
// range. So whoever serves a first page with More keeps the view's Root for a
// while and passes it with the queries for later pages.
type Root struct {
	tree *ordtree.Tree[item]
	rev  int64
}

// Rev is the revision of the root.
func (r *Root) Rev() int64 { return r.rev }

// Roots holds the most recently used roots, a bounded number. It is not safe
// for concurrent use.
type Roots struct {
	most  int
	roots []*Root // most recently used last
}

// NewRoots returns an empty set that keeps at most most roots, at least one.
// A root keeps old index nodes alive: what changed since its revision, and the
// versions that were compacted meanwhile.
func NewRoots(most int) *Roots { return &Roots{most: max(1, most)} }

// Add puts a root in, unless one of its revision is there, and drops the least
// recently used if there are too many.
func (rs *Roots) Add(r *Root) {
	if rs.Get(r.rev) != nil {
		return
	}
	rs.roots = append(rs.roots, r)
	if len(rs.roots) > rs.most {
		rs.roots = slices.Delete(rs.roots, 0, 1)
	}
}

// Get returns the root of exactly that revision, nil if there is none.
func (rs *Roots) Get(rev int64) *Root {
	i := slices.IndexFunc(rs.roots, func(r *Root) bool { return r.rev == rev })
	if i < 0 {
		return nil
	}
	r := rs.roots[i]
	rs.roots = append(slices.Delete(rs.roots, i, i+1), r)
	return r
}

// Forget drops the roots below a compacted revision, which nobody can use any
// more.
func (rs *Roots) Forget(compacted int64) {
	rs.roots = slices.DeleteFunc(rs.roots, func(r *Root) bool { return r.rev < compacted })
}
