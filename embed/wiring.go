package embed

import (
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.etcd.io/etcd/api/v3/version"

	"github.com/quoin-kv/quoin/internal/api/ops"
	"github.com/quoin-kv/quoin/internal/backend"
	"github.com/quoin-kv/quoin/internal/config"
	"github.com/quoin-kv/quoin/internal/lease"
	"github.com/quoin-kv/quoin/internal/machine"
	"github.com/quoin-kv/quoin/internal/membership"
	"github.com/quoin-kv/quoin/internal/node"
	"github.com/quoin-kv/quoin/internal/replica"
	"github.com/quoin-kv/quoin/internal/service"
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
		AutoCompaction: autoCompaction(cfg), AutoDefragPercent: int(cfg.AutoDefragPercent),
		ElectionTimeout: millis(cfg.ElectionMs), ProgressInterval: cfg.WatchProgress, MinLeaseTTL: minLeaseTTL(cfg),
		StrictReconfig: cfg.StrictReconfigCheck,
		Peers:          m.peers.client, MembersChanged: m.peers.setMembers, SelfRemoved: m.selfRemoved,
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
		},
	}
}

// autoCompaction is how much history the leader keeps.
func autoCompaction(cfg *config.Config) service.AutoCompaction {
	_, period, revisions := cfg.AutoCompaction()
	return service.AutoCompaction{Period: period, Revisions: revisions}
}

func (m *Member) nodeConfig(cfg *config.Config, metrics *ops.Metrics) node.Config {
	d, sessions := m.data, m.peers.transport
	return node.Config{
		Logger: m.logger, Consensus: d.consensus, Applier: d.applier, Log: d.log, Backend: d.backend,
		Send: sessions.Send, SendSnapshot: sessions.SendSnapshot,
		Adopt: d.dir.AdoptReceived, DropReceived: d.dir.DropReceived,
		Restore:      func(*backend.Backend) (*machine.Machine, error) { return d.restore(cfg) },
		SnapshotData: func(m *machine.Machine) []byte { return m.Members().StoreJSON() },
		Connected: func(id uint64) bool {
			_, ok := sessions.Connected(id)
			return ok
		},
		Tick: millis(cfg.HeartbeatMs), FlushInterval: cfg.BatchInterval,
		CompactionBatch: cfg.CompactionBatchLimit, CompactionPause: cfg.CompactionSleep, SlowApply: cfg.WarningApply,
		KeepSegments: int(cfg.MaxWALs), MaxPending: maxPending, MaxBacklog: maxBacklog,
		Observer: m.svc,
		Metrics: node.Metrics{
			Apply:     func(took time.Duration, b *replica.Batch) { observeApply(metrics, took, b) },
			SlowApply: metrics.SlowApply.Inc, ProposalFailed: metrics.ProposalsFailed.Inc, LeaderChanged: metrics.LeaderChanges.Inc, ReadFailed: metrics.ReadsFailed.Inc,
		},
	}
}

// observeApply counts what a batch did. The time of a batch is shared evenly by its requests. Entries of consensus itself are no requests.
func observeApply(m *ops.Metrics, took time.Duration, b *replica.Batch) {
	share := took.Seconds() / float64(max(1, len(b.Outcomes)))
	for i := range b.Outcomes {
		o := &b.Outcomes[i]
		if o.Kind == "" {
			continue
		}
		m.ApplyDuration.WithLabelValues("v3", o.Kind, strconv.FormatBool(o.Err == nil)).Observe(share)
		for j := range o.Events {
			if o.Events[j].Delete {
				m.Deletes.Inc()
			} else {
				m.Puts.Inc()
			}
		}
		if o.Kind == "Txn" {
			m.Txns.Inc()
		}
	}
}

