package embed

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/quoin-kv/quoin/internal/api/ops"
	"github.com/quoin-kv/quoin/internal/backend"
	"github.com/quoin-kv/quoin/internal/config"
	"github.com/quoin-kv/quoin/internal/datadir"
	"github.com/quoin-kv/quoin/internal/machine"
	"github.com/quoin-kv/quoin/internal/membership"
	"github.com/quoin-kv/quoin/internal/mvcc"
	"github.com/quoin-kv/quoin/internal/replica"
	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/internal/vfs"
	"github.com/quoin-kv/quoin/internal/wal"
	"github.com/quoin-kv/quoin/raft"
	"github.com/quoin-kv/quoin/raft/wire"
)

// Bounds of consensus that no option sets, in bytes and messages.
const (
	maxMessageBytes     = 1 << 20
	maxInflightMessages = 512
	maxInflightBytes    = 64 << 20
	maxUncommittedBytes = 256 << 20
)

// data is what a member remembers, opened.
type data struct {
	dir       *datadir.Dir
	meta      wal.Metadata
	backend   *backend.Backend
	log       *wal.Log
	applier   *replica.Applier
	consensus *replica.Consensus
}

// openData opens the data directory, or makes one for a new member.
func openData(cfg *config.Config, m *ops.Metrics, logger *slog.Logger) (d *data, err error) {
	d = &data{}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.closeEarly())
			d = nil
		}
	}()
	if d.dir, err = datadir.Open(vfs.OS{}, cfg.DataDir, cfg.WALDir); err != nil {
		return d, err
	}
	plan := d.dir.Plan()
	for _, w := range plan.Warnings {
		logger.Warn(w)
	}
	recovered, err := d.openLog(cfg, m, logger)
	if err != nil {
		return d, err
	}
	if err := plan.Check(recovered.Mark.Index); err != nil {
		return d, err
	}
	if d.backend, err = backend.Open(backend.Config{
		Path: plan.Paths.DB, FreelistType: cfg.FreelistType, QuotaBytes: cfg.QuotaBytes, NoSync: cfg.UnsafeNoFsync,
		OnFlush: func(f backend.FlushInfo) { observeFlush(m, f) },
	}); err != nil {
		return d, err
	}
	return d, d.build(cfg, recovered, logger)
}

func observeFlush(m *ops.Metrics, f backend.FlushInfo) {
	m.BackendCommit.Observe(f.Took.Seconds())
	m.BackendRebalance.Observe(f.Rebalance.Seconds())
	m.BackendSpill.Observe(f.Spill.Seconds())
	m.BackendWrite.Observe(f.Write.Seconds())
}

// openLog opens the log, or makes that of a new member.
func (d *data) openLog(cfg *config.Config, m *ops.Metrics, logger *slog.Logger) (*wal.Recovered, error) {
	wc := wal.Config{
		FS: vfs.OS{}, Dir: d.dir.Plan().Paths.WAL, NoSync: cfg.UnsafeNoFsync,
		OnSync: func(took time.Duration) { m.WALSync.Observe(took.Seconds()) },
		OnWrite: func(took time.Duration, bytes int) {
			m.WALWrite.Observe(took.Seconds())
			m.WALBytes.Add(float64(bytes))
		},
	}
	exists, err := wal.Exists(wc.FS, wc.Dir)
	if err != nil {
		return nil, err
	}
	if !exists {
		return d.found(cfg, wc, logger)
	}
	log, recovered, err := wal.Open(wc)
	if err != nil {
		return nil, err
	}
	if r := recovered.Repaired; r != nil {
		logger.Warn("torn end of the log was cut off", "file", r.File, "offset", r.Offset, "bytes", r.Lost, "copy", r.Copy)
	}
	d.log, d.meta = log, recovered.Metadata
	if recovered.Mark.Index == 0 && len(recovered.Entries) == 0 {
		return recovered, d.bootstrap(cfg, recovered) // a crash came between the making of the log and its first entries
	}
	return recovered, nil
}

// found makes the log of the founding member of a new cluster.
func (d *data) found(cfg *config.Config, wc wal.Config, logger *slog.Logger) (*wal.Recovered, error) {
	members, self, err := founders(cfg)
	if err != nil {
		return nil, err
	}
	d.meta = wal.Metadata{NodeID: self.ID, ClusterID: membership.InitialClusterID(members)}
	if d.log, err = wal.Create(wc, d.meta); err != nil {
		return nil, err
	}
	logger.Info("new cluster", "cluster", membership.FormatID(d.meta.ClusterID), "member", membership.FormatID(d.meta.NodeID))
	recovered := &wal.Recovered{Metadata: d.meta}
	return recovered, d.bootstrap(cfg, recovered)
}

// bootstrap writes the entries with which the log of a new cluster begins: its founders.
func (d *data) bootstrap(cfg *config.Config, rec *wal.Recovered) error {
	members, _, err := founders(cfg)
	if err != nil {
		return err
	}
	rec.HardState = wire.HardState{Term: 1, Commit: uint64(len(members))}
	for i, cc := range membership.BootstrapChanges(members) {
		rec.Entries = append(rec.Entries, wire.Entry{Type: wire.EntryConfChange, Term: 1, Index: uint64(i) + 1, Data: cc.Append(nil)})
	}
	return d.log.Write(wal.Batch{Entries: rec.Entries, HardState: rec.HardState, Sync: true})
}

