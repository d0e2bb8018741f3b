package model

import (
	"fmt"
	"slices"
	"time"
)

// A search looks for an order of a record's items that the specification
// allows and that agrees with time: what returned before another's call stands
// before it.
//
// Answers with revisions leave hardly a choice. Wherever the next revision's
// write is known it is placed; reads are placed at the first moment that fits,
// since they change nothing. Choices remain where a revision has no known maker
// (a write of unknown outcome, a revocation, an expired lease) and where the
// order of leases and compactions matters: these are put off until something
// needs them, or may need them, and tried in turn, going back when a try leads
// nowhere. Putting off loses no order: until something needs such an item, it
// can change places with what follows it.
//
// Invariants:
//
//  1. The items placed, in the order of placing, are a valid history of store.
//  2. Every item not placed may still be placed: no item placed was called after its return.
type search struct {
	*record
	store *Store

	placed   []bool // of items
	used     []bool // of free
	left     int    // items not placed
	trail    []placement
	byReturn []int
	// compactions are those among items that succeeded; the samples of their headers are none.
	compactions []int
	// users are the items that need a lease to be there, of leases that are granted once only.
	users map[int64][]int
	// cursors skip what is placed: no item before firstCall in items, or before
	// firstReturn in byReturn, is left.
	firstCall, firstReturn int
	// waiting counts the items left that have to be placed before the store leaves a revision.
	waiting map[int64]int
	hash    uint64

	dead     map[uint64]struct{} // states that lead nowhere
	deadline time.Time
	expired  bool
	stuck    stuck
}

// A placement is one step of the order. The item is one of items, or of free,
// or the expiry of a lease.
type placement struct {
	item   int // index in items; -1: not of items
	free   int // index in free; -1: not of free
	expire int64
	// made is the revision that it made; 0: none.
	made int64
}

// stuck is the furthest point that the search has reached, with what it needed there.
type stuck struct {
	revision int64
	placed   int
	reason   string
}

func newSearch(r *record, timeout time.Duration) *search {
	s := &search{
		record: r, store: NewStore(r.start), placed: make([]bool, len(r.items)), used: make([]bool, len(r.free)),
		left: len(r.items), waiting: map[int64]int{}, dead: map[uint64]struct{}{}, stuck: stuck{revision: -1},
	}
	if timeout > 0 {
		s.deadline = time.Now().Add(timeout)
	}
	for i := range r.items {
		s.byReturn = append(s.byReturn, i)
		if it := &r.items[i]; it.role == mover && it.request.Kind == Compact {
			s.compactions = append(s.compactions, i)
		}
		if r.items[i].holds() {
			s.waiting[r.items[i].at]++
		}
	}
	slices.SortStableFunc(s.byReturn, func(a, b int) int { return sign(r.items[a].ret, r.items[b].ret) })
	s.users = leaseUsers(r)
	return s
}

// run extends the order to the end. False: the order so far leads nowhere.
func (s *search) run() bool {
	for {
		s.placeReads()
		if s.left == 0 && s.store.revision >= s.target {
			return true
		}
		w, known := s.writes[s.store.revision+1]
		if !known || s.unsettled() || !s.try(placement{item: w, free: -1}) {
			return s.branch()
		}
	}
}

// unsettled says that a failure that time lets come next does not fit yet, and
// may want a lease or a compaction to come before the next write.
func (s *search) unsettled() bool {
	found := false
	s.window(func(_ int, it *item) {
		found = found || it.role == floating
	})
	return found
}

// branch tries what may come next, one after the other.
func (s *search) branch() bool {
	state := mix(s.store.fingerprint(), s.hash)
	if _, known := s.dead[state]; known || s.late() {
		return false
	}
	if s.tryKnown() {
		return true
	}
	for _, p := range s.choices() {
		if s.expired {
			return false
		}
		if s.tryOn(p) {
			return true
		}
	}
	s.dead[state] = struct{}{}
	s.note()
	return false
}

// tryKnown goes on with the write that made the next revision, if an answer tells it.
func (s *search) tryKnown() bool {
	w, known := s.writes[s.store.revision+1]
	return known && s.tryOn(placement{item: w, free: -1})
}

// tryOn places something and goes on to the end. If that fails, everything is as before.
func (s *search) tryOn(p placement) bool {
	back := s.save()
	if s.try(p) && s.run() {
		return true
	}
	s.restore(back)
	return false
}

func (s *search) late() bool {
	if !s.deadline.IsZero() && time.Now().After(s.deadline) {
		s.expired = true
	}
	return s.expired
}

// limit is the earliest return among the items left: what was called after it
// cannot come next.
func (s *search) limit() int64 {
	for s.firstReturn < len(s.byReturn) && s.placed[s.byReturn[s.firstReturn]] {
		s.firstReturn++
	}
	if s.firstReturn == len(s.byReturn) {
		return never
	}
	return s.items[s.byReturn[s.firstReturn]].ret
}

// window calls fn for each item left that time allows to come next.
func (s *search) window(fn func(i int, it *item)) {
	for s.firstCall < len(s.items) && s.placed[s.firstCall] {
		s.firstCall++
	}
	limit := s.limit()
	for i := s.firstCall; i < len(s.items) && s.items[i].call <= limit; i++ {
		if !s.placed[i] {
			fn(i, &s.items[i])
		}
	}
}

