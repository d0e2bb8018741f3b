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
	"github.com/quoin-kv/quoin/internal/machine"
	"github.com/quoin-kv/quoin/internal/membership"
	"github.com/quoin-kv/quoin/internal/node"
	"github.com/quoin-kv/quoin/internal/replica"
	"github.com/quoin-kv/quoin/internal/service"
)

// observeApply counts what a batch did. The time of a batch is shared evenly by its requests. Entries of consensus itself are no requests.
func observeApply(m *ops.Metrics, took time.Duration, b *replica.Batch) {
	share := took.Seconds() / float64(max(1, len(b.Outcomes)))
	var sum appliedOps
	var same prometheus.Observer // of the request before
	for i := range b.Outcomes {
		o := &b.Outcomes[i]
		if o.Kind == "" {
			same = nil
			continue
		}
		if before := &b.Outcomes[max(0, i-1)]; same == nil || before.Kind != o.Kind || (before.Err == nil) != (o.Err == nil) {
			same = m.ApplyDuration.WithLabelValues("v3", o.Kind, strconv.FormatBool(o.Err == nil))
		}
		same.Observe(share)
		if o.Err == nil && touchesKeys(o.Kind) {
			sum.add(o.Ops)
		}
	}
	sum.count(m)
}

// touchesKeys reports whether requests of a kind do operations on the key space.
func touchesKeys(kind string) bool {
	switch kind {
	case "Put", "DeleteRange", "Txn", "LeaseRevoke":
		return true
	}
	return false
}

// appliedOps is what the requests of a batch did to the key space. One that is not a single operation is a transaction.
type appliedOps struct {
	ops  machine.Ops
	txns int
}

func (a *appliedOps) add(o machine.Ops) {
	a.ops.Add(o)
	if o.Total() != 1 {
		a.txns++
	}
}

func (a *appliedOps) count(m *ops.Metrics) {
	m.Puts.Add(float64(a.ops.Puts))
	m.Deletes.Add(float64(a.ops.Deletes))
	m.Ranges.Add(float64(a.ops.Ranges))
	m.PutBytes.Add(float64(a.ops.PutBytes))
	m.Txns.Add(float64(a.txns))
}

// countOps counts what one request did.
func countOps(m *ops.Metrics, o machine.Ops) {
	var one appliedOps
	one.add(o)
	one.count(m)
}

// observeFlush measures a flush, which is what etcd calls a commit of its backend.
func observeFlush(m *ops.Metrics, f backend.FlushInfo) {
	m.BackendCommit.Observe(f.Took.Seconds())
	m.BackendRebalance.Observe(f.Rebalance.Seconds())
	m.BackendSpill.Observe(f.Spill.Seconds())
	m.BackendWrite.Observe(f.Write.Seconds())
	m.Flushed(f.Took, f.Bytes, f.Records)
}

// observeAlarms shows which alarms are raised.
func observeAlarms(m *ops.Metrics, raised []service.AlarmName) {
	var labels [][]string
	for _, a := range raised {
		labels = append(labels, []string{membership.FormatID(a.Member), a.Kind})
	}
	m.Alarms.Set(labels)
}

// gauges registers what is read when somebody scrapes.
type gauges struct {
	metrics *ops.Metrics
	node    *node.Node
	svc     *service.Service
	backend *backend.Backend
	self    string
}

// registerGauges adds what is read when somebody scrapes.
func registerGauges(m *ops.Metrics, cfg *config.Config, n *node.Node, svc *service.Service, d *data) {
	g := gauges{metrics: m, node: n, svc: svc, backend: d.backend, self: membership.FormatID(d.meta.NodeID)}
	setPeer(m.Peers.Known, g.self, g.self, true)
	g.member()
	g.raft()
	g.file()
	g.keys()
	g.features(cfg)
	g.ownBackend()
	g.ownRanges()
	g.ownRaft()
}

func (g *gauges) add(name, help string, read func() float64) {
	g.metrics.Register(ops.Gauge{Name: name, Help: help, Read: read})
}

func (g *gauges) count(name, help string, read func() float64) {
	g.metrics.Register(ops.Gauge{Name: name, Help: help, Counts: true, Read: read})
}

func (g *gauges) flag(name, help string, read func() bool) {
	g.add(name, help, func() float64 { return number(read()) })
}

// constant adds a gauge that is always 1 and says something by its label.
func (g *gauges) constant(name, help, label, value string) {
	g.metrics.Register(ops.Gauge{Name: name, Help: help, Labels: prometheus.Labels{label: value}, Read: func() float64 { return 1 }})
}