// founders are the members of the cluster that cfg describes, and which of them this one is.
func founders(cfg *config.Config) (members []schema.Member, self schema.Member, err error) {
	initial, err := membership.ParseInitialCluster(cfg.InitialCluster)
	if err != nil {
		return nil, self, fmt.Errorf("--initial-cluster %q: %w", cfg.InitialCluster, err)
	}
	if err := initial.Check(cfg.Name); err != nil {
		return nil, self, err
	}
	if err := initial.CheckAdvertised(cfg.Name, cfg.AdvertisePeerURLs.Strings()); err != nil {
		return nil, self, err
	}
	members = initial.Members(cfg.InitialClusterToken)
	if len(members) != 1 || cfg.InitialClusterState != "new" {
		return nil, self, errors.New("this version runs clusters of one member: --initial-cluster must name this member alone and --initial-cluster-state be new")
	}
	return members, members[0], nil
}

// build makes machine and consensus of what was read.
func (d *data) build(cfg *config.Config, rec *wal.Recovered, logger *slog.Logger) error {
	start := time.Now()
	applied := d.backend.Flushed()
	durable := rec.Mark.Index + uint64(len(rec.Entries))
	if applied.Index < rec.Mark.Index || applied.Index > durable {
		return fmt.Errorf("%s has applied the log up to %d, but the log in %s goes from %d to %d", d.dir.Plan().Paths.DB, applied.Index, d.dir.Plan().Paths.WAL, rec.Mark.Index, durable)
	}
	m, err := machine.Restore(machine.Config{
		ClusterID: d.meta.ClusterID, MemberID: d.meta.NodeID, MinLeaseTTL: minLeaseTTL(cfg), MaxLearners: cfg.MaxLearners,
	}, d.backend, d.backend, func() mvcc.Reader { return d.backend.Reader() })
	if err != nil {
		return err
	}
	if err := checkAlone(d.meta.NodeID, m.ConfState(), rec.Entries); err != nil {
		return fmt.Errorf("%s: %w", cfg.DataDir, err)
	}
	core, err := raft.New(coreConfig(cfg, d.meta.NodeID), raft.Boot{
		HardState: rec.HardState, Entries: rec.Entries, Applied: applied.Index,
		Snapshot: wire.SnapshotMeta{Index: rec.Mark.Index, Term: rec.Mark.Term, ConfState: m.ConfState()},
	})
	if err != nil {
		return err
	}
	d.applier = replica.NewApplier(m, d.backend, applied)
	d.consensus = replica.NewConsensus(core, replica.ConsensusOptions{MarkEvery: cfg.SnapshotCount, CatchupEntries: cfg.SnapshotCatchup}, applied.Index, rec.Mark.Index)
	logger.Info("data restored", "directory", cfg.DataDir, "revision", m.Rev(), "applied", applied.Index, "log", durable, "took", time.Since(start))
	return nil
}

// checkAlone refuses a log whose cluster has other members, which this version cannot reach: it would never get a leader.
func checkAlone(self uint64, state wire.ConfState, entries []wire.Entry) error {
	others := map[uint64]bool{}
	for _, id := range slices.Concat(state.Voters, state.Learners, state.VotersOutgoing, state.LearnersNext) {
		others[id] = true
	}
	for i := range entries {
		if entries[i].Type != wire.EntryConfChange {
			continue
		}
		var cc wire.ConfChange
		if err := cc.Unmarshal(entries[i].Data); err != nil {
			return fmt.Errorf("entry %d of the log: %w", entries[i].Index, err)
		}
		if cc.Type == wire.ConfChangeRemoveNode {
			delete(others, cc.NodeID)
		} else {
			others[cc.NodeID] = true
		}
	}
	delete(others, self)
	delete(others, 0) // a change that was refused
	if len(others) > 0 {
		return fmt.Errorf("the data is of a cluster of %d members, and this version runs clusters of one member", len(others)+1)
	}
	return nil
}

func coreConfig(cfg *config.Config, id uint64) raft.Config {
	return raft.Config{
		ID: id, ElectionTicks: int(cfg.ElectionMs / cfg.HeartbeatMs), HeartbeatTicks: 1,
		PreVote: cfg.PreVote, CheckQuorum: true,
		MaxMessageBytes: maxMessageBytes, MaxInflightMessages: maxInflightMessages, MaxInflightBytes: maxInflightBytes,
		MaxUncommittedBytes: maxUncommittedBytes, Jitter: rand.IntN,
	}
}

// closeEarly closes what a start that failed had opened.
func (d *data) closeEarly() error {
	var errs []error
	if d.log != nil {
		errs = append(errs, d.log.Close())
	}
	if d.backend != nil {
		errs = append(errs, d.backend.Close())
	}
	return errors.Join(append(errs, d.unlock())...)
}

// unlock lets other processes open the directory.
func (d *data) unlock() error {
	if d.dir == nil {
		return nil
	}
	return d.dir.Close()
}
