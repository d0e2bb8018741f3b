package replica

import (
	"errors"
	"fmt"

	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/raft/wire"
)

// errSnapshot is wrapped by the errors about snapshots that cannot be used.
var errSnapshot = errors.New("snapshot refused")

// ExactMeta is where the log really goes on after a received database file: meta is what its sender says of it, at what the file says of
// itself. A file may be newer than its sender says, since it is read after the message was made; whoever installed it under the older index
// would apply entries twice. With the exact index there is nothing to skip, neither now nor after a crash.
func ExactMeta(meta wire.SnapshotMeta, at schema.Applied) (wire.SnapshotMeta, error) {
	switch {
	case at.Index < meta.Index:
		return meta, fmt.Errorf("%w: the file ends at entry %d, its sender says %d", errSnapshot, at.Index, meta.Index)
	case at.Index > meta.Index:
		return MetaOf(at)
	case at.Term != meta.Term:
		return meta, fmt.Errorf("%w: the file ends in term %d, its sender says %d", errSnapshot, at.Term, meta.Term)
	}
	return meta, nil
}

// MetaOf is the place of a database file in the log, as the file has it.
func MetaOf(at schema.Applied) (wire.SnapshotMeta, error) {
	var state schema.ConfState
	if at.Index == 0 || at.Term == 0 || at.ConfState == nil {
		return wire.SnapshotMeta{}, fmt.Errorf("%w: the file does not say where it ends", errSnapshot)
	}
	if err := state.Unmarshal(at.ConfState); err != nil {
		return wire.SnapshotMeta{}, fmt.Errorf("%w: %w", errSnapshot, err)
	}
	return wire.SnapshotMeta{Index: at.Index, Term: at.Term, ConfState: wire.ConfState{
		Voters: state.Voters, Learners: state.Learners, VotersOutgoing: state.VotersOutgoing, LearnersNext: state.LearnersNext,
		AutoLeave: state.AutoLeave,
	}}, nil
}
