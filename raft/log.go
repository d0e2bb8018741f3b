package raft

import (
	"fmt"
	"slices"

	"github.com/quoin-kv/quoin/raft/wire"
)

// log is the part of the log that is in memory, and how far each thing has come that happens to entries.
//
// Slices of entries that were handed out are never written to again: a conflicting tail is replaced by a copy.
//
// Invariants:
//  1. entries[i].Index == base+1+i, and terms never fall.
//  2. base <= commit <= last.
//  3. applied <= handed <= commit.
//  4. emitted <= last, and durable <= emitted.
//  5. What is handed out to be applied has been emitted to be stored, in the same effects at the latest.
type log struct {
	base     uint64 // index of the entry before the first in memory
	baseTerm uint64
	entries  []wire.Entry
	commit   uint64 // known to be stored by a quorum
	handed   uint64 // handed out to be applied
	applied  uint64 // applied
	emitted  uint64 // handed out to be stored
	durable  uint64 // stored by this member
}

func newLog(boot Boot) log {
	last := boot.Snapshot.Index + uint64(len(boot.Entries))
	return log{
		base:     boot.Snapshot.Index,
		baseTerm: boot.Snapshot.Term,
		entries:  boot.Entries[:len(boot.Entries):len(boot.Entries)],
		commit:   max(boot.HardState.Commit, boot.Applied, impliedCommit(boot.Entries)),
		handed:   boot.Applied,
		applied:  boot.Applied,
		emitted:  last,
		durable:  last,
	}
}

// impliedCommit returns the index of the last membership change but one, 0 if there is none. It is committed: a leader
// appends a change only when it has applied the one before. Not to know that would let a member campaign under a
// configuration so old that its majorities need not overlap with those of today.
func impliedCommit(entries []wire.Entry) uint64 {
	changes := 0
	for i := len(entries) - 1; i >= 0; i-- {
		if entries[i].Type != wire.EntryNormal {
			changes++
		}
		if changes == 2 {
			return entries[i].Index
		}
	}
	return 0
}

func (l *log) last() uint64 { return l.base + uint64(len(l.entries)) }

func (l *log) lastTerm() uint64 {
	term, _ := l.term(l.last())
	return term
}

// term returns the term of the entry at index; ok is false if that is not in memory.
func (l *log) term(index uint64) (term uint64, ok bool) {
	switch {
	case index == l.base:
		return l.baseTerm, true
	case index < l.base || index > l.last():
		return 0, false
	}
	return l.entries[index-l.base-1].Term, true
}

// matches reports whether the entry at index is known to have this term.
func (l *log) matches(index, term uint64) bool {
	have, ok := l.term(index)
	return ok && have == term
}

// contradiction returns the first entry of an append, or the one before it, that differs from a committed one here; ok is
// true if there is none.
func (l *log) contradiction(m *wire.Message) (index uint64, ok bool) {
	if l.contradicts(m.Index, m.LogTerm) {
		return m.Index, false
	}
	for i := range m.Entries {
		if m.Entries[i].Index > l.commit {
			break
		}
		if l.contradicts(m.Entries[i].Index, m.Entries[i].Term) {
			return m.Entries[i].Index, false
		}
	}
	return 0, true
}

// contradicts reports whether the entry at index is committed here with another term.
func (l *log) contradicts(index, term uint64) bool {
	have, known := l.term(index)
	return known && index <= l.commit && have != term
}

// slice returns the entries from index from to index to, both included. It is shared and must not be written to.
func (l *log) slice(from, to uint64) []wire.Entry {
	if from > to {
		return nil
	}
	return l.entries[from-l.base-1 : to-l.base : to-l.base]
}

// limited returns entries from index from on, as many as fit into maxBytes of encoding but at least one, and their size.
func (l *log) limited(from, maxBytes uint64) ([]wire.Entry, uint64) {
	if from > l.last() {
		return nil, 0
	}
	all := l.slice(from, l.last())
	size := uint64(0)
	for i := range all {
		n := uint64(all[i].Size())
		if i > 0 && size+n > maxBytes {
			return all[:i:i], size
		}
		size += n
	}
	return all, size
}

// upToDate reports whether a log that ends with (index, term) lacks nothing that this one has committed, as far as its
// end tells (paper 5.4.1).
func (l *log) upToDate(index, term uint64) bool {
	own := l.lastTerm()
	return term > own || term == own && index >= l.last()
}

