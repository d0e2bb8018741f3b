// Package rebuild gives a stopped member whose data is damaged the data of its cluster.
//
// If only the database file is damaged, the log is kept: it holds what this member has promised, its vote and the entries it has
// acknowledged. The file is replaced by a snapshot of a healthy member, and the next start applies what the log has beyond it. A log that
// ends before the snapshot gets a mark there, as if the leader had sent it: everything up to there is committed.
//
// If the log is damaged nobody knows what was promised, and a voter that forgets its promises can undo what was acknowledged. So the member
// is removed from its cluster and added again, as a learner with a new id and nothing in its log; the leader sends it everything.
//
// What was there is moved aside and kept.
package rebuild

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/quoin-kv/quoin/internal/backend"
	"github.com/quoin-kv/quoin/internal/datadir"
	"github.com/quoin-kv/quoin/internal/membership"
	"github.com/quoin-kv/quoin/internal/replica"
	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/internal/vfs"
	"github.com/quoin-kv/quoin/internal/wal"
	"github.com/quoin-kv/quoin/raft/wire"
)

// Cluster is what the other members are asked for.
type Cluster interface {
	// Members returns the cluster's id and its members.
	Members(ctx context.Context) (clusterID uint64, members []Member, err error)
	// Snapshot writes the database file of a healthy member other than self, whole and verified.
	Snapshot(ctx context.Context, self uint64) (io.ReadCloser, error)
	// Settle clears the CORRUPT alarm of a member whose data is replaced.
	Settle(ctx context.Context, id uint64) error
	// Replace removes a member and adds it again as a learner, and returns its new id.
	Replace(ctx context.Context, id uint64, peerURLs []string) (newID uint64, err error)
}

// Member is one member of the cluster.
type Member struct {
	ID       uint64
	Name     string
	PeerURLs []string
}

// Options say whose data is rebuilt.
type Options struct {
	DataDir, WALDir string
	MemberID        uint64 // in case the log does not tell; 0: it must
	Now             time.Time
	Say             func(format string, args ...any) // tells the operator what is done
}

// ErrNotMember is the answer to data of a member that the cluster does not have.
var ErrNotMember = errors.New("the cluster has no such member; remove its data directory and add it as a new one")

// job is one rebuild under way.
type job struct {
	Options
	cluster Cluster
	dir     *datadir.Dir
	paths   datadir.Paths
	kept    string // directory of what was moved aside; empty until there is something
	self    Member
	id      uint64 // of the cluster
}