// placeReads places every read that fits now, until none does.
func (s *search) placeReads() {
	for again := true; again; {
		again = false
		s.window(func(i int, it *item) {
			if it.reads() && s.fits(it) {
				s.push(placement{item: i, free: -1})
				again = true
			}
		})
	}
}

// fits says whether a read's answer is right at this moment.
func (s *search) fits(it *item) bool {
	switch {
	case it.role == sample:
		return it.at == s.store.revision
	case it.role == pinnedRead && it.at != s.store.revision:
		return false
	}
	back := s.store.mark()
	answer := s.store.Apply(it.request)
	s.store.rollback(back)
	return mismatch(it.request, answer, it.response) == ""
}

// try carries a placement out if time and specification allow it.
func (s *search) try(p placement) bool {
	back := s.store.mark()
	p.made = 0
	if s.permits(p) && s.apply(p) {
		if s.store.revision > back.revision {
			p.made = s.store.revision
		}
		s.push(p)
		return true
	}
	s.store.rollback(back)
	return false
}

// permits says whether time, and what else is left, allow the item to come next.
func (s *search) permits(p placement) bool {
	r := s.request(p)
	if r.Kind == Compact && s.compactsLess(p, r.AtRevision) || (r.Kind == Expire || r.Kind == Revoke) && s.inUse(p, r.Lease) {
		return false
	}
	if p.item < 0 && p.free < 0 {
		return true
	}
	if p.item >= 0 {
		return !s.placed[p.item] && s.mayStand(&s.items[p.item])
	}
	return !s.used[p.free] && s.mayStand(&s.free[p.free])
}

// mayStand says whether time allows an item to come next: nothing that is left returned before its call, and, unless an answer tells its place,
// nobody had seen the next revision by then.
func (s *search) mayStand(it *item) bool {
	return it.call <= s.limit() && (it.role == pinnedWrite || s.inTime(s.store.revision+1, it.call))
}

// compactsLess says whether a compaction of an earlier revision is left that
// succeeded: after that of a later one it never would.
func (s *search) compactsLess(p placement, revision int64) bool {
	return slices.ContainsFunc(s.compactions, func(i int) bool {
		return i != p.item && !s.placed[i] && s.items[i].request.AtRevision < revision
	})
}

// inUse says whether something is left that needs a lease to be there: once
// that has ended it never would be.
func (s *search) inUse(p placement, lease int64) bool {
	return slices.ContainsFunc(s.users[lease], func(i int) bool { return i != p.item && !s.placed[i] })
}

// apply runs the item on the store. It says no if the answer is wrong, if it is
// not what happened in that revision, or if nothing changes.
func (s *search) apply(p placement) bool {
	before := s.store.mark()
	request := s.request(p)
	answer := s.store.Apply(request)
	if p.item >= 0 && mismatch(request, answer, s.items[p.item].response) != "" {
		return false
	}
	if s.store.revision == before.revision {
		return p.item >= 0 || s.store.movedSince(before)
	}
	if s.waiting[before.revision] > 0 {
		return false // something at this revision is still to come
	}
	maker, known := s.writes[s.store.revision]
	if known {
		return maker == p.item
	}
	return s.evidence.allows(s.store.revision, s.store.Events(s.store.revision))
}

// push notes a placement that has been carried out.
func (s *search) push(p placement) {
	s.trail = append(s.trail, p)
	s.toggle(p, true)
}

func (s *search) toggle(p placement, placed bool) {
	by := 1
	if placed {
		by = -1
	}
	switch {
	case p.item >= 0:
		s.placed[p.item] = placed
		s.left += by
		it := &s.items[p.item]
		if it.holds() {
			s.waiting[it.at] += by
		}
		s.hash ^= mix(digestStart, uint64(p.item))
	case p.free >= 0:
		s.used[p.free] = placed
		s.hash ^= mix(digestStart, uint64(len(s.items)+p.free))
	}
}

// A save is a point of the search to go back to.
type save struct {
	mark                   mark
	trail                  int
	firstCall, firstReturn int
}

func (s *search) save() save {
	return save{mark: s.store.mark(), trail: len(s.trail), firstCall: s.firstCall, firstReturn: s.firstReturn}
}

func (s *search) restore(back save) {
	for i := len(s.trail) - 1; i >= back.trail; i-- {
		s.toggle(s.trail[i], false)
	}
	s.trail = s.trail[:back.trail]
	s.store.rollback(back.mark)
	s.firstCall, s.firstReturn = back.firstCall, back.firstReturn
}

// note keeps the explanation of the furthest dead end.
func (s *search) note() {
	placed := len(s.items) - s.left
	if s.store.revision < s.stuck.revision || s.store.revision == s.stuck.revision && placed <= s.stuck.placed {
		return
	}
	s.stuck = stuck{revision: s.store.revision, placed: placed, reason: s.explain()}
}

// violation returns the explanation as an error.
func (s *search) violation() error {
	if s.expired {
		return fmt.Errorf("%w; so far the order got to revision %d: %s", ErrUndecided, s.stuck.revision, s.stuck.reason)
	}
	return &Violation{Property: "linearizable", Reason: s.stuck.reason}
}