// number is what a gauge shows for yes and no.
func number(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

func (g *gauges) member() {
	g.constant("etcd_server_id", "Id of this member.", "server_id", g.self)
	g.constant("etcd_server_version", "Version of this server.", "server_version", version.Version)
	g.constant("etcd_server_go_version", "Version of Go.", "server_go_version", runtime.Version())
	g.metrics.RegisterVersion("etcd_cluster_version", "Version of the cluster.", "cluster_version", func() string {
		_, cluster, _ := g.svc.Versions()
		return majorMinor(cluster)
	})
	g.add("etcd_debugging_auth_revision", "Revision of users and roles.", func() float64 { return float64(g.svc.AuthRevision()) })
}

// majorMinor shortens a version of three numbers to two.
func majorMinor(version string) string {
	if i := strings.LastIndexByte(version, '.'); i > 0 {
		return version[:i]
	}
	return version
}

func (g *gauges) raft() {
	g.flag("etcd_server_has_leader", "Whether a leader is known.", g.svc.HasLeader)
	g.flag("etcd_server_is_leader", "Whether this member leads.", g.svc.IsLeader)
	g.flag("etcd_server_is_learner", "Whether this member has no vote.", g.svc.IsLearner)
	g.add("etcd_server_proposals_committed_total", "Commit index.", func() float64 { return float64(g.node.Status().Commit) })
	g.add("etcd_server_proposals_applied_total", "Applied index.", func() float64 { return float64(g.node.Status().Applied) })
	g.add("etcd_server_proposals_pending", "Proposals that wait.", func() float64 { return float64(g.node.Pending()) })
	g.add("etcd_server_quota_backend_bytes", "Quota of the database.", func() float64 { return float64(g.svc.Status().DBSizeQuota) })
}

func (g *gauges) file() {
	g.add("etcd_mvcc_db_total_size_in_bytes", "Size of the database file.", func() float64 { return float64(g.backend.Sizes().FileBytes) })
	g.add("etcd_mvcc_db_total_size_in_use_in_bytes", "Used part of the database file.", func() float64 { return float64(g.backend.Sizes().InUseBytes) })
	g.add("etcd_mvcc_db_open_read_transactions", "Read transactions of the database file.", func() float64 { return float64(g.backend.Activity().Snapshots) })
	g.flag("etcd_disk_defrag_inflight", "Whether the database file is being rewritten.", func() bool { return g.backend.Activity().Rewriting })
}

func (g *gauges) keys() {
	g.add("etcd_debugging_mvcc_keys_total", "Live keys.", func() float64 { return float64(g.svc.KeySpace().Keys) })
	g.add("etcd_debugging_mvcc_current_revision", "Current revision.", func() float64 { return float64(g.svc.KeySpace().Revision) })
	g.add("etcd_debugging_mvcc_compact_revision", "Compacted revision.", func() float64 { return float64(g.svc.KeySpace().Compacted) })
	g.add("etcd_debugging_mvcc_watch_stream_total", "Watch streams.", func() float64 { return float64(g.svc.WatchStats().Streams) })
	g.add("etcd_debugging_mvcc_watcher_total", "Watchers.", func() float64 { return float64(g.svc.WatchStats().Watchers) })
	g.add("etcd_debugging_mvcc_slow_watcher_total", "Watchers that read history.", func() float64 { return float64(g.svc.WatchStats().Slow) })
	g.add("etcd_debugging_mvcc_pending_events_total", "Watchers that events wait for.", func() float64 { return float64(g.svc.WatchStats().Pending) })
	g.count("etcd_debugging_mvcc_events_total", "Events sent to watchers.", func() float64 { return float64(g.svc.WatchStats().Events) })
	g.add("quoin_watch_ring_revisions", "Revisions that watchers find in memory.", func() float64 { return float64(g.svc.WatchRing().Revisions) })
	g.add("quoin_watch_ring_bytes", "Bytes of the revisions that watchers find in memory.", func() float64 { return float64(g.svc.WatchRing().Bytes) })
}

// features shows every gate, and those that stand for all of a stage.
func (g *gauges) features(cfg *config.Config) {
	gates := append(config.Gates(), config.Gate{Name: "AllAlpha", Stage: "ALPHA"}, config.Gate{Name: "AllBeta", Stage: "BETA"})
	for _, one := range gates {
		on := number(cfg.Features.Enabled(one.Name))
		g.metrics.Register(ops.Gauge{
			Name: "etcd_server_feature_enabled", Help: "Whether a feature gate is on.",
			Labels: prometheus.Labels{"name": one.Name, "stage": one.Stage}, Read: func() float64 { return on },
		})
	}
}

func (g *gauges) ownBackend() {
	g.add("quoin_backend_pending_bytes", "Bytes of memory of what is applied but not in the database file yet.", func() float64 { return float64(g.backend.Pending().Bytes) })
	g.add("quoin_backend_pending_batches", "Batches that are applied but not in the database file yet.", func() float64 { return float64(g.backend.Pending().Batches) })
	g.add("quoin_backend_pending_records", "Records that are applied but not in the database file yet.", func() float64 { return float64(g.backend.Pending().Records) })
	g.add("quoin_backend_used_bytes", "What the quota is compared with: the used part of the database file and what is on its way into it.", func() float64 { return float64(g.backend.Used()) })
	g.add("quoin_backend_free_bytes", "Part of the database file that holds nothing.", func() float64 {
		sizes := g.backend.Sizes()
		return float64(sizes.FileBytes - sizes.InUseBytes)
	})
	g.add("quoin_backend_rewrite_progress_ratio", "How much of the database file is rewritten, from 0 to 1; 0 if it is not being rewritten.", func() float64 {
		a := g.backend.Activity()
		if !a.Rewriting || a.Total == 0 {
			return 0
		}
		return min(1, float64(a.Copied)/float64(a.Total))
	})
}

// ownRanges tells of the memory of large answers.
func (g *gauges) ownRanges() {
	g.add("quoin_range_budget_limit_bytes", "Memory that large answers under way may take, 0 if there is no bound.", func() float64 { return float64(g.svc.RangeBudget().LimitBytes) })
	g.add("quoin_range_budget_used_bytes", "Memory that large answers under way take.", func() float64 { return float64(g.svc.RangeBudget().UsedBytes) })
	g.add("quoin_range_budget_answers", "Large answers under way.", func() float64 { return float64(g.svc.RangeBudget().Answers) })
	g.add("quoin_range_budget_waiting", "Requests that wait for memory for their answer.", func() float64 { return float64(g.svc.RangeBudget().Waiting) })
	g.count("quoin_range_budget_refused_total", "Requests refused for want of memory for their answer.", func() float64 { return float64(g.svc.RangeBudget().Refused) })
}

func (g *gauges) ownRaft() {
	g.add("quoin_raft_term", "Term.", func() float64 { return float64(g.node.Status().Term) })
	g.add("quoin_raft_log_entries", "Entries of the log that are in memory.", func() float64 {
		st := g.node.Status()
		return float64(st.Last) - float64(st.First) + 1
	})
	g.add("quoin_raft_proposal_bytes", "Bytes of proposals that wait.", func() float64 { return float64(g.node.Activity().ProposalBytes) })
	g.add("quoin_apply_backlog_entries", "Entries that are committed and not applied.", func() float64 {
		st := g.node.Status()
		return float64(st.Commit - st.Applied)
	})
	g.add("quoin_apply_backlog_bytes", "Bytes of entries that are committed and not applied.", func() float64 { return float64(g.node.Activity().BacklogBytes) })
	g.metrics.RegisterLabelled("quoin_raft_peer_lag_entries", "Entries that another member lacks, as its leader knows.", []string{"To"}, g.lags)
	g.add("quoin_disk_free_bytes", "Room on the file system of log and database that has least of it.", func() float64 { return float64(g.node.Room().Free) })
	g.flag("quoin_disk_read_only", "Whether writes are refused because the disk is full.", func() bool { return g.node.Room().Short })
	g.disk("log", func(a node.Activity) (time.Duration, int64) { return a.LogWrite, a.LogStalls })
	g.disk("database", func(a node.Activity) (time.Duration, int64) { return a.Flush, a.FlushStalls })
}

// disk adds what tells of a disk that takes long.
func (g *gauges) disk(name string, of func(node.Activity) (time.Duration, int64)) {
	labels := prometheus.Labels{"file": name}
	g.metrics.Register(
		ops.Gauge{Name: "quoin_disk_write_age_seconds", Help: "Time since the write that is under way began.", Labels: labels, Read: func() float64 {
			age, _ := of(g.node.Activity())
			return age.Seconds()
		}},
		ops.Gauge{Name: "quoin_disk_stalls_total", Help: "Writes that took a second or longer.", Labels: labels, Counts: true, Read: func() float64 {
			_, stalls := of(g.node.Activity())
			return float64(stalls)
		}},
	)
}

// lags sets how far the other members are behind, if this one leads.
func (g *gauges) lags(set func(float64, ...string)) {
	st := g.node.Status()
	for _, p := range st.Peers {
		if p.ID != st.ID {
			set(float64(st.Last)-float64(min(p.Match, st.Last)), membership.FormatID(p.ID))
		}
	}
}
