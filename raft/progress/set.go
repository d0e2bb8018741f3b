package progress

import "slices"

// Set is the progress of all members of a configuration, the leader's own included, in ascending order of their ids.
type Set struct {
	ids   []uint64
	peers []*Progress // beside ids
}

// Get returns the progress of a member, nil if it is none.
func (s *Set) Get(id uint64) *Progress {
	if i, found := slices.BinarySearch(s.ids, id); found {
		return s.peers[i]
	}
	return nil
}

// IDs returns the members in ascending order. The slice belongs to the set.
func (s *Set) IDs() []uint64 { return s.ids }

// Members makes ids, which ascend, the members. Those that stay keep their progress; create makes that of new ones.
func (s *Set) Members(ids []uint64, create func() *Progress) {
	next := Set{ids: slices.Clone(ids), peers: make([]*Progress, 0, len(ids))}
	for _, id := range ids {
		p := s.Get(id)
		if p == nil {
			p = create()
		}
		next.peers = append(next.peers, p)
	}
	*s = next
}

// Matches shows the members' durable logs to a quorum.
type Matches struct{ *Set }

// Acked returns up to where the log of id is durable and equal to the leader's.
func (m Matches) Acked(id uint64) uint64 {
	if p := m.Get(id); p != nil {
		return p.Match
	}
	return 0
}

// ReadRounds shows the members' confirmed read rounds to a quorum.
type ReadRounds struct{ *Set }

// Acked returns the last read round that id has confirmed.
func (r ReadRounds) Acked(id uint64) uint64 {
	if p := r.Get(id); p != nil {
		return p.ReadRound
	}
	return 0
}
