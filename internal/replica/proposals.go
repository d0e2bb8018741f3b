package replica

import (
	"fmt"
	"time"

	"github.com/quoin-kv/quoin/internal/machine"
	"github.com/quoin-kv/quoin/raft/wire"
)

// Proposal is an entry on its way from who asks for it to the answer. Who asks fills in the first part and hands it over; until Asker is told
// it belongs to those whom it was handed to.
type Proposal struct {
	ID     uint64           // unique on this member, and the request id within Data
	Data   []byte           // kept by the log
	Change *wire.ConfChange // instead of Data
	Term   uint64           // in which this member must lead to make it; 0: any
	Within time.Duration    // after which it is given up; 0: when who asks says so
	Asker  Asker

	// What came of it, once Asker is told.
	Reply []byte
	Err   error

	// When what happened, in the time of whoever keeps the Proposals; 0: it has not.
	Came, Taken, Applying, Applied time.Duration
	Leaders                        uint64 // how many leaders had been seen when it came

	accepted uint64    // term in which the core may have taken it, 0 if it has not
	waits    bool      // it is one of some Proposals
	next     *Proposal // of the same bucket
}

// Asker waits for a proposal.
type Asker interface {
	// Answered tells that Reply and Err are there, once for each proposal. It must not block.
	Answered(p *Proposal)
}

// Bound is how much may wait at once.
type Bound struct {
	Requests int
	Bytes    int64 // of proposed data; one request may wait whatever its size
}

// Proposals finds the proposal behind an id when its entry is applied. Those that a method returns or takes are not in it any more; the caller
// tells their askers.
//
// Invariants:
//  1. A proposal that was added leaves once.
//  2. Bytes is the sum over those that wait.
type Proposals struct {
	bound   Bound
	bytes   int64
	count   int
	buckets [proposalBuckets]*Proposal // by the low bits of the id: ids of one member follow each other
}

const proposalBuckets = 1 << 12

// NewProposals is the empty set.
func NewProposals(b Bound) *Proposals { return &Proposals{bound: b} }

// Add takes in a proposal unless too much is waiting already.
func (w *Proposals) Add(p *Proposal) bool {
	size := int64(len(p.Data))
	if w.count >= w.bound.Requests || w.count > 0 && w.bytes+size > w.bound.Bytes {
		return false
	}
	if w.find(p.ID) != nil {
		panic(fmt.Sprintf("replica: expected a new proposal id, found %x, which is being waited for", p.ID))
	}
	bucket := w.bucket(p.ID)
	p.next, p.waits = *bucket, true
	*bucket = p
	w.count++
	w.bytes += size
	return true
}

func (w *Proposals) bucket(id uint64) **Proposal { return &w.buckets[id%proposalBuckets] }

func (w *Proposals) find(id uint64) *Proposal {
	p := *w.bucket(id)
	for p != nil && p.ID != id {
		p = p.next
	}
	return p
}

// take removes what a place in a bucket holds.
func (w *Proposals) take(at **Proposal) *Proposal {
	p := *at
	*at, p.next, p.waits = p.next, nil, false
	w.count--
	w.bytes -= int64(len(p.Data))
	return p
}

// remove takes out the proposal with an id, if it is there.
func (w *Proposals) remove(id uint64) *Proposal {
	at := w.bucket(id)
	for *at != nil && (*at).ID != id {
		at = &(*at).next
	}
	if *at == nil {
		return nil
	}
	return w.take(at)
}

// removeFunc takes out the proposals that match.
func (w *Proposals) removeFunc(match func(*Proposal) bool) (removed []*Proposal) {
	if w.count == 0 {
		return nil
	}
	for i := range w.buckets {
		for at := &w.buckets[i]; *at != nil; {
			if match(*at) {
				removed = append(removed, w.take(at))
			} else {
				at = &(*at).next
			}
		}
	}
	return removed
}

// Has reports whether somebody here waits for id.
func (w *Proposals) Has(id uint64) bool { return w.find(id) != nil }

// Wanted returns, in the same memory, those that somebody still waits for, and notes that the core may have got them in a term, and when. Term
// 0 notes that it has not got them.
func (w *Proposals) Wanted(list []*Proposal, term uint64, now time.Duration) []*Proposal {
	kept := list[:0]
	for _, p := range list {
		if !p.waits {
			continue
		}
		if p.accepted, p.Taken = term, now; term == 0 {
			p.Taken = 0
		}
		kept = append(kept, p)
	}
	clear(list[len(kept):])
	return kept
}

// Abandon takes out a proposal. It is false if the answer is there or on its way. accepted says that the core may have it: the outcome is
// unknown then.
func (w *Proposals) Abandon(p *Proposal) (forgotten, accepted bool) {
	if !p.waits {
		return false, false
	}
	w.remove(p.ID)
	return true, p.accepted > 0
}

// Answer takes out those whose outcomes are there, with reply and error, and appends them to list.
func (w *Proposals) Answer(outcomes []machine.Outcome, began, now time.Duration, list []*Proposal) []*Proposal {
	for i := range outcomes {
		if p := w.remove(outcomes[i].ID); p != nil {
			p.Reply, p.Err, p.Applying, p.Applied = outcomes[i].Reply, outcomes[i].Err, began, now
			list = append(list, p)
		}
	}
	return list
}

// GiveUp takes out what the core got before a term.
func (w *Proposals) GiveUp(term uint64, err error) []*Proposal {
	given := w.removeFunc(func(p *Proposal) bool { return p.accepted > 0 && p.accepted < term })
	for _, p := range given {
		p.Err = err
	}
	return given
}

// Refuse takes out one that will not be made.
func (w *Proposals) Refuse(p *Proposal, err error) bool {
	if !p.waits {
		return false
	}
	w.remove(p.ID)
	p.Err = err
	return true
}

// Overdue is those that have waited for as long as they may. They are still there: each is to be abandoned.
func (w *Proposals) Overdue(now time.Duration) (late []*Proposal) {
	if w.count == 0 {
		return nil
	}
	for i := range w.buckets {
		for p := w.buckets[i]; p != nil; p = p.next {
			if p.Within > 0 && now-p.Came >= p.Within {
				late = append(late, p)
			}
		}
	}
	return late
}

// All is everything that waits. It is still there.
func (w *Proposals) All() (all []*Proposal) {
	for i := range w.buckets {
		for p := w.buckets[i]; p != nil; p = p.next {
			all = append(all, p)
		}
	}
	return all
}

// Bytes is how much data waits.
func (w *Proposals) Bytes() int64 { return w.bytes }

// Len is how many wait.
func (w *Proposals) Len() int { return w.count }
