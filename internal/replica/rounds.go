package replica

import "slices"

// Read is one that waits for a round of the read-index protocol, or for an index to be applied.
type Read interface {
	// Answered tells that the wait is over, once. It must not block.
	Answered(err error)
	// Gone reports that nobody waits any more.
	Gone() bool
}

// Rounds joins reads into rounds of the read-index protocol: all reads that come while a round is under way share the next one (thesis
// 6.4). A round that gets no answer, because a message was lost, is asked again, with a new id: a late answer to the old one is an answer
// to nobody.
//
// Invariant: a read is in exactly one of inFlight, waiting and applied until it is answered or gone, and is answered once.
type Rounds struct {
	last     uint64 // id
	current  uint64 // id of the round under way, 0 if none
	ticks    int    // its age
	inFlight []Read
	waiting  []Read
	applied  []appliedRead // those with an index of their own
}

type appliedRead struct {
	index uint64
	read  Read
}

const (
	roundTicks = 5    // age, in ticks, at which a round is asked again
	spareReads = 1024 // room that lists of reads keep
)

// NewRounds is without reads. Ids of rounds follow last; it should be the time of the start, so that ids of an earlier run do not come back.
func NewRounds(last uint64) *Rounds { return &Rounds{last: last} }

// Add takes in a read that wants a round.
func (r *Rounds) Add(read Read) { r.waiting = append(r.waiting, read) }

// AddAt takes in one that waits just for an index to be applied.
func (r *Rounds) AddAt(index uint64, read Read) {
	r.applied = append(r.applied, appliedRead{index, read})
}

// Begin starts a round, of which ask is told the id, if reads wait and none is under way. If ask refuses, the next Begin tries again.
func (r *Rounds) Begin(ask func(id uint64) error) {
	if r.current != 0 || len(r.waiting) == 0 {
		return
	}
	r.last++
	if ask(r.last) != nil {
		return
	}
	r.current, r.ticks = r.last, 0
	r.inFlight, r.waiting = r.waiting, r.inFlight[:0]
}

// Due reports whether reads wait that the next round is for, and none is under way.
func (r *Rounds) Due() bool { return r.current == 0 && len(r.waiting) > 0 }

// Age counts a tick. An overdue round goes back to waiting unless its index is known, which it reports. Reads that nobody waits for are
// forgotten.
func (r *Rounds) Age(indexed func(id uint64) bool) (overdue bool) {
	r.waiting = slices.DeleteFunc(r.waiting, Read.Gone)
	r.applied = slices.DeleteFunc(r.applied, func(a appliedRead) bool { return a.read.Gone() })
	if r.current == 0 || indexed(r.current) {
		return false
	}
	if r.ticks++; r.ticks < roundTicks {
		return false
	}
	r.giveUp()
	return true
}

// AskAgain lets a round be asked again at once, of a leader that has just been heard of, and reports whether there is one to be asked:
// what was asked of the leader before may never be answered.
func (r *Rounds) AskAgain(indexed func(id uint64) bool) bool {
	if r.current != 0 && !indexed(r.current) {
		r.giveUp()
	}
	return r.Due()
}

// giveUp lets the reads of the round under way wait for another one.
func (r *Rounds) giveUp() {
	r.waiting = append(r.inFlight, r.waiting...)
	r.inFlight, r.current = nil, 0
}

// Finish answers the round if its id is among ids.
func (r *Rounds) Finish(ids []uint64, err error) {
	if r.current == 0 || !slices.Contains(ids, r.current) {
		return
	}
	answerReads(r.inFlight, err)
	if cap(r.inFlight) > spareReads {
		r.inFlight = nil
	}
	clear(r.inFlight)
	r.inFlight, r.current = r.inFlight[:0], 0
}

// Lose ends the round if its id is among ids, whose leader is gone. If there is another one already it is asked. Else those who wait are
// told at once: whoever has the choice asks another member.
func (r *Rounds) Lose(ids []uint64, leader uint64, err error) {
	if leader != 0 && r.current != 0 && slices.Contains(ids, r.current) {
		r.giveUp()
		return
	}
	r.Finish(ids, err)
}

// Reached answers those who wait for an index that is applied now.
func (r *Rounds) Reached(index uint64) {
	r.applied = slices.DeleteFunc(r.applied, func(a appliedRead) bool {
		done := a.index <= index
		if done {
			a.read.Answered(nil)
		}
		return done
	})
}

// End answers everybody.
func (r *Rounds) End(err error) {
	answerReads(r.inFlight, err)
	answerReads(r.waiting, err)
	for _, a := range r.applied {
		a.read.Answered(err)
	}
	*r = Rounds{last: r.last}
}

func answerReads(reads []Read, err error) {
	for _, read := range reads {
		read.Answered(err)
	}
}
