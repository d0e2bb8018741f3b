package replica

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/quoin-kv/quoin/internal/machine"
)

func TestProposals(t *testing.T) {
	w := NewProposals(Bound{Requests: 3, Bytes: 10})
	add := func(id uint64, bytes int) *Proposal {
		p := &Proposal{ID: id, Data: make([]byte, bytes)}
		if !w.Add(p) {
			return nil
		}
		return p
	}
	one, two := add(1, 6), add(1+proposalBuckets, 4) // in the same bucket
	if one == nil || two == nil || add(3, 1) != nil {
		t.Fatal("10 bytes are allowed, not 11")
	}
	empty := add(4, 0)
	if empty == nil || add(5, 0) != nil {
		t.Fatal("three are allowed, not four")
	}
	if !w.Has(1) || !w.Has(two.ID) || w.Has(1+2*proposalBuckets) {
		t.Error("wrong ones are found")
	}
	list := []*Proposal{one, {ID: 5}, two}
	if kept := w.Wanted(list, 7, 3); len(kept) != 2 || kept[1] != two || list[2] != nil || one.Taken != 3 {
		t.Errorf("wanted are %v", kept)
	}
	w.Wanted([]*Proposal{two}, 0, 4)
	if two.Taken != 0 {
		t.Error("what the core has not got was taken")
	}
	if forgotten, accepted := w.Abandon(one); !forgotten || !accepted {
		t.Errorf("abandoned %v, accepted %v", forgotten, accepted)
	}
	if forgotten, _ := w.Abandon(one); forgotten || w.Refuse(one, errLost) {
		t.Error("one leaves twice")
	}
	if forgotten, accepted := w.Abandon(empty); !forgotten || accepted {
		t.Errorf("abandoned %v, accepted %v", forgotten, accepted)
	}
	got := w.Answer([]machine.Outcome{{ID: 1}, {ID: two.ID, Reply: []byte("r")}, {ID: two.ID}}, 5, 6, nil)
	if !slices.Equal(got, []*Proposal{two}) || string(two.Reply) != "r" || two.Applying != 5 || two.Applied != 6 {
		t.Errorf("answered %v", got)
	}
	large := add(6, 100)
	if large == nil || w.Len() != 1 || w.Bytes() != 100 || !slices.Equal(w.All(), []*Proposal{large}) {
		t.Errorf("%d wait with %d bytes", w.Len(), w.Bytes())
	}
	if !w.Refuse(large, errLost) || !errors.Is(large.Err, errLost) || w.Len() != 0 || w.Bytes() != 0 || len(w.All()) != 0 {
		t.Errorf("refused with %v, %d bytes wait", large.Err, w.Bytes())
	}
}

// TestProposalsThatEnd: those of former terms are given up, and those that have waited for too long are overdue.
func TestProposalsThatEnd(t *testing.T) {
	w := NewProposals(Bound{Requests: 10, Bytes: 10})
	if len(w.GiveUp(9, errLost)) != 0 || len(w.Overdue(time.Hour)) != 0 {
		t.Error("nothing ends where nothing is")
	}
	var list []*Proposal
	for id := range uint64(4) {
		list = append(list, &Proposal{ID: id, Came: time.Duration(id), Within: 10})
		w.Add(list[id])
	}
	list[0].Within = 0
	w.Wanted(list[1:2], 3, 1)
	w.Wanted(list[2:3], 4, 1)
	if late := w.Overdue(12); !slices.Equal(late, list[1:3]) || w.Len() != 4 {
		t.Errorf("overdue are %v", late)
	}
	if given := w.GiveUp(4, errLost); !slices.Equal(given, list[1:2]) || !errors.Is(list[1].Err, errLost) || w.Len() != 3 {
		t.Errorf("given up are %v", given)
	}
}
