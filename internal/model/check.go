package model

import (
	"errors"
	"fmt"
	"time"
)

// ErrUndecided is returned, wrapped, when the time for a judgement ran out
// before a violation or a witness was found.
var ErrUndecided = errors.New("model: not decided in time")

// A Violation says which property a history does not have, and why.
type Violation struct {
	// Property names what was violated: "linearizable", "serializable", "watch", "lease" or "record"
	// for a history that contradicts itself before anything is judged.
	Property string
	// Reason is the explanation, on one or a few lines.
	Reason string
}

func (v *Violation) Error() string { return fmt.Sprintf("model: %s: %s", v.Property, v.Reason) }

// Check judges the history. It returns nil if every property holds, a
// *[Violation] for the first that does not, or an error that wraps
// [ErrUndecided] if that could not be said within timeout (0: no limit).
func (h *History) Check(timeout time.Duration) error {
	w, err := h.order(timeout)
	if err != nil {
		return err
	}
	for _, property := range []func(*History) error{w.checkAlone, w.checkWatches, w.checkLeases} {
		if err := property(h); err != nil {
			return err
		}
	}
	return nil
}

// order finds an order of the operations that the specification allows.
func (h *History) order(timeout time.Duration) (*witness, error) {
	r, err := newRecord(h)
	if err != nil {
		return nil, err
	}
	if err := r.realTime(); err != nil {
		return nil, err
	}
	s := newSearch(r, timeout)
	if !s.run() {
		return nil, s.violation()
	}
	return newWitness(s), nil
}
