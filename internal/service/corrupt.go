package service

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/machine"
	"github.com/quoin-kv/quoin/internal/membership"
	"github.com/quoin-kv/quoin/internal/mvcc"
	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/schema"
)

// Members compare their data by hashes of it. A member whose own file turns out to be damaged stops, and needs no comparison for that (see
// package backend); what is compared here is whether members that think they are well agree. If not, the one that is wrong gets the CORRUPT
// alarm, which ends all writing until somebody has looked.

// PeerHash is another member's checksum of its key space.
type PeerHash struct {
	mvcc.Hash
	CurrentRev int64 // how far its history went when it answered
}

// HashChecks says when members compare their data.
type HashChecks struct {
	// Ask asks a member, at one of its peer URLs, for the hash at a revision. nil: there are no comparisons.
	Ask func(ctx context.Context, urls []string, revision int64) (PeerHash, error)
	// Every is the time between two comparisons by the leader of all there is, which everybody has to read for it. 0: never.
	Every time.Duration
	// Compactions is the time between two comparisons by the leader of what members noted at the last compaction. 0: never.
	Compactions time.Duration
}

// ErrInconsistent is why a member must not serve: others at the same revision have other data.
var ErrInconsistent = errors.New("found data inconsistency with peers")

// hashTries is how often a member is asked that answers with a hash which cannot be compared.
const hashTries = 3

// memberHash is what one member answered.
type memberHash struct {
	id   uint64
	hash mvcc.Hash
}

// CheckInitial compares this member's data with that of the others that answer, before it serves anybody.
func (s *Service) CheckInitial(ctx context.Context) error {
	if s.cfg.HashChecks.Ask == nil {
		return nil
	}
	own, err := s.HashKV(ctx, 0)
	if err != nil {
		return err
	}
	for _, m := range s.otherMembers() {
		theirs, err := s.cfg.HashChecks.Ask(ctx, m.PeerURLs, own.Rev)
		switch {
		case err != nil:
			s.cfg.Logger.Warn("a member does not tell the hash of its data", "member", membership.FormatID(m.ID), "revision", own.Rev, "error", err)
		case theirs.Rev == own.Rev && theirs.CompactRev == own.CompactRev && theirs.Hash.Hash != own.Hash:
			return fmt.Errorf("%w: revision %d has the hash %d here and %d at member %s", ErrInconsistent, own.Rev, own.Hash, theirs.Hash.Hash, membership.FormatID(m.ID))
		}
	}
	s.cfg.Logger.Info("initial check of the data", "revision", own.Rev, "hash", own.Hash)
	return nil
}

func (s *Service) otherMembers() []schema.Member {
	var others []schema.Member
	for _, m := range s.cluster.Load().members {
		if m.ID != s.cfg.MemberID {
			others = append(others, m)
		}
	}
	return others
}

// runHashCheck compares all data now and then, while this member leads.
func (s *Service) runHashCheck() {
	every := s.cfg.HashChecks.Every
	if s.cfg.HashChecks.Ask == nil || every <= 0 {
		return
	}
	for s.clock.Wait(s.ctx, nil, every) == nil {
		if !s.IsLeader() {
			continue
		}
		if err := s.compareData(s.ctx); err != nil && s.ctx.Err() == nil {
			s.cfg.Logger.Warn("comparing the data of the members failed", "error", err)
		}
	}
}

// compareData compares this member's data with that of the others.
func (s *Service) compareData(ctx context.Context) error {
	if err := s.readIndex(ctx); err != nil {
		return err
	}
	own, err := s.HashKV(ctx, 0)
	if err != nil {
		return err
	}
	answers := s.askAll(ctx, own.Rev)
	if err := s.readIndex(ctx); err != nil { // now this member has all that the others may have
		return err
	}
	now, compacted, err := s.revisions()
	if err != nil {
		return err
	}
	hashes := []memberHash{{s.cfg.MemberID, own}}
	for _, id := range slices.Sorted(maps.Keys(answers)) {
		a := answers[id]
		if a.CurrentRev > now || a.CompactRev > compacted {
			s.raiseCorrupt(ctx, id, "a member is ahead of the leader", "revision", a.CurrentRev, "compacted", a.CompactRev, "leaders_revision", now, "leaders_compacted", compacted)
			continue
		}
		hashes = append(hashes, memberHash{id, a.Hash})
	}
	s.judge(ctx, hashes)
	return nil
}

// revisions returns the current and the compacted revision.
func (s *Service) revisions() (current, compacted int64, err error) {
	view, err := s.member.View()
	if err != nil {
		return 0, 0, err
	}
	defer view.Release()
	return view.Rev(), view.CompactRev(), nil
}

// askAll asks the other members for a hash. Those that do not answer are missing.
func (s *Service) askAll(ctx context.Context, revision int64) map[uint64]PeerHash {
	answers := map[uint64]PeerHash{}
	for _, m := range s.otherMembers() {
		if a, err := s.askHash(ctx, m, revision); err == nil {
			answers[m.ID] = a
		}
	}
	return answers
}

