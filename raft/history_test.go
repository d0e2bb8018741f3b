package raft_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/quoin-kv/quoin/raft"
	"github.com/quoin-kv/quoin/raft/wire"
)

// history judges a cluster by the properties of the paper's figure 3.
type history struct {
	leaders   map[uint64]uint64 // by term
	committed []wire.Entry      // as first applied by anybody; index 1 is at 0
	sums      []uint64          // of the machine, beside committed
	elections int
}

func newHistory() *history { return &history{leaders: map[uint64]uint64{}} }

// observe checks election safety and leader completeness.
func (h *history) observe(s raft.Status) error {
	if s.Role != raft.Leader {
		return nil
	}
	before, known := h.leaders[s.Term]
	if known && before != s.ID {
		return fmt.Errorf("election safety: %d and %d lead term %d", before, s.ID, s.Term)
	}
	if known {
		return nil
	}
	h.leaders[s.Term] = s.ID
	h.elections++
	if s.Last < uint64(len(h.committed)) {
		return fmt.Errorf("leader completeness: %d leads term %d with a log up to %d, %d was applied", s.ID, s.Term, s.Last, len(h.committed))
	}
	return nil
}

// applied checks state machine safety: the same entry at the same place everywhere, and the same state after it.
func (h *history) applied(id uint64, e wire.Entry, sum uint64) error {
	if e.Index == uint64(len(h.committed))+1 {
		h.committed, h.sums = append(h.committed, e), append(h.sums, sum)
		return nil
	}
	if e.Index > uint64(len(h.committed)) {
		return fmt.Errorf("member %d applied %d when nobody had applied %d", id, e.Index, len(h.committed)+1)
	}
	first := h.committed[e.Index-1]
	if first.Term != e.Term || !bytes.Equal(first.Data, e.Data) || h.sums[e.Index-1] != sum {
		return fmt.Errorf("state machine safety: member %d applied %d/%d %q, before it was %d/%d %q",
			id, e.Index, e.Term, e.Data, first.Index, first.Term, first.Data)
	}
	return nil
}

// refused fails the test when a sound member was taken for an unsound one.
func (h *history) refused(t testing.TB, err error) {
	t.Helper()
	if errors.Is(err, raft.ErrDiverged) || errors.Is(err, raft.ErrBadMessage) {
		t.Fatal(err)
	}
}

// logsMatch checks log matching on the disks of a cluster: where two logs hold an entry of the same index and term, they
// are equal up to there.
func (c *cluster) logsMatch() error {
	for _, a := range c.ids {
		for _, b := range c.ids {
			if a < b {
				if err := logsMatch(&c.members[a].disk, &c.members[b].disk); err != nil {
					return fmt.Errorf("members %d and %d: %w", a, b, err)
				}
			}
		}
	}
	return nil
}

func logsMatch(a, b *disk) error {
	agreed := false
	first := max(a.mark.Index, b.mark.Index) + 1
	last := min(a.mark.Index+uint64(len(a.entries)), b.mark.Index+uint64(len(b.entries)))
	for index := last; index >= first; index-- {
		x, y := a.entries[index-a.mark.Index-1], b.entries[index-b.mark.Index-1]
		agreed = agreed || x.Term == y.Term
		if agreed && (x.Term != y.Term || !bytes.Equal(x.Data, y.Data)) {
			return fmt.Errorf("log matching: entry %d is %d %q and %d %q", index, x.Term, x.Data, y.Term, y.Data)
		}
	}
	return nil
}
