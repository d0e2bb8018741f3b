package embed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/quoin-kv/quoin/internal/api/ops"
	"github.com/quoin-kv/quoin/internal/backend"
	"github.com/quoin-kv/quoin/internal/config"
	"github.com/quoin-kv/quoin/internal/datadir"
	"github.com/quoin-kv/quoin/internal/join"
	"github.com/quoin-kv/quoin/internal/machine"
	"github.com/quoin-kv/quoin/internal/membership"
	"github.com/quoin-kv/quoin/internal/mvcc"
	"github.com/quoin-kv/quoin/internal/replica"
	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/internal/service"
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

// sumsSuffix names the checksums of the database file beside it.
const sumsSuffix = ".sums"

// verifyPeriod is the time in which the whole database file is read again.
const verifyPeriod = 4 * time.Hour

// holdTime is how long the log keeps what a member lacks that is not heard of, or that was sent a snapshot.
const holdTime = 30 * time.Second

// data is what a member remembers, opened.
type data struct {
	logger    *slog.Logger
	dir       *datadir.Dir
	meta      wal.Metadata
	reserve   *vfs.Reserve
	backend   *backend.Backend
	log       *wal.Log
	applier   *replica.Applier
	consensus *replica.Consensus
	known     []schema.Member // those that a new member was told of
	received  func(took time.Duration)
}

// finder finds the cluster that a member without data belongs to.
type finder func() (join.Cluster, error)

// openData opens the data directory, or makes one for a new member.
func openData(cfg *config.Config, find finder, m *ops.Metrics, logger *slog.Logger) (d *data, err error) {
	d = &data{logger: logger}
	defer func() {
		if err != nil {
			err = errors.Join(explainNoSpace(err, cfg.DataDir), d.closeEarly())
			d = nil
		}
	}()
	if d.dir, err = datadir.Open(vfs.OS{}, cfg.DataDir, cfg.WALDir); err != nil {
		return d, fmt.Errorf("cannot access data directory: %w", err)
	}
	d.dir.OnReceivedSync = func(took time.Duration) { m.SnapshotFileSync.Observe(took.Seconds()) }
	d.received = func(took time.Duration) { m.SnapshotFileSave.Observe(took.Seconds()) }
	plan := d.dir.Plan()
	if err := d.keepRoom(plan.Paths, int64(cfg.DiskReserveMegabytes)<<20); err != nil {
		return d, err
	}
	for _, w := range plan.Warnings {
		logger.Warn(w)
	}
	recovered, err := d.openLog(cfg, find, m)
	if err == nil && plan.State == datadir.Fresh { // the log has its directory now
		err = d.keepRoom(plan.Paths, int64(cfg.DiskReserveMegabytes)<<20)
	}
	if err != nil {
		return d, err
	}
	if err := plan.Check(recovered.Mark.Index); err != nil {
		return d, err
	}
	if d.backend, err = backend.Open(backend.Config{
		Path: plan.Paths.DB, FreelistType: cfg.FreelistType, QuotaBytes: max(0, cfg.QuotaBytes), NoSync: cfg.UnsafeNoFsync,
		SumsPath: plan.Paths.DB + sumsSuffix, Logger: logger,
		Mlock: cfg.MemoryMlock, FlushEntries: uint64(cfg.BatchLimit),
		OnFlush:    func(f backend.FlushInfo) { observeFlush(m, f) },
		OnSnapshot: func(took time.Duration) { m.BackendSnapshot.Observe(took.Seconds()) },
		OnRewrite:  func(took time.Duration) { m.BackendRewrite.Observe(took.Seconds()) },

		ReserveBytes: int64(cfg.DiskReserveMegabytes) << 20,
	}); err != nil {
		return d, err
	}
	if err := d.adopt(plan, recovered.Mark.Index); err != nil {
		return d, err
	}
	if err := d.shrink(int64(cfg.BootstrapDefragMegabytes) << 20); err != nil {
		return d, err
	}
	return d, d.build(cfg, recovered)
}

