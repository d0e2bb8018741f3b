package model

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
)

// The order in which the choices of a branch are tried: what watchers confirm
// first, then what has to happen anyway.
const (
	rankConfirmed = iota
	rankRequired
	rankFree
	rankExpiry
	rankHopeless // changes the revision, and is not tried
)

// A choice is a placement that may come next, and how likely it is.
type choice struct {
	placement
	rank int
}

// choices returns the placements that may come next where no answer tells it, or
// before what an answer tells, the likeliest first.
func (s *search) choices() []placement {
	var all []choice
	consider := func(p placement, rank int) {
		if rank = s.rank(p, rank); rank != rankHopeless {
			all = append(all, choice{p, rank})
		}
	}
	s.window(func(i int, it *item) {
		if it.role == mover {
			consider(placement{item: i, free: -1}, rankRequired)
		}
	})
	wanted := s.wanted()
	for i := range s.free {
		if !s.used[i] && (!onlyMoves(s.free[i].request) || wanted.includes(s.free[i].request)) {
			consider(placement{item: -1, free: i}, rankFree)
		}
	}
	for _, lease := range slices.Sorted(maps.Keys(s.store.leases)) {
		if wanted.leases[lease] || len(s.store.attached(lease)) > 0 {
			consider(placement{item: -1, free: -1, expire: lease}, rankExpiry)
		}
	}
	slices.SortStableFunc(all, func(a, b choice) int { return cmp.Compare(a.rank, b.rank) })
	placements := make([]placement, 0, len(all))
	for _, c := range all {
		placements = append(placements, c.placement)
	}
	return placements
}

// rank tries a placement and undoes it.
func (s *search) rank(p placement, rank int) int {
	back := s.store.mark()
	defer s.store.rollback(back)
	if !s.permits(p) || !s.apply(p) {
		return rankHopeless
	}
	if revision := s.store.revision; revision > back.revision && len(s.evidence.seen[revision]) > 0 {
		return rankConfirmed
	}
	return rank
}

// onlyMoves says that a request changes leases or the compacted revision and,
// but for the keys of a lease, no key.
func onlyMoves(r Request) bool { return r.Kind == Grant || r.Kind == Compact || r.Kind == Revoke }

// needs are the leases and the compaction on which something that may come
// next depends: what concerns none of them can wait.
type needs struct {
	leases     map[int64]bool
	compaction bool
}

func (n *needs) add(r Request, got Response) {
	if r.Lease != 0 {
		n.leases[r.Lease] = true
	}
	for _, step := range r.Then {
		n.add(step, Response{})
	}
	for _, step := range r.Else {
		n.add(step, Response{})
	}
	n.compaction = n.compaction || got.Failure == FailureCompacted
}

func (n *needs) includes(r Request) bool {
	if r.Kind == Compact {
		return n.compaction
	}
	return n.leases[r.Lease] || r.Kind == Revoke
}

func (s *search) wanted() *needs {
	n := &needs{leases: map[int64]bool{}}
	s.window(func(_ int, it *item) { n.add(it.request, it.response) })
	if w, known := s.writes[s.store.revision+1]; known {
		n.add(s.items[w].request, s.items[w].response)
	}
	for i := range s.free {
		if !s.used[i] && s.free[i].request.Kind != Revoke {
			n.add(s.free[i].request, Response{})
		}
	}
	return n
}

// explain says what the search needs at this point and cannot have: the shortest
// of what stands in its way.
func (s *search) explain() string {
	if it := s.misread(); it != nil {
		return fmt.Sprintf("%s\nwhich is wrong: %s", it.describe(), s.difference(it))
	}
	next := s.store.revision + 1
	w, known := s.writes[next]
	if !known {
		return fmt.Sprintf("nothing explains revision %d; watchers saw in it: %s%s", next, describeEvents(s.evidence.seen[next]), s.needing())
	}
	it := &s.items[w]
	if it.call > s.limit() || s.waiting[s.store.revision] > 0 {
		return fmt.Sprintf("%s\ncannot come next%s", it.describe(), s.blocking(it.call))
	}
	return fmt.Sprintf("%s\nwhich is wrong: %s", it.describe(), s.difference(it))
}

// misread returns a read of the present revision that time lets come next and
// whose answer is wrong.
func (s *search) misread() *item {
	var found *item
	s.window(func(_ int, it *item) {
		if found == nil && it.role == pinnedRead && it.at == s.store.revision {
			found = it
		}
	})
	return found
}

// difference says what is wrong with an answer at this point.
func (s *search) difference(it *item) string {
	back := s.store.mark()
	defer s.store.rollback(back)
	if d := mismatch(it.request, s.store.Apply(it.request), it.response); d != "" {
		return d
	}
	return "fits, but not with what watchers saw"
}

// needing names the item left that returned first: it cannot be placed yet.
func (s *search) needing() string {
	for _, i := range s.byReturn {
		if !s.placed[i] {
			return "\nto be able to go on to: " + s.items[i].describe()
		}
	}
	return ""
}

// blocking names an item left that returned before a call, or that still has to
// see the present revision.
func (s *search) blocking(call int64) string {
	for _, i := range s.byReturn {
		it := &s.items[i]
		if s.placed[i] {
			continue
		}
		if it.ret < call || it.holds() && it.at == s.store.revision {
			return ", before it stands, and does not fit at revision " + fmt.Sprint(s.store.revision) + ":\n" + it.describe()
		}
	}
	return ""
}
