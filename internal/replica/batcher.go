package replica

import (
	"slices"

	"github.com/quoin-kv/quoin/internal/wal"
	"github.com/quoin-kv/quoin/raft/wire"
)

// Batcher joins outputs into batches for the log: whatever has come since the last write is one write and one sync.
//
// A commit index alone is not worth a write: it is held back until there is something else to write. Losing it costs nothing, as it is
// learnt again.
//
// Invariants:
//  1. Every hard state that was joined is written, or is held, or was followed by another one.
//  2. A mark is written behind or together with the hard state that commits it.
type Batcher struct {
	held wire.HardState
}

// Joined is one batch and what follows from it.
type Joined struct {
	Log       wal.Batch
	Write     bool           // otherwise there is nothing to write now
	AfterSync []wire.Message // may leave once Log is written
	Installed uint64         // index of the snapshot whose mark is in Log; it may be installed once Log is written; 0 is none
	Persisted uint64         // to be handed to Consensus.Persisted then; 0 is nothing
}

// batchBytes is about the most that is written at once, so that a write does not take long.
const batchBytes = 8 << 20

// Together returns how many of the first outputs Join may join into one batch, at least one of them. A snapshot begins a batch: what was to
// be written before it is not behind its mark in the log.
func Together(outs []Output) int {
	size := 0
	for i := range outs {
		for j := range outs[i].Log.Entries {
			size += len(outs[i].Log.Entries[j].Data)
		}
		if i > 0 && (outs[i].Install != nil || size > batchBytes) {
			return i
		}
	}
	return len(outs)
}

// Join joins outputs, in the order in which Consensus gave them, as many as Together allows. outs may be used again at once.
func (b *Batcher) Join(outs []Output) Joined {
	j := Joined{Log: wal.Batch{HardState: b.held}}
	last := uint64(0)
	for i := range outs {
		if s := outs[i].Install; s != nil {
			if i > 0 {
				panic("replica: expected a snapshot to begin a batch")
			}
			j.Installed = s.Meta.Index
		}
		j.add(&outs[i].Log)
		j.AfterSync = append(j.AfterSync, outs[i].AfterSync...)
		last = max(last, outs[i].Seq) // an output that is only a mark has no number
	}
	j.Write = j.Log.Sync || len(j.Log.Entries) > 0
	if j.Log.Sync { // others need no report
		j.Persisted = last
	}
	b.held = wire.HardState{}
	if !j.Write {
		b.held = j.Log.HardState
	}
	return j
}

func (j *Joined) add(log *wal.Batch) {
	j.Log.Entries = override(j.Log.Entries, log.Entries)
	if !log.HardState.IsZero() {
		j.Log.HardState = log.HardState
	}
	if log.Mark != nil {
		j.Log.Mark = log.Mark
	}
	j.Log.Sync = j.Log.Sync || log.Sync
}

// override appends entries, which take the place of those with their index and above.
func override(log, entries []wire.Entry) []wire.Entry {
	if len(entries) == 0 {
		return log
	}
	if len(log) == 0 {
		return slices.Clip(entries) // of the core, and not to be written to
	}
	keep := len(log)
	for keep > 0 && log[keep-1].Index >= entries[0].Index {
		keep--
	}
	if keep < len(log) {
		log = slices.Clip(log[:keep]) // likewise
	}
	return append(log, entries...)
}

// Rest is what is still held, to be written when the member stops.
func (b *Batcher) Rest() wal.Batch { return wal.Batch{HardState: b.held} }
