package offline

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.etcd.io/bbolt"

	"github.com/quoin-kv/quoin/internal/datadir"
	"github.com/quoin-kv/quoin/internal/membership"
	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/internal/vfs"
	"github.com/quoin-kv/quoin/internal/wal"
	"github.com/quoin-kv/quoin/raft/wire"
)

// RestoreOptions say what a snapshot becomes.
type RestoreOptions struct {
	Snapshot string // the file
	DataDir  string // must be missing or empty; "" for <Name>.etcd
	WALDir   string // of the log; "" for inside DataDir

	Name              string // of the member
	InitialCluster    string // name=url,...: all members of the new cluster
	Token             string // distinguishes the new cluster from others with the same URLs
	AdvertisePeerURLs []string

	SkipHashCheck bool   // accept a file without its hash, such as a plain copy of a database file, or with a wrong one
	BumpRevision  uint64 // how far to raise the revision, so that no client sees it go back
	MarkCompacted bool   // everything below the raised revision counts as compacted; goes with BumpRevision

	Progress Progress
}

// foundingTerm is the term of the entries with which a log begins.
const foundingTerm = 1

// Restore makes a data directory of a snapshot: that of one member of a new cluster, which holds what the snapshot holds. It is done for
// every member, from the same snapshot. An error leaves nothing behind; a crash leaves a directory that no member starts from.
func Restore(ctx context.Context, o RestoreOptions) error {
	if o.DataDir == "" {
		o.DataDir = o.Name + ".etcd"
	}
	if (o.BumpRevision > 0) != o.MarkCompacted {
		return ErrBumpAlone
	}
	members, err := o.members()
	if err != nil {
		return err
	}
	paths := datadir.NewPaths(o.DataDir, o.WALDir)
	if err := unused(o.DataDir, paths.WAL); err != nil {
		return err
	}
	r := &restore{RestoreOptions: o, paths: paths, members: members}
	if err := r.run(ctx); err != nil {
		return errors.Join(err, os.RemoveAll(paths.Member), removeEmpty(paths.Root))
	}
	return nil
}

// ErrBumpAlone is the answer to a revision that is raised without the history below it counting as compacted, or the other way round.
var ErrBumpAlone = errors.New("--mark-compacted required if --revision-bump > 0")

// members are those of the new cluster.
func (o *RestoreOptions) members() ([]schema.Member, error) {
	cluster, err := membership.ParseInitialCluster(o.InitialCluster)
	if err != nil {
		return nil, err
	}
	if err := cluster.Check(o.Name); err != nil {
		return nil, err
	}
	urls, err := membership.ParseURLs(o.AdvertisePeerURLs)
	if err != nil {
		return nil, err
	}
	if err := cluster.CheckAdvertised(o.Name, urls); err != nil {
		return nil, fmt.Errorf("%w (resolved urls: %q != %q)", err, strings.Join(urls, ","), strings.Join(cluster[o.Name], ","))
	}
	return cluster.Members(o.Token), nil
}

// unused refuses directories that hold something.
func unused(dataDir, walDir string) error {
	if entries, err := os.ReadDir(dataDir); err != nil && !errors.Is(err, os.ErrNotExist) || len(entries) > 0 {
		return fmt.Errorf("data-dir %q not empty or could not be read", dataDir)
	}
	if entries, err := os.ReadDir(walDir); err != nil && !errors.Is(err, os.ErrNotExist) || len(entries) > 0 {
		return fmt.Errorf("wal-dir %q not empty or could not be read", walDir)
	}
	return nil
}

// removeEmpty removes a directory if nothing is left in it.
func removeEmpty(dir string) error {
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		return nil // there is nothing to tidy up
	}
	return os.Remove(dir)
}

// restore is one restoration under way.
type restore struct {
	RestoreOptions
	paths   datadir.Paths
	members []schema.Member // by id
}

// run builds the database file under a name that counts as a leftover, and the log last: it appears at once, and without it nothing starts.
func (r *restore) run(ctx context.Context) error {
	fsys := vfs.OS{}
	for _, dir := range []string{r.paths.Snap, filepath.Dir(r.paths.WAL)} {
		if err := vfs.MkdirAll(fsys, dir); err != nil {
			return err
		}
	}
	building := r.paths.DB + ".tmp.restore"
	if err := copySnapshot(ctx, copyOptions{from: r.Snapshot, to: building, skipHash: r.SkipHashCheck, progress: r.Progress}); err != nil {
		return err
	}
	var cluster *membership.Cluster
	err := change(building, func(tx *bbolt.Tx) (err error) {
		if err := r.bump(tx); err != nil {
			return err
		}
		cluster, err = r.rewriteMembers(tx)
		return err
	})
	if err != nil {
		return err
	}
	if err := fsys.Rename(building, r.paths.DB); err != nil {
		return err
	}
	if err := fsys.SyncDir(r.paths.Snap); err != nil {
		return err
	}
	return r.begin(fsys, cluster)
}

