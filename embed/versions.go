package embed

import (
	"errors"
	"fmt"

	"github.com/quoin-kv/quoin/internal/config"
	"github.com/quoin-kv/quoin/internal/datadir"
	"github.com/quoin-kv/quoin/internal/machine"
	"github.com/quoin-kv/quoin/internal/membership"
	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/internal/vfs"
	"github.com/quoin-kv/quoin/internal/wal"
	"github.com/quoin-kv/quoin/raft/wire"
)

// errInvalidDowngrade is the answer to the data of a cluster that has agreed on a version this server does not speak.
var errInvalidDowngrade = errors.New("invalid downgrade; server version is lower than determined cluster version")

// checkVersions refuses data that a later server wrote.
func checkVersions(m *machine.Machine) error {
	own, err := membership.ParseVersion(clusterVersion)
	if err != nil {
		return err
	}
	if v, err := membership.ParseVersion(m.StorageVersion()); err == nil && own.Less(v) {
		return fmt.Errorf("version %q is not supported", v)
	}
	if v, err := membership.ParseVersion(m.Members().Version()); err == nil && own.Less(v) {
		return fmt.Errorf("%w (%s < %s)", errInvalidDowngrade, own, v)
	}
	return nil
}

// errTooOld is the answer to a database file of etcd 3.4 or before, which does not say in what term its last log entry was proposed.
var errTooOld = errors.New("written by etcd 3.4 or before, which this server cannot take over: run etcd 3.5 on the directory " +
	"once, or restore a backup of it with quoin util snapshot restore")

// checkAge refuses a database file that is too old.
func checkAge(applied schema.Applied) error {
	if applied.Index > 0 && applied.Term == 0 {
		return errTooOld
	}
	return nil
}

// markFrom is where the log should be marked soon, 0 for nowhere: a server of another version may be next, and not know all of the log. Nobody after
// etcd 3.6 understands what its members said by the old API, and starts from a log with that.
func markFrom(version string, entries []wire.Entry, applied uint64) (index uint64) {
	if version != "" && version != clusterVersion {
		index = applied
	}
	return max(index, machine.LastV2(entries))
}

// markNow marks the log at what the database file holds, if that is not before from: whoever has the directory next starts there, even if this
// member is killed a moment later. Otherwise, and without room on the disk, the mark has to come later, from that index on.
func (d *data) markNow(cfg *config.Config, rec *wal.Recovered, m *machine.Machine, applied schema.Applied, from uint64) (marked, later uint64, err error) {
	if applied.Index < from || applied.Index <= rec.Mark.Index {
		return rec.Mark.Index, from, nil
	}
	state := m.ConfState()
	snapshot := wire.Snapshot{Meta: wire.SnapshotMeta{Index: applied.Index, Term: applied.Term, ConfState: state}, Data: m.Members().StoreJSON()}
	rec.HardState.Commit = max(rec.HardState.Commit, applied.Index)
	err = d.keepMark(snapshot, int(cfg.MaxSnapshots))
	if err == nil {
		err = d.log.Write(wal.Batch{Mark: &wal.Mark{Index: applied.Index, Term: applied.Term, ConfState: &state}, HardState: rec.HardState, Sync: true})
	}
	if vfs.NoSpace(err) {
		return rec.Mark.Index, from, nil
	}
	return applied.Index, 0, err
}

// keepMark notes beside the database file who the members were at a mark of the log: etcd before 3.7 cannot take the directory over without.
func (d *data) keepMark(s wire.Snapshot, keep int) error {
	paths := d.dir.Plan().Paths
	if err := datadir.WriteSnapFile(vfs.OS{}, paths, s); err != nil {
		return err
	}
	return datadir.PurgeSnapFiles(vfs.OS{}, paths, keep)
}