// adopt finishes the installation of a snapshot that a crash interrupted.
func (d *data) adopt(plan datadir.Plan, mark uint64) error {
	if plan.Adopt(mark, d.backend.Flushed().Index) {
		d.logger.Info("Recovering from snapshot backend", "index", mark)
		if err := d.backend.Replace(func() error { return d.dir.AdoptReceived(mark) }); err != nil {
			return err
		}
	}
	return d.dir.DropReceived(d.backend.Flushed().Index + 1)
}

// shrink rewrites the database file if that frees at least so many bytes; with 0 it does nothing.
func (d *data) shrink(atLeast int64) error {
	before, start := d.backend.Sizes(), time.Now()
	if atLeast == 0 {
		return nil
	}
	if before.FileBytes-before.InUseBytes < atLeast {
		d.logger.Info("Skipping defragmentation", "bytes", before.FileBytes, "in_use", before.InUseBytes, "at_least_free", atLeast)
		return nil
	}
	switch err := d.backend.Defragment(context.Background(), nil); {
	case errors.Is(err, backend.ErrPoisoned):
		return fmt.Errorf("defragmenting at the start: %w", err)
	case err != nil: // a member without room for a copy serves as well as before
		d.logger.Warn("not defragmented at the start", "error", err)
		return nil
	}
	d.logger.Info("defragmented at the start", "took", time.Since(start), "bytes_before", before.FileBytes, "bytes_after", d.backend.Sizes().FileBytes)
	return nil
}

// receive stores a database file that another member sends. What the message says of it becomes exact.
func (d *data) receive(ctx context.Context, m wire.Message, body io.Reader) error {
	began := time.Now()
	_, err := d.dir.Receive(ctx, body, func(path string) (uint64, error) {
		at, err := backend.Check(path)
		if err != nil {
			return 0, err
		}
		m.Snapshot.Meta, err = replica.ExactMeta(m.Snapshot.Meta, at)
		return at.Index, err
	})
	if err == nil {
		d.received(time.Since(began))
	}
	return err
}

// openLog opens the log, or makes that of a new member.
func (d *data) openLog(cfg *config.Config, find finder, m *ops.Metrics) (*wal.Recovered, error) {
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
		return d.begin(find, wc)
	}
	log, recovered, err := wal.Open(wc)
	if err != nil {
		return nil, err
	}
	if r := recovered.Repaired; r != nil {
		d.logger.Warn("torn end of the log was cut off", "file", r.File, "offset", r.Offset, "bytes", r.Lost, "copy", r.Copy)
	}
	d.log, d.meta = log, recovered.Metadata
	return recovered, nil
}

// begin makes the log of a member that has none: a founder's begins with the founders, that of a member which joins is empty.
func (d *data) begin(find finder, wc wal.Config) (*wal.Recovered, error) {
	cluster, err := find()
	if err != nil {
		return nil, err
	}
	d.meta = wal.Metadata{NodeID: cluster.Self.ID, ClusterID: cluster.ID}
	var first wal.Batch
	if cluster.Founding {
		first = foundingLog(cluster.Members)
	}
	recovered := &wal.Recovered{Metadata: d.meta, HardState: first.HardState, Entries: first.Entries}
	if d.log, err = wal.CreateWith(wc, d.meta, first); err != nil {
		return nil, err
	}
	d.logger.Info("new member", "cluster", membership.FormatID(cluster.ID), "member", membership.FormatID(cluster.Self.ID), "founder", cluster.Founding)
	d.known = cluster.Members
	return recovered, nil
}

// foundingLog is what the log of a founder begins with: all founders.
func foundingLog(members []schema.Member) wal.Batch {
	b := wal.Batch{HardState: wire.HardState{Term: 1, Commit: uint64(len(members))}, Sync: true}
	for i, cc := range membership.BootstrapChanges(members) {
		b.Entries = append(b.Entries, wire.Entry{Type: wire.EntryConfChange, Term: 1, Index: uint64(i) + 1, Data: cc.Append(nil)})
	}
	return b
}

// missingSnapshot says, in words that people search for, that there is no received file either that would reach the log's mark.
const missingSnapshot = "failed to find database snapshot file (snap: snapshot file doesn't exist): "

