package model

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// CheckSlowly asks porcupine whether the history is linearizable, and nothing
// else. It knows no shortcut: some hundred operations are its limit. The answers
// are those of [History.Check], without a reason.
func (h *History) CheckSlowly(timeout time.Duration) error {
	r, err := newRecord(h)
	if err != nil {
		return err
	}
	switch porcupine.CheckOperationsTimeout(r.porcupineModel(), r.porcupineOperations(), timeout) {
	case porcupine.Ok:
		return nil
	case porcupine.Illegal:
		return &Violation{Property: "linearizable", Reason: "porcupine finds no order"}
	}
	return ErrUndecided
}

// porcupineModel states the specification as porcupine wants it: a state is a
// store that nobody changes.
func (r *record) porcupineModel() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return NewStore(r.start) },
		Step: func(state, input, _ any) (bool, any) {
			return r.step(state.(*Store), input.(*item))
		},
		Equal: func(a, b any) bool { return a.(*Store).equal(b.(*Store)) },
		Hash:  func(state any) uint64 { return state.(*Store).fingerprint() },
		DescribeOperation: func(input, _ any) string {
			return input.(*item).describe()
		},
		DescribeState: func(state any) string { return fmt.Sprintf("revision %d", state.(*Store).revision) },
	}
}

// step places one item. What is of unknown outcome always fits: placed last, it
// is as if it had not happened.
func (r *record) step(before *Store, it *item) (bool, *Store) {
	if it.role == sample {
		return it.at == before.revision, before
	}
	after := before.Clone()
	answer := after.Apply(it.request)
	if it.role != free && mismatch(it.request, answer, it.response) != "" {
		return false, before
	}
	if it.role != pinnedWrite && after.revision > before.revision && !r.evidence.allows(after.revision, after.Events(after.revision)) {
		return false, before
	}
	return true, after
}

// porcupineOperations are the items, and for each grant one expiry that may come
// at any time.
func (r *record) porcupineOperations() []porcupine.Operation {
	items := slices.Concat(r.items, r.free)
	for i := range items {
		if it := items[i]; it.request.Kind == Grant && (it.role == mover || it.role == free) {
			items = append(items, expiry(it.request.Lease, it.call))
		}
	}
	for _, lease := range slices.Sorted(maps.Keys(NewStore(r.start).leases)) {
		items = append(items, expiry(lease, math.MinInt64))
	}
	slices.SortStableFunc(items, func(a, b item) int { return cmp.Compare(a.call, b.call) })
	operations := make([]porcupine.Operation, 0, len(items))
	for i := range items {
		operations = append(operations, porcupine.Operation{Input: &items[i], Call: items[i].call, Return: items[i].ret})
	}
	return operations
}

func expiry(lease, from int64) item {
	return item{request: Request{Kind: Expire, Lease: lease}, call: from, ret: never, role: free}
}