func (s *Service) askHash(ctx context.Context, m schema.Member, revision int64) (PeerHash, error) {
	a, err := s.cfg.HashChecks.Ask(ctx, m.PeerURLs, revision)
	if err != nil && ctx.Err() == nil {
		s.cfg.Logger.Info("a member does not tell the hash of its data", "member", membership.FormatID(m.ID), "revision", revision, "error", err)
	}
	return a, err
}

// judge raises the alarm for those members, of several, whose hash is not the one that a majority of the cluster has. The first hash is this
// member's; one that is of another revision, or was taken after another compaction, says nothing.
func (s *Service) judge(ctx context.Context, hashes []memberHash) {
	own := hashes[0].hash
	hashes = slices.DeleteFunc(slices.Clone(hashes), func(h memberHash) bool {
		return h.hash.Rev != own.Rev || h.hash.CompactRev != own.CompactRev
	})
	for _, id := range suspects(hashes, len(s.cluster.Load().members)/2+1) {
		s.raiseCorrupt(ctx, id, "members have different data", "revision", own.Rev, "compacted", own.CompactRev, "hashes", fmt.Sprint(hashes))
	}
}

// suspects are the members whose hash differs from that of a majority; 0 if hashes differ and none has a majority.
func suspects(hashes []memberHash, majority int) []uint64 {
	count := map[uint32]int{}
	for _, h := range hashes {
		count[h.hash.Hash]++
	}
	if len(count) < 2 {
		return nil
	}
	var minority []uint64
	for _, h := range hashes {
		if count[h.hash.Hash] < majority {
			minority = append(minority, h.id)
		}
	}
	if len(minority) == len(hashes) {
		return []uint64{0}
	}
	return minority
}

// raiseCorrupt raises the CORRUPT alarm for a member, 0 if nobody knows which one it is.
func (s *Service) raiseCorrupt(ctx context.Context, id uint64, why string, details ...any) {
	one := machine.Alarm{MemberID: id, Kind: request.AlarmCorrupt}
	if s.raised(one) {
		return
	}
	s.cfg.Logger.Error("data corruption: "+why, append([]any{"member", membership.FormatID(id)}, details...)...)
	if _, err := s.Alarm(ctx, request.Alarm{Action: request.AlarmActivate, MemberID: id, Kind: one.Kind}); err != nil && ctx.Err() == nil {
		s.cfg.Logger.Warn("raising the alarm failed", "error", err)
	}
}

// runCompactCheck compares what the members noted at the last compaction, while this member leads.
func (s *Service) runCompactCheck() {
	every := s.cfg.HashChecks.Compactions
	if s.cfg.HashChecks.Ask == nil || every <= 0 {
		return
	}
	var check compactCheck
	for s.clock.Wait(s.ctx, nil, every) == nil {
		if newest, ok := s.newestCompaction(); ok && s.IsLeader() {
			check.take(newest)
			s.compareCompaction(s.ctx, &check)
		}
	}
}

// compactCheck is the comparison of one compaction, which may take several attempts.
type compactCheck struct {
	own     mvcc.Hash
	answers map[uint64]mvcc.Hash
	tries   map[uint64]int // answers that could not be compared
}

// take begins the comparison of a compaction, unless it is under way.
func (c *compactCheck) take(own mvcc.Hash) {
	if c.answers == nil || c.own != own {
		*c = compactCheck{own: own, answers: map[uint64]mvcc.Hash{}, tries: map[uint64]int{}}
	}
}

// open tells whether a member's answer is wanted still.
func (c *compactCheck) open(id uint64) bool {
	_, answered := c.answers[id]
	return !answered && c.tries[id] < hashTries
}

// answer takes a member's answer. One that started since has to make up the hash, and one that is at it yet answers something else.
func (c *compactCheck) answer(id uint64, h mvcc.Hash, err error) {
	switch {
	case errors.Is(err, kverr.Compacted), err == nil && (h.Rev != c.own.Rev || h.CompactRev != c.own.CompactRev):
		c.tries[id]++
	case err == nil:
		c.answers[id] = h
	}
}

func (s *Service) newestCompaction() (mvcc.Hash, bool) {
	view, err := s.member.View()
	if err != nil {
		return mvcc.Hash{}, false
	}
	defer view.Release()
	hashes := view.CompactHashes()
	if len(hashes) == 0 {
		return mvcc.Hash{}, false
	}
	return hashes[len(hashes)-1], true
}

// compareCompaction asks those that have not answered, and judges if there is something new.
func (s *Service) compareCompaction(ctx context.Context, c *compactCheck) {
	news := false
	for _, m := range s.otherMembers() {
		if !c.open(m.ID) {
			continue
		}
		a, err := s.askHash(ctx, m, c.own.Rev)
		c.answer(m.ID, a.Hash, err)
		news = news || err == nil
	}
	if !news {
		return
	}
	hashes := []memberHash{{s.cfg.MemberID, c.own}}
	for _, id := range slices.Sorted(maps.Keys(c.answers)) {
		hashes = append(hashes, memberHash{id, c.answers[id]})
	}
	s.judge(ctx, hashes)
	s.cfg.Logger.Info("finished compaction hash check", "revision", c.own.CompactRev, "members", len(hashes))
}