// Run rebuilds the data of a stopped member. It may be run again after an error.
func Run(ctx context.Context, o Options, cluster Cluster) (err error) {
	dir, err := datadir.Open(vfs.OS{}, o.DataDir, o.WALDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	j := &job{Options: o, cluster: cluster, dir: dir, paths: dir.Plan().Paths}
	if dir.Plan().State == datadir.Fresh {
		return fmt.Errorf("%s holds no member", o.DataDir)
	}
	log, err := wal.Read(wal.Config{FS: vfs.OS{}, Dir: j.paths.WAL})
	if err := j.identify(ctx, log, err); err != nil {
		return err
	}
	if err != nil {
		j.Say("the log cannot be used: %v", err)
		return j.replaceMember(ctx)
	}
	return j.replaceFile(ctx, log)
}

// identify finds out which member this is.
func (j *job) identify(ctx context.Context, log *wal.Recovered, logErr error) error {
	id := j.MemberID
	switch {
	case logErr == nil:
		id = log.Metadata.NodeID
	case id == 0:
		id = j.dir.Plan().Metadata.NodeID
	}
	if id == 0 {
		return fmt.Errorf("the log does not tell which member this is, give --member-id: %w", logErr)
	}
	clusterID, members, err := j.cluster.Members(ctx)
	if err != nil {
		return fmt.Errorf("asking the cluster: %w", err)
	}
	if logErr == nil && log.Metadata.ClusterID != clusterID {
		return fmt.Errorf("the data is of cluster %s, the endpoints are of cluster %s", membership.FormatID(log.Metadata.ClusterID), membership.FormatID(clusterID))
	}
	for _, m := range members {
		if m.ID == id {
			j.self, j.id = m, clusterID
			return nil
		}
	}
	return fmt.Errorf("member %s: %w", membership.FormatID(id), ErrNotMember)
}

// replaceFile puts a snapshot of another member in the place of the database file.
func (j *job) replaceFile(ctx context.Context, log *wal.Recovered) error {
	at, err := j.receive(ctx)
	if err != nil {
		return err
	}
	mark, err := continues(log, at)
	if errors.Is(err, errOtherTerm) {
		j.Say("the log goes another way than the cluster: %v", err)
		return j.replaceMember(ctx)
	}
	if err != nil {
		return err
	}
	if mark != nil {
		if err := j.mark(log, mark); err != nil {
			return err
		}
	}
	if err := errors.Join(j.moveAside(j.paths.DB), j.moveAside(j.paths.DB+".sums")); err != nil {
		return err
	}
	if err := j.dir.AdoptReceived(at.Index); err != nil {
		return err
	}
	j.Say("the database file is that of the cluster at log index %d; the damaged one is kept in %s", at.Index, j.kept)
	if err := j.cluster.Settle(ctx, j.self.ID); err != nil {
		j.Say("the CORRUPT alarm of this member was not cleared (%v): see alarm disarm", err)
	}
	j.Say("member %s can be started", membership.FormatID(j.self.ID))
	return nil
}

// receive stores a snapshot beside the database file.
func (j *job) receive(ctx context.Context) (at schema.Applied, err error) {
	body, err := j.cluster.Snapshot(ctx, j.self.ID)
	if err != nil {
		return at, fmt.Errorf("getting a snapshot: %w", err)
	}
	defer body.Close()
	_, err = j.dir.Receive(ctx, body, func(path string) (uint64, error) {
		at, err = backend.Check(path)
		return at.Index, err
	})
	if err != nil {
		return at, fmt.Errorf("getting a snapshot: %w", err)
	}
	return at, nil
}

var errOtherTerm = errors.New("the entry at the snapshot's index is of another term")

// continues finds out how a log goes on after a snapshot, and returns the mark that it needs for it, nil for none.
func continues(log *wal.Recovered, at schema.Applied) (*wire.SnapshotMeta, error) {
	last := log.Mark.Index + uint64(len(log.Entries))
	switch {
	case at.Index < log.Mark.Index:
		return nil, fmt.Errorf("the snapshot ends at log index %d, this member's log begins after %d: try again when the other member is further", at.Index, log.Mark.Index)
	case at.Index > last:
		meta, err := replica.MetaOf(at)
		return &meta, err
	}
	term := log.Mark.Term
	if at.Index > log.Mark.Index {
		term = log.Entries[at.Index-log.Mark.Index-1].Term
	}
	if at.Term != term {
		return nil, fmt.Errorf("%w: %d instead of %d at index %d", errOtherTerm, term, at.Term, at.Index)
	}
	return nil, nil
}

// mark notes in the log that it goes on after the snapshot. A vote holds for its term only.
func (j *job) mark(rec *wal.Recovered, meta *wire.SnapshotMeta) (err error) {
	log, _, err := wal.Open(wal.Config{FS: vfs.OS{}, Dir: j.paths.WAL})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	state := rec.HardState
	if state.Term < meta.Term {
		state.Term, state.Vote = meta.Term, 0
	}
	state.Commit = meta.Index
	return log.Write(wal.Batch{Mark: &wal.Mark{Index: meta.Index, Term: meta.Term, ConfState: &meta.ConfState}, HardState: state, Sync: true})
}

// replaceMember has the cluster forget this member's promises, and begins anew.
func (j *job) replaceMember(ctx context.Context) error {
	newID, err := j.cluster.Replace(ctx, j.self.ID, j.self.PeerURLs)
	if err != nil {
		return fmt.Errorf("replacing member %s: %w", membership.FormatID(j.self.ID), err)
	}
	j.Say("member %s was removed and added again as learner %s", membership.FormatID(j.self.ID), membership.FormatID(newID))
	if err := errors.Join(j.moveAside(j.paths.WAL), j.moveAside(j.paths.Snap)); err != nil {
		return err
	}
	fsys := vfs.OS{}
	if err := errors.Join(vfs.MkdirAll(fsys, j.paths.Snap), vfs.MkdirAll(fsys, filepath.Dir(j.paths.WAL))); err != nil {
		return err
	}
	log, err := wal.CreateWith(wal.Config{FS: fsys, Dir: j.paths.WAL}, wal.Metadata{NodeID: newID, ClusterID: j.id}, wal.Batch{})
	if err != nil {
		return err
	}
	if err := log.Close(); err != nil {
		return err
	}
	j.Say("what was there is kept in %s", j.kept)
	j.Say("start the member; when it has caught up, give it its vote: quoin member promote %s", membership.FormatID(newID))
	return nil
}

// moveAside moves a file or directory to where damaged data is kept. One that is not there is no error.
func (j *job) moveAside(path string) error {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	beside := j.paths.Member
	if path == j.paths.WAL {
		beside = filepath.Dir(path) // it may be on another file system
	}
	kept := filepath.Join(beside, "damaged-"+j.Now.UTC().Format("20060102-150405"))
	if err := os.MkdirAll(kept, 0o700); err != nil {
		return err
	}
	if j.kept == "" {
		j.kept = kept
	}
	return os.Rename(path, filepath.Join(kept, filepath.Base(path)))
}
