package model

import (
	"cmp"
	"fmt"
	"slices"
)

func staleness(format string, args ...any) error {
	return &Violation{Property: "serializable", Reason: fmt.Sprintf(format, args...)}
}

// checkAlone judges the reads that a member answered alone: each shows a state
// that existed, and what a client sees of one member never goes back.
func (w *witness) checkAlone(h *History) error {
	at := map[int64][]*Op{}
	for _, op := range w.alone {
		if op.Failure != FailureNone {
			if err := w.checkAloneFailure(op); err != nil {
				return err
			}
			continue
		}
		if !w.existed(op.Response.Revision, op.Return) {
			return staleness("revision %d did not exist at the return of\n%s", op.Response.Revision, op.describe())
		}
		at[op.Response.Revision] = append(at[op.Response.Revision], op)
	}
	err := w.replay(func(s *Store) error {
		for _, op := range at[s.revision] {
			if d := mismatch(op.Request, s.Apply(op.Request), op.Response); d != "" {
				return staleness("%s\nwhich is wrong: %s", op.describe(), d)
			}
		}
		return nil
	})
	if err != nil || len(w.alone) == 0 {
		return err
	}
	return checkForward(h)
}

// checkAloneFailure judges a failed read. That a revision is still to come is
// always possible: the member may lag.
func (w *witness) checkAloneFailure(op *Op) error {
	if op.Failure == FailureFuture {
		return nil
	}
	for _, r := range slices.Concat([]Request{op.Request}, op.Then, op.Else) {
		if op.Failure == FailureCompacted && r.Kind == Range && r.AtRevision > 0 && w.compacted(r.AtRevision, op.Return) {
			return nil
		}
	}
	return staleness("no reason for the failure of\n%s", op.describe())
}

// checkForward compares the revisions that one client was told by one member.
func checkForward(h *History) error {
	type pair struct {
		client int
		member uint64
	}
	byPair := map[pair][]*Op{}
	var pairs []pair
	for i := range h.Ops {
		op := &h.Ops[i]
		if op.Unknown || op.Failure != FailureNone || op.Response.Revision == 0 {
			continue
		}
		p := pair{op.Client, op.Member}
		if byPair[p] == nil {
			pairs = append(pairs, p)
		}
		byPair[p] = append(byPair[p], op)
	}
	for _, p := range pairs {
		if err := checkForwardOps(byPair[p]); err != nil {
			return err
		}
	}
	return nil
}

func checkForwardOps(ops []*Op) error {
	slices.SortStableFunc(ops, func(a, b *Op) int { return cmp.Compare(a.Call, b.Call) })
	byReturn := slices.Clone(ops)
	slices.SortStableFunc(byReturn, func(a, b *Op) int { return cmp.Compare(a.Return, b.Return) })
	var last *Op
	next := 0
	for _, op := range ops {
		for ; byReturn[next].Return < op.Call; next++ {
			if last == nil || byReturn[next].Response.Revision > last.Response.Revision {
				last = byReturn[next]
			}
		}
		if last != nil && isSerializable(op.Request) && op.Response.Revision < last.Response.Revision {
			return staleness("the member went back: %s\nafter\n%s", op.describe(), last.describe())
		}
	}
	return nil
}
