package model

import (
	"fmt"
	"math"
	"slices"
)

// A witness is an order of a history that the specification allows: proof that
// it is linearizable, and what the other properties are measured against.
type witness struct {
	*record
	// store is the end of the history; it knows the events of every revision.
	store *Store
	trail []placement
	base  int64
	// possible is, for each revision from base on, the time before which it cannot have
	// existed: nobody had asked for its writes. certain is the time by which it existed: somebody had
	// been told of it or of a later one.
	possible, certain []int64
	// ended are the revisions in which the cluster itself ended a lease.
	ended map[int64]int64
	// compactions are the compactions that were asked for and not refused.
	compactions []item
}

func newWitness(s *search) *witness {
	w := &witness{record: s.record, store: s.store, trail: s.trail, base: s.store.base, ended: map[int64]int64{}}
	w.possible = make([]int64, s.store.revision-w.base+1)
	w.certain = make([]int64, len(w.possible))
	for i := range w.possible {
		w.possible[i], w.certain[i] = math.MinInt64, never
	}
	w.placeInTime()
	w.watchedInTime()
	for i := 1; i < len(w.possible); i++ {
		w.possible[i] = max(w.possible[i], w.possible[i-1])
	}
	for i := len(w.certain) - 2; i >= 0; i-- {
		w.certain[i] = min(w.certain[i], w.certain[i+1])
	}
	for _, it := range slices.Concat(s.items, s.free) {
		if it.request.Kind == Compact && (it.role == mover || it.role == free) {
			w.compactions = append(w.compactions, it)
		}
	}
	return w
}

// placeInTime reads the bounds of each revision off the order.
func (w *witness) placeInTime() {
	revision := w.base
	for _, p := range w.trail {
		if p.made > 0 {
			revision = p.made
		}
		i := revision - w.base
		switch {
		case p.item >= 0:
			it := &w.items[p.item]
			if told, ok := it.tells(revision); ok {
				w.certain[told-w.base] = min(w.certain[told-w.base], it.ret)
			}
			if p.made > 0 {
				w.possible[i] = it.call
			}
		case p.free >= 0:
			if p.made > 0 {
				w.possible[i] = w.free[p.free].call
			}
		case p.made > 0:
			w.ended[p.expire] = p.made
		}
	}
}

// tells returns the revision of which the item's answer is proof. What answered without one may stand anywhere: that an order has it behind a
// revision is no proof that it was so.
func (i *item) tells(placed int64) (revision int64, ok bool) {
	switch i.role {
	case floating:
		return 0, false
	case mover:
		return i.at, i.at != 0
	}
	return placed, true
}

// watchedInTime adds what watchers were told.
func (w *witness) watchedInTime() {
	for _, l := range w.evidence.logs {
		for _, response := range l.log.Responses {
			if i := response.Revision - w.base; i >= 0 && i < int64(len(w.certain)) {
				w.certain[i] = min(w.certain[i], response.Time)
			}
		}
	}
}

// existed says whether a revision can have existed at a time.
func (w *witness) existed(revision, at int64) bool {
	i := revision - w.base
	return i >= 0 && i < int64(len(w.possible)) && w.possible[i] <= at
}

// compacted says whether a revision can have been compacted away at a time.
func (w *witness) compacted(revision, at int64) bool {
	if w.base > 1 && revision < w.base {
		return true
	}
	for i := range w.compactions {
		if w.compactions[i].call <= at && w.compactions[i].request.AtRevision > revision {
			return true
		}
	}
	return false
}

// replay calls fn with the store of each revision, in order. The store forgets
// nothing: it does without compactions.
func (w *witness) replay(fn func(*Store) error) error {
	store := NewStore(w.start)
	if err := fn(store); err != nil {
		return err
	}
	for _, p := range w.trail {
		request := w.request(p)
		if p.item >= 0 && w.items[p.item].reads() || request.Kind == Compact {
			continue
		}
		store.Apply(request)
		if p.made == 0 {
			continue
		}
		if store.revision != p.made {
			panic(fmt.Sprintf("model: replay made revision %d where the search made %d", store.revision, p.made))
		}
		if err := fn(store); err != nil {
			return err
		}
	}
	return nil
}
