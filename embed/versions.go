package embed

import (
	"errors"
	"fmt"

	"github.com/quoin-kv/quoin/internal/datadir"
	"github.com/quoin-kv/quoin/internal/machine"
	"github.com/quoin-kv/quoin/internal/membership"
	"github.com/quoin-kv/quoin/internal/vfs"
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

// keepMark notes beside the database file who the members were at a mark of the log: etcd before 3.7 cannot take the directory over without.
func (d *data) keepMark(s wire.Snapshot, keep int) error {
	paths := d.dir.Plan().Paths
	if err := datadir.WriteSnapFile(vfs.OS{}, paths, s); err != nil {
		return err
	}
	return datadir.PurgeSnapFiles(vfs.OS{}, paths, keep)
}
