package migrate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// agreement is how members were found to have the same data.
type agreement struct {
	revision int64
	hash     Hash
	leases   int
}

// agree compares the members that answer, at one revision. Writes and compactions go on meanwhile, so a difference counts only if it stays.
func (r *run) agree(ctx context.Context) (agreement, error) {
	var last error
	for range r.Tries {
		s, err := r.cluster.Look(ctx)
		if err != nil {
			return agreement{}, err
		}
		a, err := r.compare(ctx, s)
		if err == nil {
			return a, nil
		}
		last = err
		if err := r.pause(ctx); err != nil {
			return agreement{}, errors.Join(err, last)
		}
	}
	return agreement{}, fmt.Errorf("members do not agree: %w", last)
}

func (r *run) compare(ctx context.Context, s *Survey) (agreement, error) {
	leader := s.leader()
	if leader == nil {
		return agreement{}, errors.New("no member leads")
	}
	a, err := r.compareHashes(ctx, s.answering())
	if err != nil {
		return a, err
	}
	a.leases, err = r.compareLeases(ctx, s.answering(), leader)
	return a, err
}

// compareHashes hashes what all members have reached.
func (r *run) compareHashes(ctx context.Context, members []*Member) (agreement, error) {
	a := agreement{revision: members[0].Revision}
	for _, m := range members {
		a.revision = min(a.revision, m.Revision)
	}
	var sums []string
	same := true
	for i, m := range members {
		h, err := r.cluster.Hash(ctx, m, a.revision)
		if err != nil {
			return a, fmt.Errorf("%s: hash at revision %d: %w", m.title(), a.revision, err)
		}
		if i == 0 {
			a.hash = h
		}
		same = same && h == a.hash
		sums = append(sums, fmt.Sprintf("%s has %08x, compacted at %d", m.title(), h.Sum, h.Compacted))
	}
	if !same {
		return a, fmt.Errorf("hashes at revision %d differ: %s", a.revision, strings.Join(sums, "; "))
	}
	return a, nil
}

// compareLeases looks for leases that the leader knew before and after a member was asked, and the member does not.
func (r *run) compareLeases(ctx context.Context, members []*Member, leader *Member) (int, error) {
	before, err := r.cluster.Leases(ctx, leader)
	if err != nil {
		return 0, fmt.Errorf("%s: leases: %w", leader.title(), err)
	}
	for _, m := range members {
		theirs, err := r.cluster.Leases(ctx, m)
		if err != nil {
			return 0, fmt.Errorf("%s: leases: %w", m.title(), err)
		}
		after, err := r.cluster.Leases(ctx, leader)
		if err != nil {
			return 0, fmt.Errorf("%s: leases: %w", leader.title(), err)
		}
		for _, id := range before {
			if has(after, id) && !has(theirs, id) {
				return 0, fmt.Errorf("%s does not know the lease %x", m.title(), id)
			}
		}
	}
	return len(before), nil
}

func has(sorted []int64, id int64) bool {
	_, found := slices.BinarySearch(sorted, id)
	return found
}
