package service

import (
	"errors"
	"time"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/request"
)

// AutoCompaction says how much history the leader keeps. At most one field is positive; with none history is kept until somebody compacts.
type AutoCompaction struct {
	Period    time.Duration // history of so long
	Revisions int64         // so many revisions before the current one
}

// How often automatic compaction acts.
const (
	revisionInterval = 5 * time.Minute // by revision
	periodInterval   = time.Hour       // by period, unless the period is shorter
	periodSamples    = 10              // notes of the current revision in an interval
	periodPauseMin   = time.Millisecond
)

// runAutoCompaction compacts while this member leads. The others take note of revisions, too: whoever leads next knows how old they are.
func (s *Service) runAutoCompaction() {
	c := s.cfg.AutoCompaction
	switch {
	case c.Period > 0:
		s.compactByPeriod(newSamples(c.Period, s.clock.Now()))
	case c.Revisions > 0:
		s.compactByRevision(c.Revisions)
	}
}

func (s *Service) compactByPeriod(p *samples) {
	for {
		p.note(s.KeySpace().Revision)
		if s.clock.Wait(s.ctx, nil, p.pause) != nil {
			return
		}
		if rev, due := p.due(s.clock.Now()); due && s.IsLeader() && s.autoCompact(rev, "period", p.period) {
			p.done(rev, s.clock.Now())
		}
	}
}

func (s *Service) compactByRevision(keep int64) {
	last := int64(0)
	for s.clock.Wait(s.ctx, nil, revisionInterval) == nil {
		rev := s.KeySpace().Revision - keep
		if rev > 0 && rev != last && s.IsLeader() && s.autoCompact(rev, "revisions", keep) {
			last = rev
		}
	}
}

// autoCompact compacts and reports whether that is done, by whomever.
func (s *Service) autoCompact(rev int64, what string, keep any) bool {
	start := s.clock.Now()
	r := request.Compaction{Revision: rev}
	_, err := s.propose(s.ctx, request.FieldCompaction, r.Append(nil))
	switch {
	case err == nil:
		s.cfg.Logger.Info("compacted automatically", "revision", rev, what, keep, "took", s.since(start))
		return true
	case errors.Is(err, kverr.Compacted):
		return true
	case s.ctx.Err() == nil:
		s.cfg.Logger.Warn("automatic compaction failed", "revision", rev, what, keep, "error", err)
	}
	return false
}

// samples is what the current revision was at regular times, and when to compact to the oldest of them.
//
// Invariant: once a period has passed the oldest note is at least that old, and younger than the period and two pauses.
type samples struct {
	period, pause time.Duration
	every         time.Duration // between two compactions; the first is due after a period
	revs          []int64       // oldest first
	last          int64         // that was compacted
	next          time.Time     // when the next compaction is due
}

func newSamples(period time.Duration, now time.Time) *samples {
	every := min(period, periodInterval)
	return &samples{period: period, pause: max(every/periodSamples, periodPauseMin), every: every, next: now.Add(period)}
}

// note takes note of the current revision and forgets what is older than needed.
func (p *samples) note(rev int64) {
	p.revs = append(p.revs, rev)
	if keep := int(p.period/p.pause) + 1; len(p.revs) > keep {
		p.revs = p.revs[len(p.revs)-keep:]
	}
}

// due returns the revision to compact to, if there is one now.
func (p *samples) due(now time.Time) (int64, bool) {
	rev := p.revs[0]
	return rev, !now.Before(p.next) && rev != p.last
}

// done takes note of a compaction.
func (p *samples) done(rev int64, now time.Time) { p.last, p.next = rev, now.Add(p.every) }
