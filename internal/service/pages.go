package service

import (
	"sync"

	"github.com/quoin-kv/quoin/internal/mvcc"
)

// pages remembers the index as of revisions whose ranges clients page through. A first page is read at the latest revision and tells that
// there are more; the client pins the pages after it to that revision, and with its index each costs what it holds instead of a walk over
// the whole range.
type pages struct {
	mu struct {
		sync.Mutex
		roots *mvcc.Roots
	}
}

// Bounds of what is remembered. An old index costs the memory of what changed after it, and all of them together that of what changed
// after the oldest one, so it is the distance that bounds the memory: 2.5 kB for each revision in an index of 200,000 keys.
const (
	pagesMax       = 64      // revisions
	pagesBehindMax = 100_000 // revisions that the oldest one may be behind the store
)

func (p *pages) init() { p.mu.roots = mvcc.NewRoots(pagesMax) }

// add remembers the index of the view.
func (p *pages) add(view *mvcc.View) {
	root := view.Root()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.roots.Add(root)
}

// get returns the index as of exactly that revision, nil if it is not remembered.
func (p *pages) get(revision int64) *mvcc.Root {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.roots.Get(revision)
}

// forget drops what cannot be read any more and what is too far behind the store.
func (p *pages) forget(revision, compacted int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.roots.Forget(max(compacted, revision-pagesBehindMax))
}

// query is the store's query for a range, with the index of a past revision if that is remembered.
func (p *pages) query(r mvcc.Query, view *mvcc.View) mvcc.Query {
	if r.Revision > 0 && r.Revision < view.Rev() {
		r.Root = p.get(r.Revision)
	}
	return r
}

// remember keeps the index of the view if an answer with more to come was read at its latest revision.
func (p *pages) remember(r mvcc.Query, view *mvcc.View, more bool) {
	if more && (r.Revision <= 0 || r.Revision == view.Rev()) {
		p.add(view)
	}
}