// bump raises the revision by a record without a key, and has everything below it compacted.
func (r *restore) bump(tx *bbolt.Tx) error {
	if r.BumpRevision == 0 {
		return nil
	}
	latest, err := latestRev(tx)
	if err != nil {
		return err
	}
	keys, err := bucket(tx, schema.Key)
	if err != nil {
		return err
	}
	const most = 1 << 62
	if latest.Main > most || r.BumpRevision > most {
		return fmt.Errorf("revision %d cannot be raised by %d", latest.Main, r.BumpRevision)
	}
	raised := schema.AppendRev(nil, schema.Rev{Main: latest.Main + int64(r.BumpRevision)}, false)
	if err := keys.Put(raised, []byte{}); err != nil {
		return err
	}
	meta, err := tx.CreateBucketIfNotExists([]byte(schema.Meta.Name()))
	if err != nil {
		return err
	}
	return meta.Put([]byte(schema.MetaScheduledCompact), raised)
}

// rewriteMembers makes the file that of the new cluster, whose log has been applied up to the last founder.
func (r *restore) rewriteMembers(tx *bbolt.Tx) (*membership.Cluster, error) {
	cluster := membership.New()
	for _, b := range []schema.Bucket{schema.Members, schema.MembersRemoved} {
		if err := tx.DeleteBucket([]byte(b.Name())); err != nil && tx.Bucket([]byte(b.Name())) != nil {
			return nil, err
		}
		if _, err := tx.CreateBucket([]byte(b.Name())); err != nil {
			return nil, err
		}
	}
	if err := loadVersion(tx, cluster); err != nil {
		return nil, err
	}
	for _, m := range r.members {
		value := m.Append(nil)
		if err := tx.Bucket([]byte(schema.Members.Name())).Put(schema.MemberKey(m.ID), value); err != nil {
			return nil, err
		}
		if err := cluster.Load(schema.Members, schema.MemberKey(m.ID), value); err != nil {
			return nil, err
		}
	}
	meta, err := tx.CreateBucketIfNotExists([]byte(schema.Meta.Name()))
	if err != nil {
		return nil, err
	}
	if err := meta.Put([]byte(schema.MetaConsistentIndex), schema.AppendUint64(nil, uint64(len(r.members)))); err != nil {
		return nil, err
	}
	return cluster, meta.Put([]byte(schema.MetaTerm), schema.AppendUint64(nil, foundingTerm))
}

// loadVersion tells cluster what the file says of its version.
func loadVersion(tx *bbolt.Tx, cluster *membership.Cluster) error {
	b := tx.Bucket([]byte(schema.Cluster.Name()))
	if b == nil {
		return nil
	}
	return b.ForEach(func(k, v []byte) error { return cluster.Load(schema.Cluster, slices.Clone(k), slices.Clone(v)) })
}

// begin makes the log: it founds the cluster, and says that the database file has all of that.
func (r *restore) begin(fsys vfs.FS, cluster *membership.Cluster) error {
	n := uint64(len(r.members))
	state := cluster.ConfState()
	first := wal.Batch{HardState: wire.HardState{Term: foundingTerm, Vote: r.members[0].ID, Commit: n}, Sync: true}
	for i, cc := range membership.BootstrapChanges(r.members) {
		first.Entries = append(first.Entries, wire.Entry{Type: wire.EntryConfChange, Term: foundingTerm, Index: uint64(i) + 1, Data: cc.Append(nil)})
	}
	meta := wire.SnapshotMeta{Index: n, Term: foundingTerm, ConfState: state}
	if err := datadir.WriteSnapFile(fsys, r.paths, wire.Snapshot{Meta: meta, Data: cluster.StoreJSON()}); err != nil {
		return err
	}
	log, err := wal.CreateWith(wal.Config{FS: fsys, Dir: r.paths.WAL}, wal.Metadata{NodeID: r.self(), ClusterID: membership.InitialClusterID(r.members)}, first)
	if err != nil {
		return err
	}
	return errors.Join(log.Write(wal.Batch{Mark: &wal.Mark{Index: n, Term: foundingTerm, ConfState: &state}}), log.Close())
}

// self is the id of the member whose directory is made.
func (r *restore) self() uint64 {
	i := slices.IndexFunc(r.members, func(m schema.Member) bool { return m.Name == r.Name })
	return r.members[i].ID
}