// append adds entries that continue the log.
func (l *log) append(entries ...wire.Entry) {
	l.entries = append(l.entries, entries...)
}

// conflict returns the position in entries of the first one that the log does not hold, len(entries) if it holds all.
func (l *log) conflict(entries []wire.Entry) int {
	for i := range entries {
		if !l.matches(entries[i].Index, entries[i].Term) {
			return i
		}
	}
	return len(entries)
}

// replaceTail makes entries the end of the log. What was handed out of the old tail stays as it was.
func (l *log) replaceTail(entries []wire.Entry) {
	before := entries[0].Index - 1
	if before == l.last() {
		l.append(entries...)
		return
	}
	if before < l.commit {
		panic(fmt.Sprintf("raft: committed to %d, asked to replace from %d", l.commit, before+1))
	}
	l.entries = slices.Concat(l.slice(l.base+1, before), entries)
	l.emitted = min(l.emitted, before)
	l.durable = min(l.durable, before)
}

// lastNotAbove returns the highest index up to index whose term is not above term; where the log does not know it stops
// guessing.
func (l *log) lastNotAbove(index, term uint64) (uint64, uint64) {
	for {
		have, ok := l.term(index)
		if !ok || have <= term {
			return index, have
		}
		index--
	}
}

// restart makes the log begin behind a snapshot, which is still to be stored and applied.
func (l *log) restart(index, term uint64) {
	*l = log{
		base: index, baseTerm: term,
		commit: index, handed: index, emitted: index,
		applied: l.applied,
	}
}

// compactedRoom bounds the room for new entries that compact makes, in entries.
const compactedRoom = 16 << 10

// compact forgets the entries up to index.
func (l *log) compact(index uint64) {
	if index <= l.base {
		return
	}
	if index > l.applied {
		panic(fmt.Sprintf("raft: applied to %d, asked to forget to %d", l.applied, index))
	}
	term, _ := l.term(index)
	rest := l.slice(index+1, l.last())
	// With room for as many as were forgotten, the next entries need no copying until it is time for the next call.
	room := min(index-l.base, compactedRoom)
	l.entries = append(make([]wire.Entry, 0, uint64(len(rest))+room), rest...)
	l.base, l.baseTerm = index, term
}

// installing reports whether a snapshot was accepted that the machine does not hold yet.
func (l *log) installing() bool { return l.applied < l.base }

func (l *log) check() error {
	if err := checkEntries(l.entries, l.base, l.baseTerm, ^uint64(0)); err != nil {
		return fmt.Errorf("log invariant 1: %w", err)
	}
	switch {
	case l.base > l.commit || l.commit > l.last():
		return fmt.Errorf("log invariant 2: base %d, commit %d, last %d", l.base, l.commit, l.last())
	case l.applied > l.handed || l.handed > l.commit:
		return fmt.Errorf("log invariant 3: applied %d, handed out %d, commit %d", l.applied, l.handed, l.commit)
	case l.durable > l.emitted || l.emitted > l.last():
		return fmt.Errorf("log invariant 4: durable %d, emitted %d, last %d", l.durable, l.emitted, l.last())
	case l.handed > l.emitted:
		return fmt.Errorf("log invariant 5: handed out %d, emitted %d", l.handed, l.emitted)
	}
	return nil
}

// highest bounds terms and indexes from outside, so that counting on from them cannot overflow. Nobody gets there honestly.
const highest = 1 << 62

// consistent reports whether an entry can have this index and term; index 0 stands for the beginning of the log.
func consistent(index, term uint64) bool {
	return (index == 0) == (term == 0) && index <= highest && term <= highest
}

// checkEntries reports whether entries continue a log that ends with (index, term), with terms that never fall and none
// above limit.
func checkEntries(entries []wire.Entry, index, term, limit uint64) error {
	for i := range entries {
		e := &entries[i]
		index++
		if e.Index != index {
			return fmt.Errorf("entry with index %d where %d belongs", e.Index, index)
		}
		if e.Term < max(term, 1) || e.Term > limit {
			return fmt.Errorf("entry %d has term %d, expected %d to %d", e.Index, e.Term, max(term, 1), limit)
		}
		term = e.Term
	}
	return nil
}