// build makes machine and consensus of what was read.
func (d *data) build(cfg *config.Config, rec *wal.Recovered) error {
	start := time.Now()
	applied := d.backend.Flushed()
	durable := rec.Mark.Index + uint64(len(rec.Entries))
	if applied.Index < rec.Mark.Index || applied.Index > durable {
		missing := ""
		if applied.Index < rec.Mark.Index {
			missing = missingSnapshot
		}
		return fmt.Errorf("%s%s has applied the log up to %d, but the log in %s goes from %d to %d", missing, d.dir.Plan().Paths.DB, applied.Index, d.dir.Plan().Paths.WAL, rec.Mark.Index, durable)
	}
	if err := checkAge(applied); err != nil {
		return fmt.Errorf("%s: %w", d.dir.Plan().Paths.DB, err)
	}
	m, err := d.restore(cfg)
	if err != nil {
		return err
	}
	trusted, err := d.witness(rec, m.Members(), applied.Index)
	if err != nil {
		return err
	}
	if cfg.ForceNewCluster {
		if err := d.forceNewCluster(cfg, rec, m, applied.Index); err != nil {
			return err
		}
	}
	marked, later := rec.Mark.Index, uint64(0)
	if from := markFrom(m.Members().Version(), rec.Entries, applied.Index); from > 0 && trusted {
		if marked, later, err = d.markNow(cfg, rec, m, applied, from); err != nil {
			return err
		}
	}
	core, err := raft.New(coreConfig(cfg, d.meta.NodeID), raft.Boot{
		HardState: rec.HardState, Entries: rec.Entries, Applied: applied.Index,
		Snapshot: wire.SnapshotMeta{Index: rec.Mark.Index, Term: rec.Mark.Term, ConfState: m.ConfState()},
	})
	if err != nil {
		return err
	}
	d.applier = replica.NewApplier(m, d.backend, applied)
	d.consensus = replica.NewConsensus(core, replica.ConsensusOptions{
		MarkEvery: cfg.SnapshotCount, CatchupEntries: cfg.SnapshotCatchup, HoldTicks: int(holdTime / millis(cfg.HeartbeatMs)),
	}, applied.Index, marked)
	d.consensus.MarkFrom(later)
	d.logger.Info("data restored", "directory", cfg.DataDir, "revision", m.Rev(), "applied", applied.Index, "log", durable, "took", time.Since(start))
	return nil
}

// forceNewCluster makes this member the only one of its cluster.
func (d *data) forceNewCluster(cfg *config.Config, rec *wal.Recovered, m *machine.Machine, applied uint64) error {
	forced, err := join.ForceNewCluster(
		join.Log{HardState: rec.HardState, Mark: rec.Mark.Index, Entries: rec.Entries, Applied: applied},
		m.Members(), d.meta.NodeID, cfg.AdvertisePeerURLs.Strings(),
	)
	if err != nil {
		return err
	}
	d.logger.Warn("this member is made the only one of its cluster", "flag", "force-new-cluster", "dropped_entries", rec.Mark.Index+uint64(len(rec.Entries))-forced.Last)
	rec.Entries = append(rec.Entries[:forced.Last-rec.Mark.Index:forced.Last-rec.Mark.Index], forced.Entries...)
	rec.HardState = forced.HardState
	return d.log.Write(wal.Batch{Entries: forced.Entries, HardState: forced.HardState, Sync: true})
}

// restore builds the machine on what the database file holds.
func (d *data) restore(cfg *config.Config) (*machine.Machine, error) {
	m, err := machine.Restore(machine.Config{
		ClusterID: d.meta.ClusterID, MemberID: d.meta.NodeID, MinLeaseTTL: minLeaseTTL(cfg), MaxLearners: cfg.MaxLearners,
		Full: service.OverQuota(d.backend, cfg.QuotaBytes),
	}, d.backend, d.backend, func() mvcc.Reader { return d.backend.Reader() })
	if err == nil {
		err = checkVersions(m)
	}
	if err == nil {
		m.AlignStorageVersion()
	}
	return m, err
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
