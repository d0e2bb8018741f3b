// Package quorum answers the two questions that consensus asks about a set of voters: up to which index has a majority
// acknowledged, and has a vote been won.
//
// A Majority is a plain set of voters; a Joint is two of them that must both agree while a membership change is under
// way (Raft thesis, section 4.3). The package knows voters by their ids and nothing else about them.
package quorum

import (
	"math"
	"slices"
)

// Acked tells how far a voter has come, in whatever is being counted: log indexes, rounds of reads.
type Acked interface {
	// Acked returns the highest number that voter id has acknowledged, 0 if none.
	Acked(id uint64) uint64
}

// Result is the state of a vote.
type Result uint8

// The states of a vote.
const (
	Pending Result = iota // still open: those who have not answered decide
	Lost                  // can no longer be won
	Won
)

// String returns the name of r.
func (r Result) String() string {
	return [...]string{"pending", "lost", "won"}[r]
}

// Majority is a set of voters: ids in ascending order, each once. More than half of them decide.
type Majority []uint64

// Contains reports whether id is a voter.
func (m Majority) Contains(id uint64) bool {
	_, found := slices.BinarySearch(m, id)
	return found
}

// Committed returns the highest number that a majority has acknowledged. An empty set objects to nothing: it returns the
// highest number there is.
func (m Majority) Committed(acked Acked) uint64 {
	if len(m) == 0 {
		return math.MaxUint64
	}
	var onStack [7]uint64 // a larger cluster is rare and may allocate
	acks := onStack[:0]
	for _, id := range m {
		acks = append(acks, acked.Acked(id))
	}
	slices.Sort(acks)
	return acks[(len(acks)-1)/2]
}

// Vote returns the state of a vote in which votes holds the answers so far. An empty set objects to nothing: it is won.
func (m Majority) Vote(votes map[uint64]bool) Result {
	if len(m) == 0 {
		return Won
	}
	yes, open := 0, 0
	for _, id := range m {
		switch granted, answered := votes[id]; {
		case !answered:
			open++
		case granted:
			yes++
		}
	}
	need := len(m)/2 + 1
	switch {
	case yes >= need:
		return Won
	case yes+open >= need:
		return Pending
	}
	return Lost
}

// Joint is a configuration of voters. Outgoing is empty except while a membership change goes through its joint phase;
// then both sets must agree to everything.
type Joint struct {
	Incoming, Outgoing Majority
}

// Contains reports whether id is a voter in either set.
func (j Joint) Contains(id uint64) bool { return j.Incoming.Contains(id) || j.Outgoing.Contains(id) }

// Committed returns the highest number that majorities of both sets have acknowledged.
func (j Joint) Committed(acked Acked) uint64 {
	return min(j.Incoming.Committed(acked), j.Outgoing.Committed(acked))
}

// Vote returns the state of a vote that both sets must win.
func (j Joint) Vote(votes map[uint64]bool) Result {
	in, out := j.Incoming.Vote(votes), j.Outgoing.Vote(votes)
	switch {
	case in == Lost || out == Lost:
		return Lost
	case in == Won && out == Won:
		return Won
	}
	return Pending
}
