package service

import (
	"slices"
	"time"

	"github.com/quoin-kv/quoin/internal/request"
)

// checkpointBatch is the number of leases in one note.
const checkpointBatch = 1000

// runCheckpoints notes from time to time, while this member leads, how much time long leases have left. Without these notes the next leader
// gives every lease its whole time anew.
func (s *Service) runCheckpoints() {
	if s.cfg.LeaseCheckpoint <= 0 {
		return
	}
	for s.clock.Wait(s.ctx, nil, s.cfg.LeaseCheckpoint) == nil {
		for ids := range slices.Chunk(s.longLeases(), checkpointBatch) {
			s.checkpoint(ids)
		}
	}
}

// longLeases are those that live longer than the time between two notes.
func (s *Service) longLeases() []int64 {
	s.leases.mu.Lock()
	defer s.leases.mu.Unlock()
	if !s.countsDeadlines() {
		return nil
	}
	return s.leases.mu.deadlines.Long(int64(s.cfg.LeaseCheckpoint / time.Second))
}

// checkpoint notes the time of some leases. If that fails the next round does better.
//
// A lease that is renewed meanwhile must not be left with the note: whoever renews it waits for the end of this and takes the note back, see
// renew. The note stands before that in the log, or nowhere, because only the leader of this term may put it there.
func (s *Service) checkpoint(ids []int64) {
	notes, term := s.leases.beginNotes(ids, s)
	if len(notes) == 0 {
		return
	}
	raw := (&request.LeaseCheckpoint{Checkpoints: notes}).Append(nil)
	_, err := s.proposeAs(s.ctx, s.asRoot(), term, request.FieldLeaseCheckpoint, raw)
	s.leases.endNotes(term, err != nil)
	if err != nil && s.ctx.Err() == nil {
		s.cfg.Logger.Info("remaining times of leases not noted", "leases", len(notes), "error", err)
	}
}

// beginNotes returns what there is to note, if this member leads, and in which term. If there is something, endNotes must follow.
func (l *leases) beginNotes(ids []int64, s *Service) (notes []request.Checkpoint, term uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !s.countsDeadlines() {
		return nil, 0
	}
	noting := map[int64]bool{}
	for _, id := range ids {
		if left, ok := l.mu.deadlines.Note(id, s.now()); ok {
			notes = append(notes, request.Checkpoint{ID: id, RemainingTTL: left})
			noting[id] = true
		}
	}
	if len(notes) > 0 {
		l.mu.noting, l.mu.noted = noting, make(chan struct{})
	}
	return notes, l.mu.term
}

// endNotes lets renewals of the noted leases go on. A note that failed may come to be in the log yet, as long as the term lasts.
func (l *leases) endNotes(term uint64, failed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range l.mu.noting {
		if failed && term == l.mu.term {
			l.mu.doubtful[id] = true
		}
	}
	l.mu.noting = nil
	close(l.mu.noted)
}