// registerGauges adds what is read when somebody scrapes.
func registerGauges(m *ops.Metrics, n *node.Node, svc *service.Service, d *data) {
	gauge := func(name, help string, read func() float64) {
		m.Register(ops.Gauge{Name: name, Help: help, Read: read})
	}
	flag := func(name, help string, read func() bool) {
		gauge(name, help, func() float64 {
			if read() {
				return 1
			}
			return 0
		})
	}
	self := membership.FormatID(d.meta.NodeID)
	flag("etcd_server_has_leader", "Whether a leader is known.", svc.HasLeader)
	flag("etcd_server_is_leader", "Whether this member leads.", svc.IsLeader)
	flag("etcd_server_is_learner", "Whether this member has no vote.", svc.IsLearner)
	gauge("etcd_server_proposals_committed_total", "Commit index.", func() float64 { return float64(n.Status().Commit) })
	gauge("etcd_server_proposals_applied_total", "Applied index.", func() float64 { return float64(n.Status().Applied) })
	gauge("etcd_server_proposals_pending", "Proposals that wait.", func() float64 { return float64(n.Pending()) })
	gauge("etcd_server_quota_backend_bytes", "Quota of the database.", func() float64 { return float64(svc.Status().DBSizeQuota) })
	gauge("etcd_mvcc_db_total_size_in_bytes", "Size of the database file.", func() float64 { return float64(d.backend.Sizes().FileBytes) })
	gauge("etcd_mvcc_db_total_size_in_use_in_bytes", "Used part of the database file.", func() float64 { return float64(d.backend.Sizes().InUseBytes) })
	gauge("quoin_backend_pending_bytes", "Bytes applied but not in the database file yet.", func() float64 { return float64(d.backend.Pending().Bytes) })
	setPeer(m.Peers.Known, self, self, true)
	keyGauges(gauge, svc)
	watchGauges(gauge, svc)
	m.Register(
		ops.Gauge{Name: "etcd_server_id", Help: "Id of this member.", Labels: prometheus.Labels{"server_id": self}, Read: one},
		ops.Gauge{Name: "etcd_server_version", Help: "Version of this server.", Labels: prometheus.Labels{"server_version": version.Version}, Read: one},
		ops.Gauge{Name: "etcd_server_go_version", Help: "Version of Go.", Labels: prometheus.Labels{"server_go_version": runtime.Version()}, Read: one},
	)
	m.RegisterVersion("etcd_cluster_version", "Version of the cluster.", "cluster_version", func() string {
		_, cluster, _ := svc.Versions()
		return majorMinor(cluster)
	})
}

// majorMinor shortens a version of three numbers to two.
func majorMinor(version string) string {
	if i := strings.LastIndexByte(version, '.'); i > 0 {
		return version[:i]
	}
	return version
}

func one() float64 { return 1 }

func keyGauges(gauge func(name, help string, read func() float64), svc *service.Service) {
	gauge("etcd_debugging_mvcc_keys_total", "Live keys.", func() float64 { return float64(svc.KeySpace().Keys) })
	gauge("etcd_debugging_mvcc_current_revision", "Current revision.", func() float64 { return float64(svc.KeySpace().Revision) })
	gauge("etcd_debugging_mvcc_compact_revision", "Compacted revision.", func() float64 { return float64(svc.KeySpace().Compacted) })
}

func watchGauges(gauge func(name, help string, read func() float64), svc *service.Service) {
	gauge("etcd_debugging_mvcc_watch_stream_total", "Watch streams.", func() float64 { return float64(svc.WatchStats().Streams) })
	gauge("etcd_debugging_mvcc_watcher_total", "Watchers.", func() float64 { return float64(svc.WatchStats().Watchers) })
	gauge("etcd_debugging_mvcc_slow_watcher_total", "Watchers that read history.", func() float64 { return float64(svc.WatchStats().Slow) })
	gauge("etcd_debugging_mvcc_pending_events_total", "Events that wait to be sent.", func() float64 { return float64(svc.WatchStats().Pending) })
}
