package embed

import (
	"strings"

	"github.com/quoin-kv/quoin/internal/datadir"
	"github.com/quoin-kv/quoin/internal/membership"
	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/internal/vfs"
	"github.com/quoin-kv/quoin/internal/wal"
)

// witness compares the members in the database file, by which this member goes, with what the log says of them, and tells the operator of
// differences: in directories of etcd 3.5 and before members can have stayed in the file that were removed long ago. It is true if there are
// none. If there are, the log should not be marked anew without need: a mark repeats what the file says.
func (d *data) witness(rec *wal.Recovered, c *membership.Cluster, applied uint64) (trusted bool, err error) {
	store, err := datadir.ReadSnapFile(vfs.OS{}, d.dir.Plan().Paths, rec.Mark.Term, rec.Mark.Index)
	if err != nil {
		return false, err
	}
	deviations, err := c.Deviations(membership.Evidence{
		Mark: rec.Mark.Index, StoreJSON: store, ConfState: rec.Mark.ConfState, Entries: rec.Entries, Applied: applied,
	})
	if err != nil {
		d.logger.Warn("what the log says of the members cannot be read", "error", err)
		return true, nil
	}
	var ids []string
	for _, one := range deviations {
		shown := one.Stored
		if shown.ID == 0 {
			shown = one.Logged
		}
		ids = append(ids, membership.FormatID(shown.ID))
		d.logger.Warn("a member "+one.Kind.String(), "member", membership.FormatID(shown.ID), "name", shown.Name, "peer-urls", strings.Join(shown.PeerURLs, ","),
			"role-in-file", role(one.Stored), "role-in-log", role(one.Logged))
	}
	if len(ids) > 0 {
		d.logger.Warn("the members in the database file are not those of the log; the file counts, as it does for etcd 3.6 and later",
			"members", strings.Join(ids, ","),
			"remedy", "if such a member does not exist any more: quoin member remove ID, while the cluster has a leader; otherwise stop all members, run for "+
				"each of them: quoin util members --data-dir DIR --mend (or --remove ID), and start them")
	}
	return len(ids) == 0, nil
}

func role(m schema.Member) string {
	switch {
	case m.ID == 0:
		return "none"
	case m.IsLearner:
		return "learner"
	}
	return "voter"
}
