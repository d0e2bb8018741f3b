package embed

import (
	"context"
	"time"

	"go.etcd.io/etcd/api/v3/version"

	"github.com/quoin-kv/quoin/internal/api/ops"
	v3 "github.com/quoin-kv/quoin/internal/api/v3"
	"github.com/quoin-kv/quoin/internal/backend"
	"github.com/quoin-kv/quoin/internal/config"
	"github.com/quoin-kv/quoin/internal/lease"
	"github.com/quoin-kv/quoin/internal/machine"
	"github.com/quoin-kv/quoin/internal/mvcc"
	"github.com/quoin-kv/quoin/internal/node"
	"github.com/quoin-kv/quoin/internal/replica"
	"github.com/quoin-kv/quoin/internal/service"
	"github.com/quoin-kv/quoin/raft/wire"
)

// Bounds that no option sets.
const (
	maxPending = 20000 // proposals that wait at once
	maxBacklog = 5000  // entries committed but not applied
)

// clusterVersion is the version that this server proposes for a cluster whose members are all like it.
const clusterVersion = "3.7.0"

func millis(n uint) time.Duration { return time.Duration(n) * time.Millisecond }

// minLeaseTTL is the least time to live of a lease, in seconds.
func minLeaseTTL(cfg *config.Config) int64 {
	return lease.MinTTL(int(cfg.ElectionMs/cfg.HeartbeatMs), millis(cfg.HeartbeatMs))
}

func (m *Member) serviceConfig(cfg *config.Config, metrics *ops.Metrics) service.Config {
	return service.Config{
		Logger: m.logger, ClusterID: m.data.meta.ClusterID, MemberID: m.data.meta.NodeID,
		Name: cfg.Name, ClientURLs: cfg.AdvertiseClientURLs.Strings(),
		Version: version.Version, ClusterVersion: clusterVersion,
		MaxRequestBytes: int(cfg.MaxRequestBytes), MaxTxnOps: int(cfg.MaxTxnOps), QuotaBytes: cfg.QuotaBytes, KeepNoSpaceAlarm: cfg.KeepNoSpaceAlarm,
		RangeBudgetBytes: cfg.RangeBudgetBytes, HasRoom: v3.FromGateway,
		AutoCompaction: autoCompaction(cfg), AutoDefragPercent: int(cfg.AutoDefragPercent),
		ElectionTimeout: millis(cfg.ElectionMs), ProgressInterval: cfg.WatchProgress, MinLeaseTTL: minLeaseTTL(cfg), LeaseCheckpoint: leaseCheckpoint(cfg),
		DowngradeCheck: cfg.DowngradeCheckTime, StrictReconfig: cfg.StrictReconfigCheck, Access: m.access, Short: m.peers.transport.Short,
		Peers: m.peers.client, MembersChanged: m.peers.setMembers, SelfRemoved: m.selfRemoved,
		HashChecks: m.hashChecks(cfg),
		Metrics: service.Metrics{
			Range: metrics.Range, Request: metrics.Request,
			Lease: func(change service.LeaseChange, ttl int64) {
				switch change {
				case service.LeaseGranted:
					metrics.LeaseGranted.Inc()
					metrics.LeaseTTL.Observe(float64(ttl))
				case service.LeaseRenewed:
					metrics.LeaseRenewed.Inc()
				case service.LeaseRevoked:
					metrics.LeaseRevoked.Inc()
				}
			},
			LeaseExpired: metrics.LeaseExpired.Inc,
			ReadTxn:      func(ranges int) { countOps(metrics, machine.Ops{Ranges: ranges}) },
			Promoted:     metrics.Promoted,
			Alarms:       func(raised []service.AlarmName) { observeAlarms(metrics, raised) },
			HashedFile:   metrics.HashedFile, HashedRevision: metrics.HashedRevision,
			WatchSent: metrics.WatchSent, WatchAnswered: metrics.WatchAnswered, WatchProgressed: metrics.WatchProgressed,
		},
	}
}

// autoCompaction is how much history the leader keeps.
func autoCompaction(cfg *config.Config) service.AutoCompaction {
	_, period, revisions := cfg.AutoCompaction()
	return service.AutoCompaction{Period: period, Revisions: revisions}
}

// leaseCheckpointInterval is the time between two notes of how much time long leases have left.
const leaseCheckpointInterval = 5 * time.Minute

// leaseCheckpoint is that time, or 0 without the feature gate.
func leaseCheckpoint(cfg *config.Config) time.Duration {
	if !cfg.Features.Enabled(config.LeaseCheckpoint) {
		return 0
	}
	return leaseCheckpointInterval
}

// hashChecks says when this member compares its data with that of the others.
func (m *Member) hashChecks(cfg *config.Config) service.HashChecks {
	checks := service.HashChecks{
		Every: cfg.CorruptCheckTime,
		Ask: func(ctx context.Context, urls []string, revision int64) (service.PeerHash, error) {
			h, err := m.peers.client.HashKV(ctx, urls, revision)
			return service.PeerHash{Hash: h.Hash, CurrentRev: h.CurrentRev}, err
		},
	}
	if cfg.Features.Enabled(config.CompactHashCheck) {
		checks.Compactions = cfg.CompactHashCheckTime
	}
	return checks
}

func (m *Member) nodeConfig(cfg *config.Config, metrics *ops.Metrics) node.Config {
	d, sessions := m.data, m.peers.transport
	return node.Config{
		Logger: m.logger, Consensus: d.consensus, Applier: d.applier, Log: d.log, Backend: d.backend,
		Send: sessions.Send, SendSnapshot: sessions.SendSnapshot,
		Adopt: d.dir.AdoptReceived, DropReceived: d.dir.DropReceived,
		Restore:      func(*backend.Backend) (*machine.Machine, error) { return d.restore(cfg) },
		SnapshotData: func(m *machine.Machine) []byte { return m.Members().StoreJSON() },
		KeepMark:     func(s wire.Snapshot) error { return d.keepMark(s, int(cfg.MaxSnapshots)) },
		Connected: func(id uint64) bool {
			_, ok := sessions.Connected(id)
			return ok
		},
		Room: d.room, ReleaseRoom: d.reserve.Release,
		Tick: millis(cfg.HeartbeatMs), FlushInterval: cfg.BatchInterval,
		CompactionBatch: cfg.CompactionBatchLimit, CompactionPause: cfg.CompactionSleep, SlowApply: cfg.WarningApply,
		VerifyPeriod: verifyPeriod,
		KeepSegments: int(cfg.MaxWALs), MaxPending: maxPending, MaxBacklog: maxBacklog,
		Observer: m.svc,
		Metrics: node.Metrics{
			Apply:     func(took time.Duration, b *replica.Batch) { observeApply(metrics, took, b) },
			SlowApply: metrics.SlowApply.Inc, ProposalFailed: metrics.ProposalsFailed.Inc, LeaderChanged: metrics.LeaderChanges.Inc, ReadFailed: metrics.ReadsFailed.Inc,
			MessageDropped: metrics.MessagesDropped.Inc, SlowRead: metrics.SlowReads.Inc, LateHeartbeat: metrics.LateHeartbeats.Inc,
			Installing: func(yes bool) { metrics.Installing.Set(number(yes)) },
			CompactionStep: func(took time.Duration, work mvcc.CompactionWork) {
				metrics.CompactionStep(took, work.Pruned > 0, work.Removed)
			},
			Compacted: metrics.Compacted,
		},
	}
}
