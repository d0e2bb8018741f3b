package replica

import (
	"slices"

	"github.com/quoin-kv/quoin/raft/wire"
)

// settled is what is committed and waits to be applied until this member could not forget that it is: a committed change of the configuration
// and all that follows it. The commit index alone is not worth a sync (see Batcher), because a leader tells it again. But a change that was
// applied may have removed all who could tell: a member that restarts and has forgotten it would wait for the vote of one that is gone.
//
// Invariant: parts are in order of their entries and of their seq, and each begins with a change.
type settled struct {
	parts []settledPart
}

// settledPart waits for an Output to be durable.
type settledPart struct {
	seq     uint64
	entries []wire.Entry
}

// isChange reports whether an entry changes the configuration.
func isChange(e wire.Entry) bool { return e.Type != wire.EntryNormal }

// add takes entries that Output seq found committed and returns those that need not wait, and whether the Output has to be synced so that the
// others need wait no longer than that.
func (s *settled) add(seq uint64, entries []wire.Entry) (now []wire.Entry, sync bool) {
	first := slices.IndexFunc(entries, isChange)
	if first < 0 {
		first = len(entries)
	}
	now, rest := entries[:first:first], entries[first:]
	if n := len(s.parts); n > 0 {
		s.parts[n-1].entries = append(s.parts[n-1].entries, now...)
		now = nil
	}
	if len(rest) > 0 {
		s.parts = append(s.parts, settledPart{seq, slices.Clone(rest)})
	}
	return now, len(rest) > 0
}

// take returns what waited for nothing later than Output seq.
func (s *settled) take(seq uint64) (entries []wire.Entry) {
	for len(s.parts) > 0 && s.parts[0].seq <= seq {
		entries = append(entries, s.parts[0].entries...)
		s.parts = slices.Delete(s.parts, 0, 1)
	}
	return entries
}
