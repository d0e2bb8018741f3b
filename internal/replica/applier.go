package replica

import (
	"errors"
	"fmt"

	"github.com/quoin-kv/quoin/internal/backend"
	"github.com/quoin-kv/quoin/internal/machine"
	"github.com/quoin-kv/quoin/internal/mvcc"
	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/raft/wire"
)

// Applier feeds committed entries to the machine, batch by batch.
//
// Invariants:
//  1. Every index is applied exactly once, in order, and committed to the store together with its changes.
//  2. The view of a batch shows all of the batch and nothing else.
type Applier struct {
	machine *machine.Machine
	store   *backend.Backend
	applied schema.Applied
	confs   []confAt // configurations by the index that brought them, ascending; the first is at or below what is flushed
	batch   Batch    // the last one
}

// confAt is a configuration and the index from which it holds.
type confAt struct {
	index uint64
	state wire.ConfState
}

// NewApplier continues after applied, which the store's file contains.
func NewApplier(m *machine.Machine, store *backend.Backend, applied schema.Applied) *Applier {
	applied.ConfState = nil // the file has it
	return &Applier{machine: m, store: store, applied: applied, confs: []confAt{{applied.Index, m.ConfState()}}}
}

// Batch is what applying some entries gave. It is valid until the next call of Apply or Install.
type Batch struct {
	Index, Term uint64 // of the last entry
	View        *mvcc.View
	Outcomes    []machine.Outcome
	Events      []mvcc.Event      // of all outcomes, in order
	ConfChanges []wire.ConfChange // to be handed to Consensus.Applied; a refused one has node id 0
	NewTerm     uint64            // term of a leader whose first entry is in here, 0 if none
	Compaction  bool              // a compaction has begun
	Lowered     bool              // the version of the cluster went down

	// Installed is not nil if the state was replaced as a whole by a snapshot; View, Index and Term are its, the rest is empty.
	Installed *machine.Machine
}

// Applied is how far the machine is.
func (a *Applier) Applied() schema.Applied { return a.applied }

// Machine is the machine, to be read only.
func (a *Applier) Machine() *machine.Machine { return a.machine }

// View is the state as it is now.
func (a *Applier) View() *mvcc.View { return a.machine.View(a.store.Reader()) }

// Apply applies entries, which must follow each other and what was applied before. wanted tells whether anybody waits for the reply to a
// request. An error means that storage could not be read: the machine is in no defined state then and must not be used again.
func (a *Applier) Apply(entries []wire.Entry, wanted func(id uint64) bool) (b *Batch, err error) {
	defer func() {
		if r := recover(); r != nil {
			failure, ok := r.(error)
			if !ok || !errors.As(failure, new(*machine.StorageError)) {
				panic(r)
			}
			b, err = nil, failure
		}
	}()
	b = a.newBatch()
	for i := range entries {
		a.applyOne(&entries[i], wanted, b)
	}
	b.Index, b.Term = a.applied.Index, a.applied.Term
	a.store.Commit(a.applied)
	a.applied.ConfState = nil
	b.View = a.View()
	return b, nil
}

// keptOutcomes and keptEvents bound the memory that is used from one batch to the next.
const (
	keptOutcomes = 1 << 10
	keptEvents   = 4 << 10
)

// newBatch returns an empty batch in the memory of the last one.
func (a *Applier) newBatch() *Batch {
	a.batch = Batch{Outcomes: recycled(a.batch.Outcomes, keptOutcomes), Events: recycled(a.batch.Events, keptEvents)}
	return &a.batch
}

// recycled empties a slice for another use, and lets go of it if it has room for more than most.
func recycled[T any](items []T, most int) []T {
	if cap(items) > most {
		return nil
	}
	clear(items)
	return items[:0]
}

func (a *Applier) applyOne(e *wire.Entry, wanted func(id uint64) bool, b *Batch) {
	if e.Index != a.applied.Index+1 {
		panic(fmt.Sprintf("replica: applying entry %d after %d", e.Index, a.applied.Index))
	}
	a.applied.Index, a.applied.Term = e.Index, e.Term
	switch {
	case e.Type == wire.EntryConfChange:
		a.applyConfChange(e, b)
	case e.Type != wire.EntryNormal:
		panic(fmt.Sprintf("replica: entry %d has type %d, which nobody proposes", e.Index, e.Type))
	case len(e.Data) == 0:
		b.NewTerm = e.Term
	default:
		out := a.machine.Apply(machine.Command{Index: e.Index, Term: e.Term, Data: e.Data, Wanted: wanted, Events: b.Events})
		b.Compaction = b.Compaction || out.Compaction
		b.Lowered = b.Lowered || out.Lowered
		b.Events = out.Events
		b.Outcomes = append(b.Outcomes, out)
	}
}

// applyConfChange applies a change of the configuration. One that breaks a rule of membership is refused on every member alike.
func (a *Applier) applyConfChange(e *wire.Entry, b *Batch) {
	var cc wire.ConfChange
	if err := cc.Unmarshal(e.Data); err != nil {
		panic(fmt.Sprintf("replica: entry %d is no configuration change: %v", e.Index, err))
	}
	out := machine.Outcome{ID: cc.ID}
	if out.Err = a.machine.ApplyConfChange(cc); out.Err != nil {
		cc.NodeID = 0
	} else {
		state := a.machine.ConfState()
		a.applied.ConfState = marshalConfState(state)
		a.confs = append(a.confs, confAt{e.Index, state})
	}
	b.ConfChanges = append(b.ConfChanges, cc)
	b.Outcomes = append(b.Outcomes, out)
}

// ConfStateAt is the configuration that held at index, which must not be below the index of an earlier call.
func (a *Applier) ConfStateAt(index uint64) wire.ConfState {
	for len(a.confs) > 1 && a.confs[1].index <= index {
		a.confs = a.confs[1:]
	}
	return a.confs[0].state
}

// Install goes on with a machine that was built on the store after a snapshot has replaced its file, which ends at applied. The batch has
// a view of it and nothing else.
func (a *Applier) Install(m *machine.Machine, applied schema.Applied) *Batch {
	if applied.Index <= a.applied.Index {
		panic(fmt.Sprintf("replica: installing a snapshot up to %d after %d", applied.Index, a.applied.Index))
	}
	*a = *NewApplier(m, a.store, applied)
	return &Batch{Index: applied.Index, Term: applied.Term, View: a.View(), Installed: m}
}

// CompactStep moves a compaction on by about budget revisions and reports whether there is more to do.
func (a *Applier) CompactStep(budget int) (more bool, err error) {
	more, err = a.machine.CompactStep(budget)
	a.store.Commit(a.applied)
	return more, err
}

// marshalConfState writes a configuration the way the meta bucket keeps it.
func marshalConfState(s wire.ConfState) []byte {
	return (&schema.ConfState{
		Voters: s.Voters, Learners: s.Learners, VotersOutgoing: s.VotersOutgoing, LearnersNext: s.LearnersNext, AutoLeave: s.AutoLeave,
	}).Append(nil)
}
