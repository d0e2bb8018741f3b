package replica

import "github.com/quoin-kv/quoin/raft"

// Sole finds out when a member is its whole cluster: then nothing is acknowledged that its machine does not show, and a read needs no round.
// That holds from the first entry of its term on, behind which everything older is applied, and as long as there is no other member: one that
// is on its way out may still have been told of what is committed, so everything committed until then must be applied, too.
type Sole struct {
	term uint64 // newest of which the machine has applied the leader's first entry
	from uint64 // index that the machine must have applied; 0: there are others
}

// Began takes note of the term of a leader whose first entry is applied, unless it is 0.
func (s *Sole) Began(term uint64) { s.term = max(s.term, term) }

// Look takes note of the state of the core, with the present commit index, and returns the index from which on what the machine shows is
// linearizable; 0: reads need rounds. What it returned before holds no more.
func (s *Sole) Look(st *raft.Status, commit uint64) (from uint64) {
	switch {
	case st.Role != raft.Leader || st.Term != s.term || !alone(st):
		s.from = 0
	case s.from == 0:
		s.from = commit
	}
	return s.from
}

// alone reports whether a member knows of no other one.
func alone(st *raft.Status) bool {
	c := &st.ConfState
	return len(c.Voters) == 1 && c.Voters[0] == st.ID && len(c.Learners)+len(c.VotersOutgoing)+len(c.LearnersNext) == 0
}
